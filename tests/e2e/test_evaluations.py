"""A given model on every member's private rows: own row at home, pooled row for all.

The sum is that of every round, so the tests here compare it with the clear and look for an own row
in whatever left a site; what guards a sum is tested with the rounds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from comity.aggregation.layout import Layout, Segment
from comity.errors import Malformed, Misconfigured, Refused, Rule
from comity.learning.model import model_bytes
from comity.learning.simulate import Terms
from comity.node import wishes
from comity.node.simulating import Wanted, simulate
from comity.values import sha256
from tests.e2e.preparing import Prepared, prepare
from tests.e2e.small_study import table_of
from tests.e2e.steps import World

STUDY = """
\"\"\"How well a given model does.\"\"\"

from comity.learning import Column, Metric, Study, Tensor

STUDY = Study(
    name="how-good",
    title="How good it is",
    kind="evaluate",
    columns=(Column("x", "real"),),
    tensors=(Tensor("w", (2,)),),
    metrics=(Metric("level", range=8.0), Metric("auc"), Metric("never")),
    weights="hidden",
    weight_max=64,
)


def evaluate(weights, table):
    rows = len(table)
    auc = rows / 10 if rows > 2 else float("nan")  # undefined at the smallest site
    level = float(weights["w"][0]) * float(table["x"].mean())
    return {"level": level, "auc": auc, "never": float("nan")}, rows
"""
MEMBERS = 4
GIVEN = model_bytes(Layout((Segment("w", "real", (2,), 1, 0),)), np.array([0.5, 7], np.float32))
ROWS = [2 + place for place in range(MEMBERS)]
LEVEL = [0.5 * np.mean([1 + place + row for row in range(2 + place)]) for place in range(MEMBERS)]
AUC = [rows / 10 for rows in ROWS]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    root = tmp_path_factory.mktemp("evaluation")
    model = root.parent / "given.safetensors"
    model.write_bytes(GIVEN)
    made = prepare(root, MEMBERS, STUDY, model=model)
    yield made
    made.close()


def finish(world: World) -> None:
    """Until every node has the result in its own copy of the log."""
    copies = [desk.station.replica for desk in world.desks]
    world.run(lambda: all(each.state.studies[world.study_id].finished for each in copies))


def test_own_rows_stay_and_the_pooled_row_is_everybodys(prepared: Prepared, tmp_path: Path) -> None:
    """The mean over rows, and over those alone at which a metric is defined."""
    with prepared.world(tmp_path) as world:
        finish(world)
        plan = world.study.register.plan
        assert plan.evaluates == sha256(GIVEN) and world.study.finished
        level = np.average(LEVEL, weights=ROWS)
        auc = np.average(AUC[1:], weights=ROWS[1:])
        for place, desk in enumerate(world.desks):
            shown = wishes.show_study(desk.station, "how-good")
            assert shown.status.method.startswith("evaluates model")
            assert set(shown.pooled) == {"level", "auc"}
            assert shown.pooled["level"] == pytest.approx(level, abs=1e-4)
            assert shown.pooled["auc"] == pytest.approx(auc, abs=1e-4)
            assert shown.own["level"] == pytest.approx(LEVEL[place], abs=1e-6)
            assert shown.own.get("auc") == (pytest.approx(AUC[place]) if place else None)
        told = b"".join(world.leaves())
        for desk in world.desks[1:]:  # what one node and the host hold of another's row
            told += (desk.station.folder / "log.sqlite").read_bytes()
        told += b"".join(f.read_bytes() for f in (tmp_path / "host").rglob("*") if f.is_file())
    for own in LEVEL:
        assert struct.pack("<f", own) not in told and struct.pack("<d", own) not in told


def test_a_simulation_gives_the_same_row_bit_for_bit(prepared: Prepared, tmp_path: Path) -> None:
    tables = []
    for place in range(MEMBERS):
        tables.append(tmp_path / f"m{place}.csv")
        tables[-1].write_bytes(table_of(place))
    file, model = tmp_path / "study.py", tmp_path / "given.safetensors"
    file.write_text(STUDY)
    model.write_bytes(GIVEN)
    with prepared.world(tmp_path / "live") as world:
        finish(world)
        accepted = world.study.results[0].model
        shown = wishes.show_study(world.desks[0].station, "how-good")
    for secure in (False, True):
        wanted = Wanted(tables=tuple(tables), terms=Terms(secure=secure), model=model)
        done = simulate(file, wanted, policy="warn")
        assert done.runs[0].model == accepted
        assert done.runs[0].pooled == shown.pooled
        assert sorted(done.runs[0].metrics[1]) == [f"m{place}" for place in range(MEMBERS)]
        assert done.runs[0].metrics[1]["m3"]["auc"] == AUC[3]  # type: ignore[index]  # a MemberId
    with pytest.raises(Misconfigured, match="--model"):
        simulate(file, Wanted(tables=tuple(tables)), policy="warn")
    with pytest.raises(Misconfigured, match="need a sum"):
        cyclic = Wanted(tables=tuple(tables), terms=Terms(cyclic=True), model=model)
        simulate(file, cyclic, policy="warn")
    model.write_bytes(GIVEN[:-4])
    with pytest.raises(Malformed, match="no model of the tensors"):
        simulate(file, Wanted(tables=tuple(tables), model=model), policy="warn")


def test_the_model_is_named_by_file_study_or_digest(prepared: Prepared, tmp_path: Path) -> None:
    """A commons evaluates what it made; what is no model of these tensors is refused."""
    file = tmp_path / "study.py"
    file.write_text(STUDY)
    with prepared.world(tmp_path / "live") as world:
        finish(world)
        station = world.desks[0].station
        with pytest.raises(Refused) as caught:
            wishes.register_study(station, file, name="again", model="no-such-study")
        assert caught.value.rule is Rule.NO_SUCH_THING
        for named in ("how-good", world.study.results[0].model):
            with pytest.raises(Malformed, match="no model of the tensors"):
                wishes.register_study(station, file, name="again", model=named)
        with pytest.raises(Misconfigured, match="--model"):
            wishes.register_study(station, file, name="again")
        with pytest.raises(Misconfigured, match="evaluation itself"):
            wishes.evaluate(station, "how-good")

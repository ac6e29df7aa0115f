"""A simulation gives what a commons would accept, bit for bit, and says who failed and how."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from bench.rounds import TABLE, measure_rounds, write_study

from comity.errors import DataFault, Misconfigured, Raised, StudyFault, StudyFaultKind
from comity.learning.local import first_kept, seen
from comity.learning.model import read_header
from comity.learning.simulate import Terms
from comity.node.evaluating import evaluate
from comity.node.isolation import Limits
from comity.node.sandbox_simulation import KeptOfMembers
from comity.node.simulating import Wanted, simulate
from comity.values import MemberId
from tests.e2e.prepared import Make
from tests.e2e.prepared import commons as commons
from tests.e2e.small_study import study_text, table_of
from tests.e2e.test_rounds import Plain


def place(folder: Path, text: str, count: int = 4) -> tuple[Path, tuple[Path, ...]]:
    """A study file, and a table for each member, named as in the tests of whole rounds."""
    study = folder / "study.py"
    study.write_text(text)
    tables = tuple(folder / f"m{number}.csv" for number in range(count))
    for number, table in enumerate(tables):
        table.write_bytes(table_of(number))
    return study, tables


OWN = {"own": ", own=True"}
SCAFFOLD = {"method": "method=Scaffold(steps=5, lr=0.5, range=0.25),"}
PROXIMAL = {
    "method": "method=FedProx(mu=0.5),",
    "twist": "after = {k: v - np.float32(pull.proximal) * weights[k] for k, v in after.items()}",
}
EVERYTHING = {"method": SCAFFOLD["method"] + " fine_tuning=2,", **OWN}


def text_of(settings: dict[str, str], rounds: int = 3) -> str:
    return study_text(method=settings.get("method", ""), own=settings.get("own", ""), rounds=rounds)


@pytest.mark.parametrize(
    ("count", "weights", "weight_max", "rule", "settings"),
    [
        (3, "equal", 1, "FedAvg()", {}),
        pytest.param(4, "declared", 64, "FedAdam(server_lr=0.1)", {}, marks=pytest.mark.slow),
        pytest.param(5, "hidden", 4, "FedYogi(server_lr=0.1)", {}, marks=pytest.mark.slow),
        (3, "hidden", 4, "Nesterov()", PROXIMAL),
        pytest.param(3, "equal", 1, "Momentum()", SCAFFOLD, marks=pytest.mark.slow),
        pytest.param(3, "declared", 64, "FedAvg()", OWN, marks=pytest.mark.slow),
        (4, "hidden", 4, "FedAdam(server_lr=0.1)", EVERYTHING),
    ],
)
def test_a_simulation_gives_the_bits_that_nodes_accept(
    commons: Make,
    tmp_path: Path,
    count: int,
    weights: str,
    weight_max: int,
    rule: str,
    settings: dict[str, str],
) -> None:
    """Real nodes, host, log and sandboxes; `simulate`, plain and secure, beside them.

    What each site scores is the same too, with its own tensors and its fine-tuned copy.
    """
    prepared = commons(count, weights=weights, weight_max=weight_max, rule=rule, **settings)
    with prepared.world(tmp_path / "world") as world:
        world.settle()
        assert world.study.finished
        accepted = [result.model for result in world.study.results]
        scored = {desk.station.member: evaluate(desk.station, "small") for desk in world.desks}
    study, tables = place(tmp_path, prepared.text, count)
    for secure in (False, True):
        run = simulate(study, Wanted(tables=tables, terms=Terms(secure=secure))).runs[0]
        assert run.model == accepted[-1]
        assert run.metrics == {3: {member: each.together for member, each in scored.items()}}
        tuned = {member: each.tuned for member, each in scored.items() if each.tuned}
        assert run.tuned == ({3: tuned} if tuned else {})
        assert bool(tuned) == (settings is EVERYTHING)
        first = Wanted(tables=tables, rounds=1, terms=Terms(secure=secure))
        assert simulate(study, first).runs[0].model == accepted[0]
    fewer = simulate(study, Wanted(tables=tables[:3], rounds=1)).runs[0].model
    assert (fewer == accepted[0]) == (count == 3), "the comparison can fail"


def test_a_simulation_gives_the_bits_of_real_processes(tmp_path: Path) -> None:
    """A host and three nodes as processes of their own, over HTTP, and their accepted models."""
    (tmp_path / "run").mkdir()
    measured = measure_rounds(tmp_path / "run", members=3, parameters=500, rounds=2, say=print)
    study = write_study(tmp_path / "study.py", 500, 2)
    tables = tuple(tmp_path / f"{member}.csv" for member in measured.members)
    for table in tables:
        table.write_bytes(TABLE)
    for secure in (False, True):
        done = simulate(study, Wanted(tables=tables, terms=Terms(secure=secure)))
        assert done.runs[0].model == measured.models[-1]


SOMETIMES = "if len(table) == 4 and rng.integers(2): raise ValueError"
"""m2 fails in a round whose dice say so; the others throw none of these."""


def test_a_round_without_a_member_moves_nothing_it_keeps(tmp_path: Path) -> None:
    """Beside the rounds of one party that sees all, which are those of nodes (tests/e2e)."""
    step = '    step = np.float32(np.mean(table["x"]) / 10)'
    text = text_of({**SCAFFOLD, **OWN}, rounds=6)
    text = text.replace(step, f"    {SOMETIMES}\n{step}")
    study, tables = place(tmp_path, text)
    run = simulate(study, Wanted(tables=tables, evaluate_every=1)).runs[0]
    away = {each.round_no for each in run.failed}
    assert away and away < set(range(1, 6)), "it is away, and comes back"
    assert {each.member for each in run.failed} == {"m2"}
    plain = Plain(text)
    for number in range(1, 7):
        plain.round(number, 4, (0, 1, 3) if number in away else (0, 1, 2, 3))
        for index in range(4):
            kept = plain.kept.get(index, first_kept(plain.study))
            whole = seen(plain.study.study, plain.shared.model, kept)
            found = run.metrics[number][MemberId(f"m{index}")]
            assert found == {"first": whole["b"][0], "own": whole["a"][0, 0]}
    assert run.model == plain.digests()[0]


def test_each_run_begins_with_nothing_kept(tmp_path: Path) -> None:
    text = text_of(EVERYTHING)
    study, tables = place(tmp_path, text)
    second = simulate(study, Wanted(tables=tables, seeds=2)).runs[1]
    study.write_text(text.replace('name="small",', 'name="small", seed=1,'))
    assert simulate(study, Wanted(tables=tables)).runs[0] == second


def test_out_holds_the_shared_tensors_alone(tmp_path: Path) -> None:
    study, tables = place(tmp_path, text_of(EVERYTHING))
    out = tmp_path / "model.safetensors"
    done = simulate(study, Wanted(tables=tables), out=out)
    raw = out.read_bytes()
    assert hashlib.sha256(raw).hexdigest() == done.runs[0].model
    assert [tensor.name for tensor in read_header(raw, len(raw))] == ["b"]


def test_what_members_keep_takes_no_memory(tmp_path: Path) -> None:
    """Peaks with 5 and 50 members that keep a million numbers each, within a tenth."""

    def peak(count: int) -> int:
        members = [MemberId(f"m{number}") for number in range(count)]
        file = tmp_path / "kept.f32"
        file.touch()
        kept = KeptOfMembers(file, np.zeros(1_000_000, np.float32), members)
        tracemalloc.start()
        for number, member in enumerate(members):
            assert not kept.of(member).any()
            kept.put(member, np.full(1_000_000, number, np.float32))
        for number, member in enumerate(members):
            assert (kept.of(member) == number).all()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(5), peak(50)
    assert few > 4_000_000 and abs(many - few) < few / 10


def test_more_than_a_file_may_hold_is_refused(tmp_path: Path) -> None:
    study, tables = place(tmp_path, text_of(EVERYTHING))
    with pytest.raises(Misconfigured, match="4 members keep 736 bytes"):
        simulate(study, Wanted(tables=tables), limits=Limits(file_bytes=700))


def test_a_cyclic_order_carries_own_tensors_and_refuses_scaffold(tmp_path: Path) -> None:
    """Each has its own still; and c would be a sum, which there is none of."""
    study, tables = place(tmp_path, text_of(OWN))
    cyclic = Wanted(tables=tables, terms=Terms(cyclic=True))
    scores = simulate(study, cyclic).runs[0].metrics[3]
    assert len({each["own"] for each in scores.values()}) == 4
    assert len({each["first"] for each in scores.values()}) == 1
    study.write_text(text_of(SCAFFOLD))
    with pytest.raises(Misconfigured, match="SCAFFOLD needs the sum"):
        simulate(study, cyclic)


def test_out_holds_the_model_whose_digest_is_shown(tmp_path: Path) -> None:
    study, tables = place(tmp_path, study_text())
    out = tmp_path / "model.safetensors"
    done = simulate(study, Wanted(tables=tables), out=out)
    assert hashlib.sha256(out.read_bytes()).hexdigest() == done.runs[0].model
    assert done.rows == {MemberId(f"m{number}"): 2 + number for number in range(4)}
    assert not done.invented


def test_the_same_again_is_the_same_and_other_seeds_are_not(tmp_path: Path) -> None:
    study, _ = place(tmp_path, study_text())
    wanted = Wanted(members=6, seeds=2, evaluate_every=1, terms=Terms(sampled=4))
    done, again = simulate(study, wanted), simulate(study, wanted)
    assert done == again and done.invented
    assert done.roster == 4 and len(done.rows) == 6
    assert [run.seed for run in done.runs] == [0, 1]
    assert done.runs[0].model != done.runs[1].model
    assert sorted(done.runs[0].metrics) == [1, 2, 3]
    assert set(done.runs[0].metrics[3]) == set(done.rows)


def test_members_come_from_a_column(tmp_path: Path) -> None:
    """Parted by a column that the study does not read, the model is that of the parts as files."""
    study, tables = place(tmp_path, study_text())
    lines = [f"{t.stem.upper()},{row}" for t in tables for row in t.read_text().split()[1:]]
    joined = tmp_path / "all.csv"
    joined.write_text("Site,x\n" + "\n".join(lines) + "\n")
    parted = simulate(study, Wanted(tables=(joined,), column="Site"))
    assert parted.rows == simulate(study, Wanted(tables=tables)).rows
    assert parted.runs[0].model == simulate(study, Wanted(tables=tables)).runs[0].model


def test_a_cyclic_order_hands_the_model_on(tmp_path: Path) -> None:
    """Each member adds its step: after a round, the sum of all; the mean is a fourth of that."""
    step = "after = {name: old + np.float32(0.25) for name, old in weights.items()}"
    study, tables = place(tmp_path, study_text(twist=step))

    def moved(cyclic: bool, rounds: int) -> float:
        wanted = Wanted(tables=tables, rounds=rounds, terms=Terms(cyclic=cyclic), evaluate_every=1)
        metrics = simulate(study, wanted).runs[0].metrics
        return metrics[rounds][MemberId("m0")]["first"] - first

    start = Wanted(tables=tables, rounds=1, evaluate_every=1)
    first = simulate(study, start).runs[0].metrics[1][MemberId("m0")]["first"] - 0.25
    assert moved(False, 1) == pytest.approx(0.25, abs=1e-6)
    assert moved(True, 1) == pytest.approx(1.0, abs=1e-6)
    assert moved(True, 2) == pytest.approx(2.0, abs=1e-6)


def test_a_table_that_does_not_fit_is_named_with_its_place(tmp_path: Path) -> None:
    """It is the second file's; and another study does not even load."""
    study, tables = place(tmp_path, study_text())
    tables[1].write_text("x\n1\nmany\n")
    with pytest.raises(DataFault, match=r"m1\.csv, row 3, column x: expected a decimal number"):
        simulate(study, Wanted(tables=tables))
    study.write_text("import nothing_of_this_name\n")
    with pytest.raises(StudyFault, match=r"nothing_of_this_name.*study\.py, line 1") as caught:
        simulate(study, Wanted())
    assert caught.value.kind is StudyFaultKind.NOT_LOADABLE


FAILS_AT_M3 = "if len(table) == 5: raise type('Hospital4711', (ValueError,), {})('SECRET')"


@pytest.mark.parametrize("secure", [False, True])
def test_the_round_goes_on_without_a_member_that_fails(tmp_path: Path, secure: bool) -> None:
    study, tables = place(tmp_path, study_text(twist=FAILS_AT_M3))
    done = simulate(study, Wanted(tables=tables, terms=Terms(secure=secure)))
    failed = done.runs[0].failed
    line = 1 + study.read_text().splitlines().index("    " + FAILS_AT_M3)
    assert [(f.round_no, f.member) for f in failed] == [(n, "m3") for n in (1, 2, 3)]
    assert {(f.kind, f.line, f.raised) for f in failed} == {
        (StudyFaultKind.CODE_FAILED, line, Raised.VALUE)
    }
    assert "4711" not in repr(done) and "SECRET" not in repr(done)
    plain = simulate(study, Wanted(tables=tables))
    assert plain.runs[0].model == done.runs[0].model


def test_too_few_updates_are_no_sum_and_the_author_reads_why(tmp_path: Path) -> None:
    study, tables = place(tmp_path, study_text(twist="if len(table) > 3: raise KeyError('age')"))
    with pytest.raises(StudyFault, match="KeyError: 'age'") as caught:
        simulate(study, Wanted(tables=tables))
    assert caught.value.kind is StudyFaultKind.CODE_FAILED
    assert caught.value.raised is Raised.KEY and caught.value.line > 0


@pytest.mark.parametrize(
    ("twist", "kind"),
    [
        ("np.ones(2**30)", StudyFaultKind.LIMIT_EXCEEDED),
        ("while True: pass", StudyFaultKind.LIMIT_EXCEEDED),
        ("after['b'][0] = np.nan", StudyFaultKind.NOT_FINITE),
        ("after['b'][0] = np.inf", StudyFaultKind.NOT_FINITE),
        ("import os; os.fork()", StudyFaultKind.CODE_FAILED),
        ("import socket; socket.socket()", StudyFaultKind.CODE_FAILED),
        ("open('/tmp/left-behind', 'w')", StudyFaultKind.CODE_FAILED),
        ("import os; os._exit(0)", StudyFaultKind.CODE_FAILED),
        ("del after['b']", StudyFaultKind.WRONG_SHAPE),
        ("return after", StudyFaultKind.BAD_OUTPUT),
    ],
)
def test_a_hostile_study_is_shut_in_while_it_is_simulated(
    tmp_path: Path, twist: str, kind: StudyFaultKind
) -> None:
    """Each fails for every member, so there is no sum; its author reads the kind and the line."""
    study, tables = place(tmp_path, study_text(twist=twist))
    limits = Limits(memory_bytes=2**30, request_s=3.0)
    with pytest.raises(StudyFault) as caught:
        simulate(study, Wanted(tables=tables), limits=limits)
    assert not Path("/tmp/left-behind").exists()
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(members=2), "3 to 200 members"),
        (Wanted(members=300), "3 to 200 members"),
        (Wanted(members=1_001), "at most 1000"),
        (Wanted(rounds=10_001), "--rounds"),
        (Wanted(seeds=0), "--seeds"),
        (Wanted(alpha=-1.0), "--alpha"),
        (Wanted(column="site"), "--data"),
        (Wanted(terms=Terms(secure=True, cyclic=True)), "no sum"),
        (Wanted(members=4, terms=Terms(sampled=5)), "here 5 of 4"),
        (Wanted(members=5, alpha=0.5), "kind label"),
    ],
)
def test_numbers_that_cannot_be_are_named(tmp_path: Path, wanted: Wanted, words: str) -> None:
    study, _ = place(tmp_path, study_text())
    with pytest.raises((Misconfigured, StudyFault), match=words):
        simulate(study, wanted)

"""Bad tables and bad numbers at one site: its operator reads which, and the round goes on.

What a study does on purpose is in `test_failing_studies.py`; here are a table that was exported the
wrong way, a class that does not occur, a loss without end, a layout that changes after a round.
CI runs one of the tables; `make test-all` all of them, and the study that never returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from comity.errors import DataFault, StudyFault, StudyFaultKind
from comity.learning.simulate import Terms
from comity.node import wishes
from comity.node.failures import DATA
from comity.node.planning import PlanTerms
from comity.node.simulating import Wanted, simulate
from tests.cli.test_studies_page import study_of_page
from tests.e2e.prepared import Make
from tests.e2e.preparing import PHASE_S, TRAIN_S, Prepared, prepare
from tests.e2e.small_study import study_text
from tests.e2e.test_failing_studies import EVERYBODY, attacked

BOUNDED = study_text(rounds=1).replace(
    'columns=(Column("x", "real"),)', 'columns=(Column("x", "real", unit="mm", low=0, high=100),)'
)
SECRET = "471147"
TABLES = {
    "wrong columns": f"y\n{SECRET}\n",
    "wrong unit": f"x\n{SECRET}\n{SECRET}\n5\n",
    "all missing": 'x\n""\n""\n',
    "no rows": "x\n",
    "no numbers": f"x\n{SECRET}a\n",
    "not finite": "x\nnan\ninf\n",
    "not a table": f'x\n"{SECRET}\n',
}


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    terms = PlanTerms(survivors_min=3, phase_s=PHASE_S, train_s=TRAIN_S)
    root = tmp_path_factory.mktemp("bounded")
    made = prepare(root, 4, BOUNDED, terms=terms, exposed=EVERYBODY)
    yield made
    made.close()


@pytest.mark.parametrize(
    "what", ["wrong unit", *(pytest.param(w, marks=pytest.mark.slow) for w in TABLES)]
)
def test_a_table_that_does_not_fit_stays_out_and_is_named(
    bounded: Prepared, tmp_path: Path, what: str
) -> None:
    """Its owner reads file, row and column; nobody reads a value, and the others go on."""
    with bounded.world(tmp_path) as world:
        failing = world.desk("m3")
        failing.loop._rounds._practice.close()
        failing.place.table.write_text(TABLES[what])
        wishes.declare_dataset(failing.station, "rows-m3", failing.place.table)
        copy = failing.station.replica
        declared = copy.state.datasets
        world.run(lambda: copy.state.datasets != declared)
        wishes.give_consent(failing.station, "small", exposed=True)
        world.let_time_pass(world.results(1))
        assert world.study.results[0].survivors == {"m0", "m1", "m2"}
        noted = wishes.failures(failing.station, "small")
        assert noted.noted[-1].kind == DATA, failing.station.faults
        said = repr(failing.station.faults) + repr([wishes.status(d.station) for d in world.desks])
        assert "rows-m3" in said and "row " in repr(noted.words) + said
        assert SECRET not in said + noted.words


CHANGING = (
    "first = not globals().setdefault('ROUNDS', []); ROUNDS.append(1);"
    " after = after if first else {'a': after['a'], 'b': after['b'][:-1]}"
)


def test_a_layout_that_changes_after_a_round_is_refused_then(tmp_path: Path) -> None:
    file = tmp_path / "study.py"
    file.write_text(study_text(rounds=2, twist=CHANGING))
    with pytest.raises(StudyFault) as caught:
        simulate(file, Wanted(members=3), policy="warn")
    assert caught.value.kind is StudyFaultKind.WRONG_SHAPE


@pytest.mark.parametrize("loss", ["float('-inf')", "np.exp(np.float64(1e6))"])
def test_a_loss_without_end_is_named_and_nan_is_undefined(tmp_path: Path, loss: str) -> None:
    file = tmp_path / "study.py"
    text = study_text(rounds=1).replace('float(weights["b"][0])', loss)
    file.write_text(text)
    with pytest.raises(StudyFault) as caught:
        simulate(file, Wanted(members=3), policy="warn")
    assert caught.value.kind is StudyFaultKind.NOT_FINITE
    file.write_text(text.replace(loss, "float('nan')"))
    done = simulate(file, Wanted(members=3), policy="warn")
    assert all(set(found) == {"own"} for found in done.runs[0].metrics[1].values())


def test_one_class_and_constant_columns_train_and_leave_the_auc_undefined(tmp_path: Path) -> None:
    """As the Swiss rows of the heart data: the site takes part, and its numbers stay finite."""
    file = tmp_path / "risk.py"
    file.write_text(study_of_page())
    tables = []
    for name, ill in (("a", "no"), ("b", "yes"), ("c", "no")):
        rows = "".join(f"50,200,no,{ill}\n" for _ in range(20))
        tables.append(tmp_path / f"{name}.csv")
        tables[-1].write_text("age,chol,smoker,ill\n" + rows)
    tables[2].write_text(tables[2].read_text() + "60,210,yes,yes\n")
    done = simulate(file, Wanted(tables=tuple(tables), rounds=2, terms=Terms()), policy="warn")
    last = {str(member): found for member, found in done.runs[0].metrics[2].items()}
    assert [set(last[name]) for name in "abc"] == [{"log_loss"}, {"log_loss"}, {"auc", "log_loss"}]
    assert all(np.isfinite(list(found.values())).all() for found in last.values())
    assert not done.runs[0].failed


def test_a_column_that_is_all_missing_stops_a_simulation_with_its_place(tmp_path: Path) -> None:
    file, table = tmp_path / "risk.py", tmp_path / "a.csv"
    file.write_text(study_of_page())
    table.write_text("age,chol,smoker,ill\n" + "50,,no,no\n60,,yes,yes\n" * 3)
    with pytest.raises(DataFault, match="column chol"):
        simulate(file, Wanted(tables=(table,), members=3), policy="warn")


@pytest.mark.slow
def test_a_study_that_never_returns_is_ended_and_the_round_goes_on(
    commons: Make, tmp_path: Path
) -> None:
    with attacked(commons, tmp_path, "while True: pass") as world:
        station = world.desk("m3").station
        station.settings = msgspec.structs.replace(station.settings, train_s_max=2)
        world.run(lambda: "SayCommit" in station.faults)
        assert f"[{StudyFaultKind.LIMIT_EXCEEDED.value}]" in station.faults["SayCommit"]
        world.let_time_pass(world.results(1))
        assert world.study.results[0].survivors == {"m0", "m1", "m2"}

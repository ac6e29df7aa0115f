"""scikit-learn inside a study's process: it works there, and does no more than it may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra comity[sklearn])")

import sklearn.linear_model as loaded_once_outside  # which leaves its compiled files behind

from comity.errors import StudyFault, StudyFaultKind
from tests.frameworks.sites import attack, same_bits, study, trained, warm
from tests.node.sandbox_site import SEED, Site, opened

TEXT = study(
    """
from sklearn.linear_model import SGDClassifier
from comity.learning.scikit import load_state, prepared, state_of, tensors_of

def model():
    plain = SGDClassifier(loss="log_loss", warm_start=True, random_state=0)
    return prepared(plain, features=1, classes=(0.0, 1.0))

def trained(model, x, rng):
    model.set_params(random_state=int(rng.integers(2**31)))
    return state_of(model.partial_fit(x[:, None], (x > 2) * 1.0))
""",
    ", range=50.0",
)

HOSTILE = {
    "w = dict(weights); w['coef_'] = w['coef_'] * np.nan; OUT = w, 1": StudyFaultKind.NOT_FINITE,
    "wide = prepared(SGDClassifier(warm_start=True), features=2, classes=(0, 1))\n"
    "OUT = state_of(wide), 1": StudyFaultKind.WRONG_SHAPE,
    "grown = model(); grown.more_ = 1; OUT = state_of(grown), 1": StudyFaultKind.WRONG_SHAPE,
    "grown = model(); grown.coef_ = grown.coef_ > 0; state_of(grown)": StudyFaultKind.WRONG_SHAPE,
    "model().partial_fit(np.full((2, 1), np.inf), [0.0, 1.0])": StudyFaultKind.CODE_FAILED,
    "hold = [np.empty(2**26) for _ in range(10**6)]": StudyFaultKind.LIMIT_EXCEEDED,
    "from sklearn.datasets import fetch_openml; fetch_openml('iris')": StudyFaultKind.CODE_FAILED,
    "import joblib; joblib.dump(model(), '/tmp/comity-sk')": StudyFaultKind.CODE_FAILED,
    "import multiprocessing as m; m.Process(target=print).start()": StudyFaultKind.CODE_FAILED,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert loaded_once_outside
    yield from opened(tmp_path_factory.mktemp("scikit"))


def test_an_estimator_trains_behind_the_walls(site: Site) -> None:
    sandbox = warm(site, TEXT)
    assert sandbox.isolation.complete
    first = trained(sandbox, SEED)
    assert first[:2] == (2, 3) and any(first[2])
    assert trained(sandbox, SEED) == first != trained(sandbox, b"\x06" * 32)
    assert "joblib" not in sandbox.notes_path.read_text(), "no warning of what it may not try"


def test_jobs_of_joblib_run_one_after_the_other(site: Site) -> None:
    body = "from joblib import Parallel, delayed\n"
    body += "assert Parallel(n_jobs=2)(delayed(abs)(k) for k in (-1, -2)) == [1, 2]"
    assert attack(site, TEXT, body).train(SEED).example_count == 3


@pytest.mark.parametrize("body", HOSTILE)
def test_each_way_to_fail_has_its_own_error(site: Site, body: str) -> None:
    with pytest.raises(StudyFault) as caught:
        attack(site, TEXT, body).train(SEED)
    assert caught.value.kind is HOSTILE[body]
    assert not Path("/tmp/comity-sk").exists()


@pytest.mark.slow
def test_real_nodes_and_a_simulation_give_the_same_bits(tmp_path: Path) -> None:
    """In CI, `test_simulating.py` compares other studies; this is the same with the framework."""
    assert same_bits(tmp_path, TEXT)

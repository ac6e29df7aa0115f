"""PyTorch inside a study's process: it works there, and does no more than it may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` has it")

from bench.shakespeare import write_tables

import comity
from comity.errors import Raised, StudyFault, StudyFaultKind
from comity.node.simulating import Wanted, simulate
from tests.frameworks.sites import attack, hurried, same_bits, study, trained, warm
from tests.node.sandbox_site import SEED, Site, opened

TEXT = study(
    """
import torch
from torch import nn
from comity.learning.pytorch import load_state, normalisation, seed_torch, state_of, tensors_of

def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 4), nn.Dropout(0.5), nn.Linear(4, 1))

def trained(net, x, rng):
    seed_torch(rng)
    x = torch.tensor(x).float()[:, None]
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(5):
        loss = nn.functional.mse_loss(net(x), 2 * x)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return state_of(net)
""",
    ", ranges={'0': 100.0}",
)
FEDBN = TEXT.replace("ranges={'0': 100.0}", "own=normalisation(model())")

STEP = "net = model(); (net(torch.ones(3, 1)).mean() * float('%s')).backward()\n"
STEP += "torch.optim.SGD(net.parameters(), lr=1.0).step(); OUT = state_of(net), 1"
LOAD = "from torch.utils.data import DataLoader\nlist(DataLoader([1, 2], num_workers=2))"
HOSTILE = {
    STEP % "nan": (StudyFaultKind.NOT_FINITE, Raised.NOTHING),
    STEP % "inf": (StudyFaultKind.NOT_FINITE, Raised.NOTHING),
    "OUT = state_of(nn.Sequential(nn.BatchNorm1d(1))), 1": (
        StudyFaultKind.WRONG_SHAPE,
        Raised.NOTHING,
    ),
    "OUT = state_of(model().append(nn.Linear(1, 1))), 1": (
        StudyFaultKind.WRONG_SHAPE,
        Raised.NOTHING,
    ),
    "OUT = state_of(model().double()), 1": (StudyFaultKind.WRONG_SHAPE, Raised.NOTHING),
    "net = model(); net[3] = nn.Linear(4, 2); load_state(net, weights)": (
        StudyFaultKind.WRONG_SHAPE,
        Raised.NOTHING,
    ),
    "hold = [torch.empty(2**26) for _ in range(10**6)]": (
        StudyFaultKind.LIMIT_EXCEEDED,
        Raised.MEMORY,
    ),
    LOAD: (StudyFaultKind.CODE_FAILED, Raised.PERMISSION),
    "torch.hub.load_state_dict_from_url('http://127.0.0.1:9/x')": (
        StudyFaultKind.CODE_FAILED,
        Raised.PERMISSION,
    ),
    "torch.save(weights, '/tmp/comity-torch')": (StudyFaultKind.CODE_FAILED, Raised.RUNTIME),
    "print(torch.tensor(table['x']) + 4711); 1 / 0": (
        StudyFaultKind.CODE_FAILED,
        Raised.ZERO_DIVISION,
    ),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from opened(tmp_path_factory.mktemp("torch"))


def test_a_module_trains_behind_the_walls(site: Site) -> None:
    sandbox = warm(site, TEXT)
    assert sandbox.isolation.complete
    first = trained(sandbox, SEED)
    assert first[1] == 3 and any(first[2])
    assert trained(sandbox, SEED) == first, "dropout too follows the dice of the round"
    assert trained(sandbox, b"\x06" * 32) != first


@pytest.mark.parametrize("body", HOSTILE)
def test_each_way_to_fail_has_its_own_error(site: Site, body: str) -> None:
    sandbox = attack(site, TEXT, body)
    with pytest.raises(StudyFault) as caught:
        sandbox.train(SEED)
    assert (caught.value.kind, caught.value.raised) == HOSTILE[body]
    assert "4711" not in str(caught.value) and not Path("/tmp/comity-torch").exists()


def test_what_is_wrong_is_named_in_the_words_that_stay(site: Site) -> None:
    for body, named in (
        (STEP % "nan", "tensor 0.weight has a number that is NaN or infinite: look at the loss"),
        ("state_of(model().double())", "tensor 0.weight is float64"),
        ("print(torch.tensor([4712.5]))", "4712.5"),
    ):
        sandbox = attack(site, TEXT, body)
        try:
            sandbox.train(SEED)
        except StudyFault as fault:
            assert named not in str(fault)
        assert named in sandbox.notes_path.read_text()


def test_a_study_that_never_returns_is_ended(site: Site) -> None:
    with pytest.raises(StudyFault) as caught:
        hurried(attack(site, TEXT, "while True: torch.ones(9).sum()")).train(SEED)
    assert caught.value.kind is StudyFaultKind.LIMIT_EXCEEDED


@pytest.mark.parametrize("text", [TEXT, FEDBN], ids=["together", "FedBN"])
def test_real_nodes_and_a_simulation_give_the_same_bits(tmp_path: Path, text: str) -> None:
    assert same_bits(tmp_path, text)


def test_the_recipe_for_letters_learns(tmp_path: Path) -> None:
    """A small one, a few rounds, on letters that follow each other by a rule."""
    recipe = (Path(comity.__file__).parent / "recipes" / "characters.py").read_text()
    smaller = recipe.replace("= 4, 4, 128, 64", "= 1, 2, 16, 16").replace(
        "WARM_UP, SOFT = 100, 5", "WARM_UP, SOFT = 5, 1"
    )
    smaller = smaller.replace(
        "ROUNDS, STEPS, BATCH = 40, 50, 12", "ROUNDS, STEPS, BATCH = 4, 15, 8"
    )
    study = tmp_path / "letters.py"
    study.write_text(smaller.replace("HIGH, LOW = 1e-3", "HIGH, LOW = 1e-2"))
    tables = write_tables("abcdefgh\n" * 500, tmp_path)
    wanted = Wanted(tables=tables, evaluate_every=1)
    run = simulate(study, wanted).runs[0]
    first, last = ([scores["loss"] for scores in run.metrics[number].values()] for number in (1, 4))
    assert not run.failed and max(last) < min(first) - 0.5

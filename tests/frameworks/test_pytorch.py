"""PyTorch modules: every tensor goes out and comes back, or is refused by its name; FedBN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: `make test-torch` has it")

import torch
from torch import nn

from comity.errors import StudyFault, StudyFaultKind
from comity.learning import FedAvg, FedProx, Pull, Scaffold
from comity.learning.loading import LoadedStudy
from comity.learning.local import first_kept, first_shared, learn, next_shared, seen
from comity.learning.pytorch import (
    device,
    load_state,
    normalisation,
    puller,
    seed_torch,
    state_of,
    tensors_of,
)
from comity.learning.study import Study, Tensors
from comity.learning.tables import Column, Table
from comity.learning.training import generator


def holding(**tensors: Any) -> Any:
    """A module with these buffers."""
    module = nn.Module()
    for name, tensor in tensors.items():
        module.register_buffer(name, tensor)
    return module


def layered() -> Any:
    """Convolution, normalisation, a recurrent layer, tied weights, a scalar, names of digits."""
    torch.manual_seed(3)
    module = nn.Module()
    module.first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    module.again = nn.GRU(4, 3)
    module.letters, module.out = nn.Embedding(7, 3), nn.Linear(3, 7, bias=False)
    module.out.weight = module.letters.weight
    module.scale = nn.Parameter(torch.tensor(2.0))
    return module


def test_every_tensor_of_a_module_goes_out_and_comes_back() -> None:
    module = layered()
    module.first(torch.randn(5, 1, 8, 8))  # batch normalisation has counted, and moved
    state = state_of(module)
    declared = {tensor.name: tensor for tensor in tensors_of(module)}
    assert set(state) == set(declared) and "out.weight" not in state, "tied weights cross once"
    assert state["first.1.num_batches_tracked"] == 1 and declared["scale"].shape == ()
    other = layered()
    other.load_state_dict({k: torch.zeros_like(v) for k, v in other.state_dict().items()})
    assert load_state(other, state) is other
    for key, value in module.state_dict().items():
        back = other.state_dict()[key]
        assert back.dtype is value.dtype and torch.equal(back, value), key
    assert other.out.weight is other.letters.weight


def test_names_that_start_with_a_digit_get_a_line_before_them() -> None:
    net = nn.Sequential(nn.Linear(2, 1))
    assert [tensor.name for tensor in tensors_of(net)] == ["_0.weight", "_0.bias"]
    assert torch.equal(
        load_state(nn.Sequential(nn.Linear(2, 1)), state_of(net))[0].bias, net[0].bias
    )


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_each_dtype_comes_back_to_the_bit(dtype: str) -> None:
    kind = getattr(torch, dtype)
    values = torch.tensor([0, 1, 1, 0, 100]).to(kind)
    if kind.is_floating_point:
        values = torch.tensor([0.1, -3.14159, 1e-7, 65_504.0, -0.0]).to(kind)
    elif kind.itemsize > 2:
        values = torch.tensor([0, 2**24, -(2**24), 1, -1]).to(kind)
    back = load_state(holding(x=torch.zeros(5).to(kind)), state_of(holding(x=values)))
    assert torch.equal(back.x, values) and back.x.dtype is kind


def test_a_mean_of_whole_numbers_is_rounded_to_one() -> None:
    """What a secure sum gives lies a little beside a whole number, or between two."""
    weights = {"count": np.float32(6.9999), "flag": np.float32(0.4), "small": np.float32(300)}
    arrays: Tensors = {name: np.array(number, np.float32) for name, number in weights.items()}
    made = holding(
        count=torch.tensor(0), flag=torch.tensor(True), small=torch.tensor(0, dtype=torch.uint8)
    )
    load_state(made, arrays)
    assert (made.count.item(), made.flag.item(), made.small.item()) == (7, False, 255)


@pytest.mark.parametrize(
    ("tensor", "named"),
    [
        (torch.zeros(2, dtype=torch.float64), "tensor x is float64"),
        (torch.zeros(2, dtype=torch.complex64), "tensor x is complex64"),
        (torch.zeros(2, dtype=torch.float8_e5m2), "tensor x is float8_e5m2"),
        (torch.eye(2).to_sparse(), "tensor x is torch.sparse_coo"),
        (torch.zeros(0, 3), r"tensor x is empty, shape \(0, 3\)"),
        (torch.zeros(2, device="meta"), "tensor x has no numbers yet"),
        (torch.zeros((1,) * 9), "tensor x: the shape has more than 8 sides"),
    ],
)
def test_what_has_no_way_is_refused_by_its_name(tensor: Any, named: str) -> None:
    with pytest.raises(StudyFault, match=named) as caught:
        tensors_of(holding(x=tensor))
    assert caught.value.kind is StudyFaultKind.NOT_LOADABLE


def test_lazy_layers_extra_state_long_and_equal_names_are_refused_by_name() -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> Any:
            return {"more": 1}

    long = nn.Module()
    long.register_buffer("y" * 65, torch.zeros(1))
    for module, named in (
        (nn.LazyLinear(3), "tensor weight has no numbers yet"),
        (Extra(1, 1), "_extra_state of the module is no tensor"),
        (long, "tensor y+: a name has"),
        (nn.ModuleDict({"0": nn.Linear(1, 1), "_0": nn.Linear(1, 1)}), "_0.weight: rename"),
    ):
        with pytest.raises(StudyFault, match=named):
            tensors_of(module)
    with pytest.raises(StudyFault, match="no tensor or layer head"):
        tensors_of(nn.Linear(1, 1), own=("head",))


def test_numbers_that_no_float32_holds_are_refused_by_name() -> None:
    with pytest.raises(StudyFault, match=r"tensor x has a whole number beyond 2\*\*24"):
        state_of(holding(x=torch.tensor(2**24 + 1)))
    for wrong in (np.nan, np.inf):
        with pytest.raises(StudyFault, match="tensor x has a number that is NaN") as caught:
            state_of(holding(x=torch.tensor([1.0, wrong])))
        assert caught.value.kind is StudyFaultKind.NOT_FINITE
    state = state_of(nn.Linear(2, 1))
    for weights in ({"bias": state["bias"]}, {**state, "weight": np.zeros((1, 3), np.float32)}):
        with pytest.raises(StudyFault, match="tensor weight: expected shape"):
            load_state(nn.Linear(2, 1), weights)


def test_ranges_and_own_tensors_are_named_by_tensor_or_layer() -> None:
    net = layered()
    found = {
        each.name: each
        for each in tensors_of(
            net, range=0.5, ranges={"again": 2.0, "again.bias_hh_l0": 3.0}, own=normalisation(net)
        )
    }
    assert found["scale"].range == 0.5 and found["again.weight_ih_l0"].range == 2.0
    assert found["again.bias_hh_l0"].range == 3.0
    own = {name for name, each in found.items() if each.own}
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert own == {f"first.1.{part}" for part in parts}
    assert normalisation(nn.BatchNorm1d(2)) == parts


def test_the_dice_of_a_round_decide_what_pytorch_draws() -> None:
    def drawn(seed: int) -> Any:
        seed_torch(np.random.default_rng(seed))
        return torch.randn(4)

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


def test_a_gpu_is_taken_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device() == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device() == torch.device("cpu")


def test_a_puller_adds_what_the_method_says() -> None:
    net = nn.Linear(2, 1)
    load_state(net, {"weight": np.ones((1, 2), np.float32), "bias": np.zeros(1, np.float32)})
    offset = {"weight": np.full((1, 2), 0.5, np.float32), "bias": np.zeros(1, np.float32)}
    add = puller(net, Pull(2.0, offset))
    with torch.no_grad():
        net.weight.add_(3.0)  # a step away from where the round began
    net(torch.zeros(1, 2)).sum().backward()
    add()
    assert torch.equal(net.weight.grad, torch.full((1, 2), 6.5))
    assert torch.equal(net.bias.grad, torch.ones(1))


class Net(nn.Module):
    """Two columns, normalised over the batch, then a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner, self.outer = nn.BatchNorm1d(2), nn.Linear(2, 8), nn.Linear(8, 1)

    def forward(self, x: Any) -> Any:
        return self.outer(torch.tanh(self.inner(self.norm(x))))[:, 0]


def network(local: bool, method: Any = None, steps: int = 30) -> LoadedStudy:
    """Logistic loss; with `local`, normalisation is each site's own (FedBN)."""

    def initial(seed: int) -> Tensors:
        torch.manual_seed(seed)
        return state_of(Net())

    def train(
        weights: Tensors, table: Table, rng: np.random.Generator, pull: Pull
    ) -> tuple[Tensors, int]:
        seed_torch(rng)
        net = load_state(Net(), weights).train()
        x, y = inputs(table)
        add, steepest = puller(net, pull), torch.optim.SGD(net.parameters(), lr=0.2)
        for _ in range(steps):
            some = torch.randint(len(y), (32,))
            loss = nn.functional.binary_cross_entropy_with_logits(net(x[some]), y[some])
            steepest.zero_grad()
            loss.backward()
            add()
            steepest.step()
        return state_of(net), len(table)

    def evaluate(weights: Tensors, table: Table) -> dict[str, float]:
        net = load_state(Net(), weights).eval()
        x, y = inputs(table)
        with torch.no_grad():
            loss = nn.functional.binary_cross_entropy_with_logits(net(x), y)
        return {"loss": float(loss)}

    columns = (Column("x"), Column("y"), Column("ill", "label", categories=("no", "yes")))
    own = normalisation(Net()) if local else ()
    ranges = {"norm": 100.0, "norm.num_batches_tracked": 1_000.0}
    declared = Study(
        "fedbn", "FedBN", columns, tensors_of(Net(), ranges=ranges, own=own), 4, FedAvg(),
        method=method,
    )  # fmt: skip  # two lines to read
    return LoadedStudy(declared, initial, train, evaluate, takes_pull=True)


def inputs(table: Table) -> tuple[Any, Any]:
    x = torch.tensor(np.column_stack([table["x"], table["y"]])).float()
    return x, torch.tensor(table["ill"]).float()


def site(loaded: LoadedStudy, place: int) -> Table:
    """The same law everywhere, measured with another device at each site: shifted and stretched."""
    dice = np.random.default_rng(place)
    x, y = dice.normal(size=(2, 200))
    ill = (x * y > 0) * 1.0
    shift, stretch = 8.0 * place, 1.0 + 3.0 * place
    return Table(
        loaded.study.columns, {"x": x * stretch + shift, "y": y * stretch - shift, "ill": ill}
    )


def rounds(loaded: LoadedStudy, count: int) -> tuple[Any, list[Any], float]:
    """The model, what each of three sites keeps, and their mean loss after these rounds."""
    tables = [site(loaded, place) for place in range(3)]
    shared, kept = first_shared(loaded), [first_kept(loaded) for _ in tables]
    for number in range(count):
        found = [
            learn(loaded, table, shared, own, generator(bytes([number, place]) * 16))
            for place, (table, own) in enumerate(zip(tables, kept, strict=True))
        ]
        kept = [each.kept for each in found]
        mean = np.mean([each.update.astype(np.float64) for each in found], axis=0)
        shared = next_shared(loaded.study, shared, mean)
    scores = [
        loaded.evaluate(seen(loaded.study, shared.model, own), table)["loss"]
        for own, table in zip(kept, tables, strict=True)
    ]
    return shared, kept, float(np.mean(scores))


def test_fedbn_keeps_normalisation_at_home_and_learns_where_devices_differ() -> None:
    plain, local = network(local=False), network(local=True)
    shared, kept, loss = rounds(local, 6)
    names = {segment.name for segment in local.study.parts.vector.segments}
    assert not any(name.startswith("norm.") for name in names), "it is no part of what is sent"
    own = [seen(local.study, shared.model, each) for each in kept]
    assert [each["norm.num_batches_tracked"].item() for each in own] == [180.0] * 3
    means = [each["norm.running_mean"][0] for each in own]
    assert means[0] < 2 < 5 < means[1] < 11 < means[2], "each site has that of its own device"
    assert loss < rounds(plain, 6)[2] - 0.05


def test_without_own_normalisation_batches_are_counted_together() -> None:
    loaded = network(local=False)
    shared, _, _ = rounds(loaded, 2)
    weights = seen(loaded.study, shared.model, first_kept(loaded))
    net = load_state(Net(), weights)
    assert net.norm.num_batches_tracked.item() == 60
    assert net.norm.num_batches_tracked.dtype is torch.int64


def test_proximal_and_scaffold_steps_of_a_module_are_those_of_the_methods() -> None:
    """mu 0 and equal control variates are plain averaging, to the bit; others are not."""
    plain = rounds(network(local=True), 2)[0].model
    assert rounds(network(local=True, method=FedProx(0.0)), 2)[0].model.tobytes() == plain.tobytes()
    held = rounds(network(local=True, method=FedProx(5.0)), 2)[0].model
    first = first_shared(network(local=True)).model
    assert np.abs(held - first).sum() < np.abs(plain - first).sum()
    controlled = [
        rounds(network(local=True, method=Scaffold(30, 0.2, range=4.0)), count)[0].model
        for count in (1, 2)
    ]
    assert controlled[0].tobytes() == rounds(network(local=True), 1)[0].model.tobytes()
    assert controlled[1].tobytes() != plain.tobytes()

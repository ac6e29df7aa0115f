"""PyTorch modules in a study: declare what a module holds, put a model in, take it out again.

    NET = Net()
    STUDY = Study(..., tensors=tensors_of(NET, own=normalisation(NET)))

    def initial(seed):
        torch.manual_seed(seed)
        return state_of(Net())

    def train(weights, table, rng):
        seed_torch(rng)
        net = load_state(Net(), weights)
        ...                                     # plain PyTorch
        return state_of(net), rows

A module is its state dict: parameters and buffers, under PyTorch's names. What each dtype becomes:

    float32             itself
    float16, bfloat16   float32, exactly; back to the nearest
    integers, bool      float32, exactly, up to 2**24 from 0; back to the nearest whole number
    anything else       refused by name: float64 and complex would lose digits, and so on

Tensors that share their numbers (tied weights) cross once. Needs the extra `comity[torch]`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NoReturn

import torch
from numpy.random import Generator

from comity.errors import StudyFault, StudyFaultKind
from comity.learning.methods.pull import Pull
from comity.learning.model import finite, fitting
from comity.learning.study import Tensors
from comity.learning.tensors import Tensor, named_tensors, plain_name

WHOLE_MAX: Final = 2**24
"""Up to here a float32 holds every whole number."""

COUNTED_RANGE: Final = 2.0**16
"""The range of a tensor of whole numbers: BatchNorm counts batches, one in every step."""

_REAL: Final = (torch.float32, torch.float16, torch.bfloat16)
_WHOLE: Final = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
_BATCH_NORMS: Final = (
    torch.nn.BatchNorm1d,
    torch.nn.BatchNorm2d,
    torch.nn.BatchNorm3d,
    torch.nn.SyncBatchNorm,
)


def tensors_of(
    module: torch.nn.Module,
    *,
    range: float = 1.0,
    ranges: Mapping[str, float] | None = None,
    own: Collection[str] = (),
) -> tuple[Tensor, ...]:
    """What a study declares for a module.

    Args:
        module: its shapes and dtypes count, its numbers do not.
        range: the largest change of one entry in a round, see `Tensor`.
        ranges: another range for some; names of PyTorch, of a tensor or of a whole layer.
        own: what each member keeps to itself, named like that; `normalisation(net)` for FedBN.
    Raises:
        StudyFault(NOT_LOADABLE): names what cannot be carried, or a name that the module lacks.
    """
    state = dict(_state(module, StudyFaultKind.NOT_LOADABLE))
    return named_tensors(
        {key: tuple(value.shape) for key, value in state.items()},
        {key: COUNTED_RANGE if value.dtype in _WHOLE else range for key, value in state.items()},
        ranges or {},
        own,
    )


def state_of(module: torch.nn.Module) -> Tensors:
    """The module's numbers, float32, as a study's functions return them.

    Raises:
        StudyFault(NOT_FINITE): names a tensor with NaN or infinity.
        StudyFault(WRONG_SHAPE): names one that cannot be carried, or that has a whole number which
            a float32 does not hold.
    """
    found: Tensors = {}
    for key, value in _state(module):
        if value.dtype in _WHOLE and value.numel() and int(value.long().abs().max()) > WHOLE_MAX:
            raise StudyFault(
                StudyFaultKind.WRONG_SHAPE,
                f"tensor {key} has a whole number beyond 2**24, which float32 does not hold",
            )
        array = value.detach().to("cpu", torch.float32).numpy()
        found[plain_name(key)] = finite(key, array)
    return found


def load_state(module: torch.nn.Module, weights: Tensors) -> torch.nn.Module:
    """Put a model into a module, in place and where it lies, GPU or not; the module comes back.

    Raises:
        StudyFault(WRONG_SHAPE): names a tensor that the model lacks or that has another shape.
    """
    for key, value in _state(module):
        fresh = torch.from_numpy(fitting(weights, key, tuple(value.shape)))
        if value.dtype is torch.bool:
            fresh = fresh >= 0.5
        elif value.dtype in _WHOLE:
            bounds = torch.iinfo(value.dtype)
            fresh = fresh.double().round().clamp(bounds.min, bounds.max)
        with torch.no_grad():
            value.copy_(fresh)
    return module


def normalisation(module: torch.nn.Module) -> tuple[str, ...]:
    """Names of everything in batch normalisation: scale, shift, running mean, variance, count."""
    return tuple(
        f"{name}.{key}" if name else key
        for name, layer in module.named_modules()
        if isinstance(layer, _BATCH_NORMS)
        for key in layer.state_dict()
    )


def seed_torch(rng: Generator) -> None:
    """Let PyTorch's own dice follow the round's: the same seed then gives the same update."""
    torch.manual_seed(int(rng.integers(2**63)))


def device() -> torch.device:
    """A GPU when this process can reach one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def puller(module: torch.nn.Module, pull: Pull) -> Callable[[], None]:
    """What FedProx and SCAFFOLD add: call it between `backward()` and the optimiser's step.

    Args:
        module: as the round begins: after `load_state`, before the first step.
    """
    held = [
        (
            parameter,
            parameter.detach().clone(),
            torch.from_numpy(pull.offset[plain_name(key)]).to(parameter.device, parameter.dtype),
        )
        for key, parameter in module.named_parameters()
    ]

    def add() -> None:
        with torch.no_grad():
            for parameter, start, offset in held:
                if parameter.grad is not None:
                    parameter.grad.add_(parameter - start, alpha=pull.proximal).add_(offset)

    return add


def _state(
    module: torch.nn.Module, fault: StudyFaultKind = StudyFaultKind.WRONG_SHAPE
) -> Iterator[tuple[str, torch.Tensor]]:
    """Names of PyTorch and tensors, in order, each set of numbers once; what has no way: named."""
    seen = set()
    for key, value in module.state_dict().items():
        if not isinstance(value, torch.Tensor):
            _refuse(
                fault, f"{key} of the module is no tensor but {type(value).__name__}: leave it out"
            )
        if torch.nn.parameter.is_lazy(value) or value.is_meta:
            _refuse(
                fault, f"tensor {key} has no numbers yet: call the module once, or build it in full"
            )
        if value.layout != torch.strided or value.dtype not in (*_REAL, *_WHOLE):
            dtype = str(value.dtype).removeprefix("torch.")
            kind = dtype if value.layout == torch.strided else str(value.layout)
            _refuse(
                fault,
                f"tensor {key} is {kind}; a model has float32, float16, bfloat16, whole numbers and"
                " bool: convert it, for example with module.float()",
            )
        if not value.numel():
            _refuse(fault, f"tensor {key} is empty, shape {tuple(value.shape)}: leave it out")
        place = (value.data_ptr(), value.dtype, tuple(value.shape), value.stride())
        if place not in seen:
            seen.add(place)
            yield key, value


def _refuse(fault: StudyFaultKind, message: str) -> NoReturn:
    raise StudyFault(fault, f"study file: {message}")

"""The tensors a study declares, and where each of them goes.

    shared, own                 every tensor of a study is one or the other
    model   = shared            one file, one digest; what the commons trains, what is released
    vector  = shared + control  what a member sends into the secure sum, masked
    kept    = own + control     what stays at a site from round to round, and never leaves it

Control segments exist with `Scaffold` only: one for each shared tensor, named `control/<tensor>`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, final

from comity.aggregation.layout import DIMENSIONS_MAX, Layout, Segment
from comity.errors import StudyFault, StudyFaultKind
from comity.learning.methods.scaffold import Scaffold
from comity.learning.names import NAME
from comity.values import VECTOR_WORDS_MAX

CONTROL: Final = "control/"
"""No tensor's name has a slash."""


@final
@dataclass(frozen=True, slots=True)
class Tensor:
    """One float32 array of the model.

    Args:
        name: letters, digits, `_ . -`, at most 64, not starting with a digit; unique.
        shape: at most 8 sides, each at least 1; () for a single number.
        range: the largest change of any one entry in one round; larger ones are clipped to it at
            home, before anything is weighted or masked. Small enough to be precise, large enough
            to bind rarely.
        own: whether each member has its own, which never leaves its site: a head, an intercept,
            normalisation (FedBN). Everybody's begins as `initial` says.
    """

    name: str
    shape: tuple[int, ...]
    range: float = 1.0
    own: bool = False

    def __post_init__(self) -> None:
        if NAME.match(self.name) is None:
            _refuse("a tensor's name has letters, digits, _ . - only, at most 64 of them")
        if len(self.shape) > DIMENSIONS_MAX:
            _refuse(f"tensor {self.name}: the shape has more than {DIMENSIONS_MAX} sides")
        for side in self.shape:
            whole = isinstance(side, int) and not isinstance(side, bool)
            if not whole or not 1 <= side <= VECTOR_WORDS_MAX:
                _refuse(
                    f"tensor {self.name}: each side of the shape is a whole number from 1 to"
                    f" {VECTOR_WORDS_MAX}"
                )
        if not 2.0**-60 <= self.range <= 2.0**60:
            _refuse(f"tensor {self.name}: the range is a number from 2**-60 to 2**60")


def named_tensors(
    shapes: Mapping[str, tuple[int, ...]],
    default: Mapping[str, float],
    ranges: Mapping[str, float],
    own: Collection[str],
) -> tuple[Tensor, ...]:
    """Tensors of a model of another library, in order.

    Args:
        shapes: of each tensor, by its name there.
        default: the range of each.
        ranges, own: by a tensor's name there, or by the beginning of it before a dot.
    Raises:
        StudyFault(NOT_LOADABLE): names what has no tensor, or no name of a tensor.
    """
    for wanted in (*ranges, *own):
        if not any(_within(name, wanted) for name in shapes):
            _refuse(f"the model has no tensor or layer {wanted}")
    found: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        bounds = [bound for wanted, bound in ranges.items() if _within(name, wanted)]
        tensor = Tensor(
            plain_name(name),
            shape,
            bounds[-1] if bounds else default[name],
            any(_within(name, wanted) for wanted in own),
        )
        if found.setdefault(tensor.name, tensor) is not tensor:
            _refuse(f"two tensors of the model would be called {tensor.name}: rename a layer")
    return tuple(found.values())


def plain_name(name: str) -> str:
    """The name of a tensor of another library here: `_` goes before a digit at the beginning."""
    found = f"_{name}" if name[:1].isdigit() else name
    if NAME.match(found) is None:
        _refuse(f"tensor {name}: a name has letters, digits, _ . - only, at most 64 of them")
    return found


def _within(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(f"{wanted}.")


@final
@dataclass(frozen=True, slots=True)
class Parts:
    """The layouts of a study; `whole` is every tensor in declared order, `own` may be empty."""

    whole: Layout
    model: Layout
    own: Layout
    vector: Layout

    @property
    def kept_words(self) -> int:
        """Numbers a site keeps from round to round."""
        return self.own.data_words + self.vector.data_words - self.model.data_words


def parts_of(tensors: tuple[Tensor, ...], method: object) -> Parts:
    """Divide the tensors. Cheap; nothing is checked."""
    shared = tuple(_segment(tensor) for tensor in tensors if not tensor.own)
    control: tuple[Segment, ...] = ()
    if isinstance(method, Scaffold):
        mant, exp = _exact(method.range)
        control = tuple(
            Segment(f"{CONTROL}{each.name}", "real", each.shape, mant, exp) for each in shared
        )
    return Parts(
        whole=Layout(tuple(_segment(tensor) for tensor in tensors)),
        model=Layout(shared),
        own=Layout(tuple(_segment(tensor) for tensor in tensors if tensor.own)),
        vector=Layout(shared + control),
    )


def model_part(vector: Layout) -> Layout:
    """The model's layout, from that of the vectors."""
    return Layout(tuple(each for each in vector.segments if not each.name.startswith(CONTROL)))


def tensor_of(segment: Segment, *, own: bool = False) -> Tensor:
    """The tensor that gives this segment. Raises StudyFault: none does."""
    if segment.kind != "real":
        _refuse("a model has no count segments")
    return Tensor(segment.name, segment.shape, segment.range_max, own)


def _segment(tensor: Tensor) -> Segment:
    return Segment(tensor.name, "real", tensor.shape, *_exact(tensor.range))


def _exact(number: float) -> tuple[int, int]:
    """(mant, exp) with mant * 2**exp the number, mant odd."""
    fraction, exponent = math.frexp(number)
    mant = int(fraction * 2**53)  # exact: a double has 53 bits
    exponent -= 53
    while mant % 2 == 0:
        mant, exponent = mant // 2, exponent + 1
    return mant, exponent


def _refuse(message: str) -> NoReturn:
    raise StudyFault(StudyFaultKind.NOT_LOADABLE, f"study file: {message}")

"""Inside a study's process: its table and its metrics, checked, and how a call failed.

Used for a real round and for a simulated one alike, so that both do the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Final

from comity.errors import Malformed, Misconfigured, Raised
from comity.learning.fitting import contract_text
from comity.learning.given import checked_metrics
from comity.learning.loading import LoadedStudy
from comity.learning.local import seen
from comity.learning.steps import Float32Array
from comity.learning.study import Contract
from comity.learning.tables import Reading, Table, Unread, inspect_table
from comity.node.sandbox_wire import Failed, Unfit

_LISTED: Final[dict[type[BaseException], Raised]] = {
    ArithmeticError: Raised.ARITHMETIC,
    AssertionError: Raised.ASSERTION,
    AttributeError: Raised.ATTRIBUTE,
    ImportError: Raised.IMPORT,
    IndexError: Raised.INDEX,
    KeyError: Raised.KEY,
    MemoryError: Raised.MEMORY,
    NameError: Raised.NAME,
    OSError: Raised.OS,
    PermissionError: Raised.PERMISSION,
    RecursionError: Raised.RECURSION,
    RuntimeError: Raised.RUNTIME,
    SyntaxError: Raised.SYNTAX,
    SystemExit: Raised.SYSTEM_EXIT,
    TypeError: Raised.TYPE,
    ValueError: Raised.VALUE,
    ZeroDivisionError: Raised.ZERO_DIVISION,
}


class DoesNotFit(Exception):
    """A table that is not as the study declares; `reply` says where."""

    def __init__(self, reply: Unfit) -> None:
        self.reply = reply


class NoSum(Exception):
    """A simulated round in which too few gave an update; `reply`: how the first of them failed."""

    def __init__(self, reply: Failed) -> None:
        self.reply = reply


def raised_by(error: BaseException) -> Raised:
    """The nearest listed ancestor of an exception: a class of the study's own has no name here."""
    for kind in type(error).__mro__:
        if kind in _LISTED:
            return _LISTED[kind]
    return Raised.OTHER


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; PyTorch has no MemoryError, but errors of its own for that."""
    if type(error) is RuntimeError and error.args and type(error.args[0]) is str:
        return "can't allocate memory" in error.args[0]
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """A piece of compiled code and every piece within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)


def measured(
    loaded: LoadedStudy, model: Float32Array, kept: Float32Array, table: Table
) -> dict[str, float]:
    """Metrics of a model, with what a member keeps, on its table; undefined ones are left out.

    Raises:
        StudyFault: no named numbers, or an infinite one. Anything the study raises.
    """
    return checked_metrics(loaded.evaluate(seen(loaded.study, model, kept), table))


def read_file(contract: Contract, path: Path) -> Reading:
    """A site's table, read as declared. Raises DoesNotFit; what it says is in the notes."""
    return read_bytes(contract, path.read_bytes(), path.name)


def read_bytes(contract: Contract, raw: bytes, name: str) -> Reading:
    """As `read_file`, of bytes that came from somewhere."""
    try:
        text = contract_text(contract, raw)
    except (Malformed, Misconfigured) as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise DoesNotFit(Unfit(1, 0, 1)) from None
    found = inspect_table(
        contract.columns,
        text,
        missing=contract.missing,
        missing_texts=contract.missing_texts,
        strip_headers=contract.strip_headers,
    )
    if isinstance(found, Unread):
        print(found.text(name), file=sys.stderr)
        first = found.problems[0]
        names = [column.name for column in contract.columns]
        place = names.index(first.column) + 1 if first.column in names else 0
        raise DoesNotFit(Unfit(first.row, place, found.problem_count))
    return found

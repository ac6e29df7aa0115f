"""What a study declares about every member's table, and the digest of that."""

from __future__ import annotations

from typing import Literal, final

import msgspec

from comity.learning.tables import Column
from comity.values import Digest, sha256

Missing = Literal["refuse", "drop rows"]


@final
class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every member's table must have: the part of a study that a site checks its data with."""

    columns: tuple[Column, ...]
    missing: Missing
    missing_texts: tuple[str, ...]
    strip_headers: bool


def schema_digest(contract: Contract) -> Digest:
    """What a plan names the contract by."""
    return form_digest(
        _SchemaForm(
            tuple(_column_form(column) for column in contract.columns),
            contract.missing,
            contract.missing_texts,
            contract.strip_headers,
        )
    )


def form_digest(form: msgspec.Struct) -> Digest:
    """Of a form that has text, integers and booleans only: its sorted fields are canonical JSON."""
    return sha256(msgspec.json.encode(form, order="sorted"))


class _SourceForm(msgspec.Struct, frozen=True):
    name: str
    unit: str
    factor: str
    recode: tuple[tuple[str, str], ...]


class _ColumnForm(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column as it is hashed: numbers as their shortest exact text, none as empty text.

    `sources` is left out where there are none, so a study without them keeps its digest.
    """

    name: str
    kind: str
    unit: str
    low: str
    high: str
    categories: tuple[str, ...]
    sources: tuple[_SourceForm, ...] = ()


class _SchemaForm(msgspec.Struct, frozen=True):
    columns: tuple[_ColumnForm, ...]
    missing: str
    missing_texts: tuple[str, ...]
    strip_headers: bool


def _column_form(column: Column) -> _ColumnForm:
    low = "" if column.low is None else repr(float(column.low))
    high = "" if column.high is None else repr(float(column.high))
    sources = tuple(
        _SourceForm(source.name, source.unit, repr(float(source.factor)), source.recode)
        for source in column.sources
    )
    return _ColumnForm(column.name, column.kind, column.unit, low, high, column.categories, sources)

"""Wishes about evidence and heads, on the wire (`wish_wire.py` has the others)."""

from __future__ import annotations

from pathlib import Path
from typing import final

from msgspec import Struct

from comity.node import evidence_wishes
from comity.node.evidence_wishes import (
    EvidenceChecked,
    EvidenceList,
    EvidenceShown,
    HeadCompared,
    HeadShown,
)
from comity.node.station import Station
from comity.node.wish_fields import FilePath, Name


@final
class ListEvidence(Struct, frozen=True, tag="evidence-list", forbid_unknown_fields=True):
    """`evidence_wishes.list_evidence`."""


@final
class ShowEvidence(Struct, frozen=True, tag="evidence-show", forbid_unknown_fields=True):
    """`evidence_wishes.show_evidence`."""

    name: Name


@final
class CheckEvidence(Struct, frozen=True, tag="evidence-check", forbid_unknown_fields=True):
    """`evidence_wishes.check_file`. file: absolute."""

    file: FilePath


@final
class ShowHead(Struct, frozen=True, tag="head-show", forbid_unknown_fields=True):
    """`evidence_wishes.show_head`."""


@final
class CompareHead(Struct, frozen=True, tag="head-compare", forbid_unknown_fields=True):
    """`evidence_wishes.compare_head`. file: absolute."""

    file: FilePath


AboutEvidence = ListEvidence | ShowEvidence | CheckEvidence | ShowHead | CompareHead

EvidenceResult = EvidenceList | EvidenceShown | EvidenceChecked | HeadShown | HeadCompared


def fulfil_about_evidence(wish: AboutEvidence, station: Station) -> EvidenceResult:
    """Grant a wish about evidence or heads. Raises what its function raises."""
    match wish:
        case ListEvidence():
            return evidence_wishes.list_evidence(station)
        case ShowEvidence():
            return evidence_wishes.show_evidence(station, wish.name)
        case CheckEvidence():
            return evidence_wishes.check_file(station, Path(wish.file))
        case ShowHead():
            return evidence_wishes.show_head(station)
        case CompareHead():
            return evidence_wishes.compare_head(station, Path(wish.file))

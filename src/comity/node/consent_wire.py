"""Wishes about this site's consents, on the wire (`wish_wire.py` has the others)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, final

from msgspec import Meta, Struct

from comity.commons.site import SitePolicy
from comity.errors import Misconfigured
from comity.node import consenting
from comity.node.consenting import ConsentList, Simulated
from comity.node.planning import StudyParts, study_parts
from comity.node.practice import probe
from comity.node.site_file import policy_of, read_site_file
from comity.node.station import Station
from comity.node.wish_fields import FilePath, Name
from comity.statements.fields import SlugField
from comity.values import Wall


@final
class ListConsents(Struct, frozen=True, tag="consent-list", forbid_unknown_fields=True):
    """`consenting.consents`."""


@final
class SimulateConsent(Struct, frozen=True, tag="consent-simulate", forbid_unknown_fields=True):
    """`consenting.simulate`. file: of a study that is not registered, absolute; study is of one
    that is. policy: another `site.toml`, absolute; "" for this site's."""

    study: Name | None = None
    file: FilePath | None = None
    dataset: SlugField | None = None
    policy: Annotated[str, Meta(max_length=4_096)] = ""


AboutConsent = ListConsents | SimulateConsent
ConsentResult = ConsentList | Simulated


def about_consent(wish: AboutConsent, station: Station) -> ConsentResult:
    """Grant it. Raises what its function raises."""
    if isinstance(wish, ListConsents):
        return consenting.consents(station)
    with tempfile.TemporaryDirectory(dir=station.work) as work:
        return simulated(station, wish, *look_at(station, wish, Path(work)))


def look_at(
    station: Station, wish: SimulateConsent, work: Path
) -> tuple[SitePolicy, StudyParts | None, frozenset[Wall]]:
    """The slow half of a simulation, outside the loop: what the policy and the study file are, and
    what holds around a study here."""
    if (wish.study is None) == (wish.file is None):
        raise Misconfigured("name a registered study, or a study file that exists")
    policy = policy_of(read_site_file(Path(wish.policy))) if wish.policy else station.site
    (work / "study").mkdir()
    parts = study_parts(Path(wish.file), work / "study", policy) if wish.file else None
    return policy, parts, probe(station, work / "probe", policy)


def simulated(
    station: Station,
    wish: SimulateConsent,
    policy: SitePolicy,
    parts: StudyParts | None,
    walls: frozenset[Wall],
) -> Simulated:
    """The quick half."""
    return consenting.simulate(
        station, wish.study or "", parts=parts, dataset=wish.dataset, policy=policy, walls=walls
    )

"""What this node brings to the gate: facts about its site, and whom it remembers to have said yes.

Decided here: what a fact is and where it comes from. What follows from it is decided in
`commons/gate.py`. No study code runs for anything in this module.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping
from pathlib import Path

from comity.commons.gate import first_refusal
from comity.commons.gate_steps import Case, LocalFacts, Yes
from comity.commons.site import SitePolicy
from comity.commons.state import Consent, Study
from comity.errors import Misconfigured, Refused
from comity.learning.parquet import MAGIC as PARQUET
from comity.node.isolation import Limits
from comity.node.station import Station
from comity.values import WALLS, DatasetId, Digest, Wall

LOG = logging.getLogger(__name__)


def limits_of(site: SitePolicy, request_s: float) -> Limits:
    """What a policy lets the process of a study use, in requests of at most so many seconds."""
    return Limits(
        memory_bytes=site.memory_mb_max * 2**20,
        cpu_s=site.cpu_s_max,
        request_s=min(request_s, float(site.round_s_max)),
        file_bytes=site.file_mb_max * 2**20,
        open_files=site.open_files_max,
    )


def facts(
    station: Station,
    study: Study,
    consent: Consent | None,
    *,
    code: Digest,
    versions: Mapping[DatasetId, Digest],
    walls: frozenset[Wall],
    records: Mapping[DatasetId, int],
    final_size: int | None = None,
) -> LocalFacts:
    """The facts of a moment at which a study's code would run here.

    Args:
        final_size: of another log than this node's own copy; None for that.
    """
    return LocalFacts(
        code=code,
        versions=versions,
        walls=walls,
        now_s=station.clock(),
        final_size=station.replica.final_size if final_size is None else final_size,
        yes=yes_of(station, study, consent),
        halted=station.halted,
        records=records,
    )


def check_consent(station: Station, study: Study, consent: Consent, *, person: bool) -> None:
    """Whether this consent may be given: by the policy alone, or by a person of this site.

    Raises:
        Refused: with the first rule of the gate that fails, of those that concern a consent; the
            data are taken to lie here as declared. Misconfigured: the policy cannot be read.
    """
    yes: Yes = "study" if person else yes_of(station, study, consent)
    found = first_refusal(supposed_case(station, study, consent, yes), "consent")
    if found is not None:
        raise Refused(found[1].rule, found[1].why)


def supposed_case(station: Station, study: Study, consent: Consent | None, yes: Yes) -> Case:
    """The case of a consent, given or not: the data are taken to lie here as it says, the study's
    file to be the registered one, and every wall to hold.

    Raises:
        Misconfigured: the policy cannot be read.
    """
    here = LocalFacts(
        code=study.register.plan.code,
        versions={} if consent is None else {consent.dataset: consent.version},
        walls=frozenset(WALLS),
        now_s=station.clock(),
        final_size=station.replica.final_size,
        yes=yes,
    )
    return Case(station.replica.state, station.member, study, consent, station.site, here)


def rows_of(path: Path) -> int:
    """Rows of a table below its header line, empty lines left out.

    Raises:
        Misconfigured: it cannot be read as comma-separated text. Parquet is not: its reader runs
            behind the walls of a study only, and nothing of a study runs before the gate.
    """
    try:
        with path.open("rb") as raw:
            if raw.read(len(PARQUET)) == PARQUET:
                raise Misconfigured(
                    f"{path} is Parquet, whose rows are not counted before a study runs, as"
                    " records_min in site.toml asks: export it as CSV and declare that, or let"
                    " the owner take records_min out"
                )
        with path.open(encoding="utf-8-sig", newline="") as file:
            return max(0, sum(1 for row in csv.reader(file, strict=True) if row) - 1)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Misconfigured(
            f"the rows of {path} cannot be counted ({type(error).__name__}), as records_min in"
            " site.toml asks: mend the file, or let the owner take records_min out"
        ) from error


# -- whom this node remembers ----------------------------------------------------------------------


def yes_of(station: Station, study: Study, consent: Consent | None) -> Yes:
    """What a person of this site said yes to, as far as this consent goes."""
    if consent is None:
        return ""
    by_study, by_code = _places(study, consent.dataset, consent.version)
    if station.journal.get(by_study) == b"yes":
        return "study"
    return "code" if station.journal.get(by_code) == b"yes" else ""


def remember_yes(station: Station, study: Study, consent: Consent) -> None:
    """A person says yes: to this study, and the first time to its code on these data."""
    for place in _places(study, consent.dataset, consent.version):
        station.journal.put(place, b"yes")


def forget_yes(station: Station, study: Study) -> None:
    """A person says no, or takes a yes back: neither study nor code counts as agreed on here."""
    for dataset in station.replica.state.datasets.values():
        if dataset.owner == station.member:
            for place in _places(study, dataset.id, dataset.version):
                station.journal.put(place, b"no")


def _places(study: Study, dataset: DatasetId, version: Digest) -> tuple[str, str]:
    """Where the journal has it: by study, and by code."""
    code = study.register.plan.code
    return f"yes/{study.id}/{dataset}/{version}", f"yes/{code}/{dataset}/{version}"

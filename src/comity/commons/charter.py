"""The charter: what all founders sign. Strict: unknown or contradictory settings are refused.

Its canonical JSON is what is hashed: the commons id is the SHA-256 of those bytes. This version
holds members, host, cosigning quorum, the bounds of studies and the vote on releases; the full
charter adds its own sections beside these.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, final, get_args

import msgspec
from msgspec import Meta, Struct

from comity.commons.floor import floor_fault
from comity.commons.lookalike import name_fault, same_look
from comity.commons.rulebook import Rulebook, rulebook_fault, rulebook_tables
from comity.errors import Malformed, Misconfigured
from comity.statements.fields import Count, DigestField, Duration, MemberField, SlugField, TextField
from comity.statements.governing import Criterion
from comity.statements.wire import canonical, read_canonical
from comity.values import (
    CHARTER_BYTES_MAX,
    DAY_S,
    MEMBERS_MAX,
    ROSTER_MAX,
    ROSTER_MIN,
    CommonsId,
    Digest,
    MemberId,
    sha256,
)


@final
class Founder(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A founding member: its id, the digest of its key set, and neutral attributes."""

    id: MemberField
    keys: DigestField
    affiliation: TextField = ""
    country: TextField = ""
    name: TextField = ""
    region: TextField = ""
    sector: TextField = ""


@final
class StudyBounds(Struct, frozen=True, forbid_unknown_fields=True):
    """What the commons allows of a study's plan (aggregation.md 4)."""

    attempts_max: Annotated[int, Meta(ge=1, le=1_000)]
    colluders_min: Annotated[int, Meta(ge=1, le=ROSTER_MAX)]
    end_by_s_max: Duration
    rounds_max: Annotated[int, Meta(ge=1, le=100_000)]
    survivors_min: Annotated[int, Meta(ge=2, le=ROSTER_MAX)]


@final
class Charter(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The constitution of a commons.

    quorum: cosigners of a final head (log-and-provenance 2.2). release: how votes are decided;
    `rules` when the charter has a rulebook. vote_open_s: without one, seconds a vote is open.
    criteria: the only grounds on which an applicant may be refused; none said: all of them.
    """

    format: Literal["comity-charter/1"]
    founders: Annotated[tuple[Founder, ...], Meta(min_length=2, max_length=MEMBERS_MAX)]
    host: MemberField
    name: TextField
    origin_prefix: SlugField
    protocol: Literal[1]
    quorum: Annotated[int, Meta(ge=1, le=MEMBERS_MAX)]
    release: Literal["rules", "simple-majority"]
    studies: StudyBounds
    void_entries_per_day_max: Count
    vote_open_s: Duration
    rulebook: Rulebook | None = None
    criteria: Annotated[tuple[Criterion, ...], Meta(max_length=8)] = ()


CRITERIA: Final[tuple[Criterion, ...]] = get_args(Criterion)

_DEFAULTS: Final[dict[str, Any]] = {
    "format": "comity-charter/1",
    "origin_prefix": "comity",
    "protocol": 1,
    "quorum": MEMBERS_MAX,
    "release": "simple-majority",
    "void_entries_per_day_max": 1_000,
    "vote_open_s": 7 * DAY_S,
}
"""What may be left out of a charter as people write it; the quorum then follows the members."""

_RULE_TABLES: Final = ("decisions", "groups", "rules")

_BOUND_DEFAULTS: Final[dict[str, Any]] = {
    "attempts_max": 20,
    "colluders_min": 1,
    "end_by_s_max": 30 * DAY_S,
    "rounds_max": 1_000,
    "survivors_min": 3,
}


def default_quorum(count: int) -> int:
    """q = floor(2n/3) + 1 of n members (log-and-provenance.md 2.2)."""
    return 2 * count // 3 + 1


def charter_bytes(charter: Charter) -> bytes:
    """The canonical JSON: what is stored, sent and hashed."""
    return canonical(charter)


def commons_id(charter: Charter) -> CommonsId:
    """SHA-256 of the canonical bytes."""
    return CommonsId(sha256(charter_bytes(charter)))


def parse_charter(blob: bytes, voters: Mapping[MemberId, str] | None = None) -> Charter:
    """Read a charter from its canonical bytes.

    Args:
        voters: as in `charter_fault`.
    Raises:
        Malformed: not canonical, not a charter, or it contradicts itself (`charter_fault`).
    """
    charter = read_canonical(blob, Charter, CHARTER_BYTES_MAX)
    fault = charter_fault(charter, voters) or names_fault(charter)
    if fault is not None:
        raise Malformed(f"this charter cannot be founded: {fault}")
    return charter


def charter_from_toml(text: str, voters: Mapping[MemberId, str] | None = None) -> Charter:
    """Read a charter as people write it; founders may stand in any order.

    What is left out has a default: quorum floor(2n/3) + 1, votes open for 7 days, studies with
    c >= 1 and u_min >= 3. Hashes are taken of the canonical JSON, never of this text.

    Args:
        voters: as in `charter_fault`.
    Raises:
        Misconfigured: names the setting and what is allowed.
    """
    if len(text) > CHARTER_BYTES_MAX:
        raise Misconfigured(f"a charter has at most {CHARTER_BYTES_MAX} characters")
    try:
        said = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"the charter is not TOML: {error}") from error
    try:
        return _charter_of(said, voters)
    except (msgspec.ValidationError, Misconfigured) as error:
        raise Misconfigured(f"charter: {error}{_line_of(text, str(error))}") from error


def _charter_of(said: dict[str, Any], voters: Mapping[MemberId, str] | None) -> Charter:
    bounds = said.get("studies", {})
    if isinstance(bounds, dict):
        bounds = {**_BOUND_DEFAULTS, **bounds}
    whole = {**_DEFAULTS, **said, "studies": bounds}
    if "rulebook" in said:
        raise Misconfigured("rulebook: write [groups], [rules.NAME] and [decisions] instead")
    if any(table in said for table in _RULE_TABLES):
        for key, instead in (("vote_open_s", "window in each rule"), ("release", "[decisions]")):
            if key in said:
                raise Misconfigured(f"{key}: with [rules], say {instead} instead")
        whole = {key: whole[key] for key in whole if key not in _RULE_TABLES}
        whole |= {"release": "rules", "rulebook": rulebook_tables(said)}
    charter = msgspec.convert(whole, Charter)
    founders = tuple(sorted(charter.founders, key=_id_of))
    quorum = charter.quorum if "quorum" in said else default_quorum(len(founders))
    charter = msgspec.structs.replace(charter, founders=founders, quorum=quorum)
    fault = charter_fault(charter, voters) or names_fault(charter)
    if fault is not None:
        raise Misconfigured(fault)
    return charter


def _line_of(text: str, complaint: str) -> str:
    """ " (line N)" of the first line that the complaint can be about; "" when none is found."""
    places = (
        r"unknown field `(\w+)`",
        r"value '(\w+)' - at `key`",
        r"\.(\w+?)(?:_s)?(?:\[[\d.]*\])?`$",
    )
    named = next((found for place in places if (found := re.search(place, complaint))), None)
    path = complaint.split(":", 1)[0].split(".")
    table, wanted = path[:-1], named[1] if named else path[-1]
    of = re.search(r" of ([a-z0-9.-]+):|and '([^']+)' look alike", complaint)
    if of:  # the last place: founders stand below what names one of them
        lines = [
            n for n, line in enumerate(text.splitlines(), 1) if f'= "{of[1] or of[2]}"' in line
        ]
        return f" (line {lines[-1]})" if lines else ""
    here: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([A-Za-z0-9_.-]+)\s*\]", line)
        if header:
            here = header[1].split(".")
            if here == path:
                return f" (line {number})"
        elif re.match(rf"\s*{re.escape(wanted)}\s*=", line) and (named or here == table):
            return f" (line {number})"
    return ""


def charter_fault(charter: Charter, voters: Mapping[MemberId, str] | None = None) -> str | None:
    """Why no commons can live under it: which setting, and what is allowed; None if fine.

    Two members may found one; they can register no study that sums (README.md 4.12), so the
    bounds of studies are compared with the number of members from three on.

    Args:
        voters: who would vote under it, and the group of each; by default its founders.
    """
    if voters is None:
        voters = electorate_of(charter, charter.founders)
    fault = _founders_fault(charter)
    if fault:
        return fault
    if (charter.rulebook is not None) != (charter.release == "rules"):
        return 'release: "rules" exactly when the charter has a rulebook'
    fault = charter.rulebook and rulebook_fault(charter.rulebook, voters)
    if fault:
        return fault
    below = floor_fault(charter.rulebook, charter.studies.survivors_min)
    if below is not None:
        return f"{below.text} [{below.rule.value}]"
    if len(set(charter.criteria)) != len(charter.criteria):
        return f"criteria: each once, of {', '.join(CRITERIA)}"
    if charter.void_entries_per_day_max < 1:
        return "void_entries_per_day_max: at least 1"
    return _bounds_fault(charter.studies, len(voters))


def _founders_fault(charter: Charter) -> str | None:
    ids = [founder.id for founder in charter.founders]
    count = len(ids)
    if len(set(ids)) != count:
        return "founders: each id stands there once"
    if ids != sorted(ids):
        return "founders: in the order of their ids"
    if len({founder.keys for founder in charter.founders}) != count:
        return "founders: each has its own key set"
    if charter.host not in ids:
        return f"host: one of the founders, not {charter.host}"
    if not count < 2 * charter.quorum <= 2 * count:
        return f"quorum: from {count // 2 + 1} to {count} of {count} members, not {charter.quorum}"
    return None


def names_fault(charter: Charter) -> str | None:
    """Which name of a charter may be read wrongly, and what to write; None if all are plain.

    Asked before anybody signs. The fold does not ask: Unicode grows from version to version.
    """
    fault = name_fault(charter.name)
    if fault:
        return f"name: {fault}"
    for founder in charter.founders:
        for key in ("affiliation", "country", "name", "region", "sector"):
            fault = name_fault(getattr(founder, key))
            if fault:
                return f"founders.{key} of {founder.id}: {fault}"
    for key, meant in (("id", "its own id"), ("name", "its own name")):
        pair = same_look(getattr(founder, key) for founder in charter.founders)
        if pair:
            return f"founders: {pair[0]!r} and {pair[1]!r} look alike; give each {meant}"
    for key in ("affiliation", "country", "region", "sector"):
        pair = same_look(sorted({getattr(founder, key) for founder in charter.founders}))
        if pair:
            first, second = pair
            return f"founders.{key}: {first!r} and {second!r} look alike; write one of them"
    return None


def _bounds_fault(bounds: StudyBounds, count: int) -> str | None:
    if count < ROSTER_MIN:
        return None
    if bounds.survivors_min < bounds.colluders_min + 2:
        return (
            f"studies.survivors_min: at least colluders_min + 2 = {bounds.colluders_min + 2}, "
            f"not {bounds.survivors_min}"
        )
    if bounds.survivors_min > count:
        return f"studies.survivors_min: at most {count}, the number of members"
    return None


def electorate_of(charter: Charter, members: Iterable[Founder]) -> dict[MemberId, str]:
    """Who of these members votes, and the group of each: one vote for each affiliation (F7).

    Of members that state one affiliation the first votes; hosting gives no vote more.
    """
    found: dict[MemberId, str] = {}
    voting: set[str] = set()
    for member in members:
        if not member.affiliation or member.affiliation not in voting:
            voting.add(member.affiliation)
            found[member.id] = group_of(charter, member)
    return found


def group_of(charter: Charter, founder: Founder) -> str:
    """The group a founder counts in; without the attribute, a group of its own."""
    by = charter.rulebook.groups.by if charter.rulebook and charter.rulebook.groups else ""
    said = getattr(founder, by) if by else ""
    return f"{by}:{said}" if said else f"member:{founder.id}"


def newcomer(member: MemberId, country: str) -> Founder:
    """A member that was admitted, as `group_of` looks at it: it has said its country alone."""
    return Founder(id=member, keys=Digest(""), country=country)


def _id_of(founder: Founder) -> MemberId:
    return founder.id

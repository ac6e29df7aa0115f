"""The charter: what all founders sign. Strict: unknown or contradictory settings are refused.

Its canonical JSON is what is hashed: the commons id is the SHA-256 of those bytes. This version
holds members, host, cosigning quorum, the bounds of studies and the vote on releases; the full
charter adds its own sections beside these.
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Any, Final, Literal, final

import msgspec
from msgspec import Meta, Struct

from comity.commons.rulebook import Rulebook, rulebook_fault, rulebook_tables
from comity.commons.written import line_of
from comity.errors import Malformed, Misconfigured
from comity.statements.fields import Count, DigestField, Duration, MemberField, SlugField, TextField
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


def parse_charter(blob: bytes) -> Charter:
    """Read a charter from its canonical bytes.

    Raises:
        Malformed: not canonical, not a charter, or it contradicts itself (`charter_fault`).
    """
    charter = read_canonical(blob, Charter, CHARTER_BYTES_MAX)
    fault = charter_fault(charter)
    if fault is not None:
        raise Malformed(f"this charter cannot be founded: {fault}")
    return charter


def charter_from_toml(text: str) -> Charter:
    """Read a charter as people write it; founders may stand in any order.

    What is left out has a default: quorum floor(2n/3) + 1, votes open for 7 days, studies with
    c >= 1 and u_min >= 3. Hashes are taken of the canonical JSON, never of this text.

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
        return _charter_of(said)
    except (msgspec.ValidationError, Misconfigured) as error:
        raise Misconfigured(f"charter: {error}{line_of(text, str(error))}") from error


def _charter_of(said: dict[str, Any]) -> Charter:
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
    fault = charter_fault(charter)
    if fault is not None:
        raise Misconfigured(fault)
    return charter


def charter_fault(charter: Charter) -> str | None:
    """Why nobody can found a commons under it: which setting, and what is allowed; None if fine.

    Two members may found one; they can register no study that sums (README.md 4.12), so the
    bounds of studies are compared with the number of members from three on.
    """
    ids = [founder.id for founder in charter.founders]
    count, bounds = len(ids), charter.studies
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
    if (charter.rulebook is not None) != (charter.release == "rules"):
        return 'release: "rules" exactly when the charter has a rulebook'
    fault = charter.rulebook and rulebook_fault(
        charter.rulebook, {founder.id: group_of(charter, founder) for founder in charter.founders}
    )
    if fault:
        return fault
    if charter.void_entries_per_day_max < 1:
        return "void_entries_per_day_max: at least 1"
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

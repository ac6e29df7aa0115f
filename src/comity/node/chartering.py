"""Writing a charter for people to talk over, and saying what it means before anybody signs.

    new_charter(path, name=..., host=..., ids=[...], preset="small")      # charter.toml

The presets are beginnings, not laws: the file is read and changed by its founders.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final, Literal, TypeAlias, final, get_args

from msgspec import Struct

from comity.commons.charter import (
    Charter,
    charter_from_toml,
    commons_id,
    default_quorum,
    electorate_of,
)
from comity.commons.power import power_of
from comity.commons.rulebook import ACTS, Rulebook, decision_rule
from comity.errors import Misconfigured, Unavailable
from comity.node.founding import PublicId, read_identity
from comity.statements.keysets import key_set_digest
from comity.values import DAY_S, CommonsId, MemberId

Preset: TypeAlias = Literal["pair", "small", "network", "regulated"]
REVIEWERS: Final = 2
"""How many a preset asks for."""

PRESETS: Final[tuple[Preset, ...]] = get_args(Preset)


@final
class ActPower(Struct, frozen=True):
    """What the rule of one act gives, as `power.Power` says it. shares: of weight, by group."""

    act: str
    rule: str
    yes_needed: int
    blocks: int
    deadlocks: int
    shares: dict[str, str]
    passes_alone: tuple[str, ...]
    blocks_alone: tuple[str, ...]


@final
class CharterSummary(Struct, frozen=True, tag="charter"):
    """What a charter means in plain words. warnings: what its founders should know.

    acts: what each rule gives, when the charter has rules.
    """

    commons: CommonsId
    name: str
    host: MemberId
    members: tuple[MemberId, ...]
    quorum: int
    meaning: tuple[str, ...]
    warnings: tuple[str, ...]
    acts: tuple[ActPower, ...] = ()


def new_charter(
    path: Path,
    *,
    name: str,
    host: str,
    ids: Sequence[Path],
    quorum: int | None = None,
    vote_open_s: int = 7 * DAY_S,
    preset: Preset | None = None,
) -> Charter:
    """Write a charter as people read it, from the id files of its founders.

    Args:
        path: of the new TOML file. host: member id of the first host. ids: all founders' id files.
        vote_open_s: without a preset, how long a vote by simple majority is open.
        preset: whose rules of decision to begin with.
    Raises:
        Misconfigured: something contradicts itself, or the file exists.
        Malformed, Forged: an id file.
    """
    founders = sorted((read_identity(each) for each in ids), key=lambda p: p.key_set.member)
    text = _charter_text(name, host, founders, quorum, None if preset else vote_open_s)
    if preset is not None:
        text += _reviews_text(preset, founders)
        rules = resources.files("comity.node").joinpath("presets", f"{preset}.toml")
        text += rules.read_text("utf-8")
    charter = charter_from_toml(text)
    write_new(path, text)
    return charter


def write_new(path: Path, text: str) -> None:
    """Write a text to a file that is not there yet. Raises Misconfigured, Unavailable."""
    if path.exists():
        raise Misconfigured(f"{path} exists already: name another file, or move it away first")
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise Unavailable(f"cannot write {path} ({error.strerror}); check the disk") from error


def check_charter(charter: Charter) -> CharterSummary:
    """The commons id, and what the quorum means, in plain words."""
    members = tuple(founder.id for founder in charter.founders)
    count, quorum = len(members), charter.quorum
    spare = count - quorum
    meaning = [
        f"a head of the log is final once {quorum} of {count} members have cosigned it",
        *([] if charter.rulebook else [f"a release needs {count // 2 + 1} of {count} members"]),
        f"studies: at least {charter.studies.survivors_min} members in every sum, at least"
        f" {charter.studies.colluders_min} may collude without seeing an update",
    ]
    reviewers = charter.studies.reviewers
    if reviewers:
        meaning.append(
            f"reviews: {reviewers} members of {charter.studies.review_orgs} organisations, none the"
            " author's, approve the exact study file before a round"
        )
    warnings = []
    if spare == 0:
        warnings.append(
            f"{quorum} of {count}: all must be online for anything to become final; one member"
            " that is away stops founding, new studies and releases until it is back"
        )
    else:
        meaning.append(f"{spare} of {count} may be away and heads still become final")
    if quorum < default_quorum(count):
        warnings.append(
            f"the quorum is below {default_quorum(count)}, two thirds: fewer members than usual"
            " can make two histories final"
        )
    if count == 2:
        warnings.append("two members: there is no secrecy between you, and no secure sum")
    if count == 3:
        warnings.append("three members: all three stay online to the end of every round")
    if charter.rulebook is not None:
        for act in (act for act in ACTS if act not in charter.rulebook.decisions):
            what = "all members together" if act == "amend" else "nobody"
            warnings.append(f"decisions.{act} names no rule: {what} can {act}")
    return CharterSummary(
        commons=commons_id(charter),
        name=charter.name,
        host=charter.host,
        members=members,
        quorum=quorum,
        meaning=tuple(meaning),
        warnings=tuple(warnings),
        acts=_acts(charter, charter.rulebook) if charter.rulebook else (),
    )


def _acts(charter: Charter, book: Rulebook) -> tuple[ActPower, ...]:
    electorate = electorate_of(charter, charter.founders)
    found = []
    for act in (act for act in ACTS if act in book.decisions):
        name = book.decisions[act]
        power = power_of(decision_rule(book.rules[name], book), electorate)
        found.append(
            ActPower(
                act=act,
                rule=name,
                yes_needed=power.yes_needed,
                blocks=power.blocks,
                deadlocks=power.deadlocks,
                shares={group.group: str(group.share) for group in power.groups},
                passes_alone=tuple(g.group for g in power.groups if g.passes_alone),
                blocks_alone=tuple(g.group for g in power.groups if g.blocks_alone),
            )
        )
    return tuple(found)


def _charter_text(
    name: str, host: str, founders: Sequence[PublicId], quorum: int | None, vote_open_s: int | None
) -> str:
    count = len(founders)
    lines = [
        "# The charter of a commons. All founders sign exactly this; its hash is the commons id.",
        f"name = {_toml(name)}",
        f"host = {_toml(host)}",
        "",
        "# Members that must cosign a head to make it final; more than half of all.",
        f"quorum = {default_quorum(count) if quorum is None else quorum}",
    ]
    if vote_open_s is not None:
        lines += ["", "# How long a vote is open, in seconds.", f"vote_open_s = {vote_open_s}"]
    for founder in founders:
        lines += ["", "[[founders]]", f"id = {_toml(founder.key_set.member)}"]
        lines.append(f"keys = {_toml(key_set_digest(founder.key_set))}")
        if founder.name:
            lines.append(f"name = {_toml(founder.name)}")
        if founder.country:
            lines.append(f"country = {_toml(founder.country)}")
    lines += [
        "",
        "# What every study keeps to.",
        "[studies]",
        "colluders_min = 1",
        "survivors_min = 3",
        "rounds_max = 1000",
        "attempts_max = 20",
        f"end_by_s_max = {30 * DAY_S}",
    ]
    return "\n".join(lines) + "\n"


def _reviews_text(preset: Preset, founders: Sequence[PublicId]) -> str:
    """How many have to read a study file before it runs; id files name no organisation yet.

    Two members can sum nothing, so their preset asks for none.
    """
    reviewers = min(REVIEWERS, len(founders) - 1)
    if preset == "pair":
        return ""
    return (
        "\n# Members outside an author's organisation that approve the exact study file before a\n"
        "# round opens, and how many organisations they are of. 0: none.\n"
        f"reviewers = {reviewers}\nreview_orgs = {reviewers}\n\n"
    )


def _toml(text: str) -> str:
    """A TOML string. JSON's escapes are TOML's, for text that is printable."""
    if not text.isprintable():
        raise Misconfigured("names in a charter are printable text on one line")
    return json.dumps(text, ensure_ascii=False)

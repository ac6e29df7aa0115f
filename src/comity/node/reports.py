"""What a node can tell its people: what is owed, asked and waited for; what the log says.

Nothing here speaks or changes anything. Texts of other members come out as they were written:
whoever prints them makes them harmless first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, final, get_args

import msgspec
from msgspec import Struct

from comity.commons.attempts import opened_of
from comity.commons.duties import AskConsent, AskVote, Duty, SayAbandon, duties, waiting_for
from comity.commons.fold import apply, found
from comity.commons.state import Outcome, Proposal, State, Study, Void
from comity.errors import Refused, Rule, Unavailable
from comity.log.heads import full_note, parse_signed_head
from comity.log.proofs import TlogProof
from comity.node.models import method_text
from comity.node.practice import LocalDataset
from comity.node.station import Station
from comity.release.anchor import anchor_of
from comity.statements.entries import Entry
from comity.statements.wire import read
from comity.values import Digest, MemberId, StatementId

ENTRIES_MAX: Final = 1_000
"""Entries on one page of the log."""


PLACES: Final = (
    ("keys", "keys.pem"),
    ("charter", "charter.json"),
    ("settings", "node.toml"),
    ("site policy", "site.toml"),
    ("log", "log.sqlite"),
    ("journal", "node.sqlite"),
    ("blobs", "blobs"),
)
"""What lies in a node's folder."""


@final
class Asked(Struct, frozen=True):
    """A question to this site's people. subject: "consent" or "vote"; answer: the command."""

    subject: str
    id: StatementId
    name: str
    answer: str


@final
class Obstacle(Struct, frozen=True):
    """What stands in the way at this site, in plain words."""

    subject: str
    why: str


@final
class StudyStatus(Struct, frozen=True):
    """Where a study stands. round_no: due or under way; results_count: rounds with a result.

    phase: of the live attempt, "waiting" between attempts, "finished". waits_for, why: whom it
    waits for now. consent: of this site: "given", "refused", "asked". method: rule, local method.
    """

    id: StatementId
    name: str
    title: str
    author: MemberId
    round_no: int
    rounds_max: int
    results_count: int
    attempt: int
    phase: str
    waits_for: tuple[MemberId, ...]
    why: str
    enrolled: tuple[MemberId, ...]
    consent: str
    model: Digest
    code: Digest
    method: str = ""


@final
class ProposalStatus(Struct, frozen=True):
    """A proposal to release. decided: "yes", "no" or "open". signed: release.sign in the log.

    ready: whether enough have signed below a final head, so that the bundle can be written.
    """

    id: StatementId
    study: StatementId
    name: str
    round_no: int
    model: Digest
    manifest: Digest
    decided: str
    votes: dict[MemberId, str]
    closes_s: int
    signed: tuple[MemberId, ...]
    ready: bool


@final
class DatasetStatus(Struct, frozen=True):
    """A declared data set of this site. path: "" when its file is not known here."""

    id: str
    version: Digest
    path: str


@final
class Status(Struct, frozen=True, tag="status"):
    """Everything `comity status` shows. Times are POSIX seconds.

    founded: all founders have entered, and the head that covers it is final. missing: founders
    that have not. owes: what this node does next by itself.
    """

    member: MemberId
    commons: str
    name: str
    host: MemberId
    host_url: str
    members: tuple[MemberId, ...]
    quorum: int
    founded: bool
    missing: tuple[MemberId, ...]
    size: int
    final_size: int
    commons_time_s: int
    owes: tuple[str, ...]
    asks: tuple[Asked, ...]
    obstacles: tuple[Obstacle, ...]
    datasets: tuple[DatasetStatus, ...]
    studies: tuple[StudyStatus, ...]
    proposals: tuple[ProposalStatus, ...]
    places: dict[str, str]


@final
class LogLine(Struct, frozen=True):
    """One entry of the log. void: by which rule it has no effect; "" when it took effect."""

    index: int
    tag: str
    author: MemberId
    time_s: int
    id: StatementId
    void: str


@final
class LogPage(Struct, frozen=True, tag="log-page"):
    """Entries start, start + 1, ... of a log of `size`."""

    start: int
    size: int
    lines: tuple[LogLine, ...]


@final
class EntryShown(Struct, frozen=True, tag="entry"):
    """One entry whole. payload: the in-toto statement, JSON text. envelope: as in the log."""

    line: LogLine
    payload: str
    envelope: str


@final
class EntryProof(Struct, frozen=True, tag="entry-proof"):
    """That an entry is in the log: c2sp.org/tlog-proof@v1, checked by anyone with the keys."""

    index: int
    size: int
    text: str


@final
class AnchorText(Struct, frozen=True, tag="anchor"):
    """Four lines that an outsider is given by hand (log-and-provenance.md 3.4)."""

    size: int
    text: str


@final
class Logged(Struct, frozen=True, tag="logged"):
    """What the log made of a statement. index: -1 while it is not in. void: rule, or ""."""

    index: int
    void: str


def status(station: Station) -> Status:
    """Where this member stands, by its own verified copy of the log and its folder."""
    state, settings = station.replica.state, station.settings
    final_size = station.replica.final_size
    owed = duties(state, station.member, final_size, station.clock())
    return Status(
        member=station.member,
        commons=state.commons,
        name=state.charter.name,
        host=state.host,
        host_url=settings.host_url,
        members=state.members,
        quorum=state.quorum,
        founded=0 < state.founded_size <= final_size,
        missing=tuple(member for member in state.members if member not in state.keys),
        size=state.size,
        final_size=final_size,
        commons_time_s=state.commons_time_s,
        owes=tuple(text for duty in owed if (text := _owed(duty))),
        asks=tuple(ask for duty in owed if (ask := _asked(state, duty))),
        obstacles=tuple(_obstacles(station, owed)),
        datasets=tuple(_datasets(station)),
        studies=tuple(_study(state, study, station.member) for study in state.studies.values()),
        proposals=tuple(_proposal(state, p, final_size) for p in state.proposals.values()),
        places={what: str((station.folder / name).resolve()) for what, name in PLACES},
    )


def log_entries(station: Station, start: int = 0, count: int = 100) -> LogPage:
    """A page of the log, with what became of each entry.

    Args:
        start: index of the first; a negative one counts from the end. count: at most ENTRIES_MAX.
    """
    size = station.replica.state.size
    first = max(0, min(start if start >= 0 else size + start, size))
    stop = min(first + max(0, min(count, ENTRIES_MAX)), size)
    lines = [_line(entry, outcome) for entry, outcome in _replayed(station, first, stop)]
    return LogPage(first, size, tuple(lines))


def show_entry(station: Station, index: int) -> EntryShown:
    """One entry whole. Raises Refused(NO_SUCH_THING): beyond the end of this copy."""
    _check_index(station, index, station.replica.state.size)
    entry, outcome = next(_replayed(station, index, index + 1))
    payload = msgspec.json.decode(entry.leaf, type=_Payload).payload
    return EntryShown(_line(entry, outcome), payload.decode(), entry.leaf.decode())


def prove_entry(station: Station, index: int) -> EntryProof:
    """Prove to anyone that an entry is in the log, under the newest final head.

    Raises:
        Refused(NO_SUCH_THING): not below a final head, yet or ever.
    """
    size = station.replica.final_size
    _check_index(station, index, size)
    final = station.replica.final_head()
    assert final is not None
    signed, cosignatures = final
    path = station.replica.view.tree.inclusion(index, size)
    head = parse_signed_head(full_note(signed, cosignatures))
    return EntryProof(index, size, TlogProof(index, path, head).text().decode())


def anchor(station: Station) -> AnchorText:
    """The anchor to hand to an outsider: the newest final head. Raises Unavailable: none yet."""
    final = station.replica.view.final
    if not final.size:
        raise Unavailable("no head is final yet: wait until enough members have cosigned one")
    return AnchorText(final.size, anchor_of(final).text().decode())


def logged(station: Station, statement: StatementId, start: int = 0) -> Logged:
    """What the log made of a statement; looks at entries from `start` on."""
    size = station.replica.state.size
    for index, envelope in enumerate(station.replica.entries(start, size), start):
        if read(envelope).statement.id == statement:
            _, outcome = next(_replayed(station, index, index + 1))
            return Logged(index, _void(outcome))
    return Logged(-1, "")


@final
class _Payload(Struct, frozen=True):
    payload: bytes


def _replayed(station: Station, start: int, stop: int) -> Iterator[tuple[Entry, Outcome]]:
    """Entries with their outcomes, by folding the verified copy again from its start."""
    state = found(station.replica.state.charter)
    for index, envelope in enumerate(station.replica.entries(0, stop)):
        entry = Entry(index, envelope, read(envelope).statement)
        state, outcome = apply(state, entry)
        if index >= start:
            yield entry, outcome


def _line(entry: Entry, outcome: Outcome) -> LogLine:
    said = entry.statement
    return LogLine(entry.index, said.body.tag, said.author, said.time_s, said.id, _void(outcome))


def _void(outcome: Outcome) -> str:
    return outcome.rule.value if isinstance(outcome, Void) else ""


def _check_index(station: Station, index: int, size: int) -> None:
    if not 0 <= index < size:
        raise Refused(
            Rule.NO_SUCH_THING,
            f"expected the index of an entry, 0 to {size - 1}, not {index}"
            if size
            else "there is no such entry here yet: run the node until it has the log",
        )


def _owed(duty: Duty) -> str:
    """A duty in words; "" for what only a person can do."""
    match duty:
        case AskConsent() | AskVote():
            return ""
        case SayAbandon(reason=reason):
            return f"SayAbandon: {reason}"
        case _:
            return type(duty).__name__


def _obstacles(station: Station, owed: Sequence[Duty]) -> Iterator[Obstacle]:
    """What stands in the way now: a fault about a duty counts only while the duty is owed."""
    duty_names = {kind.__name__ for kind in get_args(Duty)}
    now = {type(duty).__name__ for duty in owed if not isinstance(duty, AskConsent)}
    for subject, why in sorted(station.faults.items()):
        if subject not in duty_names or subject in now:
            yield Obstacle(subject, why)


def _asked(state: State, duty: Duty) -> Asked | None:
    match duty:
        case AskConsent(study=study):
            command = f"comity consent give {study.id[:12]}"
            return Asked("consent", study.id, study.register.name, command)
        case AskVote(proposal=proposal):
            name = state.studies[proposal.motion.study].register.name
            return Asked("vote", proposal.id, name, f"comity vote {proposal.id[:12]} yes")
        case _:
            return None


def _datasets(station: Station) -> Iterator[DatasetStatus]:
    for known in station.replica.state.datasets.values():
        if known.owner == station.member:
            kept = station.journal.get(f"dataset/{known.id}")
            path = msgspec.msgpack.decode(kept, type=LocalDataset).path if kept else ""
            yield DatasetStatus(known.id, known.version, path)


def _study(state: State, study: Study, me: MemberId) -> StudyStatus:
    waiting = waiting_for(state, study)
    current = study.current
    phase = "waiting" if current is None else type(current).__name__.lower()
    answered = "refused" if me in study.refused else "asked"
    return StudyStatus(
        id=study.id,
        name=study.register.name,
        title=study.register.title,
        author=study.author,
        round_no=min(study.round_no, study.register.plan.rounds_max),
        rounds_max=study.register.plan.rounds_max,
        results_count=len(study.results),
        attempt=opened_of(current).attempt if current is not None else study.attempt,
        phase="finished" if study.finished else phase,
        waits_for=waiting.members if waiting else (),
        why=waiting.reason if waiting else "",
        enrolled=tuple(sorted(study.enrolled)),
        consent="given" if me in study.consents else answered,
        model=study.model[0],
        code=study.register.plan.code,
        method=method_text(study.register.plan),
    )


def _proposal(state: State, proposal: Proposal, final_size: int) -> ProposalStatus:
    motion = proposal.motion
    below = [index for index in proposal.signed.values() if index < final_size]
    return ProposalStatus(
        id=proposal.id,
        study=motion.study,
        name=state.studies[motion.study].register.name,
        round_no=motion.round_no,
        model=motion.model,
        manifest=motion.manifest,
        decided={None: "open", True: "yes", False: "no"}[proposal.decided],
        votes=dict(proposal.votes),
        closes_s=proposal.closes_s,
        signed=tuple(sorted(proposal.signed)),
        ready=bool(proposal.decided) and len(below) >= state.quorum,
    )

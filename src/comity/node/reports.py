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
from comity.commons.duties import (
    AskApprove,
    AskConsent,
    AskReview,
    AskVote,
    Duty,
    SayAbandon,
    duties,
)
from comity.commons.exposure import left_out
from comity.commons.state import Proposal, State, Study
from comity.commons.votes import signatures_of
from comity.commons.waiting import waiting_for
from comity.errors import Unavailable
from comity.node.asks import Asked, asked
from comity.node.models import method_text
from comity.node.practice import LocalDataset
from comity.node.reacting import stale
from comity.node.station import Station
from comity.release.anchor import anchor_of
from comity.statements.governing import ReleaseMotion
from comity.values import Digest, MemberId, StatementId

PLACES: Final = (
    ("keys", "keys.pem"),
    ("charter", "charter.json"),
    ("settings", "node.toml"),
    ("site policy", "site.toml"),
    ("log", "log.sqlite"),
    ("journal", "node.sqlite"),
    ("blobs", "blobs"),
    ("evidence", "evidence"),
)
"""What lies in a node's folder."""


@final
class Obstacle(Struct, frozen=True):
    """What stands in the way at this site, in plain words."""

    subject: str
    why: str


@final
class StudyStatus(Struct, frozen=True):
    """Where a study stands. round_no: due or under way; results_count: rounds with a result.

    phase: of the live attempt, "waiting" between attempts, "finished". waits_for, why: whom it
    waits for now. without: who is left out of how many results. consent: of this site: "given",
    "refused", "asked". model: newest. method: rule, local method.
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
    without: dict[MemberId, int]
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
    rule: str
    stage: str
    decided: str
    votes: dict[MemberId, str]
    objections: dict[MemberId, StatementId]
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
class AnchorText(Struct, frozen=True, tag="anchor"):
    """Four lines that an outsider is given by hand (log-and-provenance.md 3.4)."""

    size: int
    text: str


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
        asks=tuple(ask for duty in owed if (ask := asked(state, duty))),
        obstacles=tuple(_obstacles(station, owed)),
        datasets=tuple(_datasets(station)),
        studies=tuple(
            study_status(state, study, station.member) for study in state.studies.values()
        ),
        proposals=tuple(_proposals(state, final_size)),
        places={what: str((station.folder / name).resolve()) for what, name in PLACES},
    )


def anchor(station: Station) -> AnchorText:
    """The anchor to hand to an outsider: the newest final head. Raises Unavailable: none yet."""
    final = station.replica.view.final
    if not final.size:
        raise Unavailable("no head is final yet: wait until enough members have cosigned one")
    return AnchorText(final.size, anchor_of(final).text().decode())


def _owed(duty: Duty) -> str:
    """A duty in words; "" for what only a person can do."""
    match duty:
        case AskConsent() | AskReview() | AskVote() | AskApprove():
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
    if old := stale(station):
        yield Obstacle("stale", old)


def _datasets(station: Station) -> Iterator[DatasetStatus]:
    for known in station.replica.state.datasets.values():
        if known.owner == station.member:
            kept = station.journal.get(f"dataset/{known.id}")
            path = msgspec.msgpack.decode(kept, type=LocalDataset).path if kept else ""
            yield DatasetStatus(known.id, known.version, path)


def study_status(state: State, study: Study, me: MemberId) -> StudyStatus:
    """Where a study stands, for this member."""
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
        without=left_out(study),
        why=waiting.reason if waiting else "",
        enrolled=tuple(sorted(study.enrolled)),
        consent="given" if me in study.consents else answered,
        model=study.model[0],
        code=study.register.plan.code,
        method=method_text(study.register.plan),
    )


def _proposals(state: State, final_size: int) -> Iterator[ProposalStatus]:
    for proposal in state.proposals.values():
        if proposal.release is not None:
            yield _proposal(state, proposal, proposal.release, final_size)


def _proposal(
    state: State, proposal: Proposal, motion: ReleaseMotion, final_size: int
) -> ProposalStatus:
    below = [index for index in signatures_of(state, proposal) if index < final_size]
    return ProposalStatus(
        id=proposal.id,
        study=motion.study,
        name=state.studies[motion.study].register.name,
        round_no=motion.round_no,
        model=motion.model,
        manifest=motion.manifest,
        rule=proposal.rule or "simple-majority",
        stage=proposal.stage,
        decided={None: "open", True: "yes", False: "no"}[proposal.decided],
        votes={member: str(choice) for member, choice in proposal.votes.items()},
        objections=dict(proposal.objections),
        closes_s=proposal.closes_s,
        signed=tuple(sorted(proposal.signed)),
        ready=bool(proposal.decided) and len(below) >= state.quorum,
    )

"""What a person may ask of a node, as plain functions of its open station.

Commands, the demo and notebooks call exactly these, in the loop's thread (`Loop.ask`) or on a
station without a loop. Each checks what this site knows, says at most one statement, and answers at
once; `logged` tells what the log made of it. What is only read is in `reports.py`, what takes long
in `planning.py` and `evaluating.py`; this module names them all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import final, get_args

import msgspec
from msgspec import Struct

from comity.commons.fold import next_link
from comity.commons.state import Consent
from comity.errors import Misconfigured, Refused, Rule
from comity.node.evaluating import Evaluation as Evaluation
from comity.node.evaluating import evaluate as evaluate
from comity.node.failures import failures as failures
from comity.node.gating import check_consent, forget_yes, remember_yes, yes_of
from comity.node.lookup import find_proposal, find_study, own_dataset
from comity.node.models import given_model
from comity.node.pages import log_entries as log_entries
from comity.node.pages import logged as logged
from comity.node.pages import prove_entry as prove_entry
from comity.node.pages import show_entry as show_entry
from comity.node.planning import PlanTerms as PlanTerms
from comity.node.planning import StudyParts as StudyParts
from comity.node.planning import plan_of, study_parts
from comity.node.practice import LocalDataset, local_dataset, version_of
from comity.node.releasing import Written as Written
from comity.node.releasing import release_motion
from comity.node.releasing import write_release as write_release
from comity.node.reports import anchor as anchor
from comity.node.reports import status as status
from comity.node.rows import show_study as show_study
from comity.node.standing import give_of
from comity.node.station import Station
from comity.statements.entries import Body
from comity.statements.governing import (
    Choice,
    Criterion,
    ObjectionAnswer,
    ProposalWithdraw,
    VoteCast,
    proposal_of,
)
from comity.statements.studies import (
    ConsentRefuse,
    ConsentWithdraw,
    DatasetDeclare,
    StudyRegister,
)
from comity.statements.wire import read
from comity.values import (
    TEXT_BYTES_MAX,
    DatasetId,
    StatementId,
    is_slug,
)


@final
class Said(Struct, frozen=True, tag="said"):
    """A statement that waits in the journal, or is delivered already.

    size: of the log when it was said; its entry has this index or a larger one.
    """

    statement: StatementId
    about: str
    size: int


# -- data sets and studies -----------------------------------------------------------------------


def declare_dataset(
    station: Station, dataset: str, path: Path, *, unit: str = "record", title: str = ""
) -> Said:
    """Declare a data file of this site, or its new version. Its bytes and its place stay here.

    Args:
        dataset: a slug, unique in the commons. path: the table; the study reads it there.
        unit: what one row stands for, a slug.
    Raises:
        Misconfigured: no slug, or the file cannot be read.
        Refused: SAID_BEFORE when this version is declared already; ID_TAKEN.
    """
    for name, text in (("data set id", dataset), ("unit", unit)):
        if not is_slug(text):
            raise Misconfigured(f"a {name} has a-z, 0-9, hyphens and dots only, not {text!r}")
    path = path.resolve()
    place = f"dataset/{dataset}"
    known = station.journal.get(place)
    salt = station.machine.rand(32)
    if known is not None:
        before = msgspec.msgpack.decode(known, type=LocalDataset)
        if version_of(path, before.salt) == before.version:
            salt = before.salt
    version = version_of(path, salt)
    body = DatasetDeclare(
        dataset=DatasetId(dataset), unit=unit, version=version, title=_text("title", title)
    )
    local = LocalDataset(str(path), salt, version)
    # Die between the two: this node knows a version that it has not declared; it says so again.
    station.journal.put(place, msgspec.msgpack.encode(local))
    return say_once(station, body, dataset)


def register_study(
    station: Station,
    file: Path,
    *,
    terms: PlanTerms | None = None,
    name: str | None = None,
    model: str | None = None,
) -> Said:
    """Register a study file: derive its plan in the sandbox, store its blobs, say study.register.

    Args:
        file: the study file, at most 1 MiB.
        terms: what the plan fixes beside the file; safe for this commons when None.
        name: of the study, a slug; the file's own when None.
        model: that an evaluation is given; see `given_model`.
    Raises:
        StudyFault: the file does not load. Refused: STUDY_OUT_OF_BOUNDS, with the setting;
            SANDBOX_MISSING; NO_SUCH_THING. Malformed: the model is not of the declared tensors.
    """
    given = None if model is None else given_model(station, model)
    with tempfile.TemporaryDirectory(dir=station.work) as work:
        parts = study_parts(file, Path(work), station.site, given)
        return register_parts(station, parts, terms=terms, name=name)


def register_parts(
    station: Station, parts: StudyParts, *, terms: PlanTerms | None = None, name: str | None = None
) -> Said:
    """The second half of `register_study`, quick: from what the sandbox gave."""
    state = station.replica.state
    plan = plan_of(parts, state.charter, len(state.members), terms or PlanTerms())
    title = parts.card.title
    called = _slug(name or parts.card.name)
    body = StudyRegister(name=called, plan=plan, title=title, use=parts.card.use)
    for blob, place in parts.blobs.items():
        station.blobs.adopt(place, blob)
    return say_once(station, body, body.name)


@final
class StudyFile(Struct, frozen=True, tag="study-file-found"):
    """Where a registered study's file lies here, and this site's own tables, by data set."""

    name: str
    code: str
    tables: dict[str, str]


def study_file(station: Station, study: str) -> StudyFile:
    """The file of a registered study, fetched when it is not here; to be read, or tried.

    Raises:
        Refused(NO_SUCH_THING). Unavailable: nobody serves it now.
    """
    state = station.replica.state
    found = find_study(state, study)
    code = station.blob(found.register.plan.code)
    mine = (each.id for each in state.datasets.values() if each.owner == station.member)
    places = {each: station.journal.get(f"dataset/{each}") for each in mine}
    tables = {
        str(each): msgspec.msgpack.decode(kept, type=LocalDataset).path
        for each, kept in places.items()
        if kept is not None
    }
    return StudyFile(found.register.name, str(code), tables)


# -- consent -------------------------------------------------------------------------------------


def give_consent(
    station: Station, study: str, *, dataset: str | None = None, exposed: bool = False
) -> Said:
    """Let a study use a data set of this site, in the version declared.

    Args:
        study: id, its beginning, or name.
        dataset: may be left out where the site has one only.
        exposed: accept that absences of others may show nearly this site's update.
    Raises:
        Refused: NO_SUCH_THING; WRONG_PARTY; VERSION_NOT_DECLARED when the file has changed;
            SITE_FORBIDS when `site.toml` does not let this site be exposed; or what else the gate
            says of it (commons/gate.py).
    """
    state = station.replica.state
    found = find_study(state, study)
    declared = own_dataset(state, station.member, dataset)
    here = local_dataset(station, declared.id).version_now()
    if here != declared.version:
        raise Refused(
            Rule.VERSION_NOT_DECLARED,
            f"the file of {declared.id} has changed since it was declared: run"
            f" `comity data add {declared.id} FILE` again, then consent",
        )
    if exposed and not station.site.exposed:
        raise Refused(
            Rule.SITE_FORBIDS,
            "site.toml says exposed = false: this site waits rather than be exposed; consent"
            " without --exposed, or change site.toml",
        )
    wanted = Consent(dataset=declared.id, version=declared.version, exposed=exposed)
    check_consent(station, found, wanted, person=True)
    if found.consents.get(station.member) == wanted and yes_of(station, found, wanted) != "study":
        remember_yes(station, found, wanted)
        raise Refused(
            Rule.SAID_BEFORE,
            "the policy of this site gave this consent already; that a person agrees is remembered"
            " now, and there is nothing more to say",
        )
    # Die after this line: the yes is remembered and was never said; nothing runs by it.
    remember_yes(station, found, wanted)
    return say_once(station, give_of(found.id, wanted), found.register.name)


def refuse_consent(station: Station, study: str, *, reason: str = "") -> Said:
    """Say no to a study; ends a yes as a withdrawal does. Raises Refused."""
    found = find_study(station.replica.state, study)
    forget_yes(station, found)
    body = ConsentRefuse(study=found.id, reason=_text("reason", reason))
    return say_once(station, body, found.register.name)


def withdraw_consent(station: Station, study: str, *, reason: str = "") -> Said:
    """Take a yes back; what is committed already may still be in a sum. Raises Refused."""
    found = find_study(station.replica.state, study)
    forget_yes(station, found)
    body = ConsentWithdraw(study=found.id, reason=_text("reason", reason))
    return say_once(station, body, found.register.name)


# -- releases and votes --------------------------------------------------------------------------


def propose_release(
    station: Station,
    study: str,
    *,
    purpose: str = "",
    licence: str = "",
    reason: str = "",
    reports: Mapping[str, bytes] | None = None,
) -> Said:
    """Put the newest result of a study to the vote, with all content it would be published as.

    Args:
        study: id, its beginning, or name. reports: name to JSON bytes.
        purpose, licence: for the model card. reason: for the voters. Plain texts.
    Raises:
        Refused: NO_SUCH_THING, TOO_SOON, SAID_BEFORE. Unavailable: the host does not take a blob.
    """
    motion = release_motion(
        station,
        study,
        purpose=_text("purpose", purpose),
        licence=_text("licence", licence),
        reports=reports,
    )
    body = proposal_of(motion, _text("reason", reason))
    return say_once(station, body, station.replica.state.studies[motion.study].register.name)


def cast_vote(
    station: Station,
    proposal: str,
    choice: Choice,
    *,
    reason: str = "",
    criterion: Criterion | None = None,
) -> Said:
    """Vote on a proposal; the last vote before the decision counts.

    Args:
        proposal: id or its beginning. choice: "yes", "no", "abstain", or "object" with a reason.
        criterion: what an applicant does not meet; of a no or an objection on an admission.
    Raises:
        Refused: NO_SUCH_THING, VOTE_CLOSED, SAID_BEFORE, NO_REASON, F6_NO_CRITERION.
    """
    if choice not in get_args(Choice):
        raise Misconfigured(f"a vote is yes, no, abstain or object, not {choice!r}")
    found = find_proposal(station.replica.state, proposal)
    body = VoteCast(
        choice=choice, proposal=found.id, reason=_text("reason", reason), criterion=criterion
    )
    return say_once(station, body, found.id[:12])


def withdraw_proposal(station: Station, proposal: str) -> Said:
    """Take back a proposal of this member.

    Raises:
        Refused: NO_SUCH_THING, WRONG_PARTY; VOTE_CLOSED, also when another member says yes to it.
    """
    found = find_proposal(station.replica.state, proposal)
    return say_once(station, ProposalWithdraw(proposal=found.id), found.id[:12])


def answer_objections(station: Station, proposal: str, answer: str) -> Said:
    """Answer what was objected to a proposal of this member; all vote again by the fallback rule.

    Raises:
        Refused: NO_SUCH_THING, WRONG_PARTY, VOTE_CLOSED, NO_REASON.
    """
    found = find_proposal(station.replica.state, proposal)
    body = ObjectionAnswer(proposal=found.id, reason=_text("answer", answer))
    return say_once(station, body, found.id[:12])


# -- inside ---------------------------------------------------------------------------------------


def say_once(station: Station, body: Body, about: str) -> Said:
    """Say it, or name the very same statement that is on its way to the log already."""
    state = station.replica.state
    due, _ = next_link(state, station.member)
    for envelope in station.journal.waiting():
        statement = read(envelope).statement
        if statement.seq >= due and statement.body == body:
            return Said(statement.id, about, state.size)
    return Said(station.say(body), about, state.size)


def _slug(text: str) -> str:
    if not is_slug(text):
        raise Misconfigured(f"a name has a-z, 0-9, hyphens and dots only, not {text!r}")
    return text


def _text(name: str, text: str) -> str:
    if not text.isprintable() or len(text.encode()) > TEXT_BYTES_MAX:
        raise Misconfigured(f"a {name} is one printable line of at most {TEXT_BYTES_MAX} bytes")
    return text

"""What may be asked of a running node, on the wire: one struct for each wish, and its answer.

A wish holds what the function of `wishes` of the same name takes; `fulfil` calls that function.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, final

import msgspec
from msgspec import Meta, Struct

from comity.errors import Misconfigured
from comity.node import wishes
from comity.node.consent_wire import (
    AboutConsent,
    ConsentResult,
    SimulateConsent,
    about_consent,
    look_at,
    simulated,
)
from comity.node.evaluating import Evaluation, EvaluationTask, evaluation_task, run_evaluation
from comity.node.evidence_wire import AboutEvidence, EvidenceResult, fulfil_about_evidence
from comity.node.exporting import ExportTask, LogExported, export_log, export_task
from comity.node.failures import Failures
from comity.node.governing_wire import Governed, GoverningResult, govern
from comity.node.models import given_model
from comity.node.pages import ENTRIES_MAX, EntryProof, EntryShown, Logged, LogPage
from comity.node.planning import PHASE_S, TRAIN_S, PlanTerms, study_parts
from comity.node.releasing import Written
from comity.node.reports import AnchorText, Status
from comity.node.rows import StudyShown
from comity.node.station import Station
from comity.node.wish_fields import FilePath, Name
from comity.node.wishes import Said, StudyFile
from comity.statements.fields import Count, SlugField, StatementIdField, TextField
from comity.statements.governing import Choice, Criterion
from comity.values import DEADLINE_S_MAX, LOG_SIZE_MAX, ROSTER_MAX

InLoop = Callable[[Callable[[Station], object]], object]
"""Runs a function of the station in the thread that owns it, and returns its answer: `Loop.ask`."""

_Seconds = Annotated[int, Meta(ge=1, le=DEADLINE_S_MAX)]


@final
class AskStatus(Struct, frozen=True, tag="status", forbid_unknown_fields=True):
    """`wishes.status`."""


@final
class DeclareDataset(Struct, frozen=True, tag="data-add", forbid_unknown_fields=True):
    """`wishes.declare_dataset`. path: absolute."""

    dataset: SlugField
    path: FilePath
    unit: SlugField = "record"
    title: TextField = ""


@final
class RegisterStudy(Struct, frozen=True, tag="study-register", forbid_unknown_fields=True):
    """`wishes.register_study`. file: absolute; model: absolute if it is a path; the
    other fields as in `PlanTerms`."""

    file: FilePath
    name: SlugField | None = None
    colluders: Annotated[int, Meta(ge=1, le=ROSTER_MAX)] | None = None
    survivors_min: Annotated[int, Meta(ge=1, le=ROSTER_MAX)] | None = None
    attempts_max: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    phase_s: _Seconds = PHASE_S
    train_s: _Seconds = TRAIN_S
    model: FilePath | None = None


@final
class GiveConsent(Struct, frozen=True, tag="consent-give", forbid_unknown_fields=True):
    """`wishes.give_consent`."""

    study: Name
    dataset: SlugField | None = None
    exposed: bool = False


@final
class RefuseConsent(Struct, frozen=True, tag="consent-refuse", forbid_unknown_fields=True):
    """`wishes.refuse_consent`."""

    study: Name
    reason: TextField = ""


@final
class WithdrawConsent(Struct, frozen=True, tag="consent-withdraw", forbid_unknown_fields=True):
    """`wishes.withdraw_consent`."""

    study: Name
    reason: TextField = ""


@final
class CastVote(Struct, frozen=True, tag="vote", forbid_unknown_fields=True):
    """`wishes.cast_vote`."""

    proposal: Name
    choice: Choice
    reason: TextField = ""
    criterion: Criterion | None = None


@final
class WithdrawProposal(Struct, frozen=True, tag="proposal-withdraw", forbid_unknown_fields=True):
    """`wishes.withdraw_proposal`."""

    proposal: Name


@final
class AnswerObjections(Struct, frozen=True, tag="proposal-answer", forbid_unknown_fields=True):
    """`wishes.answer_objections`."""

    proposal: Name
    answer: TextField


@final
class ProposeRelease(Struct, frozen=True, tag="release-propose", forbid_unknown_fields=True):
    """`wishes.propose_release`."""

    study: Name
    purpose: TextField = ""
    licence: TextField = ""
    reason: TextField = ""


@final
class WriteRelease(Struct, frozen=True, tag="release-write", forbid_unknown_fields=True):
    """`wishes.write_release`. out: absolute."""

    release: Name
    out: FilePath


@final
class ListLog(Struct, frozen=True, tag="log-list", forbid_unknown_fields=True):
    """`wishes.log_entries`. start: negative counts from the end."""

    start: Annotated[int, Meta(ge=-LOG_SIZE_MAX, le=LOG_SIZE_MAX)] = 0
    count: Annotated[int, Meta(ge=0, le=ENTRIES_MAX)] = 100


@final
class ShowEntry(Struct, frozen=True, tag="log-show", forbid_unknown_fields=True):
    """`wishes.show_entry`."""

    index: Count


@final
class ProveEntry(Struct, frozen=True, tag="log-prove", forbid_unknown_fields=True):
    """`wishes.prove_entry`."""

    index: Count


@final
class ExportLog(Struct, frozen=True, tag="log-export", forbid_unknown_fields=True):
    """`exporting.export_log`. out: absolute."""

    out: FilePath


@final
class ShowAnchor(Struct, frozen=True, tag="anchor-show", forbid_unknown_fields=True):
    """`wishes.anchor`."""


@final
class AskLogged(Struct, frozen=True, tag="logged", forbid_unknown_fields=True):
    """`wishes.logged`."""

    statement: StatementIdField
    start: Count = 0


@final
class EvaluateStudy(Struct, frozen=True, tag="study-evaluate", forbid_unknown_fields=True):
    """`wishes.evaluate`."""

    study: Name


@final
class AskFailures(Struct, frozen=True, tag="study-failures", forbid_unknown_fields=True):
    """`wishes.failures`."""

    study: Name


@final
class ShowStudy(Struct, frozen=True, tag="study-show", forbid_unknown_fields=True):
    """`wishes.show_study`."""

    study: Name


@final
class FindStudyFile(Struct, frozen=True, tag="study-file", forbid_unknown_fields=True):
    """`wishes.study_file`."""

    study: Name


@final
class StopNow(Struct, frozen=True, tag="stop-now", forbid_unknown_fields=True):
    """The site's stop is on disk: end everything. Answered beside the loop (`control.py`)."""


@final
class SiteStopped(Struct, frozen=True, tag="site-stopped"):
    """Nothing of this node is under way any more. studies: how many processes were ended."""

    studies: int


Wish = (
    AskStatus
    | StopNow
    | DeclareDataset
    | RegisterStudy
    | GiveConsent
    | RefuseConsent
    | WithdrawConsent
    | CastVote
    | WithdrawProposal
    | AnswerObjections
    | ProposeRelease
    | WriteRelease
    | ListLog
    | ShowEntry
    | ProveEntry
    | ExportLog
    | ShowAnchor
    | AskLogged
    | EvaluateStudy
    | Governed
    | AboutEvidence
    | AskFailures
    | ShowStudy
    | FindStudyFile
    | AboutConsent
)

Result = (
    Said
    | Status
    | LogPage
    | EntryShown
    | EntryProof
    | LogExported
    | AnchorText
    | SiteStopped
    | Logged
    | Evaluation
    | Written
    | GoverningResult
    | EvidenceResult
    | Failures
    | StudyShown
    | StudyFile
    | ConsentResult
)


def check_wish(wish: Wish) -> None:
    """Compare a wish with its limits, before it is sent. Raises Misconfigured, naming the field."""
    try:
        msgspec.convert(msgspec.to_builtins(wish), type(wish))
    except msgspec.ValidationError as error:
        raise Misconfigured(f"this cannot be asked: {error}") from error


def fulfil(wish: Wish, station: Station) -> Result:
    """Grant a wish on a station, all in this thread. Raises what its function raises."""
    match wish:
        case AskStatus():
            return wishes.status(station)
        case StopNow():
            return SiteStopped(0)  # no node runs here: nothing is under way
        case DeclareDataset():
            return wishes.declare_dataset(
                station, wish.dataset, Path(wish.path), unit=wish.unit, title=wish.title
            )
        case RegisterStudy():
            return wishes.register_study(
                station, Path(wish.file), terms=_terms(wish), name=wish.name, model=wish.model
            )
        case GiveConsent():
            return wishes.give_consent(
                station, wish.study, dataset=wish.dataset, exposed=wish.exposed
            )
        case RefuseConsent():
            return wishes.refuse_consent(station, wish.study, reason=wish.reason)
        case WithdrawConsent():
            return wishes.withdraw_consent(station, wish.study, reason=wish.reason)
        case CastVote():
            return wishes.cast_vote(
                station, wish.proposal, wish.choice, reason=wish.reason, criterion=wish.criterion
            )
        case WithdrawProposal():
            return wishes.withdraw_proposal(station, wish.proposal)
        case AnswerObjections():
            return wishes.answer_objections(station, wish.proposal, wish.answer)
        case ProposeRelease():
            return wishes.propose_release(
                station,
                wish.study,
                purpose=wish.purpose,
                licence=wish.licence,
                reason=wish.reason,
            )
        case WriteRelease():
            return wishes.write_release(station, wish.release, Path(wish.out))
        case ListLog():
            return wishes.log_entries(station, wish.start, wish.count)
        case ShowEntry():
            return wishes.show_entry(station, wish.index)
        case ProveEntry():
            return wishes.prove_entry(station, wish.index)
        case ExportLog():
            return export_log(export_task(station), Path(wish.out))
        case ShowAnchor():
            return wishes.anchor(station)
        case AskLogged():
            return wishes.logged(station, wish.statement, wish.start)
        case EvaluateStudy():
            return wishes.evaluate(station, wish.study)
        case AskFailures():
            return wishes.failures(station, wish.study)
        case ShowStudy():
            return wishes.show_study(station, wish.study)
        case FindStudyFile():
            return wishes.study_file(station, wish.study)
        case _:
            if isinstance(wish, AboutConsent):
                return about_consent(wish, station)
            if isinstance(wish, Governed):
                return govern(wish, station)
            return fulfil_about_evidence(wish, station)


def fulfil_beside(wish: Wish, station: Station, in_loop: InLoop) -> Result:
    """Grant a wish of another thread than the loop's, which goes on while a study's process runs.

    Args:
        station: only its folder and its unchanging policy are used outside the loop.
    """
    match wish:
        case RegisterStudy():
            model = wish.model
            given = in_loop(lambda s: None if model is None else given_model(s, model))
            assert given is None or isinstance(given, Path)
            with tempfile.TemporaryDirectory(dir=station.work) as work:
                parts = study_parts(Path(wish.file), Path(work), station.site, given)
                return _result(
                    in_loop(
                        lambda s: wishes.register_parts(
                            s, parts, terms=_terms(wish), name=wish.name
                        )
                    )
                )
        case EvaluateStudy():
            task = in_loop(lambda s: evaluation_task(s, wish.study))
            assert isinstance(task, EvaluationTask)
            return run_evaluation(task)
        case SimulateConsent():
            with tempfile.TemporaryDirectory(dir=station.work) as work:
                seen = look_at(station, wish, Path(work))
                return _result(in_loop(lambda s: simulated(s, wish, *seen)))
        case ExportLog():
            whole = in_loop(export_task)
            assert isinstance(whole, ExportTask)
            return export_log(whole, Path(wish.out))
        case _:
            return _result(in_loop(lambda s: fulfil(wish, s)))


def _terms(wish: RegisterStudy) -> PlanTerms:
    return PlanTerms(
        wish.colluders, wish.survivors_min, wish.attempts_max, wish.phase_s, wish.train_s
    )


def _result(answer: object) -> Result:
    assert isinstance(answer, Result)
    return answer

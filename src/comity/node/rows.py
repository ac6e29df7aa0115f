"""What a study has given so far: its rounds, and of an evaluation the pooled row and this site's.

The pooled row is the model file that members accepted, read as metrics; every member has it. A
site's own row is in `own_rows.py`, and shown here only.
"""

from __future__ import annotations

from typing import final

from msgspec import Struct

from comity.learning.given import from_sum
from comity.learning.model import read_model
from comity.learning.tensors import model_part
from comity.node.lookup import find_study
from comity.node.models import layout_of, model_files
from comity.node.own_rows import own_row
from comity.node.reports import StudyStatus, study_status
from comity.node.station import Station
from comity.statements.studies import FailureKind, RaisedKind
from comity.values import Digest, MemberId


@final
class RoundShown(Struct, frozen=True):
    """A round with a result. members: whose vectors are in its sum."""

    round_no: int
    attempt: int
    model: Digest
    members: tuple[MemberId, ...]


@final
class FailureTold(Struct, frozen=True):
    """What a site told of a failure. line: of the study file; 0: it did not say."""

    member: MemberId
    round_no: int
    attempt: int
    kind: FailureKind
    line: int
    raised: RaisedKind


@final
class StudyShown(Struct, frozen=True, tag="study-shown"):
    """A study in full. evaluates: the given model's digest; "" for a study that trains.

    pooled, own: metrics of an evaluation that has a result, over all members and of this site; an
    undefined one is absent. model_file: of the newest result, or the first model.
    """

    status: StudyStatus
    evaluates: str
    rounds: tuple[RoundShown, ...]
    told: tuple[FailureTold, ...]
    pooled: dict[str, float]
    own: dict[str, float]
    model_file: str


def show_study(station: Station, study: str) -> StudyShown:
    """A study in full.

    Args:
        study: id, its beginning, or name.
    Raises:
        Refused(NO_SUCH_THING). Unavailable: a model is not here, and nobody serves its parts now.
    """
    state = station.replica.state
    found = find_study(state, study)
    evaluates = found.register.plan.evaluates
    newest = model_files(station, found).model
    pooled: dict[str, float] = {}
    own: dict[str, float] = {}
    if evaluates is not None and found.results:
        layout = model_part(layout_of(station, found))
        pooled = from_sum(layout, read_model(layout, newest.read_bytes()))
        if station.member in found.results[-1].survivors:
            own = own_row(station, found)
    return StudyShown(
        status=study_status(state, found, station.member),
        evaluates=evaluates or "",
        rounds=tuple(
            RoundShown(each.round_no, each.attempt, each.model, tuple(sorted(each.survivors)))
            for each in found.results
        ),
        told=tuple(
            FailureTold(who, said.round_no, said.attempt, said.kind, said.line, said.raised)
            for who, said in found.failures
        ),
        pooled=pooled,
        own=own,
        model_file=str(newest),
    )

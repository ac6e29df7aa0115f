"""Which bulk bytes a host must hold before it logs a statement."""

from __future__ import annotations

from collections.abc import Iterable

from comity.statements.entries import Body
from comity.statements.governing import ProposalOpen
from comity.statements.rounds import RoundCommit, RoundJoin
from comity.statements.studies import StudyRegister
from comity.values import BlobName, StatementId


def needed_blobs(body: Body) -> Iterable[tuple[BlobName, StatementId | None]]:
    """The blobs the host must hold before it logs the statement; with the attempt of a vector."""
    match body:
        case RoundJoin():
            return [(BlobName(body.blob), None)]
        case RoundCommit():
            return [(BlobName(body.vector), body.opened)]
        case StudyRegister():
            plan = body.plan
            names = [plan.code, plan.layout, plan.model, *([plan.moments] if plan.moments else [])]
            return [(BlobName(name), None) for name in names]
        case ProposalOpen():
            return [(BlobName(body.release.manifest), None)] if body.release else []
        case _:
            return []

"""From a study file to the plan that a commons registers: what `study register` derives.

The file's own code runs in the sandbox only; everything it declares is checked on this side.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np

from comity.aggregation.layout import Layout, layout_bytes, layout_digest
from comity.commons.charter import Charter
from comity.commons.gate import SitePolicy
from comity.commons.studies import plan_fault
from comity.errors import Misconfigured, Refused, Rule, StudyFault, StudyFaultKind
from comity.learning.model import header_bytes
from comity.learning.steps import rule_of
from comity.learning.study import StudyCard
from comity.node.isolation import Limits
from comity.node.models import method_said
from comity.node.sandbox import Sandbox
from comity.node.vectors import write_first_moments
from comity.statements.studies import Deadlines, Plan, UpdateRule
from comity.values import STUDY_FILE_BYTES_MAX, BlobName, Digest, sha256, to_digest

PHASE_S: Final = 3_600
TRAIN_S: Final = 6 * 3_600
START_S: Final = 600
ATTEMPTS_MAX: Final = 10
_PIECE_BYTES: Final = 2**20


@final
@dataclass(frozen=True, slots=True)
class PlanTerms:
    """What a plan fixes beside its study file; None takes what is safe for the commons.

    colluders: c, members that may work together against another; by default a third of the
    others, at least 1. survivors_min: u_min; by default two thirds of the members, at least
    c + 2. attempts_max: of one round. phase_s: seconds for each phase of a round but training,
    train_s: for training.
    """

    colluders: int | None = None
    survivors_min: int | None = None
    attempts_max: int | None = None
    phase_s: int = PHASE_S
    train_s: int = TRAIN_S


@final
@dataclass(frozen=True, slots=True)
class StudyParts:
    """What the sandbox gave of a study file. blobs: files to be moved into a blob store."""

    card: StudyCard
    code: Digest
    layout: Digest
    model: Digest
    moments: Digest | None
    blobs: Mapping[BlobName, Path]


def study_parts(file: Path, work: Path, site: SitePolicy) -> StudyParts:
    """Describe a study file in the sandbox and make its first model and moments. Takes seconds.

    Args:
        file: the study file. work: an empty folder of this call's own.
        site: says whether the sandbox must have its full strength.
    Raises:
        Misconfigured: the file cannot be read. StudyFault: it does not load, or gives no model.
        Refused(SANDBOX_MISSING).
    """
    code = read_study(file)
    study = work / "study.py"
    study.write_bytes(code)
    limits = Limits(memory_bytes=site.memory_mb_max * 2**20, cpu_s=site.cpu_s_max)
    sandbox = Sandbox.start(study, None, work / "sandbox", policy=site.sandbox, limits=limits)
    try:
        card = sandbox.describe()
        model = write_model(card.model, sandbox.initial(), work / "model")
    finally:
        sandbox.close()
    layout = layout_digest(card.layout)
    (work / "layout").write_bytes(layout_bytes(card.layout))
    moments = write_first_moments(rule_of(card.rule), card.layout, work / "moments")
    blobs = {
        BlobName(sha256(code)): study,
        BlobName(layout): work / "layout",
        BlobName(model): work / "model",
    }
    if moments is not None:
        blobs[BlobName(moments)] = work / "moments"
    return StudyParts(card, sha256(code), layout, model, moments, blobs)


def plan_of(parts: StudyParts, charter: Charter, count: int, terms: PlanTerms) -> Plan:
    """The plan of a study file in this commons, of `count` members now.

    Raises:
        Refused(STUDY_OUT_OF_BOUNDS): names the setting and what the charter allows.
    """
    card, bounds = parts.card, charter.studies
    colluders = terms.colluders
    if colluders is None:
        colluders = max(bounds.colluders_min, 1, (count - 1) // 3)
    survivors_min = terms.survivors_min
    if survivors_min is None:
        survivors_min = max(colluders + 2, -(-2 * count // 3), bounds.survivors_min)
    plan = Plan(
        attempts_max=terms.attempts_max or min(ATTEMPTS_MAX, bounds.attempts_max),
        code=parts.code,
        colluders=colluders,
        deadlines=deadlines(terms.phase_s, terms.train_s),
        layout=parts.layout,
        method=method_said(card.method),
        model=parts.model,
        moments=parts.moments,
        parameters=card.parameters,
        rounds_max=card.rounds,
        rule=UpdateRule(
            name=card.rule.name,
            server_lr_millionths=card.rule.server_lr_millionths,
            beta1_millionths=card.rule.beta1_millionths,
            beta2_millionths=card.rule.beta2_millionths,
            tau_trillionths=card.rule.tau_trillionths,
        ),
        survivors_min=survivors_min,
        weight_max=card.weight_max,
        weights=card.weights,
        words=card.layout.words,
    )
    fault = plan_fault(bounds, plan, count)
    if fault is not None:
        raise Refused(
            Rule.STUDY_OUT_OF_BOUNDS,
            f"the charter does not allow this study: {fault}; change the study file or the flags",
        )
    return plan


def deadlines(phase_s: int, train_s: int) -> Deadlines:
    """The eight deadlines of a round, from the length of its phases in seconds.

    Raises:
        Misconfigured: a length below 1.
    """
    if phase_s < 1 or train_s < 1:
        raise Misconfigured("the phases of a round last at least 1 second each")
    start_s = min(phase_s, START_S)
    lengths = (phase_s, phase_s, phase_s, start_s, train_s, phase_s, phase_s, phase_s)
    return Deadlines(*(sum(lengths[: place + 1]) for place in range(len(lengths))))


def read_study(file: Path) -> bytes:
    """The bytes of a study file. Raises Misconfigured: it cannot be read, or is too long."""
    try:
        with file.open("rb") as source:
            code = source.read(STUDY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured(f"cannot read the study file {file}: {error.strerror}") from error
    if len(code) > STUDY_FILE_BYTES_MAX:
        raise Misconfigured(f"a study file has at most {STUDY_FILE_BYTES_MAX} bytes: {file}")
    return code


def write_model(layout: Layout, vector: Path, out: Path) -> Digest:
    """The first model as a safetensors file, copied piece by piece; its digest."""
    header = header_bytes(layout)
    digest = hashlib.sha256(header)
    with vector.open("rb") as source, out.open("wb") as target:
        target.write(header)
        while piece := source.read(_PIECE_BYTES):
            if not np.isfinite(np.frombuffer(piece, "<f4")).all():
                raise StudyFault(StudyFaultKind.NOT_FINITE, "the first model has NaN or infinity")
            digest.update(piece)
            target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    return to_digest(digest.digest())

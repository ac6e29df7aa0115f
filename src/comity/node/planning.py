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
from comity.commons.site import SitePolicy
from comity.commons.studies import plan_fault
from comity.errors import Malformed, Misconfigured, Refused, Rule, StudyFault, StudyFaultKind
from comity.learning.model import header_bytes, model_bytes_count
from comity.learning.steps import rule_of
from comity.learning.study import StudyCard
from comity.node.gating import limits_of
from comity.node.isolation import Limits
from comity.node.models import method_said
from comity.node.sandbox import Sandbox
from comity.node.vectors import write_first_moments
from comity.release.form import MODEL
from comity.statements.studies import Deadlines, Plan, UpdateRule
from comity.values import STUDY_FILE_BYTES_MAX, BlobName, Digest, sha256, to_digest

PHASE_S: Final = 3_600
TRAIN_S: Final = 6 * 3_600
START_S: Final = 600
ATTEMPTS_MAX: Final = 10
RELEASED_MODEL: Final = f"content/{MODEL}"
"""Where the model lies in the folder of a release."""

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
    evaluates: Digest | None
    blobs: Mapping[BlobName, Path]


def study_parts(file: Path, work: Path, site: SitePolicy, given: Path | None = None) -> StudyParts:
    """Describe a study file in the sandbox and make its first model and moments. Takes seconds.

    Args:
        file: the study file. work: an empty folder of this call's own.
        site: says whether the sandbox must have its full strength.
        given: the model that a study of kind "evaluate" is given.
    Raises:
        Misconfigured: a file cannot be read, or there is no use for a given model. StudyFault: it
            does not load, or gives no model. Refused(SANDBOX_MISSING). Malformed: the given model
            is not of the declared tensors.
    """
    code = read_study(file)
    study = work / "study.py"
    study.write_bytes(code)
    limits = limits_of(site, Limits().request_s)
    sandbox = Sandbox.start(study, None, work / "sandbox", policy=site.sandbox, limits=limits)
    try:
        card = sandbox.describe()
        model = write_model(card.model, sandbox.initial(), work / "model")
    finally:
        sandbox.close()
    layout = layout_digest(card.layout)
    (work / "layout").write_bytes(layout_bytes(card.layout))
    moments = write_first_moments(rule_of(card.rule), card.layout, work / "moments")
    evaluates = None if given is None else copy_given(card, given, work / "given")
    blobs = {
        BlobName(sha256(code)): study,
        BlobName(layout): work / "layout",
        BlobName(model): work / "model",
    }
    if moments is not None:
        blobs[BlobName(moments)] = work / "moments"
    if evaluates is not None:
        blobs[BlobName(evaluates)] = work / "given"
    return StudyParts(card, sha256(code), layout, model, moments, evaluates, blobs)


def plan_of(parts: StudyParts, charter: Charter, count: int, terms: PlanTerms) -> Plan:
    """The plan of a study file in this commons, of `count` members now.

    Raises:
        Refused(STUDY_OUT_OF_BOUNDS): names the setting and what the charter allows.
        Misconfigured: an evaluation without the model that it evaluates.
    """
    if parts.card.kind == "evaluate" and parts.evaluates is None:
        raise Misconfigured("this study evaluates a given model: name it with --model")
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
        evaluates=parts.evaluates,
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


def copy_given(card: StudyCard, given: Path, out: Path) -> Digest:
    """Copy the model that an evaluation is given, and check that it is of the declared tensors.

    Args:
        given: a safetensors file of this house, or the folder of a release.
    Raises:
        Misconfigured: the study trains, or the file cannot be read. Malformed: another layout.
        StudyFault(NOT_FINITE): it has NaN or infinity.
    """
    if card.kind != "evaluate":
        raise Misconfigured('--model is for studies of kind "evaluate"; this one trains its own')
    layout = Layout(card.given)
    header = header_bytes(layout)
    file = given / RELEASED_MODEL if given.is_dir() else given
    if file.exists() and not file.is_file():  # a pipe would hold up the node for ever
        raise Misconfigured(f"cannot read the model {given}: it is no regular file")
    try:
        with file.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            if source.read(len(header)) != header or size != model_bytes_count(layout):
                raise Malformed(
                    f"{given} is no model of the tensors that this study declares; a model of"
                    " Comity is one safetensors file, written by simulate or release"
                )
        return write_model(layout, file, out, skip=len(header))
    except OSError as error:
        raise Misconfigured(f"cannot read the model {given}: {error.strerror}") from error


def write_model(layout: Layout, vector: Path, out: Path, *, skip: int = 0) -> Digest:
    """A flat vector as a safetensors file, copied piece by piece; its digest.

    Args:
        skip: bytes in front of the vector.
    """
    header = header_bytes(layout)
    digest = hashlib.sha256(header)
    with vector.open("rb") as source, out.open("wb") as target:
        source.seek(skip)
        target.write(header)
        while piece := source.read(_PIECE_BYTES):
            if not np.isfinite(np.frombuffer(piece, "<f4")).all():
                raise StudyFault(StudyFaultKind.NOT_FINITE, "a model has NaN or infinity")
            digest.update(piece)
            target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    return to_digest(digest.digest())

"""How good the newest model of a study is on this site's data: together, and alone.

"Together" is the model that the members accepted, with this site's own tensors where the study has
some. "Alone" is what this site gets by itself from the same first model, in as many rounds.
"Tuned", where the study says so, is this site's own copy, trained on from "together" for a few
rounds; it is kept in the node's folder. All are measured by the study's own `evaluate`, in the
sandbox, on this site's table; the numbers leave the site only if its people send them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import final

from msgspec import Struct

from comity.commons.gate import check_data_use
from comity.errors import Misconfigured, Refused, Rule
from comity.learning.seeds import training_seed
from comity.node.gating import facts
from comity.node.isolation import Limits
from comity.node.keeping import kept_path, lay_out_kept, tuned_path, write_tuned
from comity.node.lookup import find_study
from comity.node.models import model_files
from comity.node.practice import local_dataset, records_asked, site_limits
from comity.node.sandbox import Sandbox
from comity.node.station import Station
from comity.node.vectors import file_digest
from comity.values import WALLS, MemberId, SandboxPolicy, StatementId


@final
class Evaluation(Struct, frozen=True, tag="evaluation"):
    """Metrics by name, as the study defines them. round_no: rounds behind both models.

    tuned, tuned_file: of the fine-tuned copy; None and "" when the study asks for none.
    """

    study: StatementId
    name: str
    round_no: int
    together: dict[str, float]
    alone: dict[str, float]
    tuned: dict[str, float] | None = None
    tuned_file: str = ""


@final
@dataclass(frozen=True, slots=True)
class EvaluationTask:
    """All that an evaluation needs, so that it can run outside the node's loop."""

    study: StatementId
    name: str
    member: MemberId
    round_no: int
    code: Path
    table: Path
    newest: Path
    first: Path
    kept: Path | None
    tuned: Path
    work: Path
    policy: SandboxPolicy
    limits: Limits


def evaluate(station: Station, study: str) -> Evaluation:
    """Evaluate the newest model here. Trains alone for as many rounds, so it may take long.

    Args:
        study: id, its beginning, or name.

    Raises:
        Refused(TOO_SOON): no round has a result yet. Refused(NO_CONSENT): no consent of this
            site is in force. Refused(STUDY_PAUSED, NOT_REVIEWED). StudyFault, DataFault,
            Unavailable, Misconfigured.
    """
    return run_evaluation(evaluation_task(station, study))


def evaluation_task(station: Station, study: str) -> EvaluationTask:
    """Gather what an evaluation needs; quick. Raises: as `evaluate`."""
    found = find_study(station.replica.state, study)
    if found.register.plan.evaluates is not None:
        raise Misconfigured(
            f"{found.register.name} is an evaluation itself: see `comity study show"
            f" {found.register.name}`"
        )
    if not found.results:
        raise Refused(
            Rule.TOO_SOON,
            f"study {found.register.name} has no result yet: watch it with `comity study watch`",
        )
    consent = found.consents.get(station.member)
    if consent is None:
        raise Refused(
            Rule.NO_CONSENT,
            f"this site has no consent in force for study {found.register.name}, so its code may"
            " not read the data here",
        )
    local = local_dataset(station, consent.dataset)
    code = station.blob(found.register.plan.code)
    here = facts(
        station,
        found,
        consent,
        code=file_digest(code),
        versions={consent.dataset: local.version_now()},
        walls=frozenset(WALLS),  # which hold is asked of the process itself, before it reads data
        records=records_asked(station, consent, station.site),
    )
    check_data_use(station.replica.state, station.member, found, station.site, here)
    files = model_files(station, found)
    return EvaluationTask(
        study=found.id,
        name=found.register.name,
        member=station.member,
        round_no=len(found.results),
        code=code,
        table=Path(local.path),
        newest=files.model,
        first=station.blob(found.register.plan.model),
        kept=kept_path(station, found),
        tuned=tuned_path(station, found),
        work=station.folder / "sandbox" / f"{found.id}-evaluation",
        policy=station.site.sandbox,
        limits=site_limits(station),
    )


def run_evaluation(task: EvaluationTask) -> Evaluation:
    """Run it in a process of its own. Raises StudyFault, DataFault, Refused, Misconfigured."""
    task.work.mkdir(parents=True, exist_ok=True, mode=0o700)
    code = task.work / "study.py"
    shutil.copyfile(task.code, code)
    sandbox = Sandbox.start(
        code, task.table, task.work / "sandbox", policy=task.policy, limits=task.limits
    )
    try:
        card = sandbox.describe()
        sandbox.check_data()
        shutil.copyfile(task.newest, sandbox.model_path)
        lay_out_kept(task.kept, card, sandbox.kept_path)
        together = sandbox.evaluate()
        seed = training_seed(card.seed, task.member, 0)
        tuned = None
        if card.method.fine_tuning:
            tuned = sandbox.fine_tune(seed, card.method.fine_tuning)
            write_tuned(card, sandbox.vector_path, sandbox.kept_path, task.tuned)
        shutil.copyfile(task.first, sandbox.model_path)
        alone = sandbox.alone(seed, task.round_no)
    finally:
        sandbox.close()
    file = "" if tuned is None else str(task.tuned)
    return Evaluation(task.study, task.name, task.round_no, together, alone, tuned, file)

"""How good the newest model of a study is on this site's data: together, and alone.

"Together" is the model that the members accepted. "Alone" is what this site gets by itself from the
same first model, in as many rounds. Both are measured by the study's own `evaluate`, in the
sandbox, on this site's table; the numbers leave the site only if its people send them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import final

from msgspec import Struct

from comity.commons.gate import LocalFacts, check_data_use
from comity.errors import Refused, Rule
from comity.learning.seeds import training_seed
from comity.node.isolation import Limits
from comity.node.lookup import find_study
from comity.node.models import model_files
from comity.node.practice import local_dataset, site_limits
from comity.node.sandbox import Policy, Sandbox
from comity.node.station import Station
from comity.node.vectors import file_digest
from comity.values import MemberId, StatementId


@final
class Evaluation(Struct, frozen=True, tag="evaluation"):
    """Metrics by name, as the study defines them. round_no: rounds behind both models."""

    study: StatementId
    name: str
    round_no: int
    together: dict[str, float]
    alone: dict[str, float]


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
    work: Path
    policy: Policy
    limits: Limits


def evaluate(station: Station, study: str) -> Evaluation:
    """Evaluate the newest model here. Trains alone for as many rounds, so it may take long.

    Args:
        study: id, its beginning, or name.

    Raises:
        Refused(TOO_SOON): no round has a result yet. Refused(NO_CONSENT): no consent of this
            site is in force. StudyFault, DataFault, Unavailable, Misconfigured.
    """
    return run_evaluation(evaluation_task(station, study))


def evaluation_task(station: Station, study: str) -> EvaluationTask:
    """Gather what an evaluation needs; quick. Raises: as `evaluate`."""
    found = find_study(station.replica.state, study)
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
    facts = LocalFacts(
        code=file_digest(code), versions={consent.dataset: local.version_now()}, sandboxed=False
    )
    check_data_use(station.replica.state, station.member, found, station.site, facts)
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
        together = sandbox.evaluate()
        shutil.copyfile(task.first, sandbox.model_path)
        seed = training_seed(card.seed, task.member, 0)
        alone = sandbox.alone(seed, task.round_no)
    finally:
        sandbox.close()
    return Evaluation(task.study, task.name, task.round_no, together, alone)

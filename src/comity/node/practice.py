"""The studies at work at this site: their processes, their training, and the update they give.

A study's process is started at the first round it may take part in, stays warm, and is asked one
thing at a time. The node never waits for it: a thread does, and wakes the loop. A repeated round
gives the same update, because its randomness comes from (study seed, member, round) alone.
"""

from __future__ import annotations

import hashlib
import logging
import os
import select
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import msgspec

from comity.aggregation.layout import layout_digest
from comity.aggregation.ring import Quantiser
from comity.aggregation.stages import Started
from comity.commons.attempts import Started as StartedFact
from comity.commons.state import State, Study
from comity.errors import DataFault, Misconfigured, StudyFault, StudyFaultKind
from comity.learning.study import StudyCard
from comity.node.isolation import Limits
from comity.node.models import layout_of, model_files
from comity.node.sandbox import Sandbox
from comity.node.sandbox_wire import Train, Trained
from comity.node.station import Station
from comity.node.vectors import WORD_BYTES, mask_update
from comity.values import Digest, MemberId, Seat, StatementId, labelled_hash, to_digest, u32, u64

LOG = logging.getLogger(__name__)


@final
class LocalDataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a data set lies at this site, and the salt of its declared version (32 bytes)."""

    path: str
    salt: bytes
    version: str

    def version_now(self) -> Digest:
        """The version the file has now: a salted hash, so that it tells nobody what is in it.

        Raises:
            Misconfigured: the file cannot be read.
        """
        return version_of(Path(self.path), self.salt)


def version_of(path: Path, salt: bytes) -> Digest:
    """SHA-256 over salt and bytes of a data file."""
    digest = hashlib.sha256(salt)
    try:
        with path.open("rb") as source:
            while piece := source.read(2**20):
                digest.update(piece)
    except OSError as error:
        raise Misconfigured(f"cannot read the data file {path}: {error.strerror}") from error
    return to_digest(digest.digest())


def local_dataset(station: Station, dataset: str) -> LocalDataset:
    """A data set this node declared. Raises Misconfigured when it is not known here."""
    stored = station.journal.get(f"dataset/{dataset}")
    if stored is None:
        raise Misconfigured(f"data set {dataset} is not known here: `comity data add` it first")
    return msgspec.msgpack.decode(stored, type=LocalDataset)


def training_seed(card_seed: int, member: MemberId, round_no: int) -> bytes:
    """32 bytes for a member's training in a round; the same in every attempt of it."""
    return labelled_hash("training", u64(card_seed), member.encode(), u32(round_no))


def rounding_seed(card_seed: int, member: MemberId, round_no: int) -> bytes:
    """32 bytes for a member's stochastic rounding in a round; the same in every attempt of it."""
    return labelled_hash("rounding", u64(card_seed), member.encode(), u32(round_no))


@final
@dataclass(slots=True)
class Running:
    """One study's process here, what it declares, and the attempt it is training for."""

    sandbox: Sandbox
    card: StudyCard
    asked: StatementId | None = None
    trained: Trained | None = None


@final
class Practice:
    """All study processes of this node.

    Args:
        station: the member's open folder.
        on_trained: called from another thread when a process has answered.
    """

    def __init__(self, station: Station, on_trained: Callable[[], None]) -> None:
        self._station = station
        self._on_trained = on_trained
        self._running: dict[StatementId, Running] = {}
        self._failed: dict[StatementId, tuple[StatementId, StudyFault | DataFault]] = {}
        self._sandboxed: bool | None = None

    def close(self) -> None:
        """End every process."""
        for running in self._running.values():
            running.sandbox.close()
        self._running.clear()

    def follow(self, state: State) -> None:
        """End the processes of studies that are finished."""
        for study_id in list(self._running):
            if state.studies[study_id].finished:
                self._running.pop(study_id).sandbox.close()

    def prepare(self, study: Study) -> Running:
        """The study's process, started and compared with its plan.

        Raises:
            Refused(SANDBOX_MISSING), StudyFault, DataFault, Misconfigured.
        """
        running = self._running.get(study.id)
        if running is not None and running.sandbox.alive:
            return running
        running = Running(*self._start(study))
        self._running[study.id] = running
        return running

    def sandboxed(self) -> bool:
        """Whether this machine shuts a study in fully; asked once, of a process without one."""
        if self._sandboxed is None:
            nothing = self._station.work / "nothing.py"
            nothing.write_text("", encoding="utf-8")
            place = self._station.folder / "sandbox" / "probe"
            probe = Sandbox.start(nothing, None, place, policy="warn")
            self._sandboxed = probe.isolation.complete
            probe.close()
        return self._sandboxed

    def declared_weight(self, study: Study) -> int | None:
        """The weight this member declares in its Join: rows it uses, up to weight_max."""
        plan = study.register.plan
        if plan.weights != "declared":
            return None
        checked = self.prepare(study).sandbox.check_data()
        return max(1, min(checked.rows_count - checked.dropped_count, plan.weight_max))

    def update(self, started: StartedFact) -> Trained | None:
        """The update for an attempt: None while the study's process is at work.

        Raises:
            StudyFault, DataFault: the study failed in this attempt; it is asked again in the next
                one, or when the node starts again.
        """
        opened = started.opened
        failed = self._failed.get(opened.study)
        if failed is not None and failed[0] == opened.id:
            raise failed[1]
        try:
            return self._ask(started)
        except (StudyFault, DataFault) as error:
            self._failed[opened.study] = (opened.id, error)
            raise

    def _ask(self, started: StartedFact) -> Trained | None:
        opened = started.opened
        study = self._station.replica.state.studies[opened.study]
        running = self.prepare(study)
        if running.asked != opened.id:
            files = model_files(self._station, study)
            _copy_over(files.model, running.sandbox.model_path)
            seed = training_seed(running.card.seed, self._station.member, opened.round_no)
            running.trained, running.asked = None, opened.id
            running.sandbox.begin(Train(seed.hex()))
            self._wake_later(running.sandbox)
            return None
        if running.trained is None:
            result = running.sandbox.poll()
            if result is None:
                return None
            assert isinstance(result, Trained)
            running.trained = result
        return running.trained

    def mask(self, started: StartedFact, stage: Started, trained: Trained) -> tuple[Path, Digest]:
        """Quantise and mask the update; the file is durable on return. Returns it and root(y)."""
        station, opened = self._station, started.opened
        study = station.replica.state.studies[opened.study]
        running = self._running[opened.study]
        layout = layout_of(station, study)
        joined = started.joins[stage_seat(stage)]
        match opened.weights:
            case "equal":
                weight = 1
            case "declared":
                weight = joined.weight or 1
            case _:
                weight = min(trained.example_count, opened.weight_max)
        seed = rounding_seed(running.card.seed, station.member, opened.round_no)
        quantiser = Quantiser(layout, opened.count, weight, opened.weight_max, seed)
        size = WORD_BYTES * opened.words
        out = station.scratch.take(station.work / f"{opened.id}.y", size)
        root = mask_update(running.sandbox.vector_path, layout, quantiser, stage, stage.seat, out)
        return out, root

    def _start(self, study: Study) -> tuple[Sandbox, StudyCard]:
        station, plan = self._station, study.register.plan
        studies = station.folder / "studies"
        studies.mkdir(exist_ok=True, mode=0o700)
        file = studies / f"{plan.code}.py"
        if not file.exists():
            shutil.copyfile(station.blob(plan.code), file)
        consent = study.consents[station.member]
        table = Path(local_dataset(station, consent.dataset).path)
        sandbox = Sandbox.start(
            file,
            table,
            station.folder / "sandbox" / study.id,
            policy=station.site.sandbox,
            limits=Limits(request_s=float(station.settings.train_s_max)),
        )
        if not sandbox.isolation.complete:
            station.faults["sandbox"] = "; ".join(sandbox.isolation.missing)
        try:
            card = sandbox.describe()
            _compare(study, card)
            sandbox.check_data()
        except BaseException:
            sandbox.close()
            raise
        LOG.info("study process started study=%s pid=%d", study.register.name, sandbox.pid)
        return sandbox, card

    def _wake_later(self, sandbox: Sandbox) -> None:
        """A thread that waits for the answer, so that the loop need not."""
        descriptor = sandbox.fileno()

        def wait() -> None:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(1000 * self._station.settings.train_s_max)
            self._on_trained()

        threading.Thread(target=wait, name="study", daemon=True).start()


def _copy_over(source: Path, target: Path) -> None:
    """Copy a file over one that may be there; in the same pages, when it is."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    room = memoryview(bytearray(2**20))
    with source.open("rb", buffering=0) as read, os.fdopen(descriptor, "wb", buffering=0) as write:
        while count := read.readinto(room):
            write.write(room[:count])
        write.truncate()


def stage_seat(stage: Started) -> Seat:
    """The seat of a stage, as the commons names it."""
    return Seat(stage.seat)


def _compare(study: Study, card: StudyCard) -> None:
    """The registered plan must be what the study file itself declares."""
    plan = study.register.plan
    rule = msgspec.to_builtins(plan.rule)
    declared = {name: number for name, number in msgspec.to_builtins(card.rule).items() if number}
    same = (
        layout_digest(card.layout) == plan.layout
        and card.parameters == plan.parameters
        and card.weights == plan.weights
        and card.weight_max == plan.weight_max
        and card.rounds == plan.rounds_max
        and declared == rule
    )
    if not same:
        raise StudyFault(
            StudyFaultKind.BAD_OUTPUT,
            "the study file does not declare what its registered plan says; do not run it",
        )

"""The studies at work at this site: their processes, their training, and the update they give.

A study's process is started at the first round it may take part in, stays warm, and is asked one
thing at a time. The node never waits for it: a thread does, and wakes the loop. A repeated round
gives the same update, because its randomness comes from (study seed, member, round) alone.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import msgspec

from comity.aggregation.layout import layout_digest
from comity.aggregation.ring import Quantiser
from comity.aggregation.stages import Started
from comity.commons.attempts import Opened
from comity.commons.attempts import Started as StartedFact
from comity.commons.site import SitePolicy
from comity.commons.state import Consent, State, Study
from comity.commons.studies import consent_rule
from comity.errors import DataFault, Misconfigured, Refused, Rule, StudyFault, StudyFaultKind
from comity.learning.seeds import rounding_seed, training_seed
from comity.learning.study import StudyCard
from comity.node.failures import note_failure
from comity.node.gating import limits_of, rows_of
from comity.node.isolation import Limits
from comity.node.keeping import keep, kept_path, lay_out_control, lay_out_kept
from comity.node.machine import StudyProcess
from comity.node.models import layout_of, method_said, model_files
from comity.node.own_rows import note_own_row
from comity.node.sandbox_wire import Train, Trained
from comity.node.station import Station
from comity.node.vectors import WORD_BYTES, file_digest, mask_update, write_whole
from comity.values import (
    DatasetId,
    Digest,
    Seat,
    StatementId,
    Wall,
    to_digest,
)

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


@final
@dataclass(slots=True)
class Running:
    """One study's process here, what it declares, and the attempt it is training for.

    reads: the data version it has read, which it keeps in memory. limits: that hold around it.
    """

    sandbox: StudyProcess
    card: StudyCard
    reads: tuple[DatasetId, Digest]
    limits: Limits
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
        self._walls: frozenset[Wall] | None = None

    def close(self) -> None:
        """End every process."""
        for running in self._running.values():
            running.sandbox.close()
        self._running.clear()

    def follow(self, state: State) -> None:
        """End the processes of studies that are finished, or that may not read these data now."""
        for study_id, running in list(self._running.items()):
            study = state.studies[study_id]
            if study.finished or running.reads != self._consented(state, study):
                self._running.pop(study_id).sandbox.close()

    def is_asked(self, opened: Opened) -> bool:
        """Whether a process trains for this attempt, or has, or has failed at it."""
        failed = self._failed.get(opened.study)
        if failed is not None and failed[0] == opened.id:
            return True
        running = self._running.get(opened.study)
        return running is not None and running.sandbox.alive and running.asked == opened.id

    def done(self, opened: Opened) -> None:
        """The attempt needs no update any more: overwrite it, end a process still at work on it."""
        running = self._running.get(opened.study)
        if running is None or running.asked != opened.id:
            return
        if running.sandbox.busy:
            self._running.pop(opened.study).sandbox.close()
            return
        running.asked, running.trained = None, None
        running.sandbox.forget()

    def _consented(self, state: State, study: Study) -> tuple[DatasetId, Digest] | None:
        """The data version that the study may read here, if any."""
        member = self._station.member
        if member in study.left or consent_rule(state, study, member) is not None:
            return None
        return study.consents[member].dataset, study.consents[member].version

    def prepare(self, study: Study) -> Running:
        """The study's process, started and compared with its plan.

        Raises:
            Refused(NO_CONSENT, VERSION_NOT_DECLARED, SANDBOX_MISSING), StudyFault, DataFault,
            Misconfigured.
        """
        reads = self._consented(self._station.replica.state, study)
        if reads is None:
            raise Refused(Rule.NO_CONSENT, "no consent of this site is in force for the study")
        running = self._running.get(study.id)
        if running is not None and running.sandbox.alive and running.reads == reads:
            return running
        if running is not None:
            running.sandbox.close()
        try:
            limits = site_limits(self._station)
            running = Running(*self._start(study, *reads, limits), reads, limits)
        except (StudyFault, DataFault) as error:
            note_failure(self._station, study, error)
            raise
        self._running[study.id] = running
        return running

    def walls(self) -> frozenset[Wall]:
        """What this machine keeps up around a study; asked once, of a process without one."""
        if self._walls is None:
            place = self._station.folder / "sandbox" / "probe"
            self._walls = probe(self._station, place, self._station.site)
        return self._walls

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
            study = self._station.replica.state.studies[opened.study]
            note_failure(self._station, study, error)
            raise

    def _ask(self, started: StartedFact) -> Trained | None:
        opened = started.opened
        study = self._station.replica.state.studies[opened.study]
        running = self.prepare(study)
        if running.asked != opened.id:
            limits = site_limits(self._station)
            spent = 2 * running.sandbox.cpu_s > self._station.site.cpu_s_max
            if running.sandbox.busy or spent or running.limits != limits:
                # Still at work on an attempt that is over; or little is left of its time, for the
                # site's limit is of a round, and the system's of the life of a process; or the
                # owner has set other limits since it was started.
                running.sandbox.close()
                running = self.prepare(study)
            self._lay_out(study, running)
            seed = training_seed(running.card.seed, self._station.member, opened.round_no)
            running.trained, running.asked = None, opened.id
            running.sandbox.begin(Train(seed.hex()))
            limit_s = self._station.settings.train_s_max
            self._station.machine.wait(running.sandbox, self._on_trained, limit_s)
            return None
        if running.trained is None:
            result = running.sandbox.poll()
            if result is None:
                return None
            assert isinstance(result, Trained)
            if running.card.kept_words:
                running.asked = None  # if the disk is full now, it is trained again
                keep(self._station, study, opened.round_no, running.sandbox.kept_path)
                running.asked = opened.id
            if running.card.kind == "evaluate":
                note_own_row(self._station, study, running.sandbox.vector_path)
            running.trained = result
        return running.trained

    def _lay_out(self, study: Study, running: Running) -> None:
        """Put what training starts from where the study's process reads it."""
        sandbox, files = running.sandbox, model_files(self._station, study)
        given = study.register.plan.evaluates
        _copy_over(files.model if given is None else self._station.blob(given), sandbox.model_path)
        lay_out_kept(kept_path(self._station, study), running.card, sandbox.kept_path)
        lay_out_control(files.moments, running.card, sandbox.control_path)

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

    def _start(
        self, study: Study, dataset: DatasetId, version: Digest, limits: Limits
    ) -> tuple[StudyProcess, StudyCard]:
        station, plan = self._station, study.register.plan
        studies = station.folder / "studies"
        studies.mkdir(exist_ok=True, mode=0o700)
        file = studies / f"{plan.code}.py"
        if not file.exists() or file_digest(file) != plan.code:
            shutil.copyfile(station.blob(plan.code), file)
        local = local_dataset(station, dataset)
        sandbox = station.machine.start_study(
            file,
            Path(local.path),
            station.folder / "sandbox" / study.id,
            policy=station.site.sandbox,
            limits=limits,
        )
        if not sandbox.isolation.complete:
            station.faults["sandbox"] = "; ".join(sandbox.isolation.missing)
        try:
            card = sandbox.describe()
            _compare(study, card)
            sandbox.check_data()
            if local.version_now() != version:  # it has read what lies there now
                raise Refused(
                    Rule.VERSION_NOT_DECLARED,
                    f"the file of {dataset} has changed: declare its new version, consent again",
                )
        except BaseException:
            sandbox.close()
            raise
        LOG.info("study process started study=%s pid=%d", study.register.name, sandbox.pid)
        return sandbox, card


def probe(station: Station, place: Path, site: SitePolicy) -> frozenset[Wall]:
    """What holds around a process here under the limits of a policy; it has no study and no data.

    Args:
        place: a folder of this call's own.
    """
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    nothing = place / "nothing.py"
    nothing.write_text("", encoding="utf-8")
    limits = limits_of(site, float(station.settings.train_s_max))
    process = station.machine.start_study(
        nothing, None, place / "work", policy="warn", limits=limits
    )
    process.close()
    return process.isolation.walls


def site_limits(station: Station) -> Limits:
    """What the site's policy and settings let the process of a study use."""
    return limits_of(station.site, float(station.settings.train_s_max))


def records_asked(station: Station, consent: Consent, site: SitePolicy) -> Mapping[DatasetId, int]:
    """Rows of the data set of a consent, where the policy names a least number.

    Raises:
        Misconfigured: they cannot be counted.
    """
    named = site.dataset.get(consent.dataset)
    if named is None or not named.records_min:
        return {}
    return {consent.dataset: rows_of(Path(local_dataset(station, consent.dataset).path))}


def _copy_over(source: Path, target: Path) -> None:
    """Copy a file over one that may be there; in the same pages, when it is."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    room = memoryview(bytearray(min(2**20, max(1, source.stat().st_size))))
    with source.open("rb", buffering=0) as read, os.fdopen(descriptor, "wb", buffering=0) as write:
        while count := read.readinto(room):
            write_whole(write, room[:count])
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
        and card.layout.words == plan.words
        and card.parameters == plan.parameters
        and card.weights == plan.weights
        and card.weight_max == plan.weight_max
        and card.rounds == plan.rounds_max
        and card.use == study.register.use
        and method_said(card.method) == plan.method
        and declared == rule
        and (card.kind == "evaluate") == (plan.evaluates is not None)
    )
    if not same:
        raise StudyFault(
            StudyFaultKind.BAD_OUTPUT,
            "the study file does not declare what its registered plan says; do not run it",
        )

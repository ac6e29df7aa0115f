"""What a site keeps of a study from round to round: its own tensors, its own control variate.

One file for each round, `kept/<study>/<round>.f32` in the node's folder, durable before the Commit
is said. Which of them counts is no pointer that could be wrong, but follows from the log: the one
of the newest accepted round whose sum has this member's vector. So a node that is killed anywhere,
or that must repeat a round, trains from the same numbers again and gives the same update; what it
learned in a round that came to nothing counts for nothing.

These files never leave the site. The folder belongs on an encrypted disk, as the whole node does.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from comity.aggregation.layout import Layout
from comity.commons.state import Study
from comity.errors import StudyFault, StudyFaultKind
from comity.learning.model import header_bytes
from comity.learning.steps import rule_of
from comity.learning.study import StudyCard
from comity.node.sandbox_start import overwrite, write_over
from comity.node.sandbox_wire import WORD_BYTES
from comity.node.station import Station
from comity.node.vectors import state_words
from comity.storage.disk import DiskFaults, sync_folder

LOG = logging.getLogger(__name__)


def keep(station: Station, study: Study, round_no: int, source: Path) -> None:
    """Make what was learned in a round durable; files that no round can start from any more go.

    Die on any line: the file of this round is whole or absent, and the round is trained again.
    Raises Unavailable: the disk is full or not writable.
    """
    place = _place(station, study, round_no)
    with DiskFaults(place.parent):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with source.open("rb") as read, _durable(place) as write:
            shutil.copyfileobj(read, write)
    start = kept_round(station, study)
    for old in place.parent.glob("*.f32"):
        if old.stem.isdecimal() and int(old.stem) < start:
            overwrite(old)
            old.unlink()


def kept_round(station: Station, study: Study) -> int:
    """The newest accepted round with this member in its sum, whose file is here; 0: none."""
    method = study.register.plan.method
    if method is None or not (method.own or method.name == "scaffold"):
        return 0
    gone = 0
    for result in reversed(study.results):
        if station.member in result.survivors:
            if _place(station, study, result.round_no).exists():
                return result.round_no
            gone = gone or result.round_no
    if gone:
        LOG.warning("what was kept of round=%d is gone; this site begins afresh", gone)
    return 0


def kept_path(station: Station, study: Study) -> Path | None:
    """The file the next round starts from; None: this site begins as everybody does."""
    number = kept_round(station, study)
    return _place(station, study, number) if number else None


def lay_out_kept(source: Path | None, card: StudyCard, target: Path) -> None:
    """Copy it to where the study's process reads it; nothing, where the study keeps nothing.

    A file of another length is not used, as if it were not there: the round begins afresh.
    """
    raw = source.read_bytes() if source is not None and card.kept_words else b""
    if raw and len(raw) != WORD_BYTES * card.kept_words:
        LOG.warning("%s is damaged; this site begins afresh", source)
        raw = b""
    overwrite(target)
    write_over(target, raw)


def lay_out_control(state: Path | None, card: StudyCard, target: Path) -> None:
    """Copy c of SCAFFOLD to where the study's process reads it; nothing without that method.

    Args:
        state: file of the update rule's state, whose last part c is.
    Raises:
        StudyFault(BAD_OUTPUT): the state that the plan names is not as long as rule and model say.
    """
    if card.method.name != "scaffold":
        return
    expected = WORD_BYTES * state_words(rule_of(card.rule), card.layout)
    if state is None or state.stat().st_size != expected:
        raise StudyFault(
            StudyFaultKind.BAD_OUTPUT,
            f"the state of the update rule must have {expected} bytes; do not run this study",
        )
    size = WORD_BYTES * card.model.data_words
    with state.open("rb") as source:
        source.seek(expected - size)
        write_over(target, source.read(size))


def tuned_path(station: Station, study: Study) -> Path:
    """Where this site's fine-tuned copy lies."""
    return station.folder / "kept" / study.id / "fine-tuned.safetensors"


def write_tuned(card: StudyCard, model: Path, kept: Path, target: Path) -> None:
    """Put the fine-tuned copy into one safetensors file: shared tensors, then this site's own.

    Raises:
        StudyFault(BAD_OUTPUT): the study's process left files of another length.
    """
    layout = Layout((*card.model.segments, *card.own))
    own_bytes = WORD_BYTES * sum(segment.words for segment in card.own)
    raw = model.read_bytes() + kept.read_bytes()[:own_bytes]
    if len(raw) != WORD_BYTES * layout.data_words:
        raise StudyFault(StudyFaultKind.BAD_OUTPUT, "the tuned model is not as long as declared")
    with DiskFaults(target.parent):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _durable(target) as write:
            write.write(header_bytes(layout) + raw)


@contextmanager
def _durable(place: Path) -> Iterator[BinaryIO]:
    """A file that is whole and on disk under its name once the block is over, or absent."""
    fresh = place.with_suffix(".new")
    with fresh.open("wb") as write:
        os.fchmod(write.fileno(), 0o600)
        yield write
        write.flush()
        os.fsync(write.fileno())
    fresh.replace(place)
    sync_folder(place.parent)


def _place(station: Station, study: Study, round_no: int) -> Path:
    return station.folder / "kept" / study.id / f"{round_no}.f32"

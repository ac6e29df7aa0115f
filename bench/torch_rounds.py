"""What a PyTorch model adds to a round: beside the same rounds of a model of plain arrays.

Both studies move every number by one step, so what differs is the framework in the study's process
and what the adapter copies. A round of the one over a round of the other is therefore no less than
the cost of everything but local training over the bench figure of the main job.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from pathlib import Path
from typing import Final

from bench.rounds import STUDY, Measured, Say, measure_rounds
from bench.sizes import TORCH_MAX, Sizes
from bench.table import Row, about, processor_times, spread

NETWORK: Final = Path(__file__).with_name("big_network.py")


def torch_rows(folder: Path, sizes: Sizes, say: Say, notes: list[str]) -> list[Row]:
    """The row, or none and a note why. Plain rounds come before and after those with PyTorch."""
    if importlib.util.find_spec("torch") is None:
        notes.append("torch: not measured, PyTorch is not installed: `make bench-torch` has it")
        return []
    before = _rounds(folder, sizes, STUDY, say)
    measured = _rounds(folder, sizes, NETWORK, say)
    plain = before.seconds + _rounds(folder, sizes, STUDY, say).seconds
    ratio = statistics.median(measured.seconds) / statistics.median(plain)
    notes.append(f"torch: processor time per round: {processor_times(measured)}")
    notes.append(f"torch: the same without PyTorch: {processor_times(before)}")
    return [
        Row(
            f"a round of a PyTorch model: {about(sizes.members, sizes.big)}",
            spread(measured.seconds),
            f"plain arrays {spread(plain)}",
            f"{ratio:.3f}",
            f"at most {TORCH_MAX} of the same without PyTorch",
            ratio <= TORCH_MAX,
        )
    ]


def _rounds(folder: Path, sizes: Sizes, study: Path, say: Say) -> Measured:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        return measure_rounds(
            Path(place),
            members=sizes.members,
            parameters=sizes.big,
            rounds=sizes.big_rounds + 1,
            say=lambda line: say(f"torch, {study.stem}: {line}"),
            source=study,
        )

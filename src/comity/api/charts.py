"""Curves of a simulation as SVG, drawn by Matplotlib (`pip install comity[plot]`)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import final

from comity.api.simulations import Simulation, write_new
from comity.errors import Misconfigured


@final
@dataclass(frozen=True, slots=True, repr=False)
class Chart:
    """A drawn chart; shows itself in a notebook. svg: its text, the same for the same numbers."""

    title: str
    svg: str

    def save(self, file: Path | str) -> Path:
        """Write it as a new SVG file. Raises Misconfigured: it exists, or cannot be written."""
        return write_new(Path(file), self.svg.encode())

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<chart: {self.title}>"


def plot(simulation: Simulation, metric: str) -> Chart:
    """A metric over the rounds: a line for each member, and the mean of members; the last seed's.

    Args:
        metric: as the study's `evaluate` names it.
    Raises:
        Misconfigured: no such metric, or Matplotlib is not installed.
    """
    seed = max(simulation.models)
    found = simulation.scores.only(seed=seed, metric=metric, tuned=False)
    if not len(found):
        names = ", ".join(sorted({str(name) for name in simulation.scores.column("metric")}))
        raise Misconfigured(f"the metrics are {names or 'none'}, not {metric!r}")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise Misconfigured("charts need Matplotlib: pip install comity[plot]") from None
    curves: dict[str, dict[int, float]] = {}
    for _, number, member, _, value, _ in found.rows:
        assert isinstance(number, int) and isinstance(value, float)
        curves.setdefault(str(member), {})[number] = value
    rounds = sorted({number for curve in curves.values() for number in curve})
    each = [[curve[n] for curve in curves.values() if n in curve] for n in rounds]
    title = f"{simulation.name}: {metric}, seed {seed}"
    text = io.StringIO()
    with rc_context({"svg.hashsalt": "comity", "svg.fonttype": "none"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for curve in curves.values():
            axes.plot(list(curve), list(curve.values()), color="0.75", linewidth=0.8)
        mean = [sum(values) / len(values) for values in each]
        axes.plot(rounds, mean, linewidth=2, marker="o", markersize=3, label="mean of members")
        axes.set(title=title, xlabel="round", ylabel=metric)
        axes.legend()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return Chart(title, text.getvalue())

"""Comity: institutions build AI together without having to trust each other, or the host.

`import comity` is the Python side of the commands (docs/python.md): these names and no others. Each
is loaded when it is first used, so that importing costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comity.api.charts import Chart as Chart
    from comity.api.charts import plot as plot
    from comity.api.nodes import Node as Node
    from comity.api.nodes import RegisteredStudy as RegisteredStudy
    from comity.api.nodes import connect as connect
    from comity.api.simulations import Simulation as Simulation
    from comity.api.simulations import simulate as simulate
    from comity.api.studies import StudyFile as StudyFile
    from comity.api.studies import check as check
    from comity.api.studies import load as load
    from comity.api.studies import twin as twin
    from comity.api.tables import ResultTable as ResultTable
    from comity.errors import ComityError as ComityError
    from comity.errors import DataFault as DataFault
    from comity.errors import Misconfigured as Misconfigured
    from comity.errors import Refused as Refused
    from comity.errors import StudyFault as StudyFault
    from comity.errors import Unavailable as Unavailable

__version__ = "0.1.0"

_HOMES = {
    "Chart": "comity.api.charts",
    "ComityError": "comity.errors",
    "DataFault": "comity.errors",
    "Misconfigured": "comity.errors",
    "Node": "comity.api.nodes",
    "Refused": "comity.errors",
    "RegisteredStudy": "comity.api.nodes",
    "ResultTable": "comity.api.tables",
    "Simulation": "comity.api.simulations",
    "StudyFault": "comity.errors",
    "StudyFile": "comity.api.studies",
    "Unavailable": "comity.errors",
    "check": "comity.api.studies",
    "connect": "comity.api.nodes",
    "load": "comity.api.studies",
    "plot": "comity.api.charts",
    "simulate": "comity.api.simulations",
    "twin": "comity.api.studies",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604  # the keys are texts


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'comity' has no attribute {name!r}; it has: {__all__}")
    found: object = getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)

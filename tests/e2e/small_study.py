"""A small study for tests, and what it computes at a site, done in the clear."""

from __future__ import annotations

from types import ModuleType

from comity.aggregation.layout import Layout
from comity.learning.loading import LoadedStudy, load
from comity.learning.local import Learned, Shared, learn
from comity.learning.steps import Float32Array
from comity.learning.tables import Reading, inspect_table
from comity.learning.training import generator

_TEXT = """
\"\"\"Every number moves by the dice of the round and the rows of the site.\"\"\"

import numpy as np
from comity.learning import Column, FedAdagrad, FedAdam, FedAvg, FedProx, FedYogi, Momentum
from comity.learning import Nesterov, Scaffold, Study, Tensor

STUDY = Study(
    name="small",
    title="A small study",
    columns=(Column("x", "real"),),
    tensors=(Tensor("a", (3, 2), range=0.5<own>), Tensor("b", (<numbers>,), range=0.25)),
    rounds=<rounds>,
    rule=<rule>,
    weights="<weights>",
    weight_max=<weight_max>,
    <method>
)


def initial(seed):
    dice = np.random.default_rng(seed)
    return {
        "a": dice.uniform(-1, 1, (3, 2)).astype(np.float32),
        "b": dice.uniform(-1, 1, (<numbers>,)).astype(np.float32),
    }


def train(weights, table, rng, pull):
    step = np.float32(np.mean(table["x"]) / 10)
    after = {
        name: old + step * rng.uniform(-1, 1, old.shape).astype(np.float32) - pull.offset[name]
        for name, old in weights.items()
    }
    <twist>
    return after, len(table)


def evaluate(weights, table):
    return {"first": float(weights["b"][0]), "own": float(weights["a"][0, 0])}
"""


def study_text(
    *,
    numbers: int = 40,
    rounds: int = 3,
    rule: str = "FedAvg()",
    weights: str = "equal",
    weight_max: int = 1,
    twist: str = "",
    method: str = "",
    own: str = "",
) -> str:
    """The study file. twist: one more line of `train`. method: one more setting of the study.

    own: ", own=True" makes the tensor a each site's own.
    """
    text = _TEXT
    settings = {
        "numbers": str(numbers),
        "rounds": str(rounds),
        "rule": rule,
        "weights": weights,
        "weight_max": str(weight_max),
        "twist": twist,
        "method": method,
        "own": own,
    }
    for name, setting in settings.items():
        text = text.replace(f"<{name}>", setting)
    return text


def table_of(place: int) -> bytes:
    """The table of the member at this place: a few rows, another number of them at each."""
    return b"x\n" + b"".join(b"%d\n" % (1 + place + row) for row in range(2 + place))


def loaded(text: str) -> LoadedStudy:
    """The study, in this process: the file is the test's own."""
    module = ModuleType("small")
    exec(compile(text, "small.py", "exec"), module.__dict__)
    return load(module.__dict__)


def plain_update(
    study: LoadedStudy, shared: Shared, kept: Float32Array, table: bytes, seed: bytes
) -> Learned:
    """What one site's study process must give for the same seed."""
    reading = inspect_table(study.study.columns, table)
    assert isinstance(reading, Reading)
    return learn(study, reading.table, shared, kept, generator(seed))


def layout_of_text(text: str) -> Layout:
    """The layout the study declares."""
    return loaded(text).study.parts.vector

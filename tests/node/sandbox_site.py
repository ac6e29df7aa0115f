"""A node's folder with a study and a table in it, for the tests of the sandbox."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from comity.errors import Refused, StudyFault
from comity.learning.model import model_bytes
from comity.learning.study import StudyCard
from comity.node.isolation import Limits
from comity.node.sandbox import Sandbox

STUDY = """
import os, sys
import numpy as np
from comity.learning import Column, FedAvg, Study, Tensor

STUDY = Study(
    name="try", title="A try", columns=(Column("x", "real"), Column("part", "category",
    categories=("train", "test"))), tensors=(Tensor("w", (3,)), Tensor("b", ())), rounds=2,
    rule=FedAvg(), seed=5,
)

def initial(seed):
    return {"w": np.full(3, seed, np.float32), "b": np.float32(1)}

def train(weights, table, rng):
    BODY
    w = weights["w"] + np.float32(table["x"].mean()) + np.float32(rng.random())
    return {"w": w, "b": weights["b"]}, len(table)

def evaluate(weights, table):
    return {"first": float(weights["w"][0]), "undefined": float("nan")}
"""
TABLE = "x,part\n1,train\n2,train\n3,test\n"
SEED = b"\x05" * 32
SMALL = Limits(memory_bytes=2**30, request_s=30.0, file_bytes=2**20)


class Site:
    """A node's folder with a secret in it, and sandboxes that are closed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "node"
        self.folder.mkdir()
        (self.folder / "keys.pem").write_text("PRIVATE")
        (folder / "table.csv").write_text(TABLE)
        self.table = folder / "table.csv"
        self.open: list[Sandbox] = []

    def start(self, body: str = "pass", limits: Limits = SMALL, study: str = STUDY) -> Sandbox:
        path = self.folder / "study.py"
        path.write_text(study.replace("BODY", body.replace("\n", "\n    ")))
        sandbox = Sandbox.start(path, self.table, self.folder / "work", limits=limits)
        self.open.append(sandbox)
        return sandbox

    def attack(self, body: str) -> Sandbox:
        """A warm sandbox whose next `train` runs `body`; made once, since most attacks end well."""
        if not self.open or not self.open[-1].alive or not answers(self.open[-1]):
            self.training(
                "scope = globals() | locals() | {'OUT': None}\n"
                "exec(open(os.environ['HOME'] + '/attack.py').read(), scope)\n"
                "if scope['OUT'] is not None: return scope['OUT']"
            )
        (self.folder / "work" / "attack.py").write_text(body)
        os.truncate(self.open[-1].notes_path, 0)
        return self.open[-1]

    def training(self, body: str = "pass", limits: Limits = SMALL) -> Sandbox:
        """A sandbox with its first model in place, ready for `train`."""
        sandbox = self.start(body, limits)
        card = sandbox.describe()
        place_model(sandbox, card)
        return sandbox


def answers(sandbox: Sandbox) -> bool:
    """Whether it still answers: an attack may have ended its process a moment ago."""
    try:
        sandbox.describe()
    except StudyFault:
        return False
    return True


def place_model(sandbox: Sandbox, card: StudyCard) -> None:
    first = np.fromfile(sandbox.initial(), "<f4")
    sandbox.model_path.write_bytes(model_bytes(card.model, first))


def opened(folder: Path) -> Iterator[Site]:
    place = Site(folder)
    try:
        place.training().close()
    except Refused as refusal:
        pytest.skip(f"this system has no sandbox: {refusal}")
    yield place
    for sandbox in place.open:
        sandbox.close()

"""Studies of these frameworks for the tests of sandbox, simulation and deployed rounds."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from comity.node.isolation import Limits
from comity.node.planning import PlanTerms
from comity.node.sandbox import Sandbox
from comity.node.simulating import Wanted, simulate
from tests.e2e.preparing import PHASE_S, TRAIN_S, prepare
from tests.e2e.small_study import table_of
from tests.node.sandbox_site import Site, place_model

ROOMY = Limits(memory_bytes=6 * 2**30, file_bytes=2**20)
HEAD = """
import os
import numpy as np
from comity.learning import Column, FedAvg, Momentum, Study
IMPORTS

STUDY = Study(
    name="small", title="A framework", columns=(Column("x", "real"),),
    tensors=tensors_of(model()SETTINGS), rounds=2, rule=Momentum(), weights="equal", weight_max=1,
)

def initial(seed):
    return state_of(model())

def train(weights, table, rng):
    if os.path.exists(os.environ["HOME"] + "/attack.py"):
        scope = globals() | locals() | {"OUT": None}
        exec(open(os.environ["HOME"] + "/attack.py").read(), scope)
        if scope["OUT"] is not None: return scope["OUT"]
    return trained(load_state(model(), weights), table["x"], rng), len(table)

def evaluate(weights, table):
    return {"first": float(next(iter(state_of(load_state(model(), weights)).values())).ravel()[0])}
"""


def study(imports: str, settings: str = "") -> str:
    """The text of a study file: `imports` also has `model()` and `trained(model, x, rng)`."""
    return HEAD.replace("IMPORTS", imports).replace("SETTINGS", settings)


def warm(site: Site, text: str) -> Sandbox:
    """A process with the framework loaded, ready to train; another one when the last has ended."""
    if not site.open or not site.open[-1].alive:
        site.table.write_text("x\n1\n2\n3\n")
        sandbox = site.start(limits=ROOMY, study=text)
        place_model(sandbox, sandbox.describe())
    return site.open[-1]


def attack(site: Site, text: str, body: str) -> Sandbox:
    """A process whose next `train` does this."""
    sandbox = warm(site, text)
    (site.folder / "work" / "attack.py").write_text(body)
    return sandbox


def trained(sandbox: Sandbox, seed: bytes) -> tuple[int, int, bytes]:
    """Words, rows and the update of a round from the beginning: nothing is kept from before it."""
    os.truncate(sandbox.kept_path, 0)
    found = sandbox.train(seed)
    return found.words, found.example_count, sandbox.vector_path.read_bytes()


def hurried(sandbox: Sandbox) -> Sandbox:
    """The same process, with a second for each request from now on."""
    limits = msgspec.structs.replace(ROOMY, request_s=1.0)
    sandbox._setup = msgspec.structs.replace(sandbox._setup, limits=limits)
    return sandbox


def same_bits(folder: Path, text: str) -> bool:
    """Whether real nodes and `simulate`, plain and secure, give the same models."""
    terms = PlanTerms(phase_s=PHASE_S, train_s=TRAIN_S)
    (folder / "root").mkdir()
    prepared = prepare(folder / "root", 3, text, terms=terms)
    try:
        with prepared.world(folder / "world") as world:
            world.settle()
            assert world.study.finished, world.describe()
            accepted = world.study.results[-1].model
    finally:
        prepared.close()
    file = folder / "study.py"
    file.write_text(text)
    tables = tuple(folder / f"m{number}.csv" for number in range(3))
    for number, table in enumerate(tables):
        table.write_bytes(table_of(number))
    found = simulate(file, Wanted(tables=tables)).runs[0].model
    other = simulate(file, Wanted(tables=tables[::-1], rounds=1)).runs[0].model
    assert other != found, "the comparison can fail"
    return found == accepted

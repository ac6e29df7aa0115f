"""A study that describes itself with endless numbers ends its own process, not the node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comity.errors import StudyFault, StudyFaultKind
from tests.node.sandbox_site import STUDY, Site

FORGED = """
import os as _os
for _h in range(3, 4096):
    try: _os.write(_h, LINE)
    except OSError: pass
_os._exit(0)
"""
ENDLESS = 10**400


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    for sandbox in made.open:
        sandbox.close()


@pytest.mark.parametrize(
    "bent",
    [
        {"method": {"name": "fedprox", "proximal_millionths": ENDLESS}},
        {"method": {"name": "scaffold", "lr_trillionths": ENDLESS, "steps": 3}},
        {"rounds": ENDLESS, "weight_max": ENDLESS, "seed": -ENDLESS},
    ],
)
def test_attack_a_study_describes_itself_with_endless_numbers(
    site: Site, bent: dict[str, Any]
) -> None:
    honest = site.start()
    card = msgspec.to_builtins(honest.describe())
    honest.close()
    method = {"proximal_millionths": 0, "lr_trillionths": 0, "steps": 0, "own": 0, "fine_tuning": 0}
    if "method" in bent:
        bent = {"method": {**method, **bent["method"]}}
    line = json.dumps({"type": "described", "card": {**card, **bent}}).encode() + b"\n"
    sandbox = site.start(study=STUDY + FORGED.replace("LINE", repr(line)))
    with pytest.raises(StudyFault) as caught:
        sandbox.describe()
    assert caught.value.kind is StudyFaultKind.BAD_OUTPUT
    assert not sandbox.alive

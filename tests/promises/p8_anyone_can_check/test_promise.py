"""P8. Anyone can check: a release is one folder that `comity verify` judges offline.

The numbered attacks on such folders are in tests/release. Other people's formats for signed models
come later; what they can check today is here too.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from comity.errors import ExitCode
from comity.release.form import CONTENT, INCLUSION, SIGNS
from comity.release.verify import NAMES, verify
from tests.release.world import MemoryFolder, released

MADE = released(4)
FILES = MADE.files()


def test_folder_and_anchor_are_all_it_takes() -> None:
    verdict = verify(MemoryFolder(FILES), MADE.anchor())
    assert verdict.code is ExitCode.DONE
    assert [check.name for check in verdict.checks] == list(NAMES)
    assert verdict.sentence.startswith("verified")
    assert verdict.claims is not None and verdict.claims.took_part == frozenset(MADE.world.members)


@pytest.mark.parametrize("path", sorted(FILES))
def test_one_changed_byte_in_any_file_is_found_and_named(path: str) -> None:
    middle = len(FILES[path]) // 2
    changed = bytearray(FILES[path])
    changed[middle] ^= 1
    verdict = verify(MemoryFolder({**FILES, path: bytes(changed)}), MADE.anchor())
    assert verdict.code is ExitCode.NOT_VERIFIED
    assert "verified" not in verdict.sentence


def test_without_an_anchor_nothing_is_called_verified() -> None:
    verdict = verify(MemoryFolder(FILES), None)
    assert verdict.code is ExitCode.NO_ANCHOR
    assert not verdict.sentence.startswith("verified")


def test_another_commons_cannot_pass_for_this_one() -> None:
    other = released(5)
    assert verify(other.folder(), other.anchor()).code is ExitCode.DONE
    assert verify(other.folder(), MADE.anchor()).code is ExitCode.NOT_VERIFIED


def test_ten_lines_that_know_nothing_of_comity_check_the_proof() -> None:
    """RFC 6962 and the text of the proof, by hand: what any reader of the formats does."""
    text = FILES[INCLUSION].decode().split("\n")
    at = next(place for place, line in enumerate(text) if line.startswith("index "))
    blank = text.index("", at)
    path = [base64.b64decode(line) for line in text[at + 1 : blank]]
    size, root = int(text[blank + 2]), base64.b64decode(text[blank + 3])
    index, last = int(text[at][6:]), size - 1
    leaf = FILES[SIGNS].splitlines()[-1]
    node = hashlib.sha256(b"\0" + leaf).digest()
    for sibling in path:
        while not index & 1 and index == last:
            index, last = index >> 1, last >> 1
        pair = sibling + node if index & 1 else node + sibling
        node, index, last = hashlib.sha256(b"\1" + pair).digest(), index >> 1, last >> 1
    assert node == root


def test_the_systems_own_sha256sum_agrees_with_the_manifest(tmp_path: Path) -> None:
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("no sha256sum on this system")
    for path, file in FILES.items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file)
    command = [tool, "--check", "--strict", "--quiet", "MANIFEST.sha256"]
    assert subprocess.run(command, cwd=tmp_path / CONTENT, check=False).returncode == 0
    (tmp_path / CONTENT / "model" / "config.json").write_bytes(b"{}")
    bent = subprocess.run(command, cwd=tmp_path / CONTENT, check=False, capture_output=True)
    assert bent.returncode != 0

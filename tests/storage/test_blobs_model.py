"""The blob store against a model of what it must hold, in any order of calls and restarts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from comity.errors import Forged, Unavailable
from comity.storage.blobs import FileBlobStore, WrongOffset
from comity.values import BlobName
from tests.storage.samples import BYTES, named

CONTENTS = st.sampled_from([b"", b"one", b"two two", BYTES])


class Blobs(RuleBasedStateMachine):
    """Any order of calls and restarts: the folder holds what a dictionary would."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = FileBlobStore(self.folder)
        self.parts: dict[BlobName, bytes] = {}
        self.whole: dict[BlobName, bytes] = {}

    @rule(content=CONTENTS, share=st.integers(0, 4), honest=st.booleans())
    def write(self, content: bytes, share: int, honest: bool) -> None:
        name = named(content)
        start = self.store.stored(name)
        chunk = content[start : start + share * len(content) // 4 + 1] if honest else b"lie"
        if name in self.whole:
            with pytest.raises(WrongOffset):
                self.store.write(name, start, chunk)
        else:
            self.store.write(name, start, chunk)
            self.parts[name] = self.parts.get(name, b"") + chunk

    @rule(content=CONTENTS)
    def finish(self, content: bytes) -> None:
        name = named(content)
        if name in self.whole:
            self.store.finish(name)
        elif name not in self.parts:
            with pytest.raises(Unavailable):
                self.store.finish(name)
        elif self.parts.pop(name) == content:
            self.store.finish(name)
            self.whole[name] = content
        else:
            with pytest.raises(Forged):
                self.store.finish(name)

    @rule(content=CONTENTS)
    def drop(self, content: bytes) -> None:
        self.store.drop(named(content))
        self.parts.pop(named(content), None)
        self.whole.pop(named(content), None)

    @rule()
    def restart(self) -> None:
        self.store = FileBlobStore(self.folder)

    @invariant()
    def holds_what_was_written(self) -> None:
        for name, content in self.whole.items():
            assert self.store.read(name, 0, len(content)) == content
        for name, content in self.parts.items():
            assert self.store.stored(name) == len(content)
        held = [*self.parts.values(), *self.whole.values()]
        assert self.store.used_bytes() == sum(map(len, held))
        assert self.store.unfinished() == sorted(self.parts)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


Blobs.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestBlobs = Blobs.TestCase

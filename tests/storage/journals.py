"""What tests of the journal share: say the next statement, and see one refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.errors import Refused, Rule
from comity.storage.journal import SqliteJournal
from comity.storage.ports import Attempt
from tests.storage.samples import HERE, an_id


def say(
    journal: SqliteJournal, tag: str, *, scope: Attempt | None = HERE, released: bool | None = None
) -> bytes:
    """Say the next statement of the chain, with this tag."""
    last = journal.last_said()
    seq = last[0] + 1 if last else 0
    envelope = f"{seq} {tag}".encode()
    journal.say(envelope, statement_id=an_id(seq), seq=seq, tag=tag, scope=scope, released=released)
    return envelope


def refused(journal: SqliteJournal, rule: Rule, tag: str, *, released: bool | None = None) -> None:
    before = journal.last_said(), journal.waiting(), journal.promised(HERE)
    with pytest.raises(Refused) as refusal:
        say(journal, tag, released=released)
    assert refusal.value.rule is rule
    assert (journal.last_said(), journal.waiting(), journal.promised(HERE)) == before


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())

"""A statement, and a statement at its place in the log: what everything above passes around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from comity.statements.governing import Governing
from comity.statements.membership import Belonging
from comity.statements.rounds import Rounding
from comity.statements.studies import Studying
from comity.values import CommonsId, MemberId, StatementId

Body = Governing | Belonging | Studying | Rounding
"""The union of all bodies; one class per tag."""


@final
@dataclass(frozen=True, slots=True)
class Statement:
    """What one party said, in form and read; its signature is checked by `keysets.check`.

    head_root: 32 bytes, root of the newest final head its author had verified, at head_size.
    time_s: POSIX seconds by the author's own clock. id: SHA-256 of the pre-authentication encoding.
    """

    id: StatementId
    author: MemberId
    commons: CommonsId
    seq: int
    prev: StatementId
    head_size: int
    head_root: bytes
    time_s: int
    body: Body


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """An admissible statement at its place in the log. leaf: the exact envelope bytes."""

    index: int
    leaf: bytes
    statement: Statement

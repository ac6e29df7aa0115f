"""Who may read: tokens for members that showed their key, an hour each, in memory only.

A token is 32 random bytes; only its hash is kept, and looked up by, so neither a memory dump of
names nor the time an answer takes tells a token. A restarted host knows none: readers ask again.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from typing import Final, NamedTuple, final

from comity.commons.state import State
from comity.errors import Refused, Rule
from comity.statements.readers import check_request, read_request
from comity.values import MemberId

TOKEN_LIFE_S: Final = 3_600
CLOCKS_APART_S_MAX: Final = 300
TOKENS_PER_MEMBER_MAX: Final = 16


class _Reader(NamedTuple):
    member: MemberId
    until_s: int


@final
class Readers:
    """The tokens given out; used from any thread."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._readers: dict[bytes, _Reader] = {}

    def __repr__(self) -> str:
        return "Readers"

    def admit(self, state: State, envelope: bytes, now_s: int) -> str:
        """A new token, 64 hex digits, for the member that signed the request.

        Raises:
            Malformed, Forged. Refused: WRONG_COMMONS, UNKNOWN_AUTHOR, or CLOCK_APART.
        """
        request, _, _ = read_request(envelope)
        if request.commons != state.commons:
            raise Refused(Rule.WRONG_COMMONS, "this host serves another commons")
        key_set = state.keys.get(request.member)
        if key_set is None:
            raise Refused(Rule.UNKNOWN_AUTHOR, "no such member is in the log (yet)")
        check_request(envelope, key_set.keys.statement)
        apart_s = request.time - now_s
        if abs(apart_s) > CLOCKS_APART_S_MAX:
            way = "ahead of" if apart_s > 0 else "behind"
            raise Refused(
                Rule.CLOCK_APART,
                f"your clock is {abs(apart_s)} seconds {way} the host's,"
                f" at most {CLOCKS_APART_S_MAX} are allowed; set it right",
            )
        token = secrets.token_hex(32)
        with self._turn:
            self._forget(request.member, now_s)
            self._readers[_hash(token)] = _Reader(request.member, now_s + TOKEN_LIFE_S)
        return token

    def member(self, token: str, now_s: int) -> MemberId | None:
        """Whose token this is; None when it is nobody's, or too old."""
        with self._turn:
            reader = self._readers.get(_hash(token))
        return reader.member if reader is not None and now_s < reader.until_s else None

    def _forget(self, member: MemberId, now_s: int) -> None:
        """Drop what is too old, and this member's oldest when it has too many."""
        for known in [known for known, r in self._readers.items() if now_s >= r.until_s]:
            del self._readers[known]
        mine = [known for known, r in self._readers.items() if r.member == member]
        for known in mine[: max(0, len(mine) - TOKENS_PER_MEMBER_MAX + 1)]:
            del self._readers[known]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()

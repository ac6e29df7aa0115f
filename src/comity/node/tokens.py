"""The token with which a member reads from one host; a new one when it has run out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.node.answers import Token, parse
from comity.node.http_client import HttpClient, TokenUnknown
from comity.statements.readers import ask_to_read
from comity.values import CommonsId, MemberId

_ANSWER_MAX: Final = 65_536
_TOKEN_LIFE_S: Final = 3_600


@final
class Tokens:
    """Asks for tokens in the name of one member. May be used from several threads."""

    def __init__(
        self,
        client: HttpClient,
        member: MemberId,
        *,
        statement_key: Ed25519PrivateKey,
        commons: CommonsId,
        clock: Callable[[], int],
    ) -> None:
        self._client, self._member, self._commons = client, member, commons
        self._statement_key, self._clock = statement_key, clock
        self._turn = threading.Lock()
        self._token = ""
        self._token_until = 0.0

    def current(self) -> str:
        """A token that is good by this machine's clock. Raises Malformed, Refused, Unavailable."""
        with self._turn:
            if not self._token or time.monotonic() > self._token_until:
                request = ask_to_read(
                    self._commons,
                    self._member,
                    time_s=self._clock(),
                    statement_key=self._statement_key,
                )
                answer = self._client.ask("POST", "/readers", body=request, bytes_max=_ANSWER_MAX)
                token = parse(answer.body, Token)
                self._token = token.token
                # Renewed a little early, and never kept longer than the protocol says.
                life_s = min(token.expires_s, _TOKEN_LIFE_S)
                self._token_until = time.monotonic() + life_s * 0.9
            return self._token

    def forget_or_raise(self, tried: int, error: TokenUnknown) -> None:
        """The host knows the token no more: the next one is new; a second time it is an error."""
        if tried > 1:
            raise error
        with self._turn:
            self._token = ""

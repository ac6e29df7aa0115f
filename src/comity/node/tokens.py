"""The token with which a member reads at its host: asked for, kept for a while, asked for again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, final

from comity.errors import Forged
from comity.node.answers import Token, parse
from comity.node.clients import Client
from comity.node.http_client import TokenUnknown

_ANSWER_MAX: Final = 1_048_576
_LIFE_S: Final = 3_600


@final
class Tokens:
    """One member's token at one peer; used from several threads.

    Args:
        requests: make a signed request to read, of this moment; one for each key that the peer
            may know by now.
    """

    def __init__(self, client: Client, requests: Sequence[Callable[[], bytes]]) -> None:
        self._client, self._requests = client, requests
        self._turn = threading.Lock()
        self._token = ""
        self._until_s = 0.0

    def now(self) -> str:
        """A token that should still be known.

        Raises: Malformed, Refused, Unavailable. Forged: the peer knows none of the keys.
        """
        with self._turn:
            if not self._token or time.monotonic() > self._until_s:
                token = self._ask()
                self._token = token.token
                # Renewed a little early, and never kept longer than the protocol says.
                self._until_s = time.monotonic() + min(token.expires_s, _LIFE_S) * 0.9
            return self._token

    def forget_or_raise(self, tried: int, error: TokenUnknown) -> None:
        """Ask for another one next time; or raise the error when that was done before."""
        if tried > 1:
            raise error
        with self._turn:
            self._token = ""

    def _ask(self) -> Token:
        *others, last = self._requests
        for request in others:
            with contextlib.suppress(Forged):
                return self._with(request)
        return self._with(last)

    def _with(self, request: Callable[[], bytes]) -> Token:
        answer = self._client.ask("POST", "/readers", body=request(), bytes_max=_ANSWER_MAX)
        return parse(answer.body, Token)

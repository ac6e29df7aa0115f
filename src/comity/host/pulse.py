"""When the long-polls are answered: at once when somebody may owe something new, else in a moment.

Members of a round speak at about the same time. Telling each of each would multiply the requests,
and nobody can do anything before the last one of a phase has spoken; so mere company is gathered
for a moment and told together. Only for the event loop's thread.
"""

from __future__ import annotations

import asyncio
from typing import Final, final

from comity.commons.duties import may_owe_more
from comity.host.service import Host

GATHER_S: Final = 0.02
"""How long news that changes nobody's duties is held back."""


@final
class Pulse:
    """Wakes the long-polls of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._told = host.published
        self._next = asyncio.Event()
        self._gathering: asyncio.TimerHandle | None = None
        self.stopping = False

    def tell(self) -> None:
        """Something was appended or cosigned."""
        if may_owe_more(self._told.state, self._host.published.state):
            self._beat()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._beat)

    def stop(self) -> None:
        """Wake all, and let nobody wait any more."""
        self.stopping = True
        self._beat()

    async def wait(self, start: int, version: int, wait_s: float) -> None:
        """Return once there is news for a reader, after `wait_s` seconds, or when stopping.

        Args:
            start: how many entries the reader has. version: the last it was told.
        """
        try:
            async with asyncio.timeout(wait_s):
                while not self._has_news(start, version) and not self.stopping:
                    await self._next.wait()
        except TimeoutError:
            pass

    def _has_news(self, start: int, version: int) -> bool:
        if self._told.state.size > start:
            return True
        # A reader may know more than was told, and after a restart of the host any other number.
        return self._told.version != version != self._host.published.version

    def _beat(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        self._told = self._host.published
        woken, self._next = self._next, asyncio.Event()
        woken.set()

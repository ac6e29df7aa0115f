"""A site's own stop: one file in the node's folder, looked at before anything leaves.

Decided here: what a stop is, and that it ends by itself. While the file holds, no process of this
site sends a byte, whoever started it (`leaving.py`), and `comity node run` waits (`running.py`).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Final, final

import msgspec
from msgspec import Meta, Struct

from comity.errors import Misconfigured, Unavailable
from comity.statements.fields import Count, TextField
from comity.storage.disk import sync_folder
from comity.values import DAY_S

FILE: Final = "stop.json"
STOP_S_MAX: Final = 30 * DAY_S
_BYTES_MAX: Final = 65_536


class Halted(Unavailable):
    """This site is stopped: nothing leaves it, and nothing is tried again."""


@final
class Stop(Struct, frozen=True, tag="stop", forbid_unknown_fields=True):
    """A stop of this site. since_s, until_s: POSIX seconds by this machine's clock."""

    since_s: Count
    until_s: Count
    reason: TextField = ""

    @property
    def words(self) -> str:
        """One sentence for people."""
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.until_s))
        why = f" ({self.reason})" if self.reason else ""
        return f"this site is stopped until {until}{why}; `comity stop --end` ends it before"


Seconds = Annotated[int, Meta(ge=1, le=STOP_S_MAX)]


def begin_stop(folder: Path, *, now_s: int, for_s: int, reason: str = "") -> Stop:
    """Stop the site from now on; durable on return. Another stop is replaced.

    Raises:
        Misconfigured: longer than 30 days, or not a node's folder. Unavailable: the disk.
    """
    if not 1 <= for_s <= STOP_S_MAX:
        raise Misconfigured(f"a stop lasts from 1 second to {STOP_S_MAX // DAY_S} days")
    if not (folder / "node.toml").exists():
        raise Misconfigured(f"{folder} is no node's folder: name it with --folder")
    stop = Stop(now_s, now_s + for_s, reason)
    part = folder / f"{FILE}.part"
    try:
        with part.open("wb") as file:
            file.write(msgspec.json.encode(stop))
            file.flush()
            os.fsync(file.fileno())
        part.rename(folder / FILE)
        sync_folder(folder)
    except OSError as error:
        raise Unavailable(f"cannot write {folder / FILE} ({error.strerror})") from error
    return stop


def end_stop(folder: Path) -> None:
    """End it before its time; nothing when there is none."""
    try:
        (folder / FILE).unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(f"cannot remove {folder / FILE} ({error.strerror})") from error


def stop_of(folder: Path, now_s: int) -> Stop | None:
    """The stop that holds now. One that cannot be read holds until a person looks.

    Raises:
        Halted: the file is there and cannot be read.
    """
    path = folder / FILE
    try:
        written = path.read_bytes()[:_BYTES_MAX]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Halted(f"cannot read {path} ({error.strerror}), so nothing leaves") from error
    try:
        stop = msgspec.json.decode(written, type=Stop)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Halted(f"{path} cannot be read, so nothing leaves: `comity stop --end`") from error
    return stop if now_s < stop.until_s else None

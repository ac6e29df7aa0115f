"""`site.toml` as it lies in the node's folder: read again at each decision, and never trusted.

An owner who takes something back must not have to wait for a restart. So the file is read whenever
the gate asks, and parsed when its bytes have changed. While it cannot be read or is wrong, nothing
is decided by it: no consent is given, no study starts, and `comity status` says which line is
wrong. Without a file the defaults hold, which are the strictest.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, final

from comity.commons.site import SitePolicy, parse_site
from comity.errors import Misconfigured
from comity.values import SITE_BYTES_MAX

SITE_FILE: Final = "site.toml"


@final
class SiteFile:
    """The site policy of a node folder.

    Args:
        folder: the member's node folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / SITE_FILE
        self._known: tuple[bytes, SitePolicy] | None = None

    def now(self) -> SitePolicy:
        """The policy, as the file says it now.

        Raises:
            Misconfigured: it cannot be read, or is no site policy.
        """
        raw = read_site_file(self._path)
        known = self._known
        if known is None or known[0] != raw:
            known = self._known = (raw, policy_of(raw))
        return known[1]


def policy_of(raw: bytes) -> SitePolicy:
    """The policy that these bytes are. Raises Misconfigured."""
    try:
        return parse_site(raw.decode())
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{SITE_FILE} is not UTF-8 text: write it anew") from error


def read_site_file(path: Path) -> bytes:
    """The bytes of a site policy; none when there is no such file.

    Raises:
        Misconfigured: it cannot be read, is no plain file, or is too long.
    """
    try:
        # A pipe under this name must not hold the node up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Misconfigured(f"{path} is no plain file: put the site policy there")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            raw = file.read(SITE_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(raw) > SITE_BYTES_MAX:
        raise Misconfigured(f"{path} has more than {SITE_BYTES_MAX} bytes")
    return raw

"""Join blobs of attempts under way: fetched, checked by their names, held in memory only."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from comity.errors import ComityError
from comity.node.station import Station
from comity.values import BlobName, StatementId, sha256

LOG = logging.getLogger(__name__)


def dealing(station: Station, name: str, bytes_count: int) -> bytes:
    """A join blob of an attempt under way, by its SHA-256; held in memory only.

    Raises:
        Forged, Malformed, Unavailable: the host serves another one, or none.
    """
    known = station.dealt.get(name)
    if known is None:
        if station.blobs.finished(BlobName(name)):
            known = station.blobs.path(BlobName(name)).read_bytes()
        else:
            known = station.remote.small_blob(BlobName(name), bytes_count)
        station.dealt[name] = known
    return known


def dealings(
    station: Station, opened: StatementId, names: Sequence[str], bytes_each: int
) -> Sequence[bytes]:
    """The join blobs of an attempt, in the order of `names`: all asked for at once.

    What does not come so, or is another blob, is asked for by its own name.
    Raises: as `dealing`.
    """
    missing = {name for name in names if name not in station.dealt}
    if len(missing) > 1:
        try:
            for blob in station.remote.dealings(opened, len(names), bytes_each):
                name = sha256(blob)
                if name in missing:
                    station.dealt[name] = blob
        except ComityError as error:
            LOG.debug("dealings one by one round_open=%s why=%s", opened, error)
    return [dealing(station, name, bytes_each) for name in names]

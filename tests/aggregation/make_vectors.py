"""Golden vectors of whole rounds; `python -m tests.aggregation.make_vectors` writes missing ones.

Changing what exists is a protocol change; adding is not. So nothing is ever overwritten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from comity.aggregation.layout import Layout, Segment, layout_bytes, layout_digest
from comity.aggregation.sharing import seal, sealing_keys
from comity.aggregation.whole_round import RoundRecord, run_all_parties

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "aggregation"

Json = Mapping[str, object]

LAYOUT = Layout(
    (Segment("weights", "real", (4, 3), 3, -1), Segment("positives", "count", (), 1, 0))
)

CASES: dict[str, dict[str, object]] = {
    "round-of-3": {"n": 3, "c": 1, "dropped": [], "silent": [], "weights": [1, 1, 1]},
    "round-of-5-one-drop-one-silence": {
        "n": 5,
        "c": 1,
        "dropped": [2],
        "silent": [4],
        "weights": [1, 2, 3, 4, 5],
    },
}


def updates_of(n: int) -> list[npt.NDArray[np.float32]]:
    """Sixteenths within +-2, some beyond the range of 1.5, and one count: exact in float32."""
    updates = []
    for seat in range(1, n + 1):
        digest = hashlib.sha256(f"update {seat}".encode()).digest()
        values = [(byte % 65 - 32) / 16 for byte in digest[:12]]
        updates.append(np.array([*values, seat], dtype=np.float32))
    return updates


def run(name: str) -> RoundRecord:
    case = CASES[name]
    n, c, dropped, silent, weights = (
        case[field] for field in ("n", "c", "dropped", "silent", "weights")
    )
    assert isinstance(n, int) and isinstance(c, int)
    assert isinstance(dropped, list) and isinstance(silent, list) and isinstance(weights, list)
    return run_all_parties(
        LAYOUT,
        updates_of(n),
        weights=weights,
        c=c,
        dropped=frozenset(dropped),
        silent=frozenset(silent),
        rand=name.encode(),
    )


def vector(name: str) -> Json:
    """What everybody can see of the round, as JSON: floats as their exact hexadecimal form."""
    record = run(name)
    return {
        "case": CASES[name],
        "layout": layout_bytes(LAYOUT).decode(),
        "layout_digest": layout_digest(LAYOUT),
        "rand": name,
        "binding": record.binding,
        "close": record.close,
        "vector_roots": {str(seat): root for seat, root in record.vector_roots.items()},
        "sum_root": record.sum_root,
        "check_values": {str(seat): value.hex() for seat, value in record.check_values.items()},
        "sum_check_value": record.sum_check_value.hex(),
        "total_digest": record.total_digest,
        "weight_sum": record.weight_sum,
        "mean": [float(value).hex() for value in record.mean],
    }


def sealed_share() -> Json:
    """A sealed share that every later version must open; sealing is random, so it is made once."""
    rand, info, plaintext = bytes(range(96)), b"info", bytes(range(128))
    public = sealing_keys(rand)[1]
    return {
        "rand": rand.hex(),
        "public": public.hex(),
        "info": info.hex(),
        "plaintext": plaintext.hex(),
        "sealed": seal(public, info, plaintext).hex(),
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in CASES:
        path = FOLDER / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(vector(name), indent=1) + "\n")
    path = FOLDER / "sealed-share.json"
    if not path.exists():
        path.write_text(json.dumps(sealed_share(), indent=1) + "\n")


if __name__ == "__main__":
    main()

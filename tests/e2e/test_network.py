"""`comity node run` and `comity host serve` over lines that cut, crawl and break off.

Every line is a relay that counts: at most 5 % of the bytes of blobs pass twice, in each direction,
and the model is the one of a quiet run, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from bench.plain import train_plain
from bench.rounds import TABLE, write_study

from comity.node.planning import PlanTerms
from comity.values import MemberId
from tests.e2e.live import HOST, Live, live
from tests.e2e.places import free_port
from tests.e2e.preparing import Prepared, prepare
from tests.e2e.proxies import Fate, Proxy, proxied

TWICE_MAX = 0.05
TWICE_KILLED_MAX = 0.1
"""When the host dies: what it had not written for a tenth of a second, and what was on the way, is
lost, which is more than a twentieth of these small vectors."""
PHASE_S = 3_600
MEMBERS = 3


def made(folder: Path, numbers: int, rounds: int) -> Prepared:
    """A commons that is about to open the first round of a study of that size."""
    file = write_study(folder / "study.py", numbers, rounds)
    terms = PlanTerms(phase_s=PHASE_S, train_s=PHASE_S)
    prepared = prepare(folder / "made", MEMBERS, file.read_text(), terms=terms)
    prepared.close()
    return prepared


@contextmanager
def over(prepared: Prepared, folder: Path, fate: Fate) -> Iterator[tuple[Live, dict[str, Proxy]]]:
    """The programs of a commons, each node behind a line of its own."""
    port = free_port()
    with ExitStack() as lines:
        proxies: Mapping[MemberId, Proxy] = {
            place.member: lines.enter_context(proxied(port, fate)) for place in prepared.places.all
        }
        urls = {member: proxy.url for member, proxy in proxies.items()}
        commons = lines.enter_context(live(prepared, folder, urls=urls, port=port))
        commons.start()
        yield commons, {str(member): proxy for member, proxy in proxies.items()}


def same_as_in_quiet(commons: Live, folder: Path, rounds: int) -> None:
    """Every round was accepted at its first attempt, over all, with the bits of plain training."""
    names = [place.member for place in commons.places.all]
    plain = train_plain(folder / "study.py", TABLE, names, rounds)
    assert commons.models() == plain.models
    assert len(commons.study.ended) == rounds
    assert all(len(result.survivors) == MEMBERS for result in commons.results)
    commons.wait_until(commons.have_model(commons.models()[-1]), 120)


def little_twice(proxies: Mapping[str, Proxy], numbers: int, most: float = TWICE_MAX) -> None:
    """Vectors and sums went by, and hardly a byte of any blob more than once."""
    for member, proxy in proxies.items():
        assert 4 * numbers <= max(proxy.up.sizes.values()), member
        assert 5 * numbers <= max(proxy.down.sizes.values()), member
        assert proxy.twice() <= most, (member, proxy.up, proxy.down)


SIZES = [
    pytest.param(100_000, 0.5, 2, id="0.4 MB"),
    pytest.param(1_000_000, 1.0, 1, id="4 MB", marks=pytest.mark.slow),
    pytest.param(10_000_000, 5.0, 1, id="40 MB", marks=pytest.mark.slow),
    pytest.param(
        100_000_000,
        30.0,
        1,
        id="400 MB",
        marks=[pytest.mark.nightly, pytest.mark.timeout(3_600)],
    ),
]


@pytest.mark.parametrize(("numbers", "cut_after_s", "rounds"), SIZES)
def test_lines_that_are_cut_again_and_again_and_in_each_blob(
    tmp_path: Path, numbers: int, cut_after_s: float, rounds: int
) -> None:
    """No connection lives long, and each blob is broken off at its middle once, both ways."""
    prepared = made(tmp_path, numbers, rounds)
    # So slow that a vector takes longer than a connection lives.
    fate = Fate(cut_after_s, cut_blobs=True, bytes_per_s=2 * numbers / cut_after_s)
    with over(prepared, tmp_path / "live", fate) as (commons, proxies):
        commons.wait_for_rounds(rounds, 200 + 40 * cut_after_s)
        same_as_in_quiet(commons, tmp_path, rounds)
        for proxy in proxies.values():
            assert proxy.cuts >= 4
            assert proxy.up.cut and proxy.down.cut, "blobs were broken off at their middle"
        little_twice(proxies, numbers)


@pytest.mark.parametrize(
    ("numbers", "bytes_per_s"),
    [
        pytest.param(100_000, 400_000, id="0.4 MB"),
        pytest.param(1_000_000, 500_000, id="4 MB", marks=pytest.mark.slow),
        pytest.param(10_000_000, 2_000_000, id="40 MB", marks=pytest.mark.slow),
    ],
)
def test_narrow_lines(tmp_path: Path, numbers: int, bytes_per_s: int) -> None:
    """Nothing gives up because it takes long, and nothing passes twice."""
    prepared = made(tmp_path, numbers, 1)
    with over(prepared, tmp_path / "live", Fate(bytes_per_s=bytes_per_s)) as (commons, proxies):
        commons.wait_for_rounds(1, 200 + 60 * numbers / bytes_per_s)
        same_as_in_quiet(commons, tmp_path, 1)
        little_twice(proxies, numbers)


@pytest.mark.parametrize(
    ("numbers", "bytes_per_s"),
    [
        pytest.param(500_000, 800_000, id="2 MB"),
        pytest.param(10_000_000, 4_000_000, id="40 MB", marks=pytest.mark.slow),
    ],
)
def test_the_host_starts_again_during_uploads_and_downloads(
    tmp_path: Path, numbers: int, bytes_per_s: int
) -> None:
    """Killed when half of a vector is there, and when half of a sum is out; it comes back late."""
    prepared = made(tmp_path, numbers, 1)
    with over(prepared, tmp_path / "live", Fate(bytes_per_s=bytes_per_s)) as (commons, proxies):
        member = commons.places.all[1].member

        def half(way: str, size: int) -> bool:
            blobs = getattr(proxies[member], way)
            passed = [blobs.passed[name] for name, whole in blobs.sizes.items() if whole >= size]
            return bool(passed) and passed[-1] > size / 2

        limit_s = 200 + 30 * numbers / bytes_per_s
        for way, size in (("up", 4 * numbers), ("down", 5 * numbers)):
            commons.wait_until(lambda way=way, size=size: half(way, size), limit_s)  # type: ignore[misc]
            commons.kill(HOST)
            assert not commons.results
            # Longer than a node asks again without a pause: it begins anew, at the right byte.
            proxies[member].wait_for_calls(8)
            commons.start(HOST)
        commons.wait_for_rounds(1, limit_s)
        same_as_in_quiet(commons, tmp_path, 1)
        little_twice(proxies, numbers, TWICE_KILLED_MAX)

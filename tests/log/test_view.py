"""A view moves forward or raises and stays as it was; each attack on a reader, and its refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.errors import Forged, HostFault, HostFaultKind, Malformed
from comity.log.evidence import check_host_fork
from comity.log.heads import SignedHead, TreeHead, origin_of, parse_signed_head, sign_head
from comity.log.merkle import EMPTY_ROOT, leaf_hash
from comity.log.view import View
from comity.values import CommonsId, sha256
from tests.log.world import (
    HOST,
    HOST_KEY,
    KEYS,
    MEMBERS,
    ORIGIN,
    QUORUM,
    cosigned_by,
    entries_of,
    head_of,
    key_of,
    public_of,
    signed_of,
    tree_of,
)

A, B, C, D = MEMBERS
LOG = entries_of(12)


def view_at(size: int) -> View:
    view = View(ORIGIN)
    if size:
        view.advance(signed_of(LOG[:size]), LOG[:size], HOST)
    return view


def picture(view: View) -> tuple[object, ...]:
    return view.tree.size, view.tree.root(), view.head, view.final


@given(st.lists(st.integers(0, 12)))
def test_a_view_follows_the_log_in_any_steps(sizes: list[int]) -> None:
    view, at = View(ORIGIN), 0
    assert (view.head, view.final) == (None, TreeHead(ORIGIN, 0, EMPTY_ROOT))
    for size in sorted(sizes):
        signed = signed_of(LOG[:size])
        view.advance(signed, LOG[at:size], HOST)
        at = size
        assert (view.tree.size, view.tree.root(), view.head) == (size, signed.head.root, signed)
    assert view.final.size == 0


def test_attack_1_two_histories_of_one_size() -> None:
    view, other = view_at(5), signed_of(entries_of(5, "other"))
    before = picture(view)
    with pytest.raises(HostFault) as fault:
        view.advance(other, [], HOST)
    assert fault.value.kind is HostFaultKind.SPLIT_VIEW
    assert {head.root for head in check_host_fork(fault.value.evidence, HOST)} == {
        other.head.root,
        view.tree.root(),
    }
    assert picture(view) == before


def test_attack_1_an_older_head_of_another_history() -> None:
    view, other = view_at(7), signed_of(entries_of(3, "other"))
    before = picture(view)
    with pytest.raises(HostFault) as fault:
        view.advance(other, [], HOST)
    assert fault.value.kind is HostFaultKind.SPLIT_VIEW
    small, large = check_host_fork(fault.value.evidence, HOST)
    assert (small.size, large.size) == (3, 7)
    assert picture(view) == before


def test_attack_1_a_larger_head_of_another_history() -> None:
    fork = [*LOG[:3], *entries_of(9, "other")[3:]]
    view, other = view_at(5), signed_of(fork)
    before = picture(view)
    # The entries after ours do not lead there, so nothing is taken ...
    with pytest.raises(Forged, match="do not give the root"):
        view.advance(other, fork[5:], HOST)
    # ... and with the whole other history at hand the fork is shown.
    with pytest.raises(HostFault) as fault:
        view.check_history(other, [leaf_hash(entry) for entry in fork], HOST)
    assert fault.value.kind is HostFaultKind.SPLIT_VIEW
    small, large = check_host_fork(fault.value.evidence, HOST)
    assert (small.size, large.size) == (5, 9)
    assert picture(view) == before


def test_check_history_finds_nothing_in_one_history() -> None:
    hashes = [leaf_hash(entry) for entry in LOG]
    view = view_at(5)
    before = picture(view)
    view.check_history(signed_of(LOG), hashes, HOST)
    with pytest.raises(Forged, match="do not give"):
        view.check_history(signed_of(LOG), hashes[:-1], HOST)
    with pytest.raises(Forged, match="no signature by the host"):
        view.check_history(signed_of(LOG), hashes, public_of(key_of(8)))
    with pytest.raises(Malformed):
        view.check_history(signed_of(LOG[:5]), hashes[:5], HOST)
    with pytest.raises(Malformed):
        View(ORIGIN).check_history(signed_of(LOG), hashes, HOST)
    empty = View(ORIGIN)
    empty.advance(signed_of([]), [], HOST)
    empty.check_history(signed_of(LOG), hashes, HOST)
    assert picture(view) == before


def test_attack_2_rollback() -> None:
    view = view_at(7)
    before = picture(view)
    for size in (0, 1, 6):
        with pytest.raises(HostFault) as fault:
            view.advance(signed_of(LOG[:size]), [], HOST)
        assert fault.value.kind is HostFaultKind.ROLLBACK
        assert fault.value.evidence == b""
    assert picture(view) == before
    view.advance(signed_of(LOG[:7]), [], HOST)
    view.advance(signed_of(LOG[:8]), LOG[7:8], HOST)


@pytest.mark.parametrize(
    ("leaves", "error"),
    [
        pytest.param(LOG[5:8], Malformed, id="one too few"),
        pytest.param(LOG[5:10], Malformed, id="one too many"),
        pytest.param([], Malformed, id="none"),
        pytest.param([LOG[6], LOG[5], *LOG[7:9]], Forged, id="reordered"),
        pytest.param([*LOG[5:8], b"another entry"], Forged, id="replaced"),
        pytest.param([*LOG[5:8], LOG[8] + b"\n"], Forged, id="a byte added"),
        pytest.param([*LOG[5:8], b""], Forged, id="emptied"),
        pytest.param([*LOG[5:8], bytes(65_536)], Malformed, id="too long"),
    ],
)
def test_attack_5_entries_that_do_not_give_the_head(
    leaves: list[bytes], error: type[Exception]
) -> None:
    view = view_at(5)
    before = picture(view)
    with pytest.raises(error):
        view.advance(signed_of(LOG[:9]), leaves, HOST)
    assert picture(view) == before
    view.advance(signed_of(LOG[:9]), LOG[5:9], HOST)


def test_attack_35_a_host_signs_only_while_it_is_host() -> None:
    view, former = view_at(5), key_of(8)
    before = picture(view)
    with pytest.raises(Forged, match="no signature by the host"):
        view.advance(sign_head(head_of(LOG[:6]), former), LOG[5:6], HOST)
    assert picture(view) == before
    view.advance(sign_head(head_of(LOG[:6]), former), LOG[5:6], public_of(former))


def test_attack_9_a_head_of_another_commons() -> None:
    view, other = view_at(5), origin_of(CommonsId(sha256(b"another charter")))
    before = picture(view)
    with pytest.raises(Forged, match="another log"):
        view.advance(signed_of(LOG[:6], other), LOG[5:6], HOST)
    assert picture(view) == before


def test_a_head_nobody_signed_is_not_taken() -> None:
    view = view_at(5)
    with pytest.raises(Forged):
        view.advance(SignedHead(head_of(LOG[:6]), signed_of(LOG[:5]).lines), LOG[5:6], HOST)
    assert view.tree.size == 5


def test_cosignatures_make_the_own_root_final() -> None:
    view = view_at(9)
    for size, expected in ((4, 4), (9, 9), (6, 9)):
        cosignatures = cosigned_by(head_of(LOG[:size]), A, B, C)
        assert view.take_cosignatures(size, cosignatures, KEYS, QUORUM)
        assert view.final == head_of(LOG[:expected])
        assert view.take_cosignatures(size, [], KEYS, QUORUM)
    view.advance(signed_of(LOG), LOG[9:], HOST)
    assert not view.take_cosignatures(12, cosigned_by(head_of(LOG), A, D), KEYS, QUORUM)
    assert view.final.size == 9


def test_cosignatures_of_another_history_count_for_nothing() -> None:
    view = view_at(5)
    fork = head_of(entries_of(5, "other"))
    with pytest.raises(Forged):
        view.take_cosignatures(5, cosigned_by(fork, A, B, C), KEYS, QUORUM)
    with pytest.raises(Malformed):
        view.take_cosignatures(6, cosigned_by(head_of(LOG[:6]), A, B, C), KEYS, QUORUM)
    assert view.final.size == 0


def test_attack_17_repeated_cosignatures_do_not_make_a_quorum() -> None:
    view = view_at(5)
    two = cosigned_by(head_of(LOG[:5]), A, B)
    with pytest.raises(Malformed):
        view.take_cosignatures(5, [*two, two[1]], KEYS, QUORUM)
    assert view.final.size == 0


def test_attack_10_a_statement_moved_to_a_fork_names_an_unknown_root() -> None:
    view = view_at(9)
    for size in range(10):
        assert view.final_root_known(size, tree_of(LOG[:size]).root())
        assert not view.final_root_known(size, tree_of(entries_of(size + 1, "other")).root())
    assert not view.final_root_known(10, tree_of(LOG[:10]).root())
    assert not view.final_root_known(-1, EMPTY_ROOT)
    assert not view.final_root_known(9, b"")


def test_a_stored_note_brings_the_view_back() -> None:
    stored = signed_of(LOG).note()
    view = View(ORIGIN)
    view.advance(parse_signed_head(stored), LOG, HOST)
    assert view.tree.root() == tree_of(LOG).root()
    assert repr(view) == f"View(origin={ORIGIN!r}, size=12, final=0)"
    assert view.head == sign_head(head_of(LOG), HOST_KEY)

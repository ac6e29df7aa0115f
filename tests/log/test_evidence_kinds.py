"""Evidence against members, authors, and hosts that log what must not be there."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.errors import Forged, Malformed
from comity.log.evidence import check_evidence, cosigner_fork, cosigner_rollback, host_fork
from comity.log.evidence_forms import Finding, KnownKeys, only_lines
from comity.log.heads import SignedHead, TreeHead, full_note, parse_signed_head, sign_head
from comity.log.inadmissible import author_fork, inadmissible_entry, signature_misfit
from comity.log.merkle import EMPTY_ROOT
from comity.statements.governing import Seen
from comity.statements.wire import Draft, read, sign
from comity.values import NOTHING, CommonsId, MemberId, StatementId, sha256
from tests.log.world import (
    HOST_KEY,
    KNOWN,
    MEMBERS,
    NOW_S,
    ORIGIN,
    STATEMENT_KEYS,
    cosigned_by,
    entries_of,
    head_of,
    key_of,
    signed_of,
    tree_of,
)

A, B, C, D = MEMBERS
COMMONS = CommonsId(ORIGIN.rpartition("/")[2])
STRANGER = MemberId("nobody")


def canonical(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def cosigned(
    entries: list[bytes], *members: MemberId, time_s: int = NOW_S, key: object = None
) -> SignedHead:
    head = head_of(entries)
    signed = sign_head(head, HOST_KEY if key is None else key)  # type: ignore[arg-type]  # as meant
    return parse_signed_head(full_note(signed, cosigned_by(head, *members, time_s=time_s)))


MAIN, SIDE = entries_of(12), entries_of(7, "other")


# members who cosign


def test_a_member_that_cosigned_both_sides_is_named() -> None:
    first, second = cosigned(SIDE, B, C), cosigned(MAIN, A, B)
    evidence = cosigner_fork(B, first, second, tree_of(MAIN))
    found = check_evidence(evidence, KNOWN)
    assert (found.kind, found.accused, found.sizes) == ("cosigner", B, (7, 12))
    for member in (A, C, D):  # cosigned one side, or none
        with pytest.raises(Forged, match="no known key"):
            check_evidence(cosigner_fork(member, first, second, tree_of(MAIN)), KNOWN)


def test_a_cosigner_of_one_history_is_not_accused() -> None:
    first, second = cosigned(MAIN[:7], B), cosigned(MAIN, B)
    fields = json.loads(cosigner_fork(B, cosigned(SIDE, B), second, tree_of(MAIN)))
    with pytest.raises(Forged, match="one history"):
        check_evidence(canonical(fields | {"a": first.note().decode()}), KNOWN)


def test_who_dropped_what_an_old_host_never_made_final_is_not_accused() -> None:
    """ADR 34: the new host's head does not continue the old host's; that is no member's fault."""
    old, new = cosigned(SIDE, B, time_s=NOW_S), cosigned(MAIN, B, time_s=NOW_S + 9, key=key_of(61))
    with pytest.raises(Forged, match="no host key"):
        check_evidence(cosigner_fork(B, old, new, tree_of(MAIN)), KNOWN)
    longer = cosigned(entries_of(20), B)
    with pytest.raises(Forged, match="no host key"):
        check_evidence(cosigner_rollback(B, longer, new), KNOWN)


def test_a_later_and_smaller_cosignature_is_a_rollback() -> None:
    large, small = cosigned(MAIN, B, time_s=NOW_S), cosigned(MAIN[:5], B, time_s=NOW_S + 1)
    found = check_evidence(cosigner_rollback(B, large, small), KNOWN)
    assert (found.kind, found.accused, found.sizes) == ("rollback", B, (5, 12))
    for time_s in (NOW_S, NOW_S - 1):  # the same second shows no order
        honest = cosigned(MAIN[:5], B, time_s=time_s)
        with pytest.raises(Forged, match="later and smaller"):
            check_evidence(cosigner_rollback(B, large, honest), KNOWN)
    fields = json.loads(cosigner_rollback(B, large, small))
    with pytest.raises(Forged, match="later and smaller"):
        check_evidence(canonical(fields | {"a": fields["b"], "b": fields["a"]}), KNOWN)


# authors


def said(
    author: MemberId, seq: int, *, prev: str = NOTHING, time_s: int = NOW_S, size: int = 0,
    root: bytes = EMPTY_ROOT, commons: CommonsId = COMMONS, seed: int | None = None,
) -> bytes:  # fmt: skip
    draft = Draft(author, commons, seq, StatementId(prev), size, root, time_s, Seen())
    return sign(draft, STATEMENT_KEYS[author] if seed is None else key_of(seed))


def test_attack_11_two_statements_with_one_number_are_evidence_against_their_author() -> None:
    one, two = said(C, 3), said(C, 3, time_s=NOW_S + 1)
    evidence = author_fork(one, two)
    assert author_fork(two, one) == evidence
    found = check_evidence(evidence, KNOWN)
    assert (found.kind, found.accused) == ("author", C)
    assert "number 3" in found.sentence
    other = CommonsId(sha256(b"another charter"))
    for first, second, error in (
        (one, one, Forged),
        (one, said(C, 4), Malformed),
        (one, said(D, 3), Malformed),
        (one, said(C, 3, time_s=NOW_S + 1, seed=99), Forged),
        (one, said(C, 3, commons=other), Forged),
        (said(C, 3, commons=other), said(C, 3, commons=other, time_s=NOW_S + 1), Forged),
        (one, b"{}", Malformed),
    ):
        with pytest.raises(error):
            check_evidence(author_fork(first, second), KNOWN)
    with pytest.raises(Forged, match="no key"):
        check_evidence(evidence, KnownKeys({}, ORIGIN))


# entries


def evidence_of(log: list[bytes], index: int) -> bytes:
    signed = sign_head(TreeHead(ORIGIN, len(log), tree_of(log).root()), HOST_KEY)
    return inadmissible_entry(signed, tree_of(log), log[index], index, log.__getitem__)


def chain(author: MemberId, count: int) -> list[bytes]:
    log: list[bytes] = []
    for seq in range(count):
        log.append(said(author, seq, prev=read(log[-1]).statement.id if log else NOTHING))
    return log


def test_what_a_stranger_sees_of_an_entry_that_must_not_be_there() -> None:
    log = chain(B, 3)
    last = read(log[-1]).statement.id
    root = tree_of(log).root(2)
    new_version = base64.b64encode(b'{"predicateType":"https://comity/statement/new.tag/v1"}')
    bad: dict[str, bytes] = {
        "form": b'{"not":"a statement"}',
        "commons": said(B, 3, prev=last, commons=CommonsId(sha256(b"another"))),
        "chain": said(B, 7, prev=last),
        "head": said(B, 3, prev=last, size=2, root=bytes(32)),
    }
    more = {
        "chain": [log[1], said(B, 3), said(B, 2, prev=last)],
        "head": [said(B, 3, prev=last, size=4), said(B, 3, prev=last, root=bytes(32))],
    }
    for reason, entry in [*bad.items(), *((r, e) for r, es in more.items() for e in es)]:
        evidence = evidence_of([*log, entry, *entries_of(2)], 3)
        assert json.loads(evidence)["reason"] == reason
        found = check_evidence(evidence, KNOWN)
        assert (found.kind, found.accused, found.sizes, found.proven) == (
            "inadmissible", A, (6,), True,
        )  # fmt: skip
        with pytest.raises(Forged):
            check_evidence(evidence, KnownKeys({B: KNOWN.keys[B]}, ORIGIN))
    # What is right, and what a newer version might know, accuses nobody.
    for entry in (said(B, 3, prev=last, size=2, root=root), b'{"payload":"%b"}' % new_version):
        found = check_evidence(evidence_of([*log, entry], 3), KNOWN)
        assert not found.proven
    for reason in ("form", "commons"):
        right = json.loads(evidence_of([*log, said(B, 3, prev=last)], 3))
        del right["other_root"], right["proof"]
        with pytest.raises(Forged, match="may be in a log"):
            check_evidence(canonical(right | {"reason": reason}), KNOWN)


def test_a_signature_is_judged_by_the_key_it_names_and_by_no_other() -> None:
    entry = said(B, 0)
    fields = json.loads(entry)
    signature = bytearray(base64.b64decode(fields["signatures"][0]["sig"]))
    signature[3] ^= 1
    fields["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    plain = evidence_of([canonical(fields)], 0)
    assert not check_evidence(plain, KNOWN).proven
    better = signature_misfit(plain, KNOWN)
    assert json.loads(better)["reason"] == "signature"
    assert check_evidence(better, KNOWN).proven
    # A key not known here may be the author's newer one; nothing is shown.
    unknown = evidence_of([said(B, 0, seed=77)], 0)
    assert signature_misfit(unknown, KNOWN) == unknown
    assert signature_misfit(evidence_of([entry], 0), KNOWN) == evidence_of([entry], 0)


def test_who_holds_the_log_judges_the_rest() -> None:
    log = [*chain(B, 2), said(C, 0)]
    evidence = evidence_of(log, 2)
    root = tree_of(log).root(2)

    def judge(verdict: bool | None) -> Finding:
        asked = []

        def tell(index: int, before: bytes, entry: bytes) -> bool | None:
            asked.append((index, before, entry))
            return verdict

        try:
            return check_evidence(evidence, KNOWN, tell)
        finally:
            assert asked == [(2, root, log[2])]

    assert judge(True).proven
    assert not judge(None).proven
    with pytest.raises(Forged, match="may be in a log"):
        judge(False)


def test_entries_are_shown_to_be_below_the_head_and_in_their_order() -> None:
    log = [*chain(B, 2), said(B, 9)]
    fields = json.loads(evidence_of(log, 2))
    assert fields["reason"] == "chain"
    placed, earlier = fields["placed"], fields["earlier"]
    for change in (
        {"placed": placed | {"index": 1}},
        {"placed": placed | {"entry": earlier["entry"]}},
        {"earlier": earlier | {"index": 0}},
        {"placed": earlier, "earlier": placed},
        {"placed": placed | {"path": []}},
        {"reason": "form"},
        {"reason": "head"},
        {"reason": "replay"},
        {"head": sign_head(head_of(log), key_of(8)).note().decode()},
    ):
        with pytest.raises((Malformed, Forged)):
            check_evidence(canonical(fields | change), KNOWN)
    del fields["earlier"]
    with pytest.raises(Malformed):
        check_evidence(canonical(fields), KNOWN)


def test_an_entry_of_another_author_is_no_chain() -> None:
    log = [said(C, 0), *chain(B, 1), said(B, 9)]
    fields = json.loads(evidence_of(log, 2))
    tree = tree_of(log)
    fields["earlier"] = {
        "entry": base64.b64encode(log[0]).decode(),
        "index": 0,
        "path": [base64.b64encode(node).decode() for node in tree.inclusion(0, 3)],
    }
    with pytest.raises(Forged, match="two authors"):
        check_evidence(canonical(fields), KNOWN)


# all kinds

ALL = (
    host_fork(signed_of(SIDE), signed_of(MAIN), tree_of(MAIN)),
    cosigner_fork(B, cosigned(SIDE, B), cosigned(MAIN, B), tree_of(MAIN)),
    cosigner_rollback(B, cosigned(MAIN, B), cosigned(MAIN[:5], B, time_s=NOW_S + 1)),
    author_fork(said(C, 3), said(C, 3, time_s=NOW_S + 1)),
    evidence_of([*chain(B, 2), said(B, 9)], 2),
    evidence_of([*chain(B, 2), said(B, 2, size=2, root=bytes(32))], 2),
)


def test_every_kind_is_canonical_and_of_one_log() -> None:
    elsewhere = replace(KNOWN, origin=ORIGIN[:-1] + ("0" if ORIGIN[-1] != "0" else "1"))
    for evidence in ALL:
        assert canonical(json.loads(evidence)) == evidence
        assert check_evidence(evidence, KNOWN).proven
        assert check_evidence(evidence, replace(KNOWN, origin=None)).proven
        with pytest.raises(Forged, match="another"):
            check_evidence(evidence, elsewhere)
        assert b"mask" not in evidence
    fields = json.loads(ALL[1])
    with pytest.raises(Malformed):
        check_evidence(canonical(fields | {"kind": "other"}), KNOWN)


def test_lines_that_prove_nothing_are_left_out() -> None:
    both = cosigned(MAIN, B, C)
    assert {line.name for line in only_lines(both).lines} == {ORIGIN}
    assert {line.name for line in only_lines(both, B).lines} == {ORIGIN, B}


@given(st.sampled_from(ALL), st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_no_evidence(evidence: bytes, at: int, byte: int) -> None:
    at %= len(evidence)
    raw = evidence[:at] + bytes([byte]) + evidence[at + 1 :]
    if raw != evidence:
        with pytest.raises((Malformed, Forged)):
            assert not check_evidence(raw, KNOWN).proven
            raise Forged("not decidable by a stranger")


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=50),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=8,
    ).map(lambda value: canonical({"kind": "host", "a": value}))
    | st.tuples(st.sampled_from(ALL), st.integers(0, 10_000)).map(lambda x: x[0][: x[1]])
)
def test_reading_evidence_raises_malformed_or_forged_only(raw: bytes) -> None:
    with contextlib.suppress(Malformed, Forged):
        check_evidence(raw, KNOWN)


@given(st.sampled_from(ALL), st.data())
def test_fields_of_any_value_raise_malformed_or_forged_only(
    evidence: bytes, chosen: st.DataObject
) -> None:
    fields = json.loads(evidence)
    name = chosen.draw(st.sampled_from(sorted(fields)))
    values = [v for e in ALL for v in json.loads(e).values()]
    fields[name] = chosen.draw(st.sampled_from(values) | st.integers() | st.text(max_size=20))
    with contextlib.suppress(Malformed, Forged, UnicodeEncodeError):
        check_evidence(canonical(fields), KNOWN)

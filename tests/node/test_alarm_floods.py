"""Whoever floods the folder of a node with alarms or proofs keeps nobody else's proof out."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.errors import Forged, HostFault
from comity.log.evidence import check_evidence, host_fork
from comity.log.evidence_forms import Finding
from comity.log.inadmissible import author_fork
from comity.node import evidence_wishes
from comity.node.alarms import ALARMS_EACH_MAX, PROOFS_EACH_MAX, UNPROVEN_MAX, Alarms, read_alarm
from comity.statements.governing import Seen
from comity.statements.wire import Draft, sign
from tests.e2e.prepared import Make
from tests.log.test_evidence import FORK
from tests.log.test_evidence_kinds import said
from tests.log.world import KNOWN, MEMBERS, NOW_S, entries_of, signed_of, tree_of
from tests.node.test_alarms import note_over

A, B, C, _ = MEMBERS


def check(evidence: bytes) -> Finding | None:
    try:
        return check_evidence(evidence, KNOWN)
    except Forged:
        return None


def two_of(author: str, number: int) -> bytes:
    member = next(each for each in MEMBERS if each == author)
    return author_fork(said(member, 1), said(member, 1, time_s=NOW_S + 1 + number))


def test_alarms_about_one_member_keep_out_neither_proofs_nor_other_alarms(tmp_path: Path) -> None:
    alarms = Alarms(tmp_path)
    for number in range(ALARMS_EACH_MAX + 9):
        alarms.raise_alarm("other-head", f"statement {number}", NOW_S, about=B)
    assert len(alarms.names()) == ALARMS_EACH_MAX, "what comes after them is not kept"
    again = alarms.raise_alarm("other-head", "statement 0", NOW_S + 9, about=B)
    assert read_alarm(alarms.read(again)).time_s == NOW_S
    proof = alarms.keep(FORK, check)
    other = alarms.raise_alarm("split-view", "two roots", NOW_S, evidence=[proof], about=A)
    assert {proof, other} <= set(Alarms(tmp_path).names())


def test_proofs_against_one_key_keep_out_no_proof_against_another(tmp_path: Path) -> None:
    """A member may sign as many pairs of statements with one number as it likes."""
    for _ in range(2):  # what is counted is what lies there: a restart makes no room
        alarms = Alarms(tmp_path)
        for number in range(PROOFS_EACH_MAX + 5):
            alarms.keep(two_of(B, number), check)
        assert len(alarms.evidence()) == PROOFS_EACH_MAX
    kept = [alarms.keep(each, check) for each in (FORK, two_of(C, 0))]
    assert set(kept) <= set(alarms.names())
    assert len(alarms.evidence()) == PROOFS_EACH_MAX + 2


def test_what_nobody_can_check_keeps_out_no_proof(tmp_path: Path) -> None:
    alarms = Alarms(tmp_path)
    for number in range(UNPROVEN_MAX + 5):
        entries = entries_of(6 + number)
        alarms.keep(
            host_fork(signed_of(entries_of(3, "x")), signed_of(entries), tree_of(entries)),
            lambda evidence: None,
        )
    assert len(alarms.evidence()) == UNPROVEN_MAX
    proof = alarms.keep(two_of(B, 0), check)
    assert proof in alarms.names()


def test_a_member_that_names_heads_of_no_log_cannot_hide_the_fork_of_its_host(
    commons: Make, tmp_path: Path
) -> None:
    """The attack, on a node: signed statements about bogus heads first, then the fork."""
    with commons(3).world(tmp_path) as world:
        liar, node = world.desk("m1"), world.desk("m2")
        for desk in (liar, node):
            desk.sync()
        author = liar.state.authors[liar.member]
        for number in range(ALARMS_EACH_MAX + 5):
            draft = Draft(
                liar.member,
                liar.state.commons,
                author.seq + 1,
                author.last,
                author.head_size,
                number.to_bytes(32, "big"),
                liar.clock() + number,
                Seen(),
            )
            envelope = sign(draft, liar.place.keys.statement)
            relayed = node.station.relay.take(node.state, envelope)
            node.loop._look_around()
            node.station.relay._drop(relayed)
        names = node.station.alarms.names()
        assert 1 <= len(names) <= ALARMS_EACH_MAX
        assert all(read_alarm(node.station.alarms.read(name)).about == "m1" for name in names)
        note = note_over(world, [*world.leaves()[:4], b"another history"])
        file = tmp_path / "head.txt"
        file.write_bytes(note)
        with pytest.raises(HostFault):
            evidence_wishes.compare_head(node.station, file)
        ((name, _),) = node.station.alarms.evidence()
        assert name.startswith("host-") and node.station.halted

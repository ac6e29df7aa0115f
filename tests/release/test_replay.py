"""The log in a folder: it leads to the head, nothing in it is inadmissible, the decision stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from comity.commons.state import Void
from comity.errors import ExitCode, Rule
from comity.log.heads import TreeHead, sign_head
from comity.log.merkle import Tree, leaf_hash
from comity.log.tiles import tile_files
from comity.release.anchor import anchor_of
from comity.release.bundle import proof_files
from comity.release.form import (
    LOG,
    LOG_ENTRIES_MAX,
)
from comity.release.replay import has_log
from comity.release.verify import verify
from comity.statements.governing import Seen
from tests.release.forgery import (
    ANCHOR,
    FILES,
    MADE,
    SIGN_LINES,
    outside,
    refused,
    with_every_sign,
    with_signs,
)
from tests.release.world import MemoryFolder, cosigned, decide, released, sign_body
from tests.worlds import World, digest, keys_of

A, B, C, D = MADE.world.members

Bend = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(
    "bend",
    [
        lambda log: log[:-1],
        lambda log: [*log, log[-1]],
        lambda log: [log[1], log[0], *log[2:]],
        lambda log: [b"", *log[1:]],
    ],
    ids=["cut off", "longer", "reordered", "emptied"],
)
def test_attack_5_a_log_with_other_entries_is_refused(bend: Bend) -> None:
    entries = bend(list(MADE.world.log))
    tree = Tree(leaf_hash(entry) for entry in entries)
    tiles = tile_files(tree, lambda at, n: entries[at : at + n], 0, len(entries))
    rest = {p: f for p, f in FILES.items() if not p.startswith(f"{LOG}tile")}
    refused(rest | {LOG + path: content for path, content in tiles}, "log", LOG)


def test_attack_5_a_log_that_ends_before_the_head_is_refused() -> None:
    """Checkpoint and tiles of an earlier head: whole in themselves, but not what is shown."""
    size = len(MADE.world.log) - 1
    earlier = MADE.proof(size=size)
    rest = {p: f for p, f in FILES.items() if not p.startswith(LOG)}
    log = {p: f for p, f in earlier.items() if p.startswith(LOG)}
    refused(rest | log, "log", LOG)


def test_attack_33_a_hash_tile_of_another_tree_is_refused() -> None:
    path = next(p for p in FILES if p.startswith(f"{LOG}tile/0/"))
    raw = FILES[path]
    for bent in (raw[:-1], raw + b"\x00", raw[32:64] + raw[:32] + raw[64:]):
        refused(FILES | {path: bent}, "log", path)


def test_an_entry_that_must_not_be_in_the_log_is_refused() -> None:
    """Host and a quorum of members sign a log with an inadmissible entry; an outsider sees it."""
    made = released(4)
    world = made.world
    bad = outside(world, A, sign_body(world, made.proposal), keys_of(A).statement)
    world.tree.append(leaf_hash(bad))
    world.log.append(bad)
    verdict = verify(made.folder(), made.anchor())
    assert verdict.code is ExitCode.NOT_VERIFIED
    assert verdict.checks[-1].name == "log"
    assert f"entry {len(world.log) - 1} must not be in the log" in verdict.sentence


def test_a_signature_that_is_not_in_the_log_is_refused() -> None:
    _, b, c, d = SIGN_LINES
    other = outside(MADE.world, A, sign_body(MADE.world, MADE.proposal), keys_of(A).statement)
    refused(with_signs([other, b, c, d]), "log", "not in it")


def test_void_signatures_are_seen_in_the_log() -> None:
    """A member said release.sign before the decision, and the proposer counts it all the same."""
    honest = released(4, signers=3)
    assert verify(MemoryFolder(with_every_sign(honest)), honest.anchor()).code is ExitCode.DONE
    made = released(4, signers=3, early=1)
    verdict = verify(MemoryFolder(with_every_sign(made)), made.anchor())
    assert verdict.code is ExitCode.NOT_VERIFIED
    assert verdict.checks[-1].name == "log" and "void" in verdict.sentence


def test_a_release_that_was_never_decided_is_seen_in_the_log() -> None:
    made = released(4, undecided=True)
    verdict = verify(MemoryFolder(with_every_sign(made)), made.anchor())
    assert verdict.code is ExitCode.NOT_VERIFIED
    assert verdict.checks[-1].name == "log" and "no decision" in verdict.sentence


def test_entries_after_the_release_are_fine() -> None:
    made = released(4)
    made.world.pass_time(3_600)
    assert made.world.say(A, Seen()) == Void(Rule.TOO_SOON)
    assert verify(made.folder(), ANCHOR).code is ExitCode.DONE


def test_signatures_on_another_manifest_than_the_decided_one_are_refused() -> None:
    """All members sign a manifest that nobody voted on; each such entry is void."""
    made = released(4, signers=0)
    world = made.world
    decide(world, made.proposal)
    body = sign_body(world, made.proposal)
    other = msgspec.structs.replace(body, manifest=digest("never voted on"))
    for member in world.members:
        assert world.say(member, other) == Void(Rule.NOT_DECIDED)
    verdict = verify(MemoryFolder(with_every_sign(made)), made.anchor())
    assert verdict.checks[-1].name == "log" and "another manifest" in verdict.sentence


def test_a_release_by_a_commons_that_was_never_founded_is_refused() -> None:
    """Three of four founders are a quorum, but nothing counts before the fourth has entered."""
    world = World.empty(MADE.world.charter)
    for member in (A, B, C):
        world.say(member, MADE.world.entries[world.members.index(member)].statement.body)
    body = sign_body(MADE.world, MADE.proposal)
    for member in (A, B, C):
        assert world.say(member, body) == Void(Rule.NOT_FOUNDED)
    made = replace(MADE, world=world)
    verdict = verify(MemoryFolder(with_every_sign(made)), made.anchor())
    assert verdict.checks[-1].name == "log" and "all founders" in verdict.sentence


def test_a_log_too_long_for_a_folder_is_left_out() -> None:
    world = MADE.world
    entries = [*world.log, *([b"{}"] * LOG_ENTRIES_MAX)]
    tree = Tree(leaf_hash(entry) for entry in entries)
    head = TreeHead(ANCHOR.origin, tree.size, tree.root())
    signed = sign_head(head, keys_of(A).host)
    lines = cosigned(world, head, world.members)
    proof = proof_files(world.state, entries, signed, lines, MADE.proposal)
    assert not has_log(dict.fromkeys(proof, 1))
    bare = {path: file for path, file in FILES.items() if not path.startswith(LOG)} | proof
    assert verify(MemoryFolder(bare), anchor_of(head)).code is ExitCode.DONE
    refused(FILES | proof, "log", "256000 entries")

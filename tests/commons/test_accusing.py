"""Evidence filed in the log: of every kind, against whose key signed, and once."""

from __future__ import annotations

from comity.commons.state import Done, Void
from comity.errors import Rule
from comity.log.evidence import cosigner_fork, host_fork
from comity.log.heads import (
    TreeHead,
    cosign,
    full_note,
    origin_of,
    parse_signed_head,
    sign_head,
)
from comity.log.inadmissible import author_fork, inadmissible_entry
from comity.log.merkle import Tree, leaf_hash
from comity.statements.governing import Seen
from comity.statements.membership import (
    EvidenceFile,
)
from comity.values import MemberId
from tests.commons.changes import (
    approve,
    rotate_body,
)
from tests.worlds import World, keys_of


def forked(world: World, signer: MemberId) -> str:
    """Two heads that the host key of this member signed over histories that differ."""
    origin = origin_of(world.state.commons)
    leaves = [leaf_hash(leaf) for leaf in world.log]
    main, other = Tree(leaves), Tree([*leaves[:-1], leaf_hash(b"another")])
    key = keys_of(signer).host
    heads = [sign_head(TreeHead(origin, tree.size, tree.root()), key) for tree in (other, main)]
    return host_fork(heads[0], heads[1], main).decode()


def test_evidence_is_filed_once_and_against_whose_key_signed() -> None:
    world = World.of(4)
    a, b, c, d = world.members
    evidence = forked(world, a)
    assert world.say(b, EvidenceFile(evidence=evidence, subject=c)) == Void(Rule.NOT_PROVEN)
    assert world.say(b, EvidenceFile(evidence=evidence, subject=a)) == Done()
    assert world.say(c, EvidenceFile(evidence=evidence, subject=a)) == Void(Rule.SAID_BEFORE)
    filed = world.state.accusations[-1]
    assert (filed.author, filed.subject) == (b, a)
    # Retired keys still accuse; nothing of another commons does.
    world.done(a, rotate_body(a))
    approve(world, (b, c, d))
    later = forked(world, a)
    assert world.say(c, EvidenceFile(evidence=later, subject=a)) == Done()
    elsewhere = forked(World.of(5), a)
    assert world.say(c, EvidenceFile(evidence=elsewhere, subject=a)) == Void(Rule.NOT_PROVEN)


def test_evidence_of_every_kind_is_filed_if_the_log_alone_can_tell() -> None:
    """An author's fork, a cosigner's, an entry out of its chain; not what only a replay shows."""
    world = World.of(4)
    a, b, c, d = world.members
    twice = author_fork(*(world.envelope(b, Seen(), time_s=world.now_s + at) for at in (0, 1)))
    assert world.say(c, EvidenceFile(evidence=twice.decode(), subject=d)) == Void(Rule.NOT_PROVEN)
    world.done(c, EvidenceFile(evidence=twice.decode(), subject=b))

    origin = origin_of(world.state.commons)
    leaves = [leaf_hash(leaf) for leaf in world.log]
    main, other = Tree(leaves), Tree([*leaves[:-1], leaf_hash(b"another")])
    signed = []
    for tree in (other, main):
        head = TreeHead(origin, tree.size, tree.root())
        line = cosign(head, d, keys_of(d).head, world.now_s)
        signed.append(parse_signed_head(full_note(sign_head(head, keys_of(a).host), [line])))
    both = cosigner_fork(d, signed[0], signed[1], main).decode()
    assert world.say(c, EvidenceFile(evidence=both, subject=a)) == Void(Rule.NOT_PROVEN)
    world.done(c, EvidenceFile(evidence=both, subject=d))

    for entry, proven in ((world.log[-1], True), (stranger(world), False)):
        index, log = len(world.log), [*world.log, entry]
        tree = Tree(leaf_hash(leaf) for leaf in log)
        over = sign_head(TreeHead(origin, tree.size, tree.root()), keys_of(a).host)
        shown = inadmissible_entry(over, tree, entry, index, log.__getitem__).decode()
        outcome = world.say(c, EvidenceFile(evidence=shown, subject=a))
        assert outcome == (Done() if proven else Void(Rule.NOT_PROVEN))


def stranger(world: World) -> bytes:
    """A statement of nobody in this commons."""
    elsewhere = World.of(5)
    return world.envelope(elsewhere.members[-1], Seen(), seq=0)

"""P5. Nobody holds the work hostage: every member has the whole log, and it is all there is.

That another member takes over as host comes later; here is what it rests on: from the bytes of the
log alone anybody has the state, what is due, and the release.
"""

from __future__ import annotations

from comity.commons import fold
from comity.commons.duties import duties
from comity.log.merkle import Tree, leaf_hash
from comity.release.bundle import proof_files
from comity.release.verify import verify
from tests.commons.rounds_world import Rounds
from tests.release.world import MemoryFolder, cosigned, released


def test_the_bytes_of_the_log_are_the_whole_state() -> None:
    r = Rounds.of(4)
    while not r.study.results:
        r.settle_once()
    world = r.world
    state, tree = fold.found(world.charter), Tree()
    for envelope in world.log:
        entry = fold.admit(state, tree, envelope)
        tree.append(leaf_hash(envelope))
        state, _ = fold.apply(state, entry)
    assert state == world.state
    assert tree.root() == world.tree.root()


def test_what_is_due_after_the_host_is_gone_is_known_to_all() -> None:
    """At every entry of a round, whoever replays the log knows everybody's next duty."""
    r = Rounds.of(4)
    seen = []
    while not r.study.results:
        r.settle_once()
        state, replayed = r.world.state, r.world.replayed()
        for member in r.members:
            mine = duties(state, member, state.size, r.world.now_s)
            assert mine == duties(replayed, member, state.size, r.world.now_s)
            seen.append(mine)
    assert any(seen)


def test_any_member_makes_the_same_release_folder() -> None:
    made = released(4)
    world, head = made.world, made.head()
    lines = cosigned(world, head.head, world.members)
    copied = [bytes(bytearray(envelope)) for envelope in world.log]
    elsewhere = proof_files(world.replayed(), copied, head, lines, made.proposal)
    assert elsewhere == made.proof()
    assert verify(MemoryFolder(made.files()), made.anchor()).claims is not None

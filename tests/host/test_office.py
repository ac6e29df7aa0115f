"""A host appends nothing that would end its office: it could not sign the head (rule 8)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from comity.errors import ComityError, Unavailable
from comity.host.service import Host
from comity.log.heads import TreeHead, cosign
from comity.values import NOTHING, BlobName, MemberId
from tests.commons.changes import admit, approval, approve, hand_over, rotate_body
from tests.host.hosting import declare, logged, open_host, refusal
from tests.worlds import World, keys_of

NEW = MemberId("new-member")


def test_the_approval_that_changes_the_host_is_not_appended(tmp_path: Path) -> None:
    world = World.of(4)
    a, b, c, d = world.members
    with open_host(tmp_path, world) as host:
        hand_over(world, b)
        approve(world, (b, c))
        logged(host, *world.log)
        size = world.tree.size
        last = world.envelope(d, approval(world))
        error = refusal(host, last)
        assert isinstance(error, Unavailable) and f"https://{b}.example" in str(error)
        assert host.published.state.size == size and host.published.state.host == a
        logged(host, world.envelope(a, declare("still-here")))  # it hosts on until then
    world.append(last)
    # With the next host's key the same log is a candidate's: it signs nothing before it is host.
    with closing(
        Host(tmp_path, charter=world.charter, host_key=keys_of(b).host, now=lambda: world.now_s)
    ) as candidate:
        assert not candidate.in_office
        answer = candidate.submit([world.envelope(a, declare("not-here"))]).result(10)[0]
        assert isinstance(answer, ComityError), answer
        assert candidate.published.state.size == size + 1


def test_new_keys_of_the_host_end_the_office_of_the_old_ones(tmp_path: Path) -> None:
    world = World.of(4)
    a, b, c, d = world.members
    with open_host(tmp_path, world) as host:
        world.done(a, rotate_body(a))
        approve(world, (b, c))
        logged(host, *world.log)
        assert isinstance(refusal(host, world.envelope(d, approval(world))), Unavailable)


def test_a_new_member_cosigns_and_sends_once_its_epoch_is_in_force(tmp_path: Path) -> None:
    world = World.of(3)
    with open_host(tmp_path, world) as host:
        admit(world, NEW)
        approve(world, world.members)
        logged(host, *world.log)
        state = host.published.state
        assert NEW in state.members and state.quorum == 3
        head = TreeHead(host.origin, world.tree.size, world.tree.root())
        for member in (*world.members[:2], NEW):
            line = cosign(head, member, keys_of(member).head, world.now_s).line()
            host.cosign(head.size, line, None).result(20)
        final = host.published.final
        assert final is not None and final.head.size == head.size
        assert host.bulk.stored(state, NEW, BlobName(NOTHING)) == (0, False)

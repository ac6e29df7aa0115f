"""A stranger on its way into a commons, in one process, for tests of what it checks and says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from comity.commons.state import State
from comity.node import governing, wishes
from comity.node.applying import hand_in, make_application, read_application
from comity.node.beginning import Begun, join
from comity.node.founding import new_identity, own_identity
from comity.node.keyfile import MemberKeys, Unencrypted, load_keys
from comity.node.settings import NodeSettings
from comity.release.anchor import Anchor, anchor_of
from comity.values import MemberId, StatementId
from tests.node.test_succession import Commons

NEW = MemberId("newcomer")


@dataclass
class Newcomer:
    """Its folder, its keys, and what its operator was given by hand."""

    commons: Commons
    folder: Path
    keys: MemberKeys
    anchor: Anchor

    def join(self, *, url: str = "", late_s: int = 0, anchor: Anchor | None = None) -> Begun:
        """As the command does, with a clock that may be late."""
        world = self.commons.world
        settings = NodeSettings(member=NEW, host_url=url or world.server.url)
        charter = self.commons.places.charter
        return join(
            self.folder,
            charter,
            anchor or self.anchor,
            settings,
            self.keys,
            studies="auto",
            sandbox="warn",
            clock=lambda: world.clock.now_s + late_s,
        )

    def left(self) -> set[str]:
        """What the folder holds beside the keys, the id file and the application."""
        return {path.name for path in self.folder.iterdir()} - {
            "keys.pem",
            f"{NEW}.id.json",
            f"{NEW}.apply.json",
        }


def anchor_now(commons: Commons) -> Anchor:
    """The newest final head of a member's copy."""
    return anchor_of(commons.desk(1).station.replica.view.final)


def applying(commons: Commons) -> Newcomer:
    """With keys and an application that a member has handed in, and an anchor of before."""
    folder = commons.root / NEW
    new_identity(folder, NEW, passphrase=Unencrypted.ON_PURPOSE, name="New Hospital")
    keys = load_keys(folder / "keys.pem", passphrase=Unencrypted.ON_PURPOSE)
    made = make_application(
        folder, commons.places.charter, own_identity(folder), keys, clock=commons.world.clock
    )
    new = Newcomer(commons, folder, keys, anchor_now(commons))
    envelope, _, _ = read_application(Path(made.file))
    hand_in(commons.desk(1).station, envelope)
    commons.world.run(lambda: everywhere(commons, lambda s: NEW in s.changes.applications))
    return new


def admit(commons: Commons) -> None:
    """A vote, and what the members' nodes do by themselves, until the epoch is final."""
    opened = governing.admit(commons.desk(1).station, NEW).statement
    commons.world.run(lambda: everywhere(commons, lambda s: opened in s.proposals))
    for desk in commons.world.desks:
        if desk.state.proposals[opened].decided is None:
            wishes.cast_vote(desk.station, str(opened), "yes")
            commons.world.run(lambda desk=desk: _voted(desk.state, opened, desk.member))  # type: ignore[misc]
    commons.world.run(lambda: everywhere(commons, lambda s: NEW in s.keys))
    size = commons.desk(1).state.epoch.size
    commons.world.run(
        lambda: all(d.station.replica.final_size >= size for d in commons.world.desks)
    )


def _voted(state: State, opened: StatementId, member: MemberId) -> bool:
    return member in state.proposals[opened].votes


def everywhere(commons: Commons, reached: Callable[[State], bool]) -> bool:
    """Whether the copies of all members are so far."""
    return all(reached(desk.state) for desk in commons.world.desks)

"""What a node remembers, forgets and never shows: restored folders, erased secrets, leaks, logs."""

from __future__ import annotations

import base64
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from comity.aggregation.stages import Committed, Joined, Ready, Started
from comity.commons.attempts import Readying, opened_of
from comity.learning.local import first_kept
from comity.learning.seeds import training_seed
from comity.node.stages import scope_of, stage_of
from comity.storage.ports import Attempt
from comity.values import MemberId, sha256
from tests.e2e.prepared import Make
from tests.e2e.small_study import loaded, plain_update, table_of
from tests.e2e.steps import World
from tests.e2e.test_lying_members import until_asleep
from tests.e2e.test_rounds import Plain, same_as_plain

ALL = (0, 1, 2, 3)


def secrets_of(stage: object) -> set[bytes]:
    """Every secret in a stage: polynomials, seeds, what was dealt; 32 bytes each."""
    found: set[bytes] = set()
    match stage:
        case Joined() | Ready():
            found |= {part for polynomial in stage.polynomials for part in polynomial}
        case Started() | Committed():
            found |= {stage.beta, stage.mu}
    match stage:
        case Started():
            found |= set(stage.pair_seeds.values())
    match stage:
        case Ready() | Started() | Committed():
            for plaintext in stage.received.values():
                found |= {plaintext[at : at + 32] for at in range(0, 128, 32)}
    return {secret for secret in found if any(secret)}


class Watch:
    """All secrets that the nodes of a world have held, by looking after every move."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.secrets: set[bytes] = set()

    def look(self) -> bool:
        """Take what is there now; always false, so that it can stand in a condition."""
        for desk in self.world.desks:
            attempt = self.world.study.current
            if attempt is None:
                continue
            opened = opened_of(attempt)
            self.secrets |= secrets_of(stage_of(desk.station, scope_of(opened)))
            for public in opened.sealing_keys:
                private = desk.station.journal.sealing(sha256(public))
                if private is not None:
                    self.secrets.add(private[:32])
        return False


def forms(secret: bytes) -> Iterator[bytes]:
    """How a secret may appear in a text or a file."""
    yield secret
    yield secret.hex().encode()
    yield base64.b64encode(secret).rstrip(b"=")[:-1]
    yield base64.urlsafe_b64encode(secret).rstrip(b"=")[:-1]


def test_no_secret_is_left_in_any_file_after_the_attempt(commons: Make, tmp_path: Path) -> None:
    """Attack 39: also not in SQLite's old pages or write-ahead log."""
    with commons(3, rounds=1).world(tmp_path) as world:
        watch = Watch(world)
        world.run(lambda: watch.look() or bool(world.study.results))
        world.settle()
        assert len(watch.secrets) > 50
        places = [desk.place.folder for desk in world.desks]
        files = [path for place in places for path in place.rglob("*") if path.is_file()]
        assert len(files) > 15
        revealed = {
            said.body.beta  # type: ignore[union-attr]  # its kind
            for said in world.said("round.reveal")
        }
        for path in files:
            content = path.read_bytes()
            for secret in watch.secrets - revealed:
                assert not any(form in content for form in forms(secret)), path
        for desk in world.desks:
            kept = list((desk.place.folder / "round-keys").iterdir())
            assert len(kept) <= 1, "the unused sealing key of a next attempt, and no other"
            assert desk.station.journal.stage(Attempt(world.study_id, 1, 1)) is None


def test_nothing_about_one_member_leaves_it_in_clear(commons: Make, tmp_path: Path) -> None:
    """Attack 36: no update, quantised or not, and no example count, in statements and blobs."""
    prepared = commons(4, weights="hidden", weight_max=64, rounds=1)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        blobs: dict[str, bytes] = {}

        def look() -> bool:
            for path in (tmp_path / "host").rglob("*"):
                if path.is_file() and path.suffix not in (".sqlite", ".lock"):
                    blobs[str(path)] = blobs.get(str(path), b"") + path.read_bytes()
            return False

        def looked() -> bool:
            try:
                return look()
            except FileNotFoundError:  # the host has just removed it
                return False

        world.run(lambda: looked() or bool(world.study.results))
        everything = b"".join([*blobs.values(), *world.leaves()])
        payloads = b"".join(
            base64.b64decode(leaf.split(b'"payload":"')[1].split(b'"')[0])
            for leaf in world.leaves()
        )
        first = world.study.register.plan.model
        assert first.encode() in payloads
        shared = plain.shared
        same_as_plain(world, plain, ALL, 4)
        study = loaded(prepared.text)
        for place in ALL:
            seed = training_seed(0, MemberId(f"m{place}"), 1)
            learned = plain_update(study, shared, first_kept(study), table_of(place), seed)
            update, rows = learned.update, learned.example_count
            for at in range(update.size - 2):
                assert update[at : at + 2].tobytes() not in everything
            after = (shared.model + update).tobytes()
            assert after[:16] not in everything
            for said in world.log():
                if said.author == f"m{place}" and said.body.tag.startswith("round."):
                    assert getattr(said.body, "weight", None) is None
                    assert rows not in vars_of(said.body)


def vars_of(body: object) -> list[object]:
    """The plain numbers a statement says, but for those that place it in a round."""
    names = getattr(body, "__struct_fields__", ())
    known = {"attempt", "round_no", "quorum", "colluders", "degree", "roster_count", "words"}
    known |= {"survivors_min", "complaints", "released"}
    return [getattr(body, name) for name in names if name not in known]


def test_the_notes_of_a_round_hold_no_secret(
    commons: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All logging at DEBUG: no secret, share, seed or value, in bytes, hex or base64."""
    prepared = commons(4)
    with caplog.at_level(logging.DEBUG), prepared.world(tmp_path) as world:
        watch = Watch(world)
        world.desk("m2").sleep_before("round.reveal")
        while not world.study.results:
            world.settle(lambda: watch.look() or bool(world.study.results))
            world.clock.now_s += 61
        world.desk("m2").wake()
    assert len(watch.secrets) > 50
    assert len(caplog.records) > 20
    text = caplog.text.encode() + "".join(repr(r.args) for r in caplog.records).encode()
    for secret in watch.secrets:
        assert not any(form in text for form in forms(secret))
        assert repr(secret)[2:-1].encode() not in text
    plain = Plain(prepared.text)
    for place in ALL:
        seed = training_seed(0, MemberId(f"m{place}"), 1)
        kept = first_kept(plain.study)
        for number in plain_update(plain.study, plain.shared, kept, table_of(place), seed).update:
            assert repr(float(number))[:9].encode() not in text


@pytest.mark.parametrize("taken_before", ["round.confirm", "round.reveal"])
def test_a_node_restored_from_an_old_copy_stays_out(
    commons: Make, tmp_path: Path, taken_before: str
) -> None:
    """Attack 53: its folder is older than the log; it signs nothing more in the attempt."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path / "world") as world:
        node = world.desk("m2")
        until_asleep(world, "m2", taken_before)
        backup = tmp_path / "backup"
        shutil.copytree(node.place.folder, backup)
        node.wake()
        world.run(lambda: bool(world.said(taken_before, "m2")))
        said_before = {said.id for said in world.log() if said.author == "m2"}
        node.die()
        shutil.rmtree(node.place.folder)
        shutil.copytree(backup, node.place.folder)
        node.restart()
        node.step()
        world.let_time_pass(world.results(1))
        assert node.stopped is None, node.stopped
        same_as_plain(world, plain, ALL, 4)
        scope = Attempt(world.study_id, 1, 1)
        assert node.station.journal.has_amnesia(scope)
        opened = world.study.ended[0].opened.id
        after = [
            said
            for said in world.log()
            if said.author == "m2"
            and said.id not in said_before
            and getattr(said.body, "opened", None) == opened
        ]
        assert after == [], "it says nothing more about this attempt"
        # Its key came with its Ready, which is in the log; it goes on in the next round.
        world.let_time_pass(world.results(2))


def test_a_lost_sealing_key_keeps_a_node_out_of_one_attempt(commons: Make, tmp_path: Path) -> None:
    """Attack 22: a member that lost the private half that the Open pinned sits out."""
    prepared = commons(4)
    plain = Plain(prepared.text)
    with prepared.world(tmp_path) as world:
        until_asleep(world, "m2", "round.ready")
        node = world.desk("m2")
        attempt = world.attempt
        assert isinstance(attempt, Readying)
        public = attempt.opened.sealing_keys[world.seat("m2") - 1]
        node.station.journal.erase_sealing(sha256(public))
        node.wake()
        world.let_time_pass(world.results(1))
        assert not world.said("round.ready", "m2")
        same_as_plain(world, plain, (0, 1, 3), 4)

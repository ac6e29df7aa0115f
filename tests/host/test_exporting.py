"""The host's own export: final heads appear as files; a host behind its files does not start."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from comity.errors import Misconfigured, Unavailable
from comity.host import exporting
from comity.host.exporting import Exporting
from comity.host.replay import HALTED
from comity.host.service import Host
from comity.log.heads import TreeHead, cosign, sign_head
from comity.release.exported import CHECKPOINT, check_exported
from comity.statements.governing import Seen
from comity.storage.exporting import ExportAhead
from comity.storage.folder import DiskFolder
from tests.host.hosting import logged, open_host
from tests.storage.exports import anchor_at, files_in
from tests.worlds import World, charter_of, found_body, keys_of


@contextmanager
def exporting_host(folder: Path, world: World, tiles: Path) -> Iterator[Host]:
    """A host that exports."""
    public = keys_of(world.charter.host).host.public_key().public_bytes_raw()
    with open_host(folder, world) as host:
        export = Exporting(host, folder, tiles, host_public=public)
        export.start()
        try:
            yield host
        finally:
            export.close()


def say_all(host: Host, world: World) -> None:
    """Everybody says something, once; the world and the host log it."""
    for member in world.members:
        founded = member in world.state.keys
        envelope = world.envelope(member, Seen() if founded else found_body(member))
        logged(host, envelope)
        world.append(envelope)


def make_final(host: Host, world: World) -> int:
    """Everybody cosigns the newest head; its size."""
    published = host.published.head
    assert published is not None
    head = TreeHead(host.origin, published.size, published.root)
    for member in world.members:
        line = cosign(head, member, keys_of(member).head, world.now_s).line()
        host.cosign(head.size, line, None).result(10)
    return head.size


def wait_for(shown: Callable[[], bool]) -> None:
    """Until it is so; 20 seconds at most."""
    pause = threading.Event()
    for _ in range(2_000):
        if shown():
            return
        pause.wait(0.01)
    raise AssertionError("not exported in time")


def shows(tiles: Path, size: int, lines: int = 3) -> bool:
    """Whether the folder shows a head of that size with so many cosignatures."""
    try:
        text = (tiles / CHECKPOINT).read_text().split("\n")
    except FileNotFoundError:
        return False
    return text[1] == str(size) and len(text) == 3 + 1 + 1 + lines + 1


def test_every_final_head_appears_as_files_and_no_other(tmp_path: Path) -> None:
    world, tiles = World.empty(charter_of(3)), tmp_path / "tiles"
    with exporting_host(tmp_path / "host", world, tiles) as host:
        say_all(host, world)
        assert make_final(host, world) == 3
        wait_for(lambda: shows(tiles, 3))
        say_all(host, world)
        assert make_final(host, world) == 6
        wait_for(lambda: shows(tiles, 6))
        say_all(host, world)
    assert shows(tiles, 6), "what is not final is not shown"
    found = check_exported(DiskFolder(tiles, hollow=True), anchor_at(world, 6))
    assert found.members == world.members


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    world, tiles = World.empty(charter_of(3)), tmp_path / "tiles"
    with exporting_host(tmp_path / "host", world, tiles) as host:
        say_all(host, world)
        make_final(host, world)
        wait_for(lambda: shows(tiles, 3))
    with open_host(tmp_path / "host", world) as host:
        say_all(host, world)
        make_final(host, world)
    with exporting_host(tmp_path / "host", world, tiles):
        wait_for(lambda: shows(tiles, 6))
    check_exported(DiskFolder(tiles, hollow=True), anchor_at(world, 6))


def test_a_host_restored_from_a_backup_refuses_for_good(tmp_path: Path) -> None:
    """Attack 3: its files show more than its database holds, so it would show two histories."""
    world, tiles, backup = World.empty(charter_of(3)), tmp_path / "tiles", tmp_path / "backup"
    with exporting_host(tmp_path / "host", world, tiles) as host:
        say_all(host, world)
        make_final(host, world)
        wait_for(lambda: shows(tiles, 3))
    shutil.copytree(tmp_path / "host", backup)
    with exporting_host(tmp_path / "host", world, tiles) as host:
        say_all(host, world)
        make_final(host, world)
        wait_for(lambda: shows(tiles, 6))
    before = files_in(tiles)
    with (
        pytest.raises(ExportAhead, match="restored from an older copy"),
        exporting_host(backup, world, tiles),
    ):
        pass
    assert files_in(tiles) == before
    # Leaving the option out does not help: the folder says that this key signed more.
    assert (backup / HALTED).exists()
    with pytest.raises(Misconfigured, match="signed more than is stored"), open_host(backup, world):
        pass
    with exporting_host(tmp_path / "host", world, tiles) as host:  # the honest one goes on
        say_all(host, world)


def test_a_head_of_another_key_in_the_folder_does_not_halt_the_host(tmp_path: Path) -> None:
    """Who can write into the folder must not be able to stop the host for good."""
    world, tiles = World.empty(charter_of(3)), tmp_path / "tiles"
    with exporting_host(tmp_path / "host", world, tiles) as host:
        say_all(host, world)
        make_final(host, world)
        wait_for(lambda: shows(tiles, 3))
    head = TreeHead(host.origin, 4_000, bytes(32))
    forged = sign_head(head, keys_of(world.members[1]).host).note()
    (tiles / CHECKPOINT).write_bytes(forged)
    with pytest.raises(ExportAhead), exporting_host(tmp_path / "host", world, tiles):
        pass
    assert not (tmp_path / "host" / HALTED).exists()
    with open_host(tmp_path / "host", world):
        pass


def test_a_disk_that_fails_stops_the_export_and_not_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exporting, "RETRY_S", 0.02)
    world, tiles = World.empty(charter_of(3)), tmp_path / "tiles"
    with exporting_host(tmp_path / "host", world, tiles) as host:
        (tiles / "tile").write_text("a file where a folder must be")
        say_all(host, world)
        make_final(host, world)
        wait_for(lambda: "export failed" in caplog.text)
        say_all(host, world)  # the log goes on
        (tiles / "tile").unlink()
        wait_for(lambda: shows(tiles, 3))
    check_exported(DiskFolder(tiles, hollow=True), anchor_at(world, 3))


def test_only_one_process_exports_into_a_folder(tmp_path: Path) -> None:
    world, tiles = World.empty(charter_of(3)), tmp_path / "tiles"
    with (
        exporting_host(tmp_path / "host", world, tiles),
        pytest.raises(Unavailable, match="another process exports"),
        exporting_host(tmp_path / "other", world, tiles),
    ):
        pass

"""`comity log export`, `comity log check` and `comity doctor` as people run them."""

from __future__ import annotations

import json
from pathlib import Path

from comity.commons.charter import charter_bytes
from comity.errors import ExitCode
from comity.node.keyfile import Unencrypted, make_keys, write_keys
from comity.node.settings import NodeSettings, write_node_settings
from comity.statements.wire import read
from comity.storage.log_store import SqliteLogStore
from comity.storage.ports import Row, StoredHead
from comity.values import MemberId
from tests.cli.commands import Terminal
from tests.storage.exports import anchor_at, grown, head_of, lines_of, note_of

SIZE = 20


def node_folder(root: Path, *, final: bool = True) -> Path:
    """A node's folder that holds a log of 20 entries, the last head of which is final."""
    world, folder = grown(SIZE), root / "node"
    folder.mkdir(mode=0o700)
    (folder / "charter.json").write_bytes(charter_bytes(world.charter))
    (folder / "site.toml").write_text('sandbox = "warn"\n')
    member = MemberId("member-b")
    write_node_settings(
        folder / "node.toml", NodeSettings(member=member, host_url="http://127.0.0.1:9")
    )
    write_keys(folder / "keys.pem", make_keys(), passphrase=Unencrypted.ON_PURPOSE)
    for name in ("log.sqlite", "host.sqlite"):
        store = SqliteLogStore(folder / name)
        rows = [
            Row(
                e.leaf,
                world.tree.leaf(e.index),
                e.statement.id,
                e.statement.author,
                e.statement.seq,
            )
            for e in world.entries[:SIZE]
        ]
        head = head_of(world, SIZE)
        store.append(rows, None, StoredHead(SIZE, head.root, note_of(world, SIZE)))
        lines = lines_of(world, SIZE)
        store.cosign(SIZE, list(zip(world.members, lines, strict=True)))
        if final:
            store.set_final(SIZE)
        store.close()
    assert read(world.log[0]).statement.author == world.members[0]
    return folder


def test_a_node_exports_and_anybody_checks(comity: Terminal, tmp_path: Path) -> None:
    folder, out = node_folder(tmp_path), tmp_path / "public"
    done = comity("log", "export", out, "--folder", folder, "--json")
    assert done.code == ExitCode.DONE, done.err
    assert done.json()["size"] == SIZE
    again = comity("log", "export", out, "--folder", folder)
    assert again.out == f"{out} shows 20 entries (0 files written)\n"
    anchor = tmp_path / "anchor.txt"
    anchor.write_bytes(anchor_at(grown(SIZE), SIZE).text())
    checked = comity("log", "check", out, "--anchor", anchor)
    assert checked.code == ExitCode.DONE, checked.out
    assert "verified: the log of" in checked.out and "member-a, member-b, member-c" in checked.out
    alone = comity("log", "check", out, "--json")
    assert alone.code == ExitCode.NO_ANCHOR
    assert (alone.json()["size"], alone.json()["tiles"]) == (SIZE, 2)


def test_a_changed_export_is_not_to_be_trusted(comity: Terminal, tmp_path: Path) -> None:
    folder, out = node_folder(tmp_path), tmp_path / "public"
    comity("log", "export", out, "--folder", folder)
    bundle = out / "tile" / "entries" / "000.p" / "20"
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"!")
    ran = comity("log", "check", out)
    assert ran.code == ExitCode.NOT_VERIFIED
    assert ran.out.startswith("not to be trusted: the 20 entries do not give the root")
    assert comity("log", "check", tmp_path / "none").code == ExitCode.USAGE


def test_the_log_of_a_host_that_does_not_run_is_exported_too(
    comity: Terminal, tmp_path: Path
) -> None:
    folder, out = node_folder(tmp_path), tmp_path / "public"
    ran = comity("log", "export", out, "--folder", folder, "--host-folder", folder)
    assert ran.code == ExitCode.DONE, ran.err
    store = SqliteLogStore(folder / "host.sqlite")
    busy = comity("log", "export", out, "--folder", folder, "--host-folder", folder)
    store.close()
    assert busy.code == ExitCode.FAILED and "another process" in busy.err
    assert comity("log", "check", out).code == ExitCode.NO_ANCHOR


def test_nothing_is_exported_before_a_head_is_final(comity: Terminal, tmp_path: Path) -> None:
    folder, out = node_folder(tmp_path, final=False), tmp_path / "public"
    ran = comity("log", "export", out, "--folder", folder)
    assert ran.code == ExitCode.FAILED and "no head is final yet" in ran.err
    assert not out.exists()


def test_the_doctor_prints_a_page_and_ends_with_one_when_something_fails(
    comity: Terminal, tmp_path: Path
) -> None:
    folder = node_folder(tmp_path)
    ran = comity("doctor", "--folder", folder)
    assert ran.code == ExitCode.FAILED
    lines = ran.out.splitlines()
    assert "FAIL   port: a connection to 127.0.0.1 port 9 was refused" in lines
    after = lines[lines.index("FAIL   port: a connection to 127.0.0.1 port 9 was refused") + 1]
    assert after.startswith("       do: nothing listens there")
    assert lines[-1] == "1 to put right" and len(lines) < 40
    shown = json.loads(comity("doctor", "--folder", folder, "--json").out)
    assert shown["passed"] is False
    assert {each["tested"] for each in shown["findings"]} >= {"key file", "disk", "SQLite", "TLS"}

"""`comity evidence` and `comity log head/compare` on folders of which no node runs."""

from __future__ import annotations

from pathlib import Path

from comity.log.heads import TreeHead, sign_head
from comity.log.merkle import Tree, leaf_hash
from tests.cli.commands import Terminal
from tests.e2e.prepared import Make
from tests.e2e.prepared import commons as commons


def test_heads_are_compared_and_a_fork_is_proved_with_files_alone(
    comity: Terminal, commons: Make, tmp_path: Path
) -> None:
    with commons(3).world(tmp_path) as world:
        for desk in world.desks:
            desk.sync()
        leaves = world.leaves()
        host, origin = world.places.host.keys.host, world.desks[0].station.replica.origin
        folders = [desk.place.folder for desk in world.desks]
    head, other = tmp_path / "head.txt", tmp_path / "other.txt"
    assert comity("log", "head", "--out", head, "--folder", folders[1]).code == 0
    assert comity("log", "head", "--out", head, "--folder", folders[1]).code == 2, "it is there"
    assert comity("log", "head", "--folder", folders[1]).out == head.read_text()
    same = comity("log", "compare", head, "--folder", folders[2])
    assert same.code == 0 and "the same history" in same.out
    tree = Tree(map(leaf_hash, [*leaves, b"one more"]))
    other.write_bytes(sign_head(TreeHead(origin, tree.size, tree.root()), host).note())
    assert comity("log", "compare", other, "--folder", folders[2]).code == 6
    assert comity("evidence", "list", "--folder", folders[2]).out.strip() == "nothing was caught"
    tree = Tree(map(leaf_hash, [*leaves[:3], b"another"]))
    other.write_bytes(sign_head(TreeHead(origin, tree.size, tree.root()), host).note())
    forked = comity("log", "compare", other, "--folder", folders[2])
    assert forked.code == 1 and "split-view" in forked.err
    listed = comity("evidence", "list", "--folder", folders[2], "--json").json()
    assert "m0 signed as host two histories" in str(listed["halted"])
    (name,) = [p.name for p in (folders[2] / "evidence").glob("host-*")]
    shown = comity("evidence", "show", name, "--folder", folders[2])
    file = tmp_path / "fork.json"
    file.write_text(shown.out)
    # Another member checks it against its own log; what is changed proves nothing.
    checked = comity("evidence", "check", file, "--folder", folders[1], "--json")
    assert checked.code == 0
    assert checked.json()["accused"] == "m0"
    assert checked.json()["sizes"] == [4, len(leaves)]
    file.write_text(shown.out.replace('"other_root":"', '"other_root":"A')[:-1])
    assert comity("evidence", "check", file, "--folder", folders[1]).code == 4
    assert comity("evidence", "check", head, "--folder", folders[1]).code == 4
    assert comity("evidence", "check", head).code == 4
    assert comity("evidence", "check", tmp_path / "none").code == 2
    assert comity("evidence", "check", file, "--folder", tmp_path).code == 2
    assert comity("evidence", "show", "host-0.json", "--folder", folders[2]).code == 1

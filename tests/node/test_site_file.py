"""`site.toml` on disk: read again when it changes, and never half."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comity.commons.site import SitePolicy, parse_site
from comity.errors import Misconfigured
from comity.node.gating import limits_of, rows_of
from comity.node.site_file import SITE_FILE, SiteFile
from comity.values import SITE_BYTES_MAX


def test_a_change_is_read_at_the_next_decision_also_within_one_tick_of_the_disk(
    tmp_path: Path,
) -> None:
    path, site = tmp_path / SITE_FILE, SiteFile(tmp_path)
    assert site.now() == SitePolicy(), "no file: the strictest"
    path.write_text("rounds_max = 2\n")
    stamp = path.stat()
    assert site.now().rounds_max == 2
    path.write_text("rounds_max = 3\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert site.now().rounds_max == 3, "the size and the time are the same as before"
    path.unlink()
    assert site.now() == SitePolicy()


def test_a_file_that_is_wrong_decides_nothing_until_it_is_mended(tmp_path: Path) -> None:
    path, site = tmp_path / SITE_FILE, SiteFile(tmp_path)
    path.write_text('studies = "auto"\n')
    assert site.now().studies == "auto"
    for raw in (b"studies = ", b"\xff\xfe", b"x = 1", b"#" * (SITE_BYTES_MAX + 1)):
        path.write_bytes(raw)
        for _ in range(2):
            with pytest.raises(Misconfigured, match=r"site\.toml"):
                site.now()
    path.write_text('studies = "ask"\n')
    assert site.now().studies == "ask"


def test_what_is_no_plain_file_is_refused_and_holds_nobody_up(tmp_path: Path) -> None:
    path, site = tmp_path / SITE_FILE, SiteFile(tmp_path)
    path.mkdir()
    with pytest.raises(Misconfigured):
        site.now()
    path.rmdir()
    os.mkfifo(path)  # nobody ever writes into it
    with pytest.raises(Misconfigured, match="no plain file"):
        site.now()
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(Misconfigured, match="cannot read"):
        site.now()


def test_limits_of_a_study_are_those_of_the_policy_and_the_shorter_time() -> None:
    text = "memory_mb_max = 64\ncpu_s_max = 5\nfile_mb_max = 2\nopen_files_max = 40\n"
    limits = limits_of(parse_site(text + "round_s_max = 30\n"), 60.0)
    assert (limits.memory_bytes, limits.cpu_s) == (64 * 2**20, 5)
    assert (limits.file_bytes, limits.open_files, limits.request_s) == (2 * 2**20, 40, 30.0)
    assert limits_of(parse_site(text), 60.0).request_s == 60.0


def test_rows_are_counted_by_the_node_as_the_studies_read_them(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    for text, rows in (("", 0), ("x\n", 0), ("x\n1\n\n2\n", 2), ('x,y\n"a\nb",1\nc,2', 2)):
        table.write_text(text)
        assert rows_of(table) == rows
    for raw in (b'x\n"open', b"x\n\xff\xfe\n"):
        table.write_bytes(raw)
        with pytest.raises(Misconfigured, match="records_min"):
            rows_of(table)
    with pytest.raises(Misconfigured):
        rows_of(tmp_path / "none.csv")
    table.write_bytes(b"PAR1\n\n1\n2\n3\nPAR1")  # reads as text of many lines
    with pytest.raises(Misconfigured, match="is Parquet"):
        rows_of(table)

"""`comity doctor`: whether this machine has what its node needs, on one page for those who run it.

Reads settings and asks the host for its status; unlocks no key, says nothing in the commons, and
leaves nothing behind but its line in the ledger of what left. It may run beside the node.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sqlite3
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar, final

from msgspec import Struct

from comity.commons.charter import Charter, commons_id
from comity.commons.site import SitePolicy
from comity.errors import ComityError
from comity.learning.steps import flush_to_zero_fault
from comity.node.bootstrap import LOG_FILE
from comity.node.findings import Finding, fail, note, ok, skipped
from comity.node.founding import CHARTER, KEYS, read_charter
from comity.node.gating import limits_of
from comity.node.keyfile import check_key_file
from comity.node.leaving import Ledger
from comity.node.reaching import reach
from comity.node.sandbox import Sandbox
from comity.node.settings import NodeSettings, read_node_settings
from comity.node.site_file import SiteFile
from comity.node.station import system_clock
from comity.node.stopping import Halted
from comity.storage.database import Database, Schema
from comity.storage.disk import sync_folder

SPACE_BYTES_MIN: Final = 2**30
"""Below this much free disk a node is told to stop before it has to."""
PYTHON_MIN: Final = (3, 11)
SQLITE_MIN: Final = (3, 37, 0)
_SYNC_SLOW_S: Final = 0.25
_SCHEMA: Final = Schema(0x43444F43, 1, "CREATE TABLE probe (one INTEGER PRIMARY KEY) STRICT")
_NEED = re.compile(r"\A([A-Za-z0-9._-]+)\s*>=\s*([0-9.]+)")
T = TypeVar("T")


@final
class Examination(Struct, frozen=True, tag="doctor"):
    """Everything that was tested, in order. passed: nothing failed."""

    passed: bool
    findings: tuple[Finding, ...]


def examine(
    folder: Path,
    *,
    clock: Callable[[], int] = system_clock,
    space_bytes_min: int = SPACE_BYTES_MIN,
) -> Examination:
    """Test what the node of this folder needs.

    Args:
        folder: the member's node folder.
        clock: POSIX seconds. space_bytes_min: free disk that is enough.
    """
    findings = [_python(), _libraries(), _arithmetic()]
    settings = _kept(findings, "settings", lambda: read_node_settings(folder / "node.toml"))
    charter = _kept(findings, "charter", lambda: read_charter(folder / CHARTER))
    site = _kept(findings, "site policy", lambda: SiteFile(folder).now())
    if settings is not None and charter is not None:
        findings.append(_member(folder, settings, charter))
    findings.append(_keys(folder))
    findings.append(_disk(folder, space_bytes_min))
    usable = findings[-1].result != "fail"
    findings.append(_sqlite(folder) if usable else skipped("SQLite", "not tested: no usable disk"))
    findings.append(_sandbox(site or SitePolicy()))
    if settings is None:
        findings.append(skipped("network", "not tested: node.toml does not say where the host is"))
    else:
        findings += _network(folder, settings, charter, clock)
    passed = all(finding.result != "fail" for finding in findings)
    return Examination(passed, tuple(findings))


def _network(
    folder: Path, settings: NodeSettings, charter: Charter | None, clock: Callable[[], int]
) -> list[Finding]:
    outlet = Ledger(folder, clock)
    try:
        outlet.check()
    except Halted as error:
        return [skipped("network", f"not tested: {error}")]
    return reach(settings, commons_id(charter) if charter else None, clock, outlet)


def _kept(findings: list[Finding], tested: str, read: Callable[[], T]) -> T | None:
    """The value, or None and a finding that says what is wrong with its file."""
    try:
        value = read()
    except ComityError as error:
        findings.append(fail(tested, str(error), "correct the file, or restore it from its backup"))
        return None
    findings.append(ok(tested, "the file is in form"))
    return value


def _member(folder: Path, settings: NodeSettings, charter: Charter) -> Finding:
    if settings.member in {founder.id for founder in charter.founders}:
        return ok("member", f"{settings.member} is a founder of {charter.name!r}")
    if (folder / LOG_FILE).exists():
        return ok("member", f"{settings.member} was admitted to {charter.name!r}: it has the log")
    return fail(
        "member",
        f"node.toml says that this is {settings.member}, which the charter does not list, and there"
        " is no log that was checked",
        "once admitted: `comity commons join` with an anchor; a founder corrects member in"
        " node.toml, or takes the charter of its commons",
    )


def _python() -> Finding:
    version = platform.python_version()
    system = f"Python {version} on {platform.system()} {platform.release()} {platform.machine()}"
    if sys.version_info < PYTHON_MIN or not ssl.HAS_TLSv1_3:
        needed = ".".join(map(str, PYTHON_MIN))
        return fail("Python", system, f"install Python {needed} or later with TLS 1.3")
    return ok("Python", f"{system}, {ssl.OPENSSL_VERSION}")


def _libraries() -> Finding:
    return judge_libraries(importlib.metadata.requires("comity") or ())


def judge_libraries(needs: Iterable[str]) -> Finding:
    """Compare what is installed with requirements like `msgspec>=0.20`; extras are left out."""
    wrong: list[str] = []
    right: list[str] = []
    for need in needs:
        match = _NEED.match(need)
        if match is None or "extra ==" in need or ("win32" in need and os.name == "nt"):
            continue
        name, least = match[1], match[2]
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        (right if _numbers(here) >= _numbers(least) else wrong).append(f"{name} {here}")
    if wrong:
        return fail("libraries", ", ".join(wrong), "install Comity again: `make setup`")
    return ok("libraries", ", ".join(right))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _arithmetic() -> Finding:
    fault = flush_to_zero_fault()
    if fault is None:
        return ok("arithmetic", "IEEE 754, so every member gets the same model")
    return fail("arithmetic", fault, "find the library that sets it, and leave it out")


def _keys(folder: Path) -> Finding:
    path = folder / KEYS
    try:
        encrypted = check_key_file(path)
    except ComityError as error:
        found, _, advice = str(error).partition("; ")
        return fail("key file", found, advice or "restore it from its backup")
    if not encrypted:
        return note(
            "key file",
            f"{path} is this user's alone, and not encrypted",
            "whoever gets a copy speaks as this member: keep it off backups that others read",
        )
    return ok("key file", f"{path} is encrypted and this user's alone (0600 in 0700)")


def _disk(folder: Path, space_bytes_min: int) -> Finding:
    """Write, sync, rename and remove a file, as the node does all day."""
    try:
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as place:
            started_s = time.monotonic()
            probe = Path(place) / "written"
            with probe.open("xb") as file:
                file.write(bytes(65_536))
                file.flush()
                os.fsync(file.fileno())
            probe.rename(Path(place) / "renamed")
            sync_folder(Path(place))
            took_s = time.monotonic() - started_s
    except OSError as error:
        return fail(
            "disk",
            f"cannot write in {folder} ({error.strerror})",
            "give the folder to the user that runs the node, on a disk with space that is not"
            " mounted read-only",
        )
    told = f"{free / 2**30:.1f} GiB free, a synced write takes {took_s * 1_000:.0f} ms"
    if free < space_bytes_min:
        return fail("disk", told, f"free at least {space_bytes_min / 2**30:.1f} GiB")
    if took_s > _SYNC_SLOW_S:
        return note("disk", told, "rounds will be slow: a local disk is better than a network one")
    return ok("disk", told)


def _sqlite(folder: Path) -> Finding:
    version = f"SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        needed = ".".join(map(str, SQLITE_MIN))
        return fail("SQLite", version, f"install a Python with SQLite {needed} or later")
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as place:
            database = Database(Path(place) / "probe.sqlite", _SCHEMA)
            try:
                with database.transaction() as writing:
                    writing.execute("INSERT INTO probe VALUES (1)")
            finally:
                database.close()
    except (ComityError, OSError) as error:
        return fail("SQLite", f"{version}: {error}", "put the folder on a local file system")
    return ok("SQLite", f"{version}, write-ahead log and locks work here")


def _sandbox(site: SitePolicy) -> Finding:
    """Shut a process in as a study's would be, under the same limits, and ask it what holds."""
    advice = (
        "studies are refused here (sandbox in site.toml): use Linux 5.13 or later with Landlock"
        " and seccomp, and let a container runtime allow them"
    )
    limits = limits_of(site, float(site.round_s_max))
    try:
        with tempfile.TemporaryDirectory(prefix="comity-doctor-") as place:
            nothing = Path(place) / "nothing.py"
            nothing.write_text("", encoding="utf-8")
            probe = Sandbox.start(nothing, None, Path(place) / "work", policy="warn", limits=limits)
            isolation = probe.isolation
            probe.close()
    except (ComityError, OSError) as error:
        return fail("sandbox", f"a study's process does not start: {error}", advice)
    if isolation.complete:
        return ok("sandbox", "studies run without network, other files and other processes")
    missing = "; ".join(isolation.missing)
    lacking = sorted(site.walls - isolation.walls)
    if lacking:
        return fail("sandbox", f"{', '.join(lacking)}: {missing}", advice)
    return note("sandbox", missing, "studies run all the same, as site.toml says")

"""How a study's process begins: its folder, environment and two pipes. Nothing is inherited."""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from comity.errors import Misconfigured
from comity.node.isolation import Limits, Setup
from comity.node.sandbox_wire import NOTES_FILE, VECTOR_FILE
from comity.values import STUDY_FILE_BYTES_MAX


def prepare(
    study_path: Path,
    data_path: Path | None,
    work_dir: Path,
    limits: Limits,
    more_data: Sequence[Path] = (),
) -> Setup:
    """Make the work folder and its two writable files; say what the process may reach.

    Raises:
        Misconfigured: a path is missing, or the study file is too long.
    """
    study = study_path.resolve()
    table = None if data_path is None else data_path.resolve()
    more = tuple(path.resolve() for path in more_data)
    work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = work_dir.resolve()
    for path in (study, table, *more):
        if path is not None and not path.is_file():
            raise Misconfigured(f"there is no file {path}")
    if study.stat().st_size > STUDY_FILE_BYTES_MAX:
        raise Misconfigured(f"a study file has at most {STUDY_FILE_BYTES_MAX} bytes")
    _make(work / VECTOR_FILE)
    if not (work / NOTES_FILE).is_file():
        _make(work / NOTES_FILE)
    return Setup(
        study=str(study),
        table="" if table is None else str(table),
        work=str(work),
        readable=tuple(str(path) for path in (work, study, table, *more) if path is not None),
        writable=(str(work / VECTOR_FILE), str(work / NOTES_FILE)),
        limits=limits,
        more=tuple(map(str, more)),
    )


def overwrite(path: Path) -> None:
    """Zeros over all of a file, in the same pages and blocks; nothing where there is no file."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        left = os.fstat(descriptor).st_size
        zeros = bytes(min(left, 2**20))
        while left:
            left -= file.write(zeros[:left])


def _make(path: Path) -> None:
    """An empty regular file, whatever was there; the process itself can create none."""
    if not path.is_symlink():
        overwrite(path)  # the update of a process that was killed
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def spawn(setup: Setup) -> tuple[subprocess.Popen[bytes], int]:
    """Start the process; it waits for the setup line and sends replies to the handle returned.

    Nothing of this process is inherited but one pipe each way and the notes file.
    """
    ours, theirs = os.pipe()
    threads = str(setup.limits.threads)
    environment = {
        "HOME": setup.work,
        "TMPDIR": setup.work,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUSERBASE": site.getuserbase() if site.ENABLE_USER_SITE else "",
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
    }
    try:
        with (Path(setup.work) / NOTES_FILE).open("ab") as notes:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "comity.node.sandbox_child", str(theirs)],
                stdin=subprocess.PIPE,
                stdout=notes,
                stderr=notes,
                pass_fds=(theirs,),
                env=environment,
                cwd=setup.work,
                start_new_session=True,
            )
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    os.set_blocking(ours, False)
    return child, ours

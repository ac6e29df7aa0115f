"""How a study's process begins: its folder, environment and two pipes. Nothing is inherited."""

from __future__ import annotations

import os
import site
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from comity.errors import Misconfigured
from comity.learning.study import StudyCard
from comity.node.isolation import Limits, Setup
from comity.node.sandbox_wire import KEPT_FILE, NOTES_FILE, VECTOR_FILE, WORD_BYTES
from comity.values import STUDY_FILE_BYTES_MAX


def prepare(
    study_path: Path,
    data_path: Path | None,
    work_dir: Path,
    limits: Limits,
    more_data: Sequence[Path] = (),
) -> Setup:
    """Make the work folder and its three writable files; say what the process may reach.

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
    _make(work / KEPT_FILE)
    if not (work / NOTES_FILE).is_file():
        _make(work / NOTES_FILE)
    return Setup(
        study=str(study),
        table="" if table is None else str(table),
        work=str(work),
        readable=tuple(str(path) for path in (work, study, table, *more) if path is not None),
        writable=tuple(str(work / name) for name in (VECTOR_FILE, KEPT_FILE, NOTES_FILE)),
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


def write_over(path: Path, raw: bytes) -> None:
    """Let a file hold exactly these bytes; made when absent, never through a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(raw)


def _make(path: Path) -> None:
    """An empty regular file, whatever was there; the process itself can create none."""
    if not path.is_symlink():
        overwrite(path)  # the update of a process that was killed
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def vectors_fault(work: Path, card: StudyCard | None, words: int, *, trained: bool) -> str | None:
    """Why the files of an answer are not what it announces, in words; None when they are.

    Args:
        card: what the study declares, once it was asked. words: of `update.f32`, as announced.
        trained: whether it holds an update, with `kept.f32` beside it, or a model.
    """
    expected = {VECTOR_FILE: words}
    if card is not None:
        if words != (card.layout if trained else card.model).data_words:
            return "a vector of another length than declared"
        if trained:
            expected[KEPT_FILE] = card.kept_words
    for name, count in expected.items():
        try:
            handle = os.open(work / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return "no vector"
        found = os.fstat(handle)
        os.close(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size != WORD_BYTES * count:
            return "a vector file of another size than announced"
    return None


def cpu_seconds(pid: int) -> float:
    """Processor seconds a process has used; 0 where the system does not tell."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    user, system = told.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


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
        "JOBLIB_MULTIPROCESSING": "0",  # scikit-learn: no processes to try for
        "TORCHINDUCTOR_CACHE_DIR": setup.work,  # PyTorch: named, never written
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

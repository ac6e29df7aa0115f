"""Shut a process in: no network, no other files, no other processes. Linux, nothing to install.

A process calls `shut_in` on itself before it runs code of others; nothing here can be undone. Three
walls of the kernel, each usable without rights: Landlock (files, TCP, signals), seccomp (system
calls), and a network namespace of its own. `shut_in` reports what holds; whoever started the
process decides whether that is enough. Nothing here knows of studies, and little is imported: two
of the walls bind only the calling thread and those it starts, so they come before the libraries.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import stat
import struct
import sys
from collections.abc import Iterable
from typing import Final, final

import msgspec

from comity.values import WALLS, Wall

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_CLONE_THREAD: Final = 0x10000
_NEW_USER_NET_IPC: Final = 0x10000000 | 0x40000000 | 0x08000000

# Landlock; the numbers are the same on every processor
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1, 2, 4, 8, 1 << 14
_FS_RIGHTS: Final = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}
_FS_RIGHTS_LATEST: Final = 0xFFFF

# seccomp: architecture token, then numbers of the calls that are refused
_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED: Final = {
    # name: (x86_64, aarch64); -1 where there is no such call
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fork": (57, -1),
    "vfork": (58, -1),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "setpriority": (141, 140),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # these change files without opening them, which Landlock lets pass
    "truncate": (76, 45),
    "creat": (85, -1),
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "fchown": (93, 55),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, -1),
    "utimes": (235, -1),
    "futimesat": (261, -1),
    "utimensat": (280, 88),
}
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
_OPENAT2: Final = (437, 437)
_OPEN: Final = (2, -1)
_OPENAT: Final = (257, 56)
_TGKILL: Final = (234, 131)
_PRLIMIT: Final = (302, 261)

_GPU_NODES: Final = ("nvidia", "dri", "kfd")
"""How the names of the device files of graphics processors begin."""

_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_KILL: Final = 0x80000000
_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_ABOVE, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06


@final
class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a study's process may use.

    Args:
        memory_bytes: address space, so somewhat more than the memory in use.
        cpu_s: processor seconds over the whole life of the process.
        request_s: wall-clock seconds of one request.
        start_s: wall-clock seconds to start Python and the libraries.
        file_bytes: size of each of the three files it may write.
        open_files: how many files may be open at once.
        threads: of linear algebra; 1 makes results repeatable.
    """

    memory_bytes: int = 8 * 2**30
    cpu_s: int = 7 * 86_400
    request_s: float = 4 * 3_600.0
    start_s: float = 60.0
    file_bytes: int = 2**30
    open_files: int = 128
    threads: int = 1


@final
class Setup(msgspec.Struct, frozen=True):
    """The first line to a process: its study, table ("" for none) and work folder; its walls.

    more: further tables, of a simulation's other members.
    """

    study: str
    table: str
    work: str
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    limits: Limits
    more: tuple[str, ...] = ()


@final
class Isolation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds around a study's process.

    Args:
        network_off: no connection, in or out.
        files_confined: reads Python, its libraries, the study and the data only; writes its two
            files only.
        processes_apart: starts no program and no process, and reaches no other one.
        missing: why something does not hold, for the operator; empty when all do.
        limits_set: memory, processor time, files and open files are bounded as asked.
        gpu_off: it reaches no graphics processor.
    """

    network_off: bool
    files_confined: bool
    processes_apart: bool
    missing: tuple[str, ...]
    limits_set: bool = False
    gpu_off: bool = False

    @property
    def walls(self) -> frozenset[Wall]:
        """The walls that hold."""
        held: dict[Wall, bool] = {
            "network": self.network_off,
            "files": self.files_confined,
            "processes": self.processes_apart,
            "limits": self.limits_set,
            "gpu": self.gpu_off,
        }
        return frozenset(wall for wall in WALLS if held[wall])

    @property
    def complete(self) -> bool:
        """Whether everything holds."""
        return len(self.walls) == len(WALLS)


def shut_in(limits: Limits, readable: Iterable[str], writable: Iterable[str]) -> Isolation:
    """Shut this process in for good; call it before any thread starts.

    Args:
        limits: resources; set first.
        readable: files and folders it may still read (and load code from).
        writable: existing files it may still read, write and cut; it can create none.
    Returns:
        What holds. A wall that the system does not offer is missing, with the reason.
    """
    missing: list[str] = []
    limited = _limit(limits, missing)
    if sys.platform != "linux":
        missing.append(f"isolation needs Linux, this is {sys.platform}")
        return Isolation(False, False, False, tuple(missing), limited)
    no_gpu = not any(name.startswith(_GPU_NODES) for name in os.listdir("/dev"))
    assert len(os.listdir("/proc/self/task")) == 1, "a thread would stay outside"
    libc = ctypes.CDLL(None, use_errno=True)
    network_gone = libc.unshare(_NEW_USER_NET_IPC) == 0
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        missing.append("the kernel lacks no_new_privs")
        return Isolation(network_gone, False, False, tuple(missing), limited, no_gpu)
    confined = _landlock(libc, readable, writable, missing)
    filtered = _seccomp(libc, missing)
    if not filtered:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        if not network_gone:
            missing.append("network: no namespace of its own either")
    if not confined and not no_gpu:
        missing.append("gpu: its device files lie open")
    return Isolation(
        network_off=network_gone or filtered,
        files_confined=confined and filtered,  # Landlock alone lets chmod and truncate pass
        processes_apart=filtered,
        missing=tuple(missing),
        limits_set=limited,
        gpu_off=confined or no_gpu,
    )


def _limit(limits: Limits, missing: list[str]) -> bool:
    """Whether each limit is set now, as asked or lower."""
    all_set = True
    for name, kind, bound in (
        ("memory", resource.RLIMIT_AS, limits.memory_bytes),
        ("processor time", resource.RLIMIT_CPU, limits.cpu_s),
        ("the size of files", resource.RLIMIT_FSIZE, limits.file_bytes),
        ("open files", resource.RLIMIT_NOFILE, limits.open_files),
        ("memory images", resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            bound = min(bound, hard)
        try:
            resource.setrlimit(kind, (bound, bound))
        except (ValueError, OSError):
            missing.append(f"limits: the system refuses to bound {name}")
            all_set = False
    return all_set


def _landlock(
    libc: ctypes.CDLL, readable: Iterable[str], writable: Iterable[str], missing: list[str]
) -> bool:
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        missing.append("files: the kernel offers no Landlock (Linux 5.13 or later, switched on)")
        return False
    rights = _FS_RIGHTS.get(version, _FS_RIGHTS_LATEST)
    attributes = struct.pack("<QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, attributes, size, 0)
    if ruleset < 0:
        missing.append(f"files: Landlock refuses rules ({_last_error()})")
        return False
    try:
        for paths, granted in (
            (readable, _EXECUTE | _READ_FILE | _READ_DIR),
            (writable, _READ_FILE | _WRITE_FILE | _TRUNCATE),
        ):
            for path in paths:
                _allow(libc, ruleset, path, granted & rights)
        if libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
            missing.append(f"files: Landlock does not start ({_last_error()})")
            return False
    finally:
        os.close(ruleset)
    return True


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, granted: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            granted &= ~_READ_DIR
        rule = struct.pack("<Qi", granted, handle)
        if libc.syscall(_ADD_RULE, ruleset, 1, rule, 0) != 0:
            raise OSError(ctypes.get_errno(), "Landlock refuses a rule")
    finally:
        os.close(handle)


def _seccomp(libc: ctypes.CDLL, missing: list[str]) -> bool:
    machine = platform.machine()
    if machine not in _ARCHITECTURES or sys.byteorder != "little":
        missing.append(f"system calls: no filter for {machine}")
        return False
    code = _filter(machine, os.getpid())
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_SECCOMP, 2, program, 0, 0) != 0:
        missing.append(f"system calls: no seccomp filter ({_last_error()})")
        return False
    return True


def _filter(machine: str, pid: int) -> bytes:
    """The program: each line is (code, jump if true, jump if false, constant)."""
    column = 0 if machine == "x86_64" else 1
    refuse = _ERRNO | errno.EPERM
    absent = _ERRNO | errno.ENOSYS
    lines = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":  # the x32 numbers are another way in
        lines += [(_JUMP_ABOVE, 0, 1, 0x40000000), (_RETURN, 0, 0, _KILL)]

    def on(number: int, body: list[tuple[int, int, int, int]]) -> None:
        if number >= 0:
            lines.append((_JUMP_EQUAL, 0, len(body), number))
            lines.extend(body)

    for numbers in _REFUSED.values():
        on(numbers[column], [(_RETURN, 0, 0, refuse)])
    on(_CLONE3[column], [(_RETURN, 0, 0, absent)])  # libc falls back to clone
    on(_OPENAT2[column], [(_RETURN, 0, 0, absent)])
    on(_CLONE[column], _unless(_argument(0), _JUMP_SET, _CLONE_THREAD, refuse))
    on(_TGKILL[column], _unless(_argument(0), _JUMP_EQUAL, pid, refuse))
    on(_PRLIMIT[column], _unless(_argument(0), _JUMP_EQUAL, 0, refuse))
    on(_OPEN[column], _when(_argument(1), _JUMP_SET, os.O_TRUNC, refuse))
    on(_OPENAT[column], _when(_argument(2), _JUMP_SET, os.O_TRUNC, refuse))
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def _argument(index: int) -> int:
    return 16 + 8 * index  # low half; the arguments looked at are 32 bits wide


def _unless(place: int, test: int, number: int, verdict: int) -> list[tuple[int, int, int, int]]:
    return [
        (_LOAD, 0, 0, place),
        (test, 1, 0, number),
        (_RETURN, 0, 0, verdict),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _when(place: int, test: int, number: int, verdict: int) -> list[tuple[int, int, int, int]]:
    return [
        (_LOAD, 0, 0, place),
        (test, 0, 1, number),
        (_RETURN, 0, 0, verdict),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _last_error() -> str:
    return os.strerror(ctypes.get_errno())

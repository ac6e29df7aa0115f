"""Inside a study's process: shut in, then load the study, then answer requests one by one.

The node starts it as `python -m comity.node.sandbox_child REPLY_FD`, with requests on standard
input. What the study prints, and the text of its errors, goes to the notes file and nowhere else.
Everything here trusts the node and distrusts the study, which shares this process: the walls
around it are `isolation`, and the node checks every reply.
"""

from __future__ import annotations

import os
import select
import sys
import sysconfig
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

import msgspec

from comity.node.isolation import Setup, shut_in
from comity.storage.memory import keep_freed_memory

if TYPE_CHECKING:  # loaded only behind the walls
    from comity.node.sandbox_study import Worker

_SYSTEM_READABLE: Final = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/dev/null",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/usr/share/zoneinfo",
    "/sys/devices/system/cpu",
    "/proc/cpuinfo",
    "/proc/meminfo",
)


def main() -> None:
    """Read the setup line, shut this process in, say what holds, serve until the node hangs up."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(int(sys.argv[1]), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    keep_freed_memory()
    setup = msgspec.json.decode(requests.readline(), type=Setup)
    libraries = (*sorted(_libraries()), *_SYSTEM_READABLE)
    isolation = shut_in(setup.limits, (*libraries, *setup.readable), setup.writable)
    inside = [folder for folder in libraries if Path(setup.work).is_relative_to(folder)]
    if inside:
        reason = f"files: the node's folder lies in {inside[0]}, which studies may read; move it"
        isolation = msgspec.structs.replace(
            isolation, files_confined=False, missing=(*isolation.missing, reason)
        )
    threading.Thread(target=_end_with_node, args=(requests.fileno(),), daemon=True).start()
    from comity.node.sandbox_study import Worker  # fails here when the limits are too tight

    _send(replies, msgspec.json.encode(isolation))
    tables = tuple(Path(table) for table in (setup.table, *setup.more))
    _serve(requests, replies, Worker(Path(setup.study), tables, Path(setup.work)))


def _serve(requests: BinaryIO, replies: BinaryIO, worker: Worker) -> None:
    from comity.node.sandbox_wire import Request

    decoder = msgspec.json.Decoder(Request)
    while line := requests.readline():
        reply = worker.answer(decoder.decode(line))
        sys.stdout.flush()
        sys.stderr.flush()
        _send(replies, msgspec.json.encode(reply))


def _send(replies: BinaryIO, line: bytes) -> None:
    replies.write(line + b"\n")
    replies.flush()


def _end_with_node(handle: int) -> NoReturn:
    """End in the middle of a request too, when the node is gone."""
    poll = select.poll()
    poll.register(handle, 0)  # only "hung up" is reported
    poll.poll()
    os._exit(0)


def _libraries() -> set[str]:
    """Where Python and its packages lie; no folder that merely contains them, like /usr."""
    named = sysconfig.get_paths()
    roots = {named[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    roots |= {entry for entry in sys.path if entry and os.path.exists(entry)}
    found = {os.path.realpath(root) for root in roots}
    library = sysconfig.get_config_var("LIBDIR")  # libpython itself
    if isinstance(library, str) and os.path.isdir(library):
        found.add(os.path.realpath(library))
    return found


if __name__ == "__main__":
    main()

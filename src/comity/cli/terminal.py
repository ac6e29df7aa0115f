"""What commands share with a person at a terminal: output, secrets, exit codes.

Results go to stdout, all else to stderr; with `--json` stdout holds one JSON value and nothing
else. Text from the log or another institution is made harmless before it is shown.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, final

import msgspec
import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comity.errors import (
    ComityError,
    ExitCode,
    Forged,
    Misconfigured,
    Refused,
    Rule,
)
from comity.node.keyfile import Unencrypted
from comity.release.words import one_line

PASSPHRASE_BYTES_MAX: Final = 4_096

Unlock = Callable[[], bytes | Unencrypted]
"""Asks for the passphrase; called only when keys are needed."""

Folder = Annotated[Path, typer.Option("--folder", help="The member's node folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value, and nothing else.")]
PassphraseFd = Annotated[
    int | None, typer.Option("--passphrase-fd", help="Read the passphrase from this descriptor.")
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="Read the passphrase from this file (mode 0600)."),
]
NoPassphrase = Annotated[
    bool,
    typer.Option("--unencrypted-on-purpose", help="The key file is not encrypted, on purpose."),
]


# -- results -------------------------------------------------------------------------------------


@final
class Screen:
    """Where a command shows things. as_json: results as JSON, and no progress at all."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def result(self, value: Struct, *lines: str | Table) -> None:
        """The result of a command: the value as JSON, or these lines and tables for people."""
        if self.as_json:
            # ASCII only, so that no text of others can steer a terminal.
            sys.stdout.write(json.dumps(msgspec.to_builtins(value)) + "\n")
            sys.stdout.flush()
            return
        for line in lines:
            self._out.print(Text(harmless(line)) if isinstance(line, str) else line)

    def verbatim(self, value: Struct, text: str) -> None:
        """A result that is a text of its own, for files and other programs."""
        if self.as_json:
            self.result(value)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Something on the way that a person may want to know."""
        if not self.as_json:
            self._err.print(Text(harmless(text)))

    @contextmanager
    def waiting(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show that something takes long; the function given changes the text."""
        if self.as_json:
            yield lambda _: None
        elif not self._err.is_terminal:
            shown = [text]
            self.note(text)

            def changed(now: str) -> None:
                if now != shown[0]:
                    shown[0] = now
                    self.note(now)

            yield changed
        else:
            with self._err.status(Text(harmless(text))) as live:
                yield lambda now: live.update(Text(harmless(now)))


def harmless(text: str) -> str:
    """Text of unknown origin for a terminal: control and bidi characters are spelled out."""
    return one_line(text)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table of harmless text."""
    made = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(Text(harmless(cell)) for cell in row))
    return made


def when(time_s: int) -> str:
    """A time, in words: UTC."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time_s)) + " UTC"
    except (OverflowError, ValueError, OSError):
        return f"{time_s} s"


# -- errors --------------------------------------------------------------------------------------


def exit_code_of(error: ComityError) -> ExitCode:
    """The one table of architecture.md 1.9."""
    match error:
        case Misconfigured():
            return ExitCode.USAGE
        case Refused(rule=Rule.NO_CONSENT):
            return ExitCode.CONSENT_MISSING
        case Refused():
            return ExitCode.AGAINST_RULES
        case Forged():
            return ExitCode.NOT_VERIFIED
        case _:
            return ExitCode.FAILED


def complain(error: ComityError) -> None:
    """One sentence on stderr."""
    sys.stderr.write(f"comity: {harmless(str(error))}\n")


# -- secrets -------------------------------------------------------------------------------------


def unlocker(
    descriptor: int | None, file: Path | None, unencrypted: bool, *, new: bool = False
) -> Unlock:
    """How to get the passphrase: from where the flags say, or by asking at the terminal.

    Args:
        new: it is chosen now, so a person types it twice.
    Raises:
        Misconfigured: more than one source is named.
    """
    if (descriptor is not None) + (file is not None) + unencrypted > 1:
        raise Misconfigured(
            "name one of --passphrase-fd, --passphrase-file and --unencrypted-on-purpose"
        )
    if unencrypted:
        return lambda: Unencrypted.ON_PURPOSE
    if descriptor is not None:
        return lambda: _from_descriptor(descriptor)
    if file is not None:
        return lambda: _from_file(file)
    return lambda: _from_person(new)


def _from_descriptor(descriptor: int) -> bytes:
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as source:
            return _first_line(source.read(PASSPHRASE_BYTES_MAX + 1))
    except OSError as error:
        raise Misconfigured(
            f"cannot read the passphrase from descriptor {descriptor}: {error.strerror}"
        ) from error


def _from_file(path: Path) -> bytes:
    try:
        with path.open("rb") as source:
            found = os.fstat(source.fileno())
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise Misconfigured(f"{path} is open to others; run: chmod 600 {path}")
            return _first_line(source.read(PASSPHRASE_BYTES_MAX + 1))
    except OSError as error:
        raise Misconfigured(f"cannot read the passphrase file {path}: {error.strerror}") from error


def _first_line(content: bytes) -> bytes:
    passphrase = content.partition(b"\n")[0].removesuffix(b"\r")
    if not passphrase or len(content) > PASSPHRASE_BYTES_MAX:
        raise Misconfigured(
            f"a passphrase is one line of 1 to {PASSPHRASE_BYTES_MAX} bytes; none came"
        )
    return passphrase


def _from_person(new: bool) -> bytes:
    if not sys.stdin.isatty():
        raise Misconfigured(
            "no terminal to ask for the passphrase: give --passphrase-fd or --passphrase-file"
        )
    passphrase = getpass.getpass("Passphrase of the key file: ")
    if new and getpass.getpass("The same again: ") != passphrase:
        raise Misconfigured("the two passphrases differ: start again")
    return _first_line(passphrase.encode("utf-8", "surrogateescape"))


# -- logging -------------------------------------------------------------------------------------


class _HarmlessLines(logging.Formatter):
    """Log lines in which text of others cannot steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return harmless(super().formatMessage(record))


def log_to_stderr(verbose: bool) -> None:
    """What a running node or host tells its operator."""
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(_HarmlessLines("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[lines])
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def steady_output() -> None:
    """Print whatever comes, also where the terminal knows ASCII only."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # not of StringIO

"""Everything one member's node works with, opened from its folder: the parts, and how it speaks.

    charter.json  keys.pem  node.toml  site.toml  node.sqlite  round-keys/  log.sqlite  blobs/
    studies/  work/  results/  node.sock

`say` is the only way a statement leaves: checked by the fold's own rules, signed, journalled with
what it promises, and only then delivered, with the blobs it needs first. After a crash the same
bytes are delivered again.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from comity.aggregation import linear_check, sharing
from comity.commons.charter import commons_id, parse_charter
from comity.commons.fold import check
from comity.commons.gate import SitePolicy, parse_site
from comity.errors import ComityError, Forged, Misconfigured, Refused, Unavailable
from comity.learning.steps import flush_to_zero_fault
from comity.node.keyfile import MemberKeys
from comity.node.machine import Machine
from comity.node.remote import Remote
from comity.node.replica import Replica
from comity.node.scratch import Scratch
from comity.node.settings import NodeSettings, read_node_settings
from comity.statements.entries import Body
from comity.statements.governing import ProposalOpen
from comity.statements.rounds import RoundCommit, RoundJoin
from comity.statements.studies import StudyRegister
from comity.statements.wire import Draft, read, sign
from comity.storage.blobs import FileBlobStore
from comity.storage.journal import SqliteJournal
from comity.storage.ports import Attempt, WorkRecord
from comity.values import NOTHING, BlobName, MemberId, StatementId, sha256

LOG = logging.getLogger(__name__)

WITHHELD_S: Final = 60
"""How long a statement that the host took may be missing from the log before it is said."""

Clock = Callable[[], int]
"""POSIX seconds now."""


def system_clock() -> int:
    """The machine's own clock, in POSIX seconds."""
    return int(time.time())


@final
@dataclass(frozen=True, slots=True)
class _Waiting:
    """A statement on its way to the host."""

    id: StatementId
    body: Body
    envelope: bytes


@final
@dataclass(slots=True)
class Station:
    """A member's open node folder. One process owns it (`node.sqlite` is locked)."""

    folder: Path
    member: MemberId
    keys: MemberKeys
    settings: NodeSettings
    site: SitePolicy
    replica: Replica
    journal: SqliteJournal
    blobs: FileBlobStore
    remote: Remote
    clock: Clock
    machine: Machine
    faults: dict[str, str] = field(default_factory=dict)
    """What stands in the way at this site, in plain words, by study or other subject."""

    may_speak: bool = True
    """False while a running node has not read the whole log yet."""

    checked_sums: set[StatementId] = field(default_factory=set)
    """Closes whose sum this node has checked since it started."""

    sums: dict[StatementId, tuple[Path, bytes]] = field(default_factory=dict)
    """Fetched sums of attempts under way, with their check values, by their Close."""

    _outbox: list[_Waiting] = field(default_factory=list)
    _unlogged_since_s: int | None = None
    _dealings: dict[str, bytes] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Station({self.member})"

    def close(self) -> None:
        """Give every file back."""
        self.remote.close()
        self.replica.close()
        self.journal.close()

    @property
    def work(self) -> Path:
        """Folder of files that may be lost: they are made again."""
        path = self.folder / "work"
        path.mkdir(exist_ok=True, mode=0o700)
        return path

    @property
    def scratch(self) -> Scratch:
        """Spare files for long vectors."""
        return Scratch(self.work / "spare")

    def member_secret(self) -> bytes:
        """32 bytes only this member has; hedges the scalars of every attempt (5.4)."""
        raw = self.keys.statement.private_bytes_raw()
        return HKDF(SHA256(), 32, salt=None, info=b"comity/member-secret/v1").derive(raw)

    def blob(self, name: str) -> Path:
        """A blob named by its SHA-256, fetched from the host when it is not here."""
        wanted = BlobName(name)
        if not self.blobs.finished(wanted):
            fetched = self.work / wanted
            self.remote.get_blob(wanted, fetched)
            self.blobs.adopt(fetched, wanted)
        return self.blobs.path(wanted)

    def dealing(self, name: str, bytes_count: int) -> bytes:
        """A join blob of an attempt under way, by its SHA-256; held in memory only.

        Raises:
            Forged, Malformed, Unavailable: the host serves another one, or none.
        """
        known = self._dealings.get(name)
        if known is None:
            if self.blobs.finished(BlobName(name)):
                known = self.blobs.path(BlobName(name)).read_bytes()
            else:
                known = self.remote.small_blob(BlobName(name), bytes_count)
            self._dealings[name] = known
        return known

    def dealings(
        self, opened: StatementId, names: Sequence[str], bytes_each: int
    ) -> Sequence[bytes]:
        """The join blobs of an attempt, in the order of `names`: all asked for at once.

        What does not come so, or is another blob, is asked for by its own name.
        Raises: as `dealing`.
        """
        missing = {name for name in names if name not in self._dealings}
        if len(missing) > 1:
            try:
                for blob in self.remote.dealings(opened, len(names), bytes_each):
                    name = sha256(blob)
                    if name in missing:
                        self._dealings[name] = blob
            except ComityError as error:
                LOG.debug("dealings one by one round_open=%s why=%s", opened, error)
        return [self.dealing(name, bytes_each) for name in names]

    def forget_dealings(self) -> None:
        """Drop the join blobs of attempts that are over."""
        self._dealings.clear()

    # -- speaking -----------------------------------------------------------------------------

    def say(
        self,
        body: Body,
        *,
        scope: Attempt | None = None,
        stage: bytes | None = None,
        released: bool | None = None,
        works: Sequence[WorkRecord] = (),
        part: int | None = None,
    ) -> StatementId:
        """Check, sign and journal a statement; `deliver` sends it.

        Args:
            body: what to say. scope, stage, released, works: as in `Journal.say`.
            part: of what is said in parts, once each (the holder a Resolve answers).
        Returns:
            The statement's id.
        Raises:
            Refused: the rules or an earlier promise of this node forbid it; nothing is said.
            Unavailable: this node may not speak yet.
        """
        if not self.may_speak:
            raise Unavailable("this node is still reading the host's log; ask again in a moment")
        now_s = self.clock()
        rule = check(self.replica.state, self.member, body, now_s)
        if rule is not None:
            raise Refused(rule, f"{body.tag} would have no effect now, so it is not said")
        last = self.journal.last_said()
        final = self.replica.view.final
        draft = Draft(
            author=self.member,
            commons=self.replica.commons,
            seq=last[0] + 1 if last else 0,
            prev=last[1] if last else StatementId(NOTHING),
            head_size=final.size,
            head_root=final.root,
            time_s=now_s,
            body=body,
        )
        envelope = sign(draft, self.keys.statement)
        statement_id = read(envelope).statement.id
        self.journal.say(
            envelope,
            statement_id=statement_id,
            seq=draft.seq,
            tag=body.tag if part is None else f"{body.tag}#{part}",
            scope=scope,
            stage=stage,
            released=released,
            works=works,
        )
        LOG.debug("said tag=%s seq=%d", body.tag, draft.seq)
        self._outbox.append(_Waiting(statement_id, body, envelope))
        return statement_id

    def deliver(self) -> None:
        """Send what was said and not sent yet, in order, blobs first.

        Raises:
            Unavailable: the host cannot be reached; everything waits, here and in the journal.
        """
        if not self._outbox:
            return
        waiting = list(self._outbox)
        for item in waiting:
            self._send_blobs(item.body)
        answers = self.remote.post_statements([item.envelope for item in waiting])
        for item, posted in zip(waiting, answers, strict=True):
            if posted.index is None:
                LOG.warning("not taken tag=%s why=%s", item.body.tag, posted.error)
                self.faults["delivery"] = f"the host did not take {item.body.tag}: {posted.error}"
                raise Unavailable(f"the host did not take {item.body.tag}: {posted.error}")
            self._outbox.remove(item)
            if posted.rule is not None:
                rule = posted.rule.value
                LOG.info("void tag=%s index=%d rule=%s", item.body.tag, posted.index, rule)
        self.faults.pop("delivery", None)

    def deliver_again(self) -> None:
        """Take everything that is not below a final head from the journal, to be sent again."""
        self._outbox = [
            _Waiting(statement.id, statement.body, envelope)
            for envelope in self.journal.waiting()
            for statement in (read(envelope).statement,)
        ]

    def watch_own(self) -> None:
        """Notice statements of mine that the host has taken and not logged; send them again."""
        author = self.replica.state.authors.get(self.member)
        last, now_s = self.journal.last_said(), self.clock()
        if last is None or self._outbox or last[0] <= (author.seq if author else -1):
            self._unlogged_since_s = None
            self.faults.pop("withheld", None)
        elif self._unlogged_since_s is None:
            self._unlogged_since_s = now_s
        elif now_s - self._unlogged_since_s >= WITHHELD_S:
            self._unlogged_since_s = now_s
            self.faults["withheld"] = (
                f"the host took what this node said and has not logged it for {WITHHELD_S} s;"
                " it is sent again; if this stays, ask the other members what they see"
            )
            LOG.warning("withheld seq=%d", last[0])
            self.deliver_again()

    def _send_blobs(self, body: Body) -> None:
        for name, vector_of in _needed(body):
            if not self.blobs.finished(name):
                continue
            try:
                self.remote.put_blob(name, self.blobs.path(name), vector_of=vector_of)
            except (Refused, Forged) as error:
                # Too late, or damaged on disk and never built again (R4). The statement goes alone:
                # the host logs it without its bytes once it has no effect, and the chain goes on.
                LOG.info("bytes not taken tag=%s why=%s", body.tag, error)


def _needed(body: Body) -> Iterable[tuple[BlobName, StatementId | None]]:
    """The blobs the host must hold before it logs the statement; with the attempt of a vector."""
    match body:
        case RoundJoin():
            return [(BlobName(body.blob), None)]
        case RoundCommit():
            return [(BlobName(body.vector), body.opened)]
        case StudyRegister():
            plan = body.plan
            names = [plan.code, plan.layout, plan.model, *([plan.moments] if plan.moments else [])]
            return [(BlobName(name), None) for name in names]
        case ProposalOpen():
            return [(BlobName(body.release.manifest), None)]
        case _:
            return []


def open_station(
    folder: Path, keys: MemberKeys, *, clock: Clock = system_clock, machine: Machine | None = None
) -> Station:
    """Open a member's node folder; what was said and not yet settled waits to be sent again.

    Args:
        machine: what the node takes from the machine it runs on; this one, when None.

    Raises:
        Misconfigured: a file is missing or wrong, or this machine cannot compute as agreed.
        Unavailable: another process runs this node.
    """
    machine = machine or Machine()
    fault = flush_to_zero_fault()
    if fault is not None:
        raise Misconfigured(fault)
    sharing.self_check()
    linear_check.self_check()
    settings = read_node_settings(folder / "node.toml")
    charter_path = folder / "charter.json"
    try:
        charter = parse_charter(charter_path.read_bytes())
    except FileNotFoundError as error:
        raise Misconfigured(
            f"no {charter_path}: copy the signed charter there with `comity commons join`"
        ) from error
    site_path = folder / "site.toml"
    site = parse_site(site_path.read_text(encoding="utf-8") if site_path.exists() else "")
    member = MemberId(settings.member)
    if member not in {founder.id for founder in charter.founders}:
        raise Misconfigured(f"node.toml: member {member} is not a founder in the charter")
    remote = Remote(
        settings.host_url,
        member,
        statement_key=keys.statement,
        commons=commons_id(charter),
        clock=clock,
        tls=_authorities(settings),
        proxy=settings.proxy or None,
        connect=machine.connect,
    )
    journal = SqliteJournal(folder, hook=machine.hook)
    try:
        replica = Replica(folder / "log.sqlite", charter, hook=machine.hook)
    except BaseException:
        journal.close()
        raise
    blobs = FileBlobStore(folder / "blobs", hook=machine.hook)
    station = Station(
        folder, member, keys, settings, site, replica, journal, blobs, remote, clock, machine
    )
    for left in station.work.iterdir():
        if left.is_file():
            left.unlink()  # made by a process that was killed; whatever it was is made again
    station.deliver_again()
    return station


def _authorities(settings: NodeSettings) -> ssl.SSLContext | None:
    if not settings.ca_file:
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise Misconfigured(f"node.toml: cannot use ca_file {settings.ca_file} ({error})") from None


def describe(error: ComityError) -> str:
    """One line for the operator."""
    return f"{type(error).__name__}: {error}"

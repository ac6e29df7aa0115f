"""Everything one member's node works with, opened from its folder: the parts, and how it speaks.

    charter.json  keys.pem  node.toml  site.toml  node.sqlite  round-keys/  log.sqlite  blobs/
    evidence/  relayed/  left/  studies/  work/  results/  node.sock

`say` is the only way a statement leaves: checked by the fold's own rules, signed, journalled with
what it promises, and only then delivered, with the blobs it needs first. After a crash the same
bytes are delivered again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from comity.commons.fold import check
from comity.commons.site import SitePolicy
from comity.commons.state import Epoch, State
from comity.errors import (
    ComityError,
    Forged,
    HostFault,
    HostFaultKind,
    Refused,
    Rule,
    Unavailable,
)
from comity.node.alarms import Alarms
from comity.node.keyfile import MemberKeys
from comity.node.leaving import Ledger
from comity.node.machine import Machine
from comity.node.relaying import Relay, bulk_of
from comity.node.remote import Remote
from comity.node.replica import Replica
from comity.node.scratch import Scratch
from comity.node.settings import NodeSettings
from comity.node.site_file import SiteFile
from comity.node.vectors import SumFile
from comity.statements.entries import Body, Statement
from comity.statements.governing import CommonsFound
from comity.statements.wire import Draft, read, sign
from comity.storage.blobs import FileBlobStore
from comity.storage.journal import SqliteJournal
from comity.storage.ports import Attempt, WorkRecord
from comity.values import NOTHING, BlobName, MemberId, StatementId

LOG = logging.getLogger(__name__)

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
    policy: SiteFile
    replica: Replica
    journal: SqliteJournal
    blobs: FileBlobStore
    remote: Remote
    remotes: Callable[[str], Remote]
    clock: Clock
    alarms: Alarms
    relay: Relay
    machine: Machine
    outlet: Ledger
    faults: dict[str, str] = field(default_factory=dict)
    """What stands in the way at this site, in plain words, by study or other subject."""

    halted: str = ""
    """Why this node speaks no more to its host; "" while it does."""

    may_speak: bool = True
    """False while a running node has not read the whole log yet."""

    coming: MemberKeys | None = None
    """The keys of keys.next.pem, as it was opened; `keys` are these once they are in force."""

    keys_fit: Epoch | None = None
    """The epoch in force when `keys` were last found to be its keys."""

    checked_sums: set[StatementId] = field(default_factory=set)
    """Closes whose sum this node has checked since it started."""

    sums: dict[StatementId, tuple[Path, bytes]] = field(default_factory=dict)
    """Fetched sums of attempts under way, with their check values, by their Close."""

    away: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Candidates to host that did not answer, by URL: until when nothing is asked, and why."""

    dealt: dict[str, bytes] = field(default_factory=dict)
    """Join blobs of attempts under way, by their names (`dealings.py`)."""

    coming_sums: dict[StatementId, SumFile] = field(default_factory=dict)
    """Sums that were cut on the way here, by their Close: what came is not asked for again."""

    _outbox: list[_Waiting] = field(default_factory=list)
    _missing: tuple[int, int] = (-1, 0)  # seq of my first statement not logged; since when
    _sent_again_at_s: int = 0
    _own: list[tuple[StatementId, int]] = field(default_factory=list)
    _others: dict[str, Remote] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Station({self.member})"

    def close(self) -> None:
        """Give every file back."""
        for remote in (self.remote, *self._others.values()):
            remote.close()
        self.outlet.close()
        try:
            self.replica.close()
        finally:
            self.journal.close()

    @property
    def site(self) -> SitePolicy:
        """What the owner of this site decides, as `site.toml` says it now.

        Raises:
            Misconfigured: the file cannot be read, or is wrong.
        """
        return self.policy.now()

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

    def remote_to(self, url: str) -> Remote:
        """A connection to any host of this commons; the same one for the same URL."""
        if url == self.remote.url:
            return self.remote
        known = self._others.get(url)
        if known is None:
            known = self._others[url] = self.remotes(url)
        return known

    def use_host(self, url: str) -> None:
        """Talk to the host at this URL from now on, and send it again what is not final yet."""
        if url != self.remote.url:
            before, self.remote = self.remote, self.remote_to(url)
            self._others.pop(url, None)
            before.close()
        self.deliver_again()

    def logged(self, statement_id: StatementId, index: int) -> None:
        """The log's entry `index` is mine; made durable by `flush`."""
        self._own.append((statement_id, index))

    def forget_places(self) -> None:
        """What is not flushed yet lies in a log that is left: it has no place any more."""
        self._own = []

    def flush(self) -> None:
        """Make durable what was taken: entries, and which of mine are among them."""
        self.replica.flush()
        if self._own:
            self.journal.logged_all(self._own)
            self._own = []

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
        state: State | None = None,
    ) -> StatementId:
        """Check, sign and journal a statement; `deliver` sends it.

        Args:
            body: what to say. scope, stage, released, works: as in `Journal.say`.
            part: of what is said in parts, once each (the holder a Resolve answers).
            state: what a candidate's log means, when it is said there; by default, this copy.
        Returns:
            The statement's id.
        Raises:
            Refused: the rules or an earlier promise of this node forbid it; nothing is said.
                KEYS_NOT_IN_FORCE: its keys are retired or revoked.
            Unavailable: this node may not speak yet. HostFault: it has caught its host.
        """
        if self.halted and state is None:  # a candidate is no host that was caught
            raise HostFault(HostFaultKind.SPLIT_VIEW, f"nothing is said: {self.halted}")
        if not self.may_speak:
            raise Unavailable("this node is still reading the host's log; ask again in a moment")
        self._require_keys_in_force(body)
        now_s = self.clock()
        final = self.replica.view.final
        head = (final.size, final.root)
        rule = check(state or self.replica.state, self.member, body, now_s, head)
        if rule is not None:
            raise Refused(rule, f"{body.tag} would have no effect now, so it is not said")
        last = self.journal.last_said()
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

    def _require_keys_in_force(self, body: Body) -> None:
        """Retired and revoked keys, and those of nobody, sign nothing more."""
        held = self.replica.state.keys.get(self.member)
        if held is None and not isinstance(body, CommonsFound):
            raise Refused(Rule.UNKNOWN_AUTHOR, f"{self.member} is no member now: nothing is said")
        if held is not None and held.keys.statement != self.keys.public_statement:
            raise Refused(
                Rule.KEYS_NOT_IN_FORCE,
                f"the log has other keys of {self.member} in force than those in use here: start"
                " the node where the newest keys.pem lies",
            )

    def deliver(self) -> None:
        """Send what was said and not sent yet, in order, blobs first.

        Raises:
            Unavailable: the host cannot be reached; everything waits, here and in the journal.
        """
        self.deliver_to(self.remote)

    def deliver_to(self, remote: Remote) -> None:
        """As `deliver`, to any host of this commons; not to one that was caught."""
        if not self._outbox or (self.halted and remote is self.remote):
            return
        waiting = list(self._outbox)
        for item in waiting:
            self._send_blobs(item.body, remote)
        answers = remote.post_statements([item.envelope for item in waiting])
        for item, posted in zip(waiting, answers, strict=True):
            if posted.index is None:
                if remote is self.remote:
                    LOG.warning("not taken tag=%s why=%s", item.body.tag, posted.error)
                    self.faults["delivery"] = (
                        f"the host did not take {item.body.tag}: {posted.error}"
                    )
                raise Unavailable(f"the host did not take {item.body.tag}: {posted.error}")
            self._outbox.remove(item)
            if posted.rule is not None:
                rule = posted.rule.value
                LOG.info("void tag=%s index=%d rule=%s", item.body.tag, posted.index, rule)
        self.faults.pop("delivery", None)

    def deliver_again(self) -> None:
        """Take everything that is not below a final head from the journal, to be sent again."""
        self._outbox = [_Waiting(said.id, said.body, sent) for said, sent in self._unsettled()]

    def watch_own(self) -> list[bytes]:
        """Notice statements of mine that the host does not log, and send them again.

        Returns:
            Those that have been missing for `withheld_s`, to be handed to the peers.
        """
        due, now_s, delay_s = self._due_seq(), self.clock(), self.settings.withheld_s
        last = self.journal.last_said()
        if last is None or last[0] < due:
            self._missing = (-1, 0)
            self.faults.pop("withheld", None)
            return []
        if self._missing[0] != due:
            self._missing, self._sent_again_at_s = (due, now_s), now_s
        missing_s = now_s - self._missing[1]
        if missing_s < delay_s:
            return []
        if not self._outbox and now_s - self._sent_again_at_s >= delay_s:
            self._sent_again_at_s = now_s
            LOG.warning("withheld seq=%d", due)
            self.deliver_again()
        self.faults["withheld"] = (
            f"the host has not logged what this node said for {missing_s} s; it is sent again, and"
            f" handed to {len(self.settings.peers)} peers; ask the other members what they see"
        )
        return [envelope for said, envelope in self._unsettled() if said.seq >= due]

    def withheld_own(self, now_s: int, refuse_s: int) -> tuple[Statement, bytes] | None:
        """My first statement that is missing, `refuse_s` longer than it takes to notice."""
        seq, since_s = self._missing
        if seq != self._due_seq() or now_s - since_s < self.settings.withheld_s + refuse_s:
            return None
        return next((each for each in self._unsettled() if each[0].seq == seq), None)

    def _unsettled(self) -> list[tuple[Statement, bytes]]:
        return [(read(envelope).statement, envelope) for envelope in self.journal.waiting()]

    def _due_seq(self) -> int:
        author = self.replica.state.authors.get(self.member)
        return author.seq + 1 if author else 0

    def _send_blobs(self, body: Body, remote: Remote) -> None:
        bulk = tuple(bulk_of(body))
        self.outlet.tell((name for name, _ in bulk), body)
        for name, vector_of in bulk:
            if not self.blobs.finished(name):
                continue
            try:
                remote.put_blob(name, self.blobs.path(name), vector_of=vector_of)
            except (Refused, Forged) as error:
                # Too late, or damaged on disk and never built again (R4). The statement goes alone:
                # the host logs it without its bytes once it has no effect, and the chain goes on.
                LOG.info("bytes not taken tag=%s why=%s", body.tag, error)


def describe(error: ComityError) -> str:
    """One line for the operator."""
    return f"{type(error).__name__}: {error}"

"""A node that begins with other people's log: a newcomer's, or one whose disk was lost.

Both check everything first (`bootstrap.py`) and end with a folder that `comity node run` starts in.
A newcomer has said one thing before, its application. A node whose disk was lost has said more than
anybody here knows: its chain goes on after what the log holds, it leaves every attempt that was
open (R8), and the keys it had cosign nothing more, because nobody knows what they have cosigned.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal, final

from msgspec import Struct

from comity.commons.charter import Charter, commons_id
from comity.errors import Misconfigured, Refused, Rule
from comity.node.bootstrap import LOG_FILE, verified_log
from comity.node.founding import make_ready, public_keys_of
from comity.node.http_client import HttpClient
from comity.node.keyfile import MemberKeys
from comity.node.leaving import Ledger
from comity.node.remembering import forget_cosigning
from comity.node.remote import Remote
from comity.node.replica import Replica
from comity.node.settings import NodeSettings, authorities
from comity.node.station import Clock, system_clock
from comity.release.anchor import Anchor
from comity.storage.journal import SqliteJournal
from comity.values import CommonsId, MemberId


@final
class Begun(Struct, frozen=True, tag="begun"):
    """A node folder with a verified log. size: its entries; final_size: what is final of them.

    epoch: in force, with `count` members. said: statements of this member in the log.
    """

    member: MemberId
    commons: CommonsId
    folder: str
    host_url: str
    size: int
    final_size: int
    epoch: int
    count: int
    said: int


def join(
    folder: Path,
    charter: Charter,
    anchor: Anchor,
    settings: NodeSettings,
    keys: MemberKeys,
    *,
    studies: Literal["ask", "auto"] = "ask",
    sandbox: Literal["require", "warn"] = "require",
    clock: Clock = system_clock,
) -> Begun:
    """Make the folder of a newcomer ready, once everything is checked; nothing is said.

    Args:
        settings: for node.toml; its `host_url` is where the log is read.
    Raises:
        Refused: SAID_BEFORE, this member has spoken already, or the folder has a log; and all else
            as `bootstrap.verified_log`: then nothing is left in the folder.
    """
    _require_no_log(folder)
    sources = _remotes(folder, charter, settings, (settings.host_url,), keys, clock)
    with verified_log(
        folder,
        charter,
        anchor,
        sources,
        member=settings.member,
        keys=public_keys_of(keys),
        now_s=clock(),
        age_s_max=settings.head_age_s_max,
    ) as replica:
        application = replica.state.changes.applications.get(settings.member)
        author = replica.state.authors[settings.member]
        if application is None or author.seq != application.author.seq:
            raise Refused(
                Rule.SAID_BEFORE,
                f"{settings.member} has spoken in this commons already, so it is no newcomer: if"
                " its disk is lost, `comity node rebuild`",
            )
        made = make_ready(folder, charter, settings, studies=studies, sandbox=sandbox)
        journal = SqliteJournal(folder)
        try:
            journal.recall(
                application.id,
                seq=author.seq,
                tag="member.apply",
                scope=None,
                index=application.index,
                envelope=replica.entries(application.index, application.index + 1)[0],
            )
        finally:
            journal.close()
        return _begun(replica, made.folder, settings, author.seq + 1)


def rebuild(
    folder: Path,
    charter: Charter,
    anchor: Anchor,
    settings: NodeSettings,
    keys: MemberKeys,
    *,
    sources: tuple[str, ...] = (),
    clock: Clock = system_clock,
) -> Begun:
    """Make a lost node folder again from its keys and other members' copies; nothing is said.

    Args:
        sources: URLs of a host or of mirrors; the
            host's when empty. The more there are, the less any of them can keep back.
    Raises:
        Misconfigured: the folder still has a journal. Refused, and all else: as `join`.
    """
    _require_no_log(folder)
    _require_no_journal(folder)
    remotes = _remotes(folder, charter, settings, sources or (settings.host_url,), keys, clock)
    with verified_log(
        folder,
        charter,
        anchor,
        remotes,
        member=settings.member,
        keys=public_keys_of(keys),
        now_s=clock(),
        age_s_max=settings.head_age_s_max,
    ) as replica:
        made = make_ready(folder, charter, settings)
        state = replica.state
        journal = SqliteJournal(folder)
        try:
            # Before anything else: with this journal these keys cosign and approve nothing.
            forget_cosigning(journal, state.keys[settings.member].keys.head)
        finally:
            journal.close()
        # Its own statements are recalled when the node starts, and every open attempt left (R8).
        return _begun(replica, made.folder, settings, state.authors[settings.member].seq + 1)


def _require_no_log(folder: Path) -> None:
    if (folder / LOG_FILE).exists():
        raise Refused(
            Rule.SAID_BEFORE,
            f"{folder / LOG_FILE} exists: this node has begun, run it. If that file is damaged,"
            " move it and node.sqlite aside, and `comity node rebuild`",
        )


def _require_no_journal(folder: Path) -> None:
    if not (folder / "node.sqlite").exists():
        return
    journal = SqliteJournal(folder)
    try:
        # Also that of a rebuild which was killed before it had written anything in it.
        is_memory = journal.last_said() is not None or journal.last_cosigned() is not None
    finally:
        journal.close()
    if is_memory:
        raise Misconfigured(
            f"{folder / 'node.sqlite'} is this node's memory: with it the node reads its log again"
            " by itself, run it. Only if it is damaged, move it aside and rebuild"
        )


def _remotes(
    folder: Path,
    charter: Charter,
    settings: NodeSettings,
    urls: tuple[str, ...],
    keys: MemberKeys,
    clock: Clock,
) -> list[Remote]:
    outlet = Ledger(folder, clock)
    return [
        Remote(
            url,
            settings.member,
            statement_key=keys.statement,
            commons=commons_id(charter),
            clock=clock,
            tls=authorities(settings, url),
            proxy=settings.proxy or None,
            connect=partial(HttpClient, outlet=outlet),
        )
        for url in dict.fromkeys(urls)
    ]


def _begun(replica: Replica, folder: str, settings: NodeSettings, said: int) -> Begun:
    state = replica.state
    return Begun(
        member=settings.member,
        commons=state.commons,
        folder=folder,
        host_url=settings.host_url,
        size=state.size,
        final_size=replica.final_size,
        epoch=state.epoch.number,
        count=len(state.members),
        said=said,
    )

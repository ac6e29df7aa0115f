"""Asking to be admitted: the one statement of a stranger, as a small file that members pass on.

Who applies has read nothing of the log yet (nobody else may read it), so its application names the
head of the empty log, the only one it has verified. It is signed once: the file is durable before
anybody sees it, and asked for again it is the same bytes. A member's node hands it in unchanged.
Source: log-and-provenance.md 3.4; protocol 3.10.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, final

from msgspec import Struct

from comity.commons.charter import Charter, commons_id
from comity.errors import ComityError, Malformed, Misconfigured, Refused, Rule, Unavailable
from comity.log.merkle import EMPTY_ROOT
from comity.node.founding import PublicId, possession_of, public_keys_of
from comity.node.keyfile import MemberKeys
from comity.node.station import Clock, Station, system_clock
from comity.statements.entries import Statement
from comity.statements.governing import KeySet
from comity.statements.keysets import check, check_possession, key_set_digest
from comity.statements.membership import MemberApply
from comity.statements.wire import Draft, read, sign
from comity.storage.disk import DiskFaults, sync_folder
from comity.values import ENVELOPE_BYTES_MAX, NOTHING, CommonsId, Digest, MemberId, StatementId

SUFFIX: Final = ".apply.json"


@final
class Applied(Struct, frozen=True, tag="applied"):
    """An application. digest: of the key set it brings, to compare by telephone. file: "" in a log.

    index: of its entry; -1 while it is in no log that this node has seen.
    """

    member: MemberId
    commons: CommonsId
    name: str
    country: str
    digest: Digest
    statement: StatementId
    file: str = ""
    index: int = -1


def make_application(
    folder: Path,
    charter: Charter,
    public: PublicId,
    keys: MemberKeys,
    *,
    name: str = "",
    country: str = "",
    clock: Clock = system_clock,
) -> Applied:
    """Sign the application of the institution of a node folder, once; again it is the same file.

    Args:
        public: its id file. name, country: neutral attributes; those of the id file when empty.
    Raises:
        Misconfigured: it is a founder, the keys are others than the id file's, or the file that is
            there is of another commons. Unavailable: the disk.
    """
    member, commons = public.key_set.member, commons_id(charter)
    if public.key_set.keys != public_keys_of(keys):
        raise Misconfigured(f"the id file of {member} is of other keys than those of this folder")
    if member in {founder.id for founder in charter.founders}:
        raise Misconfigured(
            f"{member} is a founder in this charter: it signs it, `comity charter sign`"
        )
    path = folder / f"{member}{SUFFIX}"
    if not path.exists():
        body = MemberApply(
            key_set=public.key_set,
            possession=possession_of(public.key_set, keys),
            country=country or public.country,
            name=name or public.name,
        )
        draft = Draft(
            author=member,
            commons=commons,
            seq=0,
            prev=StatementId(NOTHING),
            head_size=0,
            head_root=EMPTY_ROOT,
            time_s=clock(),
            body=body,
        )
        _write_once(path, sign(draft, keys.statement))
    _, said, held = read_application(path)
    if said.commons != commons or held != public.key_set:
        raise Misconfigured(
            f"{path} applies to another commons, or with other keys: each commons has a folder and"
            " keys of its own (`comity id new`)"
        )
    return _applied(said, str(path))


def read_application(path: Path) -> tuple[bytes, Statement, KeySet]:
    """An application from its file: its bytes, what they say, and the key set it brings.

    Raises:
        Misconfigured: it cannot be read. Malformed, Forged: no application, or it was changed.
    """
    try:
        with path.open("rb") as file:
            envelope = file.read(ENVELOPE_BYTES_MAX + 1)
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from error
    return (envelope, *check_application(envelope))


def check_application(envelope: bytes) -> tuple[Statement, KeySet]:
    """What an application says, once whoever made it has shown that it holds its keys.

    Raises: Malformed, Forged.
    """
    unverified = read(envelope)
    said = unverified.statement
    body = said.body
    if not isinstance(body, MemberApply):
        raise Malformed(f"expected an application (member.apply), this is {body.tag}")
    if body.key_set.member != said.author or (said.seq, said.prev) != (0, StatementId(NOTHING)):
        raise Malformed("an application is the first statement of whom it is about")
    check(unverified, body.key_set.keys.statement)
    check_possession(body.key_set, body.possession)
    return said, body.key_set


def hand_in(station: Station, envelope: bytes) -> Applied:
    """Hand an application to the host, unchanged; nothing of this member is in it.

    Raises:
        Malformed, Forged: it is none. Refused: WRONG_COMMONS; ID_TAKEN, KEY_USED, TOO_MANY and the
            like: it can be in no log. Unavailable: the host is not reached.
    """
    said, _ = check_application(envelope)
    state = station.replica.state
    if said.commons != state.commons:
        raise Refused(
            Rule.WRONG_COMMONS, f"{said.author} applies to commons {said.commons[:16]}, not to this"
        )
    known = state.changes.applications.get(said.author)
    if known is not None and known.id == said.id:
        return _applied(said, index=known.index)
    posted = station.remote.post_statements([envelope])[0]
    if posted.index is None:
        why: ComityError = posted.error or Unavailable("the host gave no reason")
        raise why
    return _applied(said, index=posted.index)


def _applied(said: Statement, file: str = "", index: int = -1) -> Applied:
    body = said.body
    assert isinstance(body, MemberApply)
    return Applied(
        member=said.author,
        commons=said.commons,
        name=body.name,
        country=body.country,
        digest=key_set_digest(body.key_set),
        statement=said.id,
        file=file,
        index=index,
    )


def _write_once(path: Path, envelope: bytes) -> None:
    """Durable, whole and for good: what was signed once is never signed in another way."""
    fresh = path.with_suffix(".new")
    with DiskFaults(path.parent):
        with fresh.open("wb") as file:
            file.write(envelope)
            file.flush()
            os.fsync(file.fileno())
        # Die here: nobody has seen what was signed, so signing anew says nothing twice.
        fresh.replace(path)
        sync_folder(path.parent)

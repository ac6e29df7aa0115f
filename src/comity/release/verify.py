"""Judging a release folder, offline: numbered checks, each a sentence, and one verdict.

The trust comes from the anchor alone: it names the charter, the charter its founders' keys, these
the head and the signatures, these the content. Nothing in the folder is believed before that chain
reaches it, and what is derived is compared, never read. `verify` raises on no folder, however
hostile; a failed check ends it and names the file and what differs.
Source: log-and-provenance.md 4, attacks 5, 6, 8, 17, 36 to 46; architecture.md 1.9.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Final, final

from comity.commons.charter import Charter, commons_id, parse_charter
from comity.commons.state import State
from comity.errors import ExitCode, Forged, Malformed, Refused, Unavailable
from comity.learning.model import HEADER_BYTES_MAX, read_header
from comity.log.heads import SignedHead, cosignatures_in, newest_quorum_time, origin_of
from comity.log.proofs import TlogProof, parse_tlog_proof
from comity.release.anchor import Anchor
from comity.release.bundle import final_note
from comity.release.epochs import derived_files, first_epoch, following, head_keys
from comity.release.form import (
    CHARTER,
    CONTENT,
    FOUNDERS,
    INCLUSION,
    MANIFEST,
    MODEL,
    SIGNS,
    FolderReader,
    approvals_path,
    check_paths,
    check_whole,
    epoch_path,
    epochs_count,
    hash_file,
    lines_of,
    parse_manifest,
    read_file,
)
from comity.release.replay import Replayed, Signed, check_release, has_log, replay_log
from comity.release.words import one_line
from comity.statements.governing import ReleaseSign
from comity.statements.keysets import check as check_envelope
from comity.statements.wire import read
from comity.values import MEMBERS_MAX, Digest, MemberId, StatementId, sha256

NAMES: Final = (
    "paths and sizes",
    "charter",
    "founders and keys",
    "derived files",
    "head",
    "inclusion",
    "signatures",
    "log",
    "anchor",
    "manifest",
    "files",
    "model",
    "age",
)
"""What each check is called, in order; the first has number 1."""


@final
@dataclass(frozen=True, slots=True)
class Check:
    """One numbered check. detail: one printable line, what was found or what differs."""

    number: int
    name: str
    passed: bool
    detail: str


@final
@dataclass(frozen=True, slots=True)
class Claims:
    """What the folder says it is; worth as much as the verdict.

    head_time_s: the newest time by which a quorum had cosigned. study, round_no, took_part: as
    replayed; None without a log. files: path to digest of all content, for `form.read_checked`.
    """

    commons: str
    origin: str
    members: tuple[MemberId, ...]
    host: MemberId
    head_size: int
    head_time_s: int
    signers: tuple[MemberId, ...]
    manifest: Digest
    model: Digest
    study: StatementId | None
    round_no: int | None
    took_part: frozenset[MemberId] | None
    files: Mapping[str, Digest]


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome. checks: those that were made; the last one failed when `code` is NOT_VERIFIED.

    code: DONE, NOT_VERIFIED, NO_ANCHOR or TOO_OLD. claims: None when NOT_VERIFIED.
    """

    code: ExitCode
    checks: tuple[Check, ...]
    sentence: str
    claims: Claims | None


@final
@dataclass(frozen=True, slots=True)
class _Found:
    """What a check found; too_old: no fault, but not as new as was asked for."""

    detail: str
    too_old: bool = False


def verify(
    folder: FolderReader,
    anchor: Anchor | None,
    *,
    max_age_s: int | None = None,
    now_s: int | None = None,
) -> Verdict:
    """Check a release folder. It never raises; what cannot be read fails its check.

    Args:
        anchor: from at least two members, not from the folder; without it nothing is vouched for.
        max_age_s: how old the head may be; asks for `now_s`, the reader's clock.
    """
    assert max_age_s is None or now_s is not None, "an age needs a clock"
    checks: list[Check] = []
    steps = _steps(folder, anchor, max_age_s, now_s)
    late: list[str] = []
    while True:
        number = len(checks) + 1
        try:
            found = next(steps)
        except StopIteration as end:
            claims: Claims = end.value
            break
        except (Malformed, Forged, Refused, Unavailable) as error:
            failed = Check(number, NAMES[number - 1], passed=False, detail=str(error))
            sentence = f"not to be trusted: check {number} ({failed.name}) failed: {error}"
            return Verdict(ExitCode.NOT_VERIFIED, (*checks, failed), sentence, None)
        checks.append(Check(number, NAMES[number - 1], not found.too_old, found.detail))
        late += [found.detail] if found.too_old else []
    code, sentence = _verdict(claims, anchor, late)
    return Verdict(code, tuple(checks), sentence, claims)


def _verdict(claims: Claims, anchor: Anchor | None, late: list[str]) -> tuple[ExitCode, str]:
    said = f'a release of the commons "{claims.commons}" ({claims.origin})'
    if anchor is None:
        sentence = (
            f"no fault found, but no anchor was given: the folder says it is {said}, and anybody "
            "can make such a folder. Get an anchor from two members"
        )
        return ExitCode.NO_ANCHOR, "; ".join((sentence, *late))
    if late:
        return ExitCode.TOO_OLD, f"verified, but older than asked for: {'; '.join(late)}"
    if claims.study is None:
        how = (
            f"by the signatures of {len(claims.signers)} members; the log is not in the folder, so "
            "their decision was not replayed"
        )
        return ExitCode.DONE, f"verified {how}: {said}"
    return ExitCode.DONE, f"verified: {said}, round {claims.round_no} of study {claims.study}"


def _steps(
    folder: FolderReader, anchor: Anchor | None, max_age_s: int | None, now_s: int | None
) -> Generator[_Found, None, Claims]:
    """One yield per name in NAMES, in that order."""
    sizes = dict(folder.names())
    check_paths(sizes)
    check_whole(sizes)
    yield _Found(f"{len(sizes)} files")

    charter = _charter(folder, anchor)
    origin = origin_of(commons_id(charter), charter.origin_prefix)
    yield _Found(f'"{one_line(charter.name)}", {origin}')

    founders = lines_of(read_file(folder, FOUNDERS), FOUNDERS, MEMBERS_MAX)
    state = _in_epochs(folder, sizes, first_epoch(charter, founders))
    yield _Found(_who(state))

    for path, content in derived_files(state).items():
        if read_file(folder, path) != content:
            raise Forged(f"{path} differs from what follows from charter and founders")
    yield _Found("epochs, policy and VERIFY.md follow from charter and founders")

    shown = _head(state, read_file(folder, INCLUSION))
    head_time_s = _cosigned_s(state, shown.signed)
    size = shown.signed.head.size
    yield _Found(f"size {size}, signed by the host, cosigned by a quorum")

    signed_lines = lines_of(read_file(folder, SIGNS), SIGNS, MEMBERS_MAX)
    keys = head_keys(state)
    shown.verify(signed_lines[-1], state.keys[state.host].keys.host, keys, state.quorum)
    yield _Found(f"the last release.sign is entry {shown.index} of {size}")

    signs = _signs(state, signed_lines)
    signers = tuple(sign.statement.author for sign in signs)
    yield _Found(f"{len(signs)} members signed, {state.quorum} are needed: {', '.join(signers)}")

    log = replay_log(folder, sizes, charter, shown.signed) if has_log(sizes) else None
    study, round_no, took_part = None, None, None
    if log is None:
        yield _Found("not in the folder: that the decision stands is known from signatures alone")
    else:
        proposal, released, result = check_release(log, state, founders, signs, shown.index)
        study, round_no, took_part = released.id, result.round_no, result.survivors
        yield _Found(f"{size} entries replayed; the decision of entry {proposal.index} stands")

    yield _anchored(anchor, shown.signed, log)

    body = signs[0].body
    files = yield from _content(folder, sizes, body)

    yield _age(head_time_s, max_age_s, now_s)
    return Claims(
        commons=one_line(charter.name),
        origin=origin,
        members=state.members,
        host=state.host,
        head_size=size,
        head_time_s=head_time_s,
        signers=signers,
        manifest=body.manifest,
        model=body.model,
        study=study,
        round_no=round_no,
        took_part=took_part,
        files=files,
    )


def _in_epochs(folder: FolderReader, sizes: Mapping[str, int], state: State) -> State:
    """The state with every epoch of the folder, each approved by members of the one before."""
    for number in range(1, epochs_count(sizes) + 1):
        place = approvals_path(number)
        approvals = lines_of(read_file(folder, place), place, MEMBERS_MAX)
        state = following(state, read_file(folder, epoch_path(number)), approvals)
    return state


def _who(state: State) -> str:
    number, count = state.epoch.number, len(state.members)
    epoch = f"; epoch {number}, approved by members of the one before" if number else ""
    return f"{count} members, host {state.host}, quorum {state.quorum}{epoch}"


def _charter(folder: FolderReader, anchor: Anchor | None) -> Charter:
    try:
        charter = parse_charter(read_file(folder, CHARTER))
    except Malformed as error:
        raise Malformed(f"{CHARTER}: {error}") from error
    origin = origin_of(commons_id(charter), charter.origin_prefix)
    if anchor is not None and anchor.origin != origin:
        raise Forged(f"{CHARTER} is of {origin}, the anchor names {anchor.origin}")
    return charter


def _head(state: State, raw: bytes) -> TlogProof:
    """The inclusion text under a final head of this commons, with known signatures alone."""
    try:
        shown = parse_tlog_proof(raw)
    except Malformed as error:
        raise Malformed(f"{INCLUSION}: {error}") from error
    origin = origin_of(state.commons, state.charter.origin_prefix)
    if shown.signed.head.origin != origin:
        raise Forged(f"{INCLUSION}: the head is of {shown.signed.head.origin}, not of {origin}")
    # What nobody has signed must not be in it, or it could be changed unseen.
    if final_note(state, shown.signed, ()) != shown.signed or shown.extra:
        raise Forged(f"{INCLUSION} holds lines that are not the host's or a member's, in order")
    return shown


def _cosigned_s(state: State, signed: SignedHead) -> int:
    keys = head_keys(state)
    lines = cosignatures_in(signed, keys)
    time_s = newest_quorum_time(signed.head, lines, keys, state.quorum)
    assert time_s is not None, "the head is final"
    return time_s


def _signs(state: State, lines: list[bytes]) -> tuple[Signed, ...]:
    """The signatures of a quorum of distinct members on one manifest and model (attack 17)."""
    signs: dict[MemberId, Signed] = {}
    for envelope in lines:
        unverified = read(envelope)
        said, body = unverified.statement, unverified.statement.body
        if not isinstance(body, ReleaseSign):
            raise Forged(f"{SIGNS} holds a {body.tag}, no release.sign")
        if said.commons != state.commons or said.author not in state.keys:
            raise Forged(f"{SIGNS}: {said.author} is no member, or speaks in another commons")
        if said.author in signs:
            raise Forged(f"{SIGNS}: {said.author} stands there twice; members are counted")
        check_envelope(unverified, state.keys[said.author].keys.statement)
        signs[said.author] = Signed(envelope, said, body)
    first, *others = signs.values()
    for other in others:
        if other.body != first.body:
            raise Forged(f"{SIGNS}: {other.statement.author} signed another release")
    if len(signs) < state.quorum:
        raise Forged(f"{SIGNS}: {len(signs)} members signed, {state.quorum} are needed")
    return tuple(signs.values())


def _anchored(anchor: Anchor | None, signed: SignedHead, log: Replayed | None) -> _Found:
    head = signed.head
    if anchor is None:
        return _Found("none was given")
    if anchor.size > head.size:
        sentence = f"the anchor's log has {anchor.size} entries, the folder's only {head.size}"
        return _Found(f"{sentence}: ask for a newer copy of the release", too_old=True)
    if anchor.size == head.size:
        root = head.root
    elif log is not None:
        root = log.tree.root(anchor.size)
    else:
        # Whoever shows two histories could leave the log out to hide it.
        raise Forged(
            f"the anchor is of size {anchor.size}, the head of {head.size}, and the folder has no"
            " proof/log/ to compare them: ask for the whole folder, or for an anchor of that head"
        )
    if root != anchor.root:
        raise Forged(f"the log had another root at size {anchor.size}: two histories were shown")
    return _Found(f"the log had the anchor's root at size {anchor.size}")


def _content(
    folder: FolderReader, sizes: Mapping[str, int], body: ReleaseSign
) -> Generator[_Found, None, dict[str, Digest]]:
    """Manifest, files, model: three checks."""
    raw = read_file(folder, CONTENT + MANIFEST)
    if sha256(raw) != body.manifest:
        raise Forged(f"{CONTENT}{MANIFEST} is not the one that the members signed")
    digests = parse_manifest(raw)
    if digests.get(MODEL) != body.model:
        raise Forged(f"{CONTENT}{MANIFEST} names another {MODEL} than the members signed")
    yield _Found(f"the members signed it; {len(digests)} files")

    here = {path.removeprefix(CONTENT) for path in sizes if path.startswith(CONTENT)} - {MANIFEST}
    for path in sorted(digests.keys() - here):
        raise Malformed(f"{CONTENT}{path} is missing")
    for path in sorted(here - digests.keys()):
        raise Malformed(f"{CONTENT}{path} is too many: the manifest does not name it")
    first, model_bytes = b"", 0
    for path, digest in digests.items():
        keep_bytes = 8 + HEADER_BYTES_MAX if path == MODEL else 0
        hashed, kept, size = hash_file(folder, CONTENT + path, keep_bytes)
        if hashed != digest:
            raise Forged(f"{CONTENT}{path} has SHA-256 {hashed}, the manifest says {digest}")
        if path == MODEL:
            first, model_bytes = kept, size
    yield _Found("each has its hash, none is missing or too many")

    places = read_header(first, model_bytes)
    yield _Found(f"{len(places)} tensors, {model_bytes} bytes, digest {body.model}")
    return {CONTENT + path: digest for path, digest in digests.items()}


def _age(head_time_s: int, max_age_s: int | None, now_s: int | None) -> _Found:
    if max_age_s is None or now_s is None:
        return _Found("not asked for")
    age_s = now_s - head_time_s
    if age_s > max_age_s:
        return _Found(f"the head is {age_s} s old, at most {max_age_s} s was asked", too_old=True)
    return _Found(f"the head is {max(0, age_s)} s old")

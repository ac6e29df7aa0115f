"""Evidence about statements: an entry that must not be in the log, two statements with one number.

What a stranger with the members' keys can check of an entry below a signed head:

    form       it is no statement, and none of a newer version either
    commons    it is a statement in another commons
    signature  it names a known statement key of its author, and that key did not sign it
    chain      with an earlier entry of the same author: its number, its link to it, or the size of
               the head it names cannot follow
    head       the head it names is not one of the log it stands in, or lies beyond its own place

Everything else that `commons.fold.admit` asks (has the author entered, which of its keys is in
force, are a founder's keys those of the charter) only a member can tell that holds the log up to
the entry: `replay` evidence carries the root of that log, and the member compares it with its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from comity.errors import Forged, Malformed
from comity.log.evidence_forms import (
    AuthorFork,
    Finding,
    Inadmissible,
    KnownKeys,
    Placed,
    Reason,
    only_lines,
    path_of,
    to_base64,
    write_evidence,
)
from comity.log.heads import SignedHead, parse_signed_head
from comity.log.merkle import EMPTY_ROOT, Tree, leaf_hash, verify_consistency, verify_inclusion
from comity.log.notes import decode_base64
from comity.statements.entries import Statement
from comity.statements.keysets import check, check_possession
from comity.statements.wire import BODIES, PREDICATE_PREFIX, Unverified, keyid_of, read
from comity.values import ENVELOPE_BYTES_MAX, MemberId

_TYPE: Final = re.compile(rb'"predicateType":"' + PREDICATE_PREFIX.encode() + rb'([^"]{1,200})"')


def author_fork(first: bytes, second: bytes) -> bytes:
    """Evidence from two envelopes of one author with one `seq`."""
    one, two = sorted((first, second))
    return write_evidence(AuthorFork(a=to_base64(one), b=to_base64(two)))


def check_author(form: AuthorFork, known: KnownKeys) -> Finding:
    """Check that one member signed two different statements with one number."""
    one, two = (read(_entry(text)) for text in (form.a, form.b))
    first, second = one.statement, two.statement
    if first.author != second.author or first.seq != second.seq:
        raise Malformed("the two statements are not of one author with one seq")
    if first.commons != second.commons:
        raise Forged("the two statements are of two commons")
    if known.origin is not None and first.commons != known.commons(known.origin):
        raise Forged("the statements are of another commons")
    if first.id == second.id:
        raise Forged("the two are one statement")
    public, _ = (_check_by_any(unverified, known) for unverified in (one, two))
    sentence = f"{first.author} signed two statements with number {first.seq}"
    return Finding("author", first.author, (), True, sentence, public)


def inadmissible_entry(
    signed: SignedHead, tree: Tree, entry: bytes, index: int, leaf_at: Callable[[int], bytes]
) -> bytes:
    """Evidence that an entry below a head must not be there, as strong as can be made.

    Args:
        signed: the head as the host signed it; its root is the tree's at its size.
        tree: of the log with the entry in it.
        entry: its bytes. index: its place.
        leaf_at: the bytes of an entry before it; asked for the author's earlier ones.
    """
    placed = _placed(tree, entry, index, signed.head.size)
    note = only_lines(signed).note().decode()

    def evidence(reason: Reason, at: int = 0, earlier: Placed | UnsetType = UNSET) -> bytes:
        root: str | UnsetType = UNSET
        proof: list[str] | UnsetType = UNSET
        if at:
            root = to_base64(tree.root(at))
            proof = [to_base64(node) for node in tree.consistency(at, signed.head.size)]
        return write_evidence(Inadmissible(note, placed, reason, earlier, root, proof))

    try:
        said = read(entry).statement
    except Malformed:
        return evidence("form") if _is_no_statement(entry) else evidence("replay", index)
    if said.commons != signed.head.origin.rpartition("/")[2]:
        return evidence("commons")
    if said.head_size > index:
        return evidence("head")
    if tree.root(said.head_size) != said.head_root:
        return evidence("head", said.head_size)
    last = _last_of(said, index, leaf_at)
    if last is not None and _chain_fault(said, index, *last):
        at = last[1]
        return evidence("chain", 0, _placed(tree, leaf_at(at), at, signed.head.size))
    # A stranger takes this one when the named key is known to it; a member replays.
    return evidence("replay", index)


def signature_misfit(evidence: bytes, known: KnownKeys) -> bytes:
    """The evidence, with reason "signature" where that shows it to strangers."""
    form = msgspec.json.decode(evidence, type=Inadmissible)
    if form.reason != "replay":
        return evidence
    better = Inadmissible(form.head, form.placed, "signature")
    try:
        check_inadmissible(better, known, None)
    except (Malformed, Forged):
        return evidence
    return write_evidence(better)


def check_inadmissible(
    form: Inadmissible, known: KnownKeys, judge: Callable[[int, bytes, bytes], bool | None] | None
) -> Finding:
    """Check that the entry is below the head, the host signed that, and it must not be there."""
    signed = parse_signed_head(form.head.encode())
    accused, public = known.host_of(signed)
    size, index = signed.head.size, form.placed.index
    entry = _under(signed, form.placed)
    extra = (form.earlier is not UNSET, form.other_root is not UNSET, form.proof is not UNSET)
    wanted = {"chain": ((True, False, False),), "replay": ((False, True, True),) * 2}
    if form.reason == "head" or (form.reason == "replay" and index == 0):
        wanted[form.reason] = ((False, True, True), (False, False, False))
    if extra not in wanted.get(form.reason, ((False, False, False),)):
        raise Malformed(f"evidence for {form.reason} holds other fields than it needs")
    match form.reason:
        case "form":
            wrong = _is_no_statement(entry)
        case "commons":
            wrong = read(entry).statement.commons != known.commons(signed.head.origin)
        case "signature":
            wrong = _is_misfit(read(entry), known)
        case "chain":
            assert not isinstance(form.earlier, UnsetType)
            before = read(_under(signed, form.earlier)).statement
            if form.earlier.index >= index:
                raise Malformed("the earlier entry of the evidence is not earlier")
            wrong = _chain_fault(read(entry).statement, index, before, form.earlier.index)
        case "head":
            said = read(entry).statement
            wrong = said.head_size > index or said.head_root != _root_at(
                form, signed, said.head_size
            )
        case "replay":
            root = _root_at(form, signed, index)
            verdict = judge(index, root, entry) if judge else None
            if verdict is None:
                words = "a member that holds the log can tell"
                return _found(accused, public, size, index, words, False)
            wrong = verdict
    if not wrong:
        raise Forged("the entry may be in a log, as far as this evidence shows")
    return _found(accused, public, size, index, _WHY[form.reason], True)


_WHY: Final[dict[Reason, str]] = {
    "form": "it is no statement",
    "commons": "it is of another commons",
    "signature": "its author did not sign it",
    "chain": "it cannot follow an earlier entry of its author",
    "head": "it names a head that this log does not have",
    "replay": "the log before it does not admit it",
}


def _found(
    accused: MemberId, public: bytes, size: int, index: int, why: str, proven: bool
) -> Finding:
    words = (
        f"{accused} as host put entry {index} below {size} entries that it signed"
        f"{': ' + why if proven else '; whether it may be there, ' + why}"
    )
    return Finding("inadmissible", accused, (size,), proven, words, public)


def _placed(tree: Tree, entry: bytes, index: int, size: int) -> Placed:
    path = [to_base64(node) for node in tree.inclusion(index, size)]
    return Placed(to_base64(entry), index, path)


def _under(signed: SignedHead, placed: Placed) -> bytes:
    """The entry, once it is shown to be below the head."""
    entry = _entry(placed.entry)
    head = signed.head
    verify_inclusion(leaf_hash(entry), placed.index, head.size, path_of(placed.path), head.root)
    return entry


def _root_at(form: Inadmissible, signed: SignedHead, at: int) -> bytes:
    """The root that the head's own tree has at a size, shown by the proof in the evidence."""
    if at == 0:
        return EMPTY_ROOT
    if isinstance(form.other_root, UnsetType) or isinstance(form.proof, UnsetType):
        raise Malformed("evidence about a head lacks its root or its proof")
    root = decode_base64(form.other_root, "other_root")
    head = signed.head
    verify_consistency(at, root, head.size, head.root, path_of(form.proof))
    return root


def _entry(text: str) -> bytes:
    entry = decode_base64(text, "entry")
    if len(entry) > ENVELOPE_BYTES_MAX:
        raise Malformed(f"an entry has at most {ENVELOPE_BYTES_MAX} bytes")
    return entry


def _is_no_statement(entry: bytes) -> bool:
    """Whether no version of this program could read it: a tag not known here says nothing."""
    try:
        read(entry)
    except Malformed:
        try:
            payload = msgspec.json.decode(entry)["payload"]
            found = _TYPE.search(decode_base64(payload, "payload"))
        except (msgspec.MsgspecError, ValueError, RecursionError, TypeError, KeyError, Malformed):
            return True
        return found is None or found[1].decode("latin-1").removesuffix("/v1") in BODIES
    return False


def _is_misfit(unverified: Unverified, known: KnownKeys) -> bool:
    """Whether the key that the statement names is its author's, and did not sign it."""
    said = unverified.statement
    named = [
        keys.statement
        for keys in known.keys.get(said.author, ())
        if keyid_of(keys.statement) == unverified.keyid
    ]
    if not named:
        raise Forged(f"the key that the entry names is no key of {said.author} that is known here")
    try:
        check(unverified, named[0])
        if key_set := getattr(said.body, "key_set", None):
            check_possession(key_set, said.body.possession)  # type: ignore[union-attr]  # its kind
    except Forged:
        return True
    return False


def _check_by_any(unverified: Unverified, known: KnownKeys) -> bytes:
    """The *statement* key of its author that signed it. Raises Forged: none known here did."""
    author = unverified.statement.author
    for keys in known.keys.get(author, ()):
        if keyid_of(keys.statement) == unverified.keyid:
            check(unverified, keys.statement)
            return keys.statement
    raise Forged(f"the statement names no key of {author} that is known here")


def _chain_fault(said: Statement, index: int, before: Statement, at: int) -> bool:
    """Whether a statement at `index` cannot be admissible after one of its author at `at`."""
    if said.author != before.author:
        raise Forged("the two entries are of two authors")
    ahead = said.seq - before.seq
    return (
        not 1 <= ahead <= index - at
        or (ahead == 1 and said.prev != before.id)
        or said.head_size < before.head_size
    )


def _last_of(
    said: Statement, index: int, leaf_at: Callable[[int], bytes]
) -> tuple[Statement, int] | None:
    """The author's newest entry before `index`, if it has one."""
    for at in range(index - 1, -1, -1):
        try:
            before = read(leaf_at(at)).statement
        except Malformed:
            continue
        if before.author == said.author:
            return before, at
    return None

"""Making a release folder: content, manifest, proof. Pure; `storage/folder.py` writes it.

    files = content_files(model=..., card=..., config=...)   # every part is a blob by its hash
    manifest = manifest_text(digests_of(files))               # its digest goes into proposal.open
    ... the vote; a quorum says release.sign; a final head covers them ...
    folder = release_files(files, manifest, proof_files(state, entries, head, lines, proposal))

Anybody with a copy of the log and the blobs makes the same folder.
Source: log-and-provenance.md 4; README.md 4.18.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from comity.commons.charter import charter_bytes
from comity.commons.state import Proposal, State
from comity.commons.votes import signatures_of
from comity.errors import Forged, Refused, Rule
from comity.log.heads import (
    Cosignature,
    SignedHead,
    cosignatures_in,
    final_members,
    full_note,
    parse_signed_head,
    verify_host,
)
from comity.log.merkle import Tree, leaf_hash
from comity.log.notes import ED25519_NOTE, note_key_id
from comity.log.proofs import TlogProof
from comity.log.tiles import tile_files
from comity.release.epochs import approvals_of, at_size, derived_files, founding_entries, head_keys
from comity.release.form import (
    CARD,
    CHARTER,
    CONFIG,
    CONTENT,
    FOUNDERS,
    INCLUSION,
    LICENCE,
    LOG,
    LOG_ENTRIES_MAX,
    MANIFEST,
    MODEL,
    SIGNS,
    approvals_path,
    is_content,
    jsonl,
)
from comity.release.form import manifest_text as manifest_text
from comity.values import BlobName, Digest, StatementId, sha256

Content = bytes | BlobName
"""A file's bytes, or the name (SHA-256) of the blob that holds them."""


def content_files(
    *,
    model: BlobName,
    card: bytes,
    config: bytes,
    licence: bytes | None = None,
    reports: Mapping[str, bytes] | None = None,
) -> dict[str, Content]:
    """Every file of content/ but the manifest, by path relative to it.

    Args:
        model: the accepted model's digest: the blob is the safetensors file itself.
        reports: name (lower-case letters, digits, hyphens; without .json) to bytes.
    """
    files: dict[str, Content] = {MODEL: model, CARD: card, CONFIG: config}
    if licence is not None:
        files[LICENCE] = licence
    for name, report in (reports or {}).items():
        files[f"reports/{name}.json"] = report
    assert all(is_content(path) for path in files), "a report has a plain name"
    return files


def digests_of(files: Mapping[str, Content]) -> dict[str, Digest]:
    """The SHA-256 of each file."""
    return {
        path: sha256(content) if isinstance(content, bytes) else Digest(content)
        for path, content in files.items()
    }


def proof_files(
    state: State,
    entries: Sequence[bytes],
    head: SignedHead,
    cosignatures: Iterable[Cosignature],
    proposal: StatementId,
) -> dict[str, bytes]:
    """Every file outside content/, VERIFY.md included; the log too, up to LOG_ENTRIES_MAX entries.

    Args:
        state: after the entries below `head`, or later ones.
        entries: of the log from 0, at least up to the head.
        head: a final head above the q-th release.sign. cosignatures: of it; lines in its note
            count as well.
    Raises:
        Refused(NO_SUCH_THING): no such proposal.
        Refused(TOO_FEW): fewer than q release.sign below the head, or it is not final.
        Forged, Malformed: head, lines and entries do not fit together.
    """
    size = head.head.size
    tree = Tree(leaf_hash(entry) for entry in entries[:size])
    if tree.size != size or tree.root() != head.head.root:
        raise Forged(f"the entries do not give the root of the head of size {size}")
    said = state.proposals.get(proposal)
    if said is None:
        raise Refused(Rule.NO_SUCH_THING, "no such proposal in this log: look for its id again")
    # Head and signatures are judged by the epoch in force at the head's size (rule 8).
    state = at_size(state, size)
    indices = _signed_below(state, said, size)
    final = final_note(state, head, cosignatures)
    last = indices[-1]
    inclusion = TlogProof(last, tree.inclusion(last, size), final)
    files = {
        CHARTER: charter_bytes(state.founding),
        FOUNDERS: jsonl(founding_entries(state, entries[:size])),
        SIGNS: jsonl(entries[index] for index in indices),
        INCLUSION: inclusion.text(),
        **derived_files(state),
        **{approvals_path(n): jsonl(said) for n, said in approvals_of(state, entries).items()},
    }
    if size <= LOG_ENTRIES_MAX:
        files[f"{LOG}checkpoint"] = final.note()
        for path, content in tile_files(tree, lambda at, n: entries[at : at + n], 0, size):
            files[LOG + path] = content
    return files


def final_note(state: State, head: SignedHead, cosignatures: Iterable[Cosignature]) -> SignedHead:
    """The head with the host's line and the members' lines, in their order, and no others.

    Raises:
        Refused(TOO_FEW): fewer than q members cosigned.
        Forged, Malformed: a line of a known key does not fit.
    """
    host_public, keys = state.keys[state.host].keys.host, head_keys(state)
    verify_host(head, host_public)
    host_id = note_key_id(head.head.origin, ED25519_NOTE, host_public)
    whole = parse_signed_head(full_note(head, cosignatures))
    from_members = cosignatures_in(whole, keys)
    good = final_members(whole.head, from_members, keys)
    if len(good) < state.quorum:
        raise Refused(
            Rule.TOO_FEW,
            f"the head of size {head.head.size} has {len(good)} cosignatures and needs "
            f"{state.quorum}: wait until it is final",
        )
    name = (head.head.origin, host_id)
    host_line = [line for line in head.lines if (line.name, line.key_id) == name]
    lines = [c.signature_line() for c in sorted(from_members, key=lambda c: c.member)]
    return SignedHead(whole.head, (*host_line, *lines))


def release_files(
    content: Mapping[str, Content], manifest: bytes, proof: Mapping[str, bytes]
) -> dict[str, Content]:
    """The whole folder, by path relative to it.

    Raises:
        Forged: the manifest is not the one of this content.
    """
    if manifest != manifest_text(digests_of(content)):
        raise Forged("the manifest names other files or bytes than this content")
    inside = {CONTENT + path: file for path, file in content.items()}
    return {**inside, CONTENT + MANIFEST: manifest, **proof}


def _signed_below(state: State, proposal: Proposal, size: int) -> list[int]:
    """Indices of the valid release.sign entries that the head covers, ascending."""
    indices = sorted(index for index in signatures_of(state, proposal) if index < size)
    if len(indices) < state.quorum:
        raise Refused(
            Rule.TOO_FEW,
            f"{len(indices)} members have signed this release below a final head, "
            f"{state.quorum} are needed: wait for the others",
        )
    return indices

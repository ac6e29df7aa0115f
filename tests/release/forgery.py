"""Bending an honest release folder, and what must then be said of it."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.errors import ExitCode
from comity.log.heads import SignedHead, full_note, parse_signed_head
from comity.log.merkle import EMPTY_ROOT
from comity.log.proofs import TlogProof, parse_tlog_proof
from comity.log.tiles import tile_files
from comity.release.form import INCLUSION, LOG, SIGNS
from comity.release.verify import Verdict, verify
from comity.statements.entries import Body
from comity.statements.governing import ReleaseSign
from comity.statements.wire import Draft, sign
from comity.values import NOTHING, MemberId, StatementId
from tests.release.world import MemoryFolder, Released, cosigned, released
from tests.worlds import World

MADE = released(4)
FILES = MADE.files()
ANCHOR = MADE.anchor()
SIGN_LINES = FILES[SIGNS].splitlines()


def judge(files: dict[str, bytes]) -> Verdict:
    """The verdict with the anchor of the honest folder."""
    return verify(MemoryFolder(files), ANCHOR)


def refused(files: dict[str, bytes], check: str, *words: str) -> Verdict:
    """The folder must fail at this check, with these words in its sentence."""
    assert judge(FILES).code is ExitCode.DONE
    for anchor in (ANCHOR, None):
        verdict = verify(MemoryFolder(files), anchor)
        assert verdict.code is ExitCode.NOT_VERIFIED, verdict
        assert "verified" not in verdict.sentence
    verdict = judge(files)
    assert verdict.checks[-1].name == check, verdict.sentence
    assert not verdict.checks[-1].passed and verdict.claims is None
    for word in words:
        assert word in verdict.sentence, verdict.sentence
    return verdict


def with_head(signed: SignedHead) -> dict[str, bytes]:
    """The folder with other signatures under its head."""
    shown = parse_tlog_proof(FILES[INCLUSION])
    bent = TlogProof(shown.index, shown.path, signed)
    return FILES | {INCLUSION: bent.text(), f"{LOG}checkpoint": signed.note()}


def with_signs(lines: list[bytes]) -> dict[str, bytes]:
    """The folder with other release.sign lines, the last of which is in the log."""
    size, index = MADE.world.tree.size, MADE.world.log.index(lines[-1])
    signed = parse_tlog_proof(FILES[INCLUSION]).signed
    shown = TlogProof(index, MADE.world.tree.inclusion(index, size), signed)
    return FILES | {SIGNS: b"".join(line + b"\n" for line in lines), INCLUSION: shown.text()}


def outside(world: World, author: MemberId, body: Body, key: Ed25519PrivateKey) -> bytes:
    """A first statement of this author, signed with any key, which is in no log."""
    draft = Draft(
        author=author,
        commons=world.state.commons,
        seq=0,
        prev=StatementId(NOTHING),
        head_size=0,
        head_root=EMPTY_ROOT,
        time_s=world.now_s,
        body=body,
    )
    return sign(draft, key)


def with_every_sign(made: Released) -> dict[str, bytes]:
    """The folder that a dishonest proposer builds from every release.sign, void or not."""
    world, size, head = made.world, made.world.tree.size, made.head()
    signs = [e.leaf for e in world.entries if isinstance(e.statement.body, ReleaseSign)]
    index = world.log.index(signs[-1])
    lines = cosigned(world, head.head, world.members)
    signed = parse_signed_head(full_note(head, lines))
    log = {f"{LOG}checkpoint": signed.note()}
    for path, content in tile_files(world.tree, lambda at, n: world.log[at : at + n], 0, size):
        log[LOG + path] = content
    # Charter, founders and what follows from them are those of every world of this size.
    rest = {path: file for path, file in FILES.items() if not path.startswith((LOG, "content/"))}
    shown = TlogProof(index, world.tree.inclusion(index, size), signed)
    return {
        **rest,
        **content_bytes(made),
        **log,
        SIGNS: b"".join(line + b"\n" for line in signs),
        INCLUSION: shown.text(),
    }


def content_bytes(made: Released) -> dict[str, bytes]:
    """The files of content/ with the manifest, by path in the folder."""
    files = {p: c if isinstance(c, bytes) else made.model for p, c in made.content.items()}
    return {f"content/{path}": file for path, file in files.items()} | {
        "content/MANIFEST.sha256": made.manifest
    }

"""A release after members, keys and host have changed: the chain of epochs, and forged ones.

Attacks 17, 35, 36 of the log: outsiders count members of the newest epoch, with the keys they have
in it, and believe an epoch only when enough members of the one before approved it.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from comity.commons.epochs import EpochDocument, document_digest
from comity.commons.state import Done
from comity.errors import ExitCode
from comity.log.heads import origin_of, sign_head
from comity.release.form import INCLUSION, LOG, POLICY, SIGNS, approvals_path, epoch_path
from comity.release.verify import Verdict, verify
from comity.statements.membership import EpochApprove, HostOffer
from comity.statements.wire import Draft, canonical, read, read_canonical, sign
from comity.values import MemberId
from tests.commons.changes import (
    admit,
    approve,
    hand_over,
    revoke_body,
    rotate_body,
    take_over_body,
)
from tests.release.world import MemoryFolder, Released, released, sign_body
from tests.worlds import World, keys_of

NEW = MemberId("new-member")


@lru_cache
def changed() -> Released:
    """Four founders; one more is admitted, the host hands over, one gets new keys, one leaves."""
    made = released(4)
    world = made.world
    a, b, c, d = world.members
    admit(world, NEW)
    approve(world, (a, b, c))
    hand_over(world, b)
    approve(world, (a, b, c, NEW))
    world.done(c, rotate_body(c))
    approve(world, (a, b, c, NEW))
    world.done(d, HostOffer(address="https://d.example"))
    world.done(d, take_over_body(world))
    approve(world, (a, c, d, NEW))
    world.done(a, revoke_body(world, b))
    approve(world, (a, c, d))
    for member in (NEW, c):
        assert world.say(member, sign_body(world, made.proposal)) == Done()
    return made


def files() -> dict[str, bytes]:
    return changed().files()


def judged(folder: dict[str, bytes]) -> Verdict:
    return verify(MemoryFolder(folder), changed().anchor())


def without_log(folder: dict[str, bytes]) -> dict[str, bytes]:
    return {path: file for path, file in folder.items() if not path.startswith(LOG)}


def refused(folder: dict[str, bytes], check: str, *words: str) -> None:
    """Both the honest folder and the bent one, with the log and without it."""
    assert judged(without_log(files())).code is ExitCode.DONE
    verdict = judged(without_log(folder))
    assert verdict.code is ExitCode.NOT_VERIFIED and verdict.checks[-1].name == check, verdict
    for word in words:
        assert word in verdict.sentence, verdict.sentence


def test_a_release_is_verified_after_members_keys_and_host_have_changed() -> None:
    verdict = judged(files())
    assert verdict.code is ExitCode.DONE, verdict.sentence
    assert verdict.claims is not None
    a, _, c, d = keys_of_founders()
    assert verdict.claims.members == (a, c, d, NEW)
    assert verdict.claims.host == d
    assert b"epoch 5" in "\n".join(check.detail for check in verdict.checks).encode()


def keys_of_founders() -> tuple[MemberId, ...]:
    return tuple(founder.id for founder in changed().world.charter.founders)


def test_attack_36_an_epoch_without_enough_approvals_is_refused() -> None:
    lines = files()[approvals_path(1)].splitlines(keepends=True)
    assert len(lines) == 3
    refused(files() | {approvals_path(1): b"".join(lines[:2])}, "founders and keys", "not enough")
    twice = b"".join([lines[0], lines[1], lines[1]])
    refused(files() | {approvals_path(1): twice}, "founders and keys", "twice")


def test_attack_36_a_forged_document_is_refused() -> None:
    place = epoch_path(5)
    document = read_canonical(files()[place], EpochDocument, 2**20)
    thief = keys_of(MemberId("thief")).key_set.keys
    first, *others = document.members
    keyed = (msgspec.structs.replace(first, keys=thief), *others)
    swapped = (msgspec.structs.replace(first, keys=others[0].keys), *others)
    for bent, word in (
        (msgspec.structs.replace(document, members=keyed), "another document"),
        (msgspec.structs.replace(document, members=swapped), "attack 17"),
        (msgspec.structs.replace(document, members=(*others, first)), "in order"),
        (msgspec.structs.replace(document, host=first.id), "another document"),
        (msgspec.structs.replace(document, host=MemberId("thief")), "hosts"),
        (msgspec.structs.replace(document, quorum=1), "does not follow"),
        (msgspec.structs.replace(document, epoch=6), "does not follow"),
        (msgspec.structs.replace(document, prev=document_digest(document)), "does not follow"),
    ):
        refused(files() | {place: canonical(bent)}, "founders and keys", word)


def test_attack_36_strangers_approve_nothing() -> None:
    """The thief writes a whole epoch for itself and approves it in everybody's name."""
    world = World.of(4)
    document = read_canonical(files()[epoch_path(1)], EpochDocument, 2**20)
    thief = MemberId("thief")
    keys = keys_of(thief)
    body = EpochApprove(document=document_digest(document), epoch=1)

    def approval(author: MemberId) -> bytes:
        said = read(files()[approvals_path(1)].splitlines()[0]).statement
        draft = Draft(
            author=author,
            commons=world.state.commons,
            seq=said.seq,
            prev=said.prev,
            head_size=said.head_size,
            head_root=said.head_root,
            time_s=said.time_s,
            body=body,
        )
        return sign(draft, keys.statement) + b"\n"

    refused(files() | {approvals_path(1): approval(thief)}, "founders and keys", "no member")
    in_name = b"".join(approval(member) for member in world.members[:3])
    refused(files() | {approvals_path(1): in_name}, "founders and keys")
    refused(files() | {approvals_path(1): files()[SIGNS]}, "founders and keys", "release.sign")


def test_attack_36_a_chain_with_a_gap_or_cut_short_is_refused() -> None:
    whole = files()
    gap = {p: f for p, f in whole.items() if p not in (epoch_path(2), approvals_path(2))}
    refused(gap, "paths and sizes", "no gaps")
    half = {p: f for p, f in whole.items() if p != approvals_path(5)}
    refused(half, "paths and sizes", "no gaps")
    # Without its last epoch the derived files differ; with those of the epoch before, the head
    # is still signed for by too few of its members, one of whom has lost its keys.
    cut = {p: f for p, f in whole.items() if p not in (epoch_path(5), approvals_path(5))}
    refused(cut, "derived files", POLICY)


def test_attack_35_the_final_head_is_signed_by_the_host_of_its_epoch() -> None:
    made = changed()
    former = made.world.charter.host
    head = made.head().head
    assert head.origin == origin_of(made.world.state.commons)
    forged = sign_head(head, keys_of(former).host)
    text = files()[INCLUSION].replace(made.head().lines[0].line(), forged.lines[0].line())
    assert text != files()[INCLUSION]
    refused(files() | {INCLUSION: text}, "head")

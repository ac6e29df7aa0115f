"""Who signed the head and the release: counted by member, and nobody else counts."""

from __future__ import annotations

import msgspec

from comity.errors import ExitCode
from comity.log.heads import (
    Cosignature,
    SignedHead,
    cosign,
    full_note,
    parse_signed_head,
    sign_head,
)
from comity.log.notes import SignatureLine
from comity.log.proofs import TlogProof, parse_tlog_proof
from comity.release.form import (
    INCLUSION,
    SIGNS,
)
from comity.statements.governing import VoteCast
from comity.values import MemberId
from tests.release.forgery import (
    FILES,
    MADE,
    SIGN_LINES,
    judge,
    outside,
    refused,
    with_head,
    with_signs,
)
from tests.release.world import cosigned, released, sign_body
from tests.worlds import World, digest, keys_of

A, B, C, D = MADE.world.members


def test_attack_17_the_head_needs_distinct_members() -> None:
    head = MADE.head()
    good = cosigned(MADE.world, head.head, MADE.world.members)

    def noted(lines: list[Cosignature]) -> SignedHead:
        return parse_signed_head(full_note(head, lines))

    assert judge(with_head(noted(good))).code is ExitCode.DONE
    refused(with_head(noted(good[:2])), "head", "2 cosignatures")
    twice = SignedHead(head.head, (*noted(good[:2]).lines, good[0].signature_line()))
    refused(with_head(twice), "head", "two cosignatures")
    later = cosign(head.head, A, keys_of(A).head, MADE.world.now_s + 9).signature_line()
    refused(with_head(SignedHead(head.head, (*noted(good[:2]).lines, later))), "head")
    named = cosign(head.head, D, keys_of(A).head, MADE.world.now_s)
    refused(with_head(noted([*good[:2], named])), "head")


def test_attack_15_35_only_the_host_signs_heads() -> None:
    head = MADE.head().head
    lines = cosigned(MADE.world, head, MADE.world.members)
    other = sign_head(head, keys_of(B).host)
    refused(with_head(parse_signed_head(full_note(other, lines))), "head", "host")


def test_attack_19_lines_that_nobody_vouches_for_are_refused() -> None:
    signed = parse_tlog_proof(FILES[INCLUSION]).signed
    grease = SignatureLine("grease.example", b"\x00\x01\x02\x03", b"\xff" * 72)
    refused(with_head(SignedHead(signed.head, (*signed.lines, grease))), "head", INCLUSION)
    shown = parse_tlog_proof(FILES[INCLUSION])
    extra = TlogProof(shown.index, shown.path, shown.signed, extra=b"unsigned")
    refused(FILES | {INCLUSION: extra.text()}, "head", INCLUSION)
    mixed = SignedHead(signed.head, tuple(reversed(signed.lines)))
    refused(with_head(mixed), "head", INCLUSION)


def test_attack_9_a_head_of_another_commons_is_refused() -> None:
    refused(FILES | {INCLUSION: released(5).files()[INCLUSION]}, "head", "comity/")


def test_attack_32_an_inclusion_that_shows_another_entry_is_refused() -> None:
    world, size = MADE.world, MADE.world.tree.size
    signed = parse_tlog_proof(FILES[INCLUSION]).signed
    for index in (0, size - 2):
        shown = TlogProof(index, world.tree.inclusion(index, size), signed)
        refused(FILES | {INCLUSION: shown.text()}, "inclusion")
    short = TlogProof(size - 1, world.tree.inclusion(size - 1, size)[:-1], signed)
    refused(FILES | {INCLUSION: short.text()}, "inclusion")


def test_attack_17_fewer_signatures_or_one_member_twice_are_refused() -> None:
    a, b, c, d = SIGN_LINES
    for enough in ([a, b, c, d], [b, c, d], [a, b, c]):
        assert judge(with_signs(enough)).code is ExitCode.DONE
    refused(with_signs([c, d]), "signatures", "2 members signed, 3 are needed")
    refused(with_signs([b, b, d]), "signatures", "twice")
    refused(with_signs([c, b, a, d]), "log", "order")
    refused(with_signs([a] * 200 + [d]), "inclusion", "more than 200")
    world = MADE.world
    again = world.envelope(A, sign_body(world, MADE.proposal))
    refused(with_signs([a, again, b, d]), "signatures", "twice")


def test_attack_9_25_signatures_of_others_or_of_other_things_are_refused() -> None:
    world = MADE.world
    _, b, c, d = SIGN_LINES
    body = sign_body(world, MADE.proposal)
    stolen = outside(world, A, body, keys_of(MemberId("thief")).statement)
    refused(with_signs([stolen, b, c, d]), "signatures", "key")
    stranger = outside(world, MemberId("stranger"), body, keys_of(MemberId("stranger")).statement)
    refused(with_signs([stranger, b, c, d]), "signatures", "no member")
    elsewhere = World.of(5).envelope(A, body)
    refused(with_signs([elsewhere, b, c, d]), "signatures", "another commons")
    vote = outside(world, A, VoteCast(choice="yes", proposal=MADE.proposal), keys_of(A).statement)
    refused(with_signs([vote, b, c, d]), "signatures", "vote.cast")
    other = msgspec.structs.replace(body, manifest=digest("another manifest"))
    refused(
        with_signs([outside(world, A, other, keys_of(A).statement), b, c, d]),
        "signatures",
        "another release",
    )
    spaced = FILES[SIGNS].replace(b"\n", b" \n", 1)
    refused(FILES | {SIGNS: spaced}, "signatures")

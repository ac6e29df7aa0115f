"""Attacks of log-and-provenance.md 8 on what a statement is; the number is that of its table.

Each test shows the honest statement pass and the attack fail with its error. Byte-level variants
are in `bad_statements.json`, by attack number, and read by `test_wire.py`.
"""

from __future__ import annotations

import json
from base64 import b64encode

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from comity.errors import Forged, Malformed
from comity.statements import keysets
from comity.statements.governing import GOVERNING
from comity.statements.keysets import (
    check,
    check_model_signature,
    check_possession,
    check_signature,
    possession_text,
)
from comity.statements.membership import BELONGING, MemberApply
from comity.statements.rounds import ROUNDING
from comity.statements.studies import STUDYING
from comity.statements.wire import (
    PAYLOAD_TYPE,
    Unverified,
    keyid_of,
    pae,
    payload_of,
    read,
    sign,
    statement_id,
)
from comity.values import ADDRESS_BYTES_MAX, PAYLOAD_BYTES_MAX, TEXT_BYTES_MAX
from tests.statements.make_vectors import FOLDER, wrap
from tests.statements.samples import (
    BODY_OF,
    HOST,
    KEY_SET,
    POSSESSION,
    PUBLIC,
    STATEMENT,
    draft_of,
    texts_of,
)

ORDER = 2**252 + 27742317777372353535851937790883648493
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
VOTE = draft_of(BODY_OF["vote.cast"])
PAYLOAD = payload_of(VOTE)
HONEST = read(sign(VOTE, STATEMENT))


def _refused(payload: bytes) -> None:
    with pytest.raises(Malformed):
        read(wrap(payload))


def test_attack_20_a_key_id_collision_does_not_choose_the_key() -> None:
    """Another key signs and claims the author's keyid: the author's key decides, and refuses."""
    thief = Ed25519PrivateKey.from_private_bytes(bytes([66]) * 32)
    claimed = Unverified(
        HONEST.statement, keyid_of(PUBLIC), HONEST.signed, thief.sign(HONEST.signed)
    )
    assert check(HONEST, PUBLIC).id == statement_id(PAYLOAD)
    with pytest.raises(Forged, match="does not fit"):
        check(claimed, PUBLIC)


def test_attack_21_a_signature_cannot_be_changed_into_another() -> None:
    """S + L fits the equation, yet is refused; and the id would be the same anyway."""
    s = int.from_bytes(HONEST.signature[32:], "little")
    changed = HONEST.signature[:32] + (s + ORDER).to_bytes(32, "little")
    again = msgspec.structs.replace(HONEST, signature=changed)
    assert again.statement.id == HONEST.statement.id
    with pytest.raises(Forged, match="S is not reduced"):
        check(again, PUBLIC)


def test_attack_21_small_order_keys_and_odd_r_do_not_count() -> None:
    """With a key of small order one signature would fit many messages."""
    for public in keysets._SMALL_ORDER:
        with pytest.raises(Forged, match="does not count"):
            check_signature(public, bytes([1]) + bytes(63), b"anything")
    for point in keysets._SMALL_ORDER:
        with pytest.raises(Forged, match="R is of small order"):
            check_signature(PUBLIC, point + HONEST.signature[32:], HONEST.signed)


def test_attack_22_a_mirrored_ecdsa_signature_names_nothing_new() -> None:
    """(r, n - s) fits too, which is allowed: no id depends on signature bytes."""
    r, s = decode_dss_signature(POSSESSION.model)
    mirrored = encode_dss_signature(r, P256_ORDER - s)
    check_model_signature(KEY_SET.keys.model, mirrored, possession_text(KEY_SET))
    changed = msgspec.structs.replace(POSSESSION, model=mirrored)
    check_possession(KEY_SET, changed)
    with pytest.raises(Forged):
        wrong = encode_dss_signature(r, s ^ 1)
        check_model_signature(KEY_SET.keys.model, wrong, possession_text(KEY_SET))


def test_attack_23_a_signature_of_one_purpose_fits_no_other() -> None:
    """A possession signed by the statement key is no statement, nor the other way round."""
    text = possession_text(KEY_SET)
    check_signature(PUBLIC, POSSESSION.statement, text)
    lent = msgspec.structs.replace(HONEST, signature=POSSESSION.statement)
    with pytest.raises(Forged):
        check(lent, PUBLIC)
    with pytest.raises(Forged):
        check_signature(PUBLIC, HONEST.signature, text)
    # The bare payload, or the payload under another type, was never signed.
    for other in (PAYLOAD, pae(PAYLOAD, payload_type="application/json"), b"DSSEv1 "):
        with pytest.raises(Forged):
            check_signature(PUBLIC, HONEST.signature, other)
    assert HONEST.signed.startswith(b"DSSEv1 28 " + PAYLOAD_TYPE.encode())
    assert not text.startswith((b"DSSEv1", b"cosignature/", b"subtree/"))


def test_attack_23_a_host_key_says_nothing() -> None:
    """Its owner's statement key is another; a statement signed with the host key is refused."""
    said = read(sign(VOTE, HOST))
    with pytest.raises(Forged):
        check(said, PUBLIC)
    assert check(said, KEY_SET.keys.host), "so the fold must ask for the statement key, and does"


def test_attack_24_a_body_under_the_type_of_another_is_another_statement() -> None:
    """Every body under every other tag: malformed, or (bodies of one shape) with another id."""
    alike = set()
    for tag, body in BODY_OF.items():
        payload = payload_of(draft_of(body))
        for other in BODY_OF.keys() - {tag}:
            renamed = payload.replace(b"/%b/v1" % tag.encode(), b"/%b/v1" % other.encode())
            try:
                statement = read(wrap(renamed)).statement
            except Malformed:
                continue
            assert statement.body.tag == other and statement.id != statement_id(payload)
            alike |= {tag, other}
    studying = {"consent.refuse", "consent.withdraw", "study.leave", "study.pause", "study.resume"}
    assert alike == studying | {"commons.found", "keys.rotate", "member.apply"} | {
        "member.leave",
        "seen",
    }


def test_attack_25_white_space_and_order() -> None:
    tree = json.loads(PAYLOAD)
    _refused(json.dumps(tree, sort_keys=True).encode())
    _refused(json.dumps(dict(reversed(tree.items())), separators=(",", ":")).encode())
    assert json.dumps(tree, sort_keys=True, separators=(",", ":")).encode() == PAYLOAD


def test_attack_26_duplicate_members() -> None:
    """Last wins in one parser, first in another: neither is read, escaped or not."""
    _refused(PAYLOAD.replace(b'"choice":"yes"', b'"choice":"no","choice":"yes"'))
    _refused(PAYLOAD.replace(b'"choice":"yes"', b'"choice":"yes","choic\\u0065":"no"'))


@pytest.mark.parametrize("digits", [16, 20, 309, 4_301, 30_000])
def test_attack_27_numbers_without_end(digits: int) -> None:
    """Also above the interpreter's own limit of 4,300 digits."""
    for sign_of in (b"", b"-"):
        _refused(PAYLOAD.replace(b'"seq":0', b'"seq":%b%b' % (sign_of, b"9" * digits)))
    _refused(PAYLOAD.replace(b'"seq":0', b'"seq":1e%b' % (b"9" * min(digits, 5))))


def test_attack_27_a_hundred_thousand_digits_meet_the_size_limit() -> None:
    big = PAYLOAD.replace(b'"seq":0', b'"seq":' + b"9" * 100_000)
    with pytest.raises(Malformed, match="at most"):
        read(wrap(big))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"payload":'])
def test_attack_28_deep_nesting(opening: bytes) -> None:
    deep = opening * 200_000
    with pytest.raises(Malformed):
        read(deep)
    inside = opening * (30_000 // len(opening))
    _refused(inside)
    for place in (b'{"choice"', b'"yes"'):
        _refused(PAYLOAD.replace(place, inside + place))
    closed = b"[" * 15_000 + b"]" * 15_000
    _refused(PAYLOAD.replace(b'"yes"', closed))


def test_attack_29_text_is_kept_as_said_and_ids_are_ascii() -> None:
    """Composed and decomposed letters are two texts; overrides and controls travel unharmed."""
    for text in ("\u00e9", "e\u0301", "\u202eabc", "\x00\x1b[2J", "\U0001f600", "\ufeff"):
        draft = draft_of(msgspec.structs.replace(BODY_OF["vote.cast"], reason=text))
        assert read(sign(draft, STATEMENT)).statement.body == draft.body
    payload = payload_of(draft_of(msgspec.structs.replace(BODY_OF["vote.cast"], reason="é!")))
    for wrong in (b"\xe9", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff", b"\\ud83d"):
        _refused(payload.replace("é".encode(), wrong))
    for author in (
        "hospit\u0430l-a",
        "hospital\u200b",
        "HOSPITAL",
        "h\u00f4pital",
        ".",
        "-.",
        "a_b",
    ):
        _refused(PAYLOAD.replace(b"hospital-a", author.encode()))


def test_attack_30_base64_has_one_form() -> None:
    good = sign(VOTE, STATEMENT)
    tree = json.loads(good)
    signature = tree["signatures"][0]["sig"]
    standard = signature.rstrip("=")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    spare = standard[:-1] + letters[letters.index(standard[-1]) ^ 1] + "=="
    url_safe = b64encode(b"\xff" * 64, altchars=b"-_").decode()
    for variant in (standard, spare, signature + "=", signature + "\n", " " + signature, url_safe):
        with pytest.raises(Malformed):
            read(good.replace(signature.encode(), json.dumps(variant)[1:-1].encode()))
    assert read(good).signature == HONEST.signature


def test_attack_38_a_subject_has_exactly_one_sha256() -> None:
    for other in ("md5", "sha1", "sha512", "SHA256", "blake3"):
        _refused(PAYLOAD.replace(b'{"sha256":', b'{"%b":' % other.encode()))
        tree = json.loads(PAYLOAD)
        tree["subject"][0]["digest"][other] = "0" * 64
        _refused(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode())


def test_attack_38_subjects_are_those_the_body_gives() -> None:
    """An outsider searches by subject: it cannot be made to point elsewhere."""
    tree = json.loads(PAYLOAD)
    subject = tree["subject"][0]
    other = {"digest": {"sha256": "0" * 64}, "name": "proposal"}
    for subjects in ([], [other], [subject, subject], [subject, other], [subject] * 17, None):
        changed = json.dumps({**tree, "subject": subjects}, sort_keys=True, separators=(",", ":"))
        _refused(changed.encode())


def test_attack_41_fields_cannot_run_into_one_another() -> None:
    """Two drafts that differ anywhere have two ids; numbers and seats have one spelling."""
    commit = BODY_OF["round.commit"]
    swapped = msgspec.structs.replace(commit, binding=commit.vector, vector=commit.binding)  # type: ignore[union-attr]  # its class
    assert statement_id(payload_of(draft_of(commit))) != statement_id(payload_of(draft_of(swapped)))
    dispute = payload_of(draft_of(BODY_OF["round.dispute"]))
    assert read(wrap(dispute)).statement.body == BODY_OF["round.dispute"]
    for wrong in (b"[03]", b"[3.0]", b'["3"]', b"[+3]", b"[0]", b"[201]", b"[-3]", b"[]", b"3"):
        _refused(dispute.replace(b'"seats":[3]', b'"seats":' + wrong))
    assert pae(b"ab") != pae(b"a") + b"b" and pae(b"x", payload_type="y z") != pae(b"z x")


def test_attack_50_there_is_little_room_for_personal_data() -> None:
    """Free text has few names, at most 2,000 bytes, and stands at the top of a body only."""
    for cls in (*GOVERNING, *BELONGING, *STUDYING, *ROUNDING):
        # An applicant may give its name and country, as founders do in the charter.
        neutral = {"country", "name"} if cls is MemberApply else set()
        assert set(texts_of(cls)) <= {"reason", "title"} | neutral
    draft = draft_of(msgspec.structs.replace(BODY_OF["vote.cast"], reason="a" * TEXT_BYTES_MAX))
    assert read(sign(draft, STATEMENT)).statement.body == draft.body
    over = msgspec.structs.replace(BODY_OF["vote.cast"], reason="a" * (TEXT_BYTES_MAX + 1))
    _refused(payload_of(draft_of(over)))
    assert not any(texts_of(cls) for cls in ROUNDING), "a round has no words at all"


def test_nothing_out_of_bounds_is_ever_signed() -> None:
    """`sign` refuses what no reader would take, before the key is used."""
    over = msgspec.structs.replace(BODY_OF["vote.cast"], reason="a" * (PAYLOAD_BYTES_MAX + 1))
    with pytest.raises(Malformed):
        sign(draft_of(over), STATEMENT)


def test_every_attack_on_form_has_a_stored_case() -> None:
    rows = json.loads((FOLDER / "bad_statements.json").read_text())
    assert {row["attack"] for row in rows} >= {20, 24, 25, 26, 27, 29, 30, 38}
    assert len({row["name"] for row in rows}) == len(rows)


def test_an_address_is_printable_and_short_and_a_reason_is_not_empty() -> None:
    offer = BODY_OF["host.offer"]
    longest = msgspec.structs.replace(offer, address="a" * ADDRESS_BYTES_MAX)
    assert read(sign(draft_of(longest), STATEMENT)).statement.body == longest
    for address in ("", "a" * (ADDRESS_BYTES_MAX + 1), "a b", "a\n", "\u00e9"):
        _refused(payload_of(draft_of(msgspec.structs.replace(offer, address=address))))
    revoke = msgspec.structs.replace(BODY_OF["keys.revoke"], reason="")
    _refused(payload_of(draft_of(revoke)))
    filed = BODY_OF["evidence.file"]
    for evidence, fits in (("a" * 16_384, True), ("a" * 16_385, False), ("\u2014" * 6_000, False)):
        payload = payload_of(draft_of(msgspec.structs.replace(filed, evidence=evidence)))
        if fits:
            assert read(wrap(payload)).statement.body.tag == "evidence.file"
        else:
            _refused(payload)


def test_a_proposal_holds_the_content_of_its_motion_alone() -> None:
    payload = payload_of(draft_of(BODY_OF["proposal.open"]))
    _refused(payload.replace(b'"motion":"release"', b'"motion":"host"'))
    _refused(payload.replace(b'"motion":"release"', b'"host":{"member":"a"},"motion":"release"'))
    _refused(payload.replace(b'"motion":"release"', b'"admit":null,"motion":"release"'))

"""Bytes to statements and back: one encoding, every bound, no exception but `Malformed`."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, get_args

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from comity.errors import Forged, Malformed
from comity.statements import wire
from comity.statements.entries import Body
from comity.statements.governing import ProposalOpen, Seen
from comity.statements.keysets import check, key_set_digest, possession_text
from comity.statements.studies import StudyRegister
from comity.statements.wire import BODIES, canonical, read, read_canonical, sign, statement_id
from comity.values import (
    ENVELOPE_BYTES_MAX,
    INTEGER_MAX,
    LOG_SIZE_MAX,
    PAYLOAD_BYTES_MAX,
    TEXT_BYTES_MAX,
    CommonsId,
    MemberId,
    StatementId,
)
from tests.statements.make_vectors import FOLDER, bad, declared_use, golden, motions, wrap
from tests.statements.samples import (
    BODY_OF,
    KEY_SET,
    PUBLIC,
    STATEMENT,
    any_body,
    draft_of,
    texts_of,
)

TAGS = sorted(BODIES)
VOTE = draft_of(BODY_OF["vote.cast"])


@pytest.mark.parametrize("tag", TAGS)
def test_what_is_signed_is_read_back(tag: str) -> None:
    draft = draft_of(BODY_OF[tag], seq=7)
    unverified = read(sign(draft, STATEMENT))
    statement = unverified.statement
    assert statement.body == draft.body and type(statement.body) is BODIES[tag]
    for name in ("author", "commons", "seq", "prev", "head_size", "head_root", "time_s"):
        assert getattr(statement, name) == getattr(draft, name)
    assert statement.id == statement_id(wire.payload_of(draft))
    assert check(unverified, PUBLIC) is statement


@pytest.mark.parametrize("tag", TAGS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(choice=st.data())
def test_any_statement_in_form_survives_the_way(tag: str, choice: st.DataObject) -> None:
    body = choice.draw(any_body(BODIES[tag]))
    assert isinstance(body, get_args(Body))
    draft = replace(
        draft_of(body),
        author=MemberId(choice.draw(st.from_regex(r"\A[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20})?\Z"))),
        seq=choice.draw(st.integers(0, INTEGER_MAX)),
        head_size=choice.draw(st.integers(0, LOG_SIZE_MAX)),
        head_root=choice.draw(st.binary(min_size=32, max_size=32)),
        time_s=choice.draw(st.integers(0, INTEGER_MAX)),
    )
    envelope = sign(draft, STATEMENT)
    assert read(envelope).statement.body == body
    # Another writer of sorted, compact JSON gives the same bytes.
    tree = json.loads(envelope)
    assert envelope == json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    payload = b64decode(tree["payload"])
    again = json.dumps(
        json.loads(payload), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert payload == again.encode()


def test_known_answers_stay() -> None:
    """Also proves that reading gives the sample back, from the file and not from our writer."""
    stored = json.loads((FOLDER / "golden.json").read_text())
    assert stored == golden()
    for row in stored["statements"]:
        unverified = read(row["envelope"].encode())
        assert check(unverified, PUBLIC).id == row["id"]
        assert unverified.statement.body == BODY_OF[row["tag"]]
    later = json.loads((FOLDER / "motions.json").read_text())
    assert later == motions()
    for row in later["statements"]:
        body = check(read(row["envelope"].encode()), PUBLIC).body
        said = body.motion if isinstance(body, ProposalOpen) else body.tag
        assert row["motion"].startswith(said)
    declared = json.loads((FOLDER / "declared_use.json").read_text())
    assert declared == declared_use()
    assert check(read(declared["envelope"].encode()), PUBLIC).id == declared["id"]
    assert stored["key_set_digest"] == key_set_digest(KEY_SET)
    assert stored["possession_text"] == possession_text(KEY_SET).decode()


BAD = json.loads((FOLDER / "bad_statements.json").read_text())


@pytest.mark.parametrize("row", BAD, ids=lambda row: row["name"])
def test_every_bad_statement_is_malformed(row: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        read(b64decode(row["envelope"]))


def test_bad_statements_are_all_in_the_file() -> None:
    assert bad() == BAD
    assert read(wrap(wire.payload_of(VOTE))).statement.body == VOTE.body, "the unchanged one reads"


def _outcome(envelope: bytes, seen: StatementId) -> str:
    try:
        unverified = read(envelope)
    except Malformed:
        return "malformed"
    try:
        check(unverified, PUBLIC)
    except Forged:
        return "forged" if unverified.statement.id != seen else "forged, same id"
    raise AssertionError(f"a changed statement was accepted: {envelope!r}")


def _changes(good: bytes) -> Iterator[bytes]:
    for place, old in enumerate(good):
        for new in range(256):
            if new != old:
                yield good[:place] + bytes([new]) + good[place + 1 :]


SMALL = replace(draft_of(Seen()), author=MemberId("a"))


def test_no_byte_of_an_envelope_can_be_changed() -> None:
    """Every position, every value: refused as malformed, or its signature does not fit."""
    good = sign(SMALL, STATEMENT)
    seen = check(read(good), PUBLIC).id
    outcomes = {_outcome(changed, seen) for changed in _changes(good)}
    assert outcomes == {"malformed", "forged", "forged, same id"}


def test_no_byte_of_a_payload_can_be_changed() -> None:
    """As above, one level down; what is still in form has another id."""
    payload = wire.payload_of(SMALL)
    seen = statement_id(payload)
    template = json.loads(sign(SMALL, STATEMENT))
    outcomes = set()
    for changed in _changes(payload):
        try:
            statement = wire._read_payload(changed, wire.pae(changed))
        except Malformed:
            outcomes.add("malformed")
            continue
        assert statement.id != seen
        signature = b64decode(template["signatures"][0]["sig"])
        with pytest.raises(InvalidSignature):
            STATEMENT.public_key().verify(signature, wire.pae(changed))
        outcomes.add("another statement")
    assert outcomes == {"malformed", "another statement"}


@given(st.binary(max_size=300))
def test_any_bytes_are_malformed(blob: bytes) -> None:
    for attempt in (blob, wrap(blob)):
        with pytest.raises(Malformed):
            read(attempt)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(TAGS), JSON, st.data())
def test_any_json_in_any_place_is_malformed(tag: str, value: object, choice: st.DataObject) -> None:
    """A random value replaces a random part of a good payload: refused, or equal to the good."""
    tree = json.loads(wire.payload_of(draft_of(BODY_OF[tag])))
    part = tree
    while True:
        place = choice.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else [0]))
        inner = part[place]
        if not inner or not isinstance(inner, dict | list) or choice.draw(st.booleans()):
            break
        part = inner
    part[place] = value
    payload = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    blob = payload.encode(errors="surrogatepass")
    try:
        statement = read(wrap(blob)).statement
    except Malformed:
        return
    assert statement.id == statement_id(blob), "only what is in form may be read"


@given(st.integers(0, 900), st.integers(0, 900), st.binary(max_size=8))
def test_cut_and_spliced_envelopes_raise_malformed_or_do_not_fit(
    start: int, end: int, filling: bytes
) -> None:
    good = sign(SMALL, STATEMENT)
    changed = good[:start] + filling + good[end:]
    if changed != good:
        _outcome(changed, read(good).statement.id)


def _signed_change(**changes: object) -> bytes:
    return sign(replace(VOTE, **changes), STATEMENT)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("field", "best", "worst"),
    [
        ("author", "a" * 64, "a" * 65),
        ("author", "a.b-c", "a..b"),
        ("author", "a", ""),
        ("seq", INTEGER_MAX, INTEGER_MAX + 1),
        ("seq", 0, -1),
        ("time_s", INTEGER_MAX, INTEGER_MAX + 1),
        ("time_s", 0, -1),
        ("head_size", LOG_SIZE_MAX, LOG_SIZE_MAX + 1),
        ("head_root", bytes(32), bytes(31)),
        ("head_root", bytes(32), bytes(33)),
        ("prev", "f" * 64, "f" * 63),
        ("prev", "f" * 64, "F" * 64),
        ("commons", "f" * 64, "f" * 64 + "\n"),
    ],
)
def test_each_bound_is_kept_by_writer_and_reader(field: str, best: object, worst: object) -> None:
    read(_signed_change(**{field: best}))
    with pytest.raises(Malformed):
        _signed_change(**{field: worst})
    bad_payload = wire.payload_of(replace(VOTE, **{field: worst}))  # type: ignore[arg-type]  # wrong
    with pytest.raises(Malformed):
        read(wrap(bad_payload))


@pytest.mark.parametrize("tag", [tag for tag in TAGS if texts_of(BODIES[tag])])
@pytest.mark.parametrize("letter", ["a", "é", "\U0001f600"])
def test_texts_are_bounded_in_bytes(tag: str, letter: str) -> None:
    """2,000 bytes of UTF-8, not 2,000 characters."""
    count = TEXT_BYTES_MAX // len(letter.encode())
    for name in texts_of(BODIES[tag]):
        full = draft_of(msgspec.structs.replace(BODY_OF[tag], **{name: letter * count}))
        read(sign(full, STATEMENT))
        over = draft_of(msgspec.structs.replace(BODY_OF[tag], **{name: letter * (count + 1)}))
        with pytest.raises(Malformed):
            read(wrap(wire.payload_of(over)))


def test_sizes_are_checked_before_anything_is_parsed() -> None:
    with pytest.raises(Malformed, match=f"at most {ENVELOPE_BYTES_MAX}"):
        read(b"[" * (ENVELOPE_BYTES_MAX + 1))
    with pytest.raises(Malformed, match=f"at most {PAYLOAD_BYTES_MAX}"):
        read(wrap(b"[" * (PAYLOAD_BYTES_MAX + 1)))
    with pytest.raises(Malformed, match="not an in-toto"):
        read(wrap(b"[" * PAYLOAD_BYTES_MAX))


def test_a_statement_about_nothing_is_about_the_charter() -> None:
    tree = json.loads(wire.payload_of(draft_of(Seen())))
    charter = CommonsId(tree["predicate"]["commons"])
    assert tree["subject"] == [{"digest": {"sha256": charter}, "name": "charter"}]
    assert tree["predicateType"] == "https://comity/statement/seen/v1"
    assert tree["_type"] == "https://in-toto.io/Statement/v1"


class _Document(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    zeta: Annotated[int, Meta(ge=0)]
    alpha: str = ""


def test_documents_are_read_only_in_canonical_form() -> None:
    value = _Document(zeta=3, alpha="é")
    blob = canonical(value)
    assert blob == '{"alpha":"é","zeta":3}'.encode()
    assert read_canonical(blob, _Document, len(blob)) == value
    refused = (
        blob + b"\n",
        b'{"zeta":3,"alpha":"\xc3\xa9"}',
        b'{"alpha":"","zeta":3}',
        b'{"alpha":"\\u00e9","zeta":3}',
        b'{"zeta":3.0}',
        b'{"zeta":3,"zeta":3}',
        b'{"other":1,"zeta":3}',
        b'{"alpha":"\xff","zeta":3}',
        b"[" * 100_000,
        b'{"zeta":' + b"1" * 100_000 + b"}",
        b"",
    )
    for changed in refused:
        with pytest.raises(Malformed):
            read_canonical(changed, _Document, 200_000)
    with pytest.raises(Malformed, match="at most 3"):
        read_canonical(blob, _Document, 3)


@given(st.binary(max_size=200) | JSON.map(lambda tree: json.dumps(tree).encode()))
def test_any_bytes_are_no_document(blob: bytes) -> None:
    with pytest.raises(Malformed):
        read_canonical(blob, _Document, 100_000)


def test_messages_show_no_control_characters() -> None:
    tree = json.loads(wire.payload_of(VOTE))
    tree["predicate"]["body"]["\x1b[2J\n"] = 1
    payload = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(Malformed) as caught:
        read(wrap(payload))
    assert str(caught.value).isprintable()


def test_the_plan_of_a_study_is_a_document_of_its_own() -> None:
    register = BODY_OF["study.register"]
    assert isinstance(register, StudyRegister)
    blob = canonical(register.plan)
    assert read_canonical(blob, type(register.plan), 10_000) == register.plan


def test_the_reader_of_proposals_asks_for_the_content_of_the_motion() -> None:
    proposal = BODY_OF["proposal.open"]
    assert isinstance(proposal, ProposalOpen)
    payload = wire.payload_of(draft_of(proposal)).replace(b'"release":{', b'"releases":{')
    with pytest.raises(Malformed):
        read(wrap(payload))

"""The classes of bodies: their names, their bounds, and the largest that a commons can need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import msgspec
import pytest
from msgspec import inspect as shapes

from comity.statements import wire
from comity.statements.entries import Body
from comity.statements.governing import GOVERNING, CommonsFound, VoteCast
from comity.statements.membership import BELONGING
from comity.statements.rounds import (
    ROUNDING,
    DroppedShares,
    ResolvedShare,
    RoundReady,
    RoundRecover,
    RoundResolve,
    RoundReveal,
    SilentShares,
)
from comity.statements.studies import STUDYING, Method, StudyRegister
from comity.statements.wire import BODIES, canonical, read, sign
from comity.values import (
    ENVELOPE_BYTES_MAX,
    INTEGER_MAX,
    JSON_ARRAY_MAX,
    JSON_DEPTH_MAX,
    JSON_STRING_BYTES_MAX,
    LOG_SIZE_MAX,
    PAYLOAD_BYTES_MAX,
    ROSTER_MAX,
    SUBJECTS_MAX,
    TEXT_BYTES_MAX,
    MemberId,
    Seat,
)
from tests.statements.samples import (
    BODY_OF,
    CLOSED,
    KEY_SET,
    OPENED,
    PLAN,
    PROPOSAL,
    SEALING_KEY,
    STATEMENT,
    digest,
    draft_of,
    texts_of,
)

TAGS = sorted(BODIES)


def _nested(shape: shapes.Type, depth: int) -> Iterator[tuple[int, shapes.Type]]:
    yield depth, shape
    match shape:
        case shapes.StructType():
            for part in shape.fields:
                yield from _nested(part.type, depth + 1)
        case shapes.VarTupleType():
            yield from _nested(shape.item_type, depth + 1)
        case shapes.UnionType():
            for kind in shape.types:
                yield from _nested(kind, depth)
        case _:
            pass


@pytest.mark.parametrize("tag", TAGS)
def test_types_bound_depth_arrays_and_strings(tag: str) -> None:
    """The profile's limits need no check at run time: no type could exceed them."""
    body = shapes.type_info(BODIES[tag])
    for depth, shape in _nested(body, 3):  # payload, predicate, body
        assert depth <= JSON_DEPTH_MAX
        match shape:
            case shapes.StructType():
                assert shape.forbid_unknown_fields and shape.cls.__struct_config__.frozen
                names = [part.encode_name for part in shape.fields]
                assert all(re.fullmatch("[a-z0-9_]+", name) for name in names)
                optional = [part for part in shape.fields if not part.required]
                assert not optional or shape.cls.__struct_config__.omit_defaults
                assert shape.cls is BODIES[tag] or not texts_of(shape.cls), "read sees only the top"
            case shapes.VarTupleType():
                assert shape.max_length is not None and shape.max_length <= JSON_ARRAY_MAX
            case shapes.StrType():
                digest_like = shape.pattern is not None and "{64}" in shape.pattern
                longest = 64 if digest_like else shape.max_length
                # The longest texts, evidence and terms, are measured in bytes when they are read.
                has_document = tag in ("evidence.file", "proposal.open")
                is_evidence = has_document and longest == JSON_STRING_BYTES_MAX
                assert longest is not None
                assert is_evidence or 4 * longest <= JSON_STRING_BYTES_MAX
            case shapes.BytesType():
                assert (
                    shape.max_length is not None and 2 * shape.max_length <= JSON_STRING_BYTES_MAX
                )
            case shapes.IntType():
                top = shape.le if shape.le is not None else shape.lt
                assert shape.ge is not None and shape.ge >= 0
                assert top is not None and top <= INTEGER_MAX
            case shapes.LiteralType() | shapes.BoolType() | shapes.NoneType() | shapes.UnionType():
                pass
            case _:
                raise AssertionError(f"{shape} has no bound here")


def test_tags_are_unique_named_after_their_class_and_in_the_union() -> None:
    classes = [*GOVERNING, *BELONGING, *STUDYING, *ROUNDING]
    assert set(classes) == set(get_args(Body)) and len(BODIES) == len(classes)
    for cls in classes:
        assert re.fullmatch(r"[a-z]+(\.[a-z]+)?", cls.tag)
        assert cls.__name__ == "".join(part.capitalize() for part in cls.tag.split("."))
        about = BODY_OF[cls.tag].about()
        assert len(about) <= SUBJECTS_MAX
        assert [name for name, _ in about] == sorted({name for name, _ in about})
        for name, value in about:
            assert re.fullmatch(r"[a-z]+", name) and re.fullmatch("[0-9a-f]{64}", value)


LONGEST = MemberId("a" * 64)
LARGEST: tuple[Body, ...] = (
    RoundReady(
        complaints=tuple(Seat(seat) for seat in range(1, ROSTER_MAX + 1)),
        joins=digest("joins"),
        opened=OPENED,
        sealing_key=SEALING_KEY,
    ),
    RoundResolve(
        opened=OPENED,
        share=ResolvedShare(holder=Seat(200), path=(bytes(32),) * 8, plaintext=bytes(128)),
    ),
    RoundReveal(
        closed=CLOSED,
        opened=OPENED,
        beta=bytes(32),
        # At least c + 2 = 3 survive.
        dropped=tuple(
            DroppedShares(mu=bytes(32), seat=Seat(seat), sigma=bytes(32), m=bytes(32))
            for seat in range(4, ROSTER_MAX + 1)
        ),
    ),
    RoundRecover(
        closed=CLOSED,
        opened=OPENED,
        silent=tuple(
            SilentShares(beta=bytes(32), seat=Seat(seat), mu=bytes(32))
            for seat in range(1, ROSTER_MAX + 1)
        ),
    ),
    CommonsFound(
        key_set=msgspec.structs.replace(KEY_SET, member=LONGEST),
        possession=BODY_OF["commons.found"].possession,  # type: ignore[union-attr]  # its class
    ),
    VoteCast(choice="abstain", proposal=PROPOSAL, reason="\x07" * TEXT_BYTES_MAX),
)


@pytest.mark.parametrize("body", LARGEST, ids=lambda body: str(body.tag))
def test_the_largest_commons_fits_the_limits(body: Body) -> None:
    """200 members with ids of 64 letters (aggregation.md 11.3, attack 57)."""
    draft = replace(
        draft_of(body, seq=INTEGER_MAX), author=LONGEST, head_size=LOG_SIZE_MAX, time_s=INTEGER_MAX
    )
    envelope = sign(draft, STATEMENT)
    assert len(wire.payload_of(draft)) <= PAYLOAD_BYTES_MAX and len(envelope) <= ENVELOPE_BYTES_MAX
    assert read(envelope).statement.body == body


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (Method(own=2), b'"method":{"own":2},'),
        (
            Method(name="fedprox", proximal_millionths=10_000),
            b'"method":{"name":"fedprox","proximal_millionths":10000},',
        ),
        (
            Method(fine_tuning=1, lr_trillionths=10**9, name="scaffold", own=1, steps=100),
            b'"method":{"fine_tuning":1,"lr_trillionths":1000000000,"name":"scaffold","own":1,'
            b'"steps":100},',
        ),
    ],
)
def test_a_plan_says_its_method_and_nothing_when_it_is_plain(method: Method, text: bytes) -> None:
    """The field is in its place and no other byte moves; a plan without it has its old bytes."""
    plan = msgspec.structs.replace(PLAN, method=method)
    assert canonical(plan).replace(text, b"") == canonical(PLAN)
    body = StudyRegister(name="x", plan=plan)
    assert read(sign(draft_of(body), STATEMENT)).statement.body == body

"""F2: everything that is said can be read by all members; sealed shares only between named ones.

Attack: a statement that is meant for some members only.
"""

from __future__ import annotations

import pytest

from comity.errors import Malformed
from comity.statements.governing import NoticeGive, Seen, VoteCast
from comity.statements.wire import BODIES, pae, payload_of, read
from tests.commons.governed import governed
from tests.worlds import World, digest

AUDIENCES = ("audience", "to", "members", "sealed", "secret", "private")


def with_field(world: World, name: str) -> bytes:
    """A really signed vote with one field more."""
    from base64 import b64encode

    import msgspec

    a = world.members[0]
    draft = world.draft(a, VoteCast(choice="yes", proposal=digest("proposal")))  # type: ignore[arg-type]
    payload = payload_of(draft).replace(b'"choice"', f'"{name}":"member-b","choice"'.encode())
    keys = world.keys(a)
    signature = keys.statement.sign(pae(payload))
    whole = {
        "payload": b64encode(payload).decode(),
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"keyid": "0" * 16, "sig": b64encode(signature).decode()}],
    }
    return msgspec.json.encode(whole)


@pytest.mark.parametrize("name", AUDIENCES)
def test_a_statement_for_some_only_is_no_statement(name: str) -> None:
    world = governed(3)
    with pytest.raises(Malformed):
        world.append(with_field(world, name))


def test_no_body_has_a_field_for_an_audience() -> None:
    for tag, body in BODIES.items():
        assert not set(body.__struct_fields__) & set(AUDIENCES), tag


def test_also_reasons_against_a_member_are_read_by_all() -> None:
    world = governed(4)
    a, b, *_ = world.members
    world.done(a, NoticeGive(evidence=(digest("e"),), member=b, reason="false check values"))
    world.say(b, Seen())
    said = [read(envelope).statement.body for envelope in world.log]
    assert any(isinstance(body, NoticeGive) and body.reason for body in said)

"""The worked example of docs/protocol.md: three founders, one `seen`, its head, a final head.

Made from `worlds.World.of(3)`, whose keys come from its members' names, so everybody gets the same.
"""

from __future__ import annotations

import json
import textwrap

from comity.log.heads import TreeHead, cosign, full_note, origin_of, sign_head
from comity.log.merkle import leaf_hash
from comity.statements.governing import Seen
from comity.statements.wire import read
from comity.values import SEEN_INTERVAL_S
from tests.worlds import World, keys_of

TEXT_WIDTH = 100


def example() -> list[str]:
    """The lines of the example, in Markdown."""
    world = World.of(3)
    world.now_s += SEEN_INTERVAL_S
    said = world.members[1]
    envelope = world.envelope(said, Seen())
    world.append(envelope)
    unverified = read(envelope)
    payload = unverified.signed.split(b" ", 4)[4]
    return [
        f"Three founders have entered; an hour later `{said}` says `seen`. Payload, one line of",
        f"{len(payload)} bytes, shown here with white space that it does not have:",
        "",
        *fenced(json.dumps(json.loads(payload), indent=1)),
        "",
        f"Signed bytes: `DSSEv1 28 application/vnd.in-toto+json {len(payload)} ` and the payload.",
        "Statement id, their SHA-256:",
        "",
        *fenced(unverified.statement.id),
        "",
        f"Envelope, {len(envelope)} bytes, one line in fact, and its leaf hash, SHA-256(00 || it):",
        "",
        *fenced(wrapped(envelope.decode()), leaf_hash(envelope).hex()),
        "",
        "The head over the four entries, signed by the host and cosigned by all three, so final:",
        "",
        *fenced(final_head(world)),
    ]


def final_head(world: World) -> str:
    """The note of the newest head with the host's signature and everybody's cosignature."""
    origin = origin_of(world.state.commons, world.charter.origin_prefix)
    head = TreeHead(origin, world.tree.size, world.tree.root())
    signed = sign_head(head, keys_of(world.state.host).host)
    lines = [
        cosign(head, member, keys_of(member).head, time_s=world.now_s) for member in world.members
    ]
    return full_note(signed, lines).decode()


def wrapped(text: str) -> str:
    """The text in lines that fit a page."""
    return "\n".join(textwrap.wrap(text, TEXT_WIDTH))


def fenced(*texts: str) -> list[str]:
    """The texts as one code block."""
    return ["```", *(text.rstrip("\n") for text in texts), "```"]

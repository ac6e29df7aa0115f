"""Writes the known answers of statements: `python -m tests.statements.make_vectors`.

`golden.json`: one statement per tag, from fixed key seeds. `motions.json`: the later motions of
proposal.open. `declared_use.json`: a registration with the use it declares.
`bad_statements.json`: changes of one
good payload or envelope that every reader refuses as malformed, each with the attack of
log-and-provenance.md 8 it belongs to. Files that exist are law: add to them, never change them.
"""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import msgspec

from comity.statements.entries import Body
from comity.statements.governing import (
    AdmitMotion,
    AmendMotion,
    ExcludeMotion,
    HostMotion,
    SuspendMotion,
    VoteCast,
    proposal_of,
)
from comity.statements.keysets import key_set_digest, possession_text
from comity.statements.studies import StudyRegister, UseTerms
from comity.statements.wire import pae, payload_of, read, sign, statement_id
from comity.values import sha256
from tests.statements.samples import (
    AUTHOR,
    BODY_OF,
    KEY_SET,
    NOTICE,
    PROPOSAL,
    STATEMENT,
    digest,
    draft_of,
)

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "statements"
VOTE = payload_of(draft_of(BODY_OF["vote.cast"])).decode()

PAYLOAD_EDITS: tuple[tuple[str, int, str, str], ...] = (
    ("space after a colon", 25, '"seq":0', '"seq": 0'),
    ("space at the end", 25, "]}", "]} "),
    ("members not sorted", 25, '"seq":0,"time":1789000000', '"time":1789000000,"seq":0'),
    ("needless escape", 25, '"yes"', '"\\u0079es"'),
    ("escaped slash", 25, "https://in-toto", "https:\\/\\/in-toto"),
    ("same member twice", 26, '"seq":0', '"seq":0,"seq":0'),
    ("same member twice, second escaped", 26, '"seq":0', '"seq":0,"s\\u0065q":0'),
    ("float", 27, '"seq":0', '"seq":0.0'),
    ("fraction", 27, '"seq":0', '"seq":0.5'),
    ("minus zero", 27, '"seq":0', '"seq":-0'),
    ("negative", 27, '"seq":0', '"seq":-1'),
    ("exponent", 27, '"seq":0', '"seq":0e0'),
    ("leading zero", 27, '"seq":0', '"seq":00'),
    ("not a number", 27, '"seq":0', '"seq":NaN'),
    ("infinity", 27, '"seq":0', '"seq":Infinity'),
    ("2 to the 53", 27, '"seq":0', '"seq":9007199254740992'),
    ("2 to the 64", 27, '"seq":0', '"seq":18446744073709551616'),
    ("head above the largest log", 27, '"size":0', '"size":1099511627776'),
    ("number in a text", 27, '"seq":0', '"seq":"0"'),
    ("boolean for a number", 27, '"seq":0', '"seq":false'),
    ("null for a number", 27, '"seq":0', '"seq":null'),
    ("null for an absent text", 25, '"proposal"', '"reason":null,"proposal"'),
    ("default written out", 25, '"},"commons"', '","reason":""},"commons"'),
    ("lone surrogate", 29, '"},"commons"', '","reason":"\\ud800"},"commons"'),
    ("capital letter in an id", 29, "hospital-a", "Hospital-a"),
    ("Cyrillic letter in an id", 29, "hospital-a", "hospit\u0430l-a"),
    ("right-to-left override in an id", 29, "hospital-a", "hospital-\u202ea"),
    ("id with a newline", 29, "hospital-a", "hospital-a\\n"),
    ("id with two dots", 29, "hospital-a", "hospital..a"),
    ("id of 65 letters", 29, "hospital-a", "a" * 65),
    ("byte-order mark", 29, '{"_type"', '\ufeff{"_type"'),
    ("digest in capitals", 38, '"sha256":"', '"sha256":"A'),
    ("digest under another name", 38, '"sha256":', '"sha1":'),
    ("one digest more", 38, '"digest":{', '"digest":{"md5":"00",'),
    ("no digest", 38, '"digest":{"sha256":', '"digest":{},"x":{"sha256":'),
    ("another name of the subject", 24, '"name":"proposal"', '"name":"model"'),
    ("no subject", 24, VOTE[VOTE.index('"subject":') :], '"subject":[]}'),
    ("another statement type", 24, "Statement/v1", "Statement/v0.1"),
    ("unknown tag", 24, "vote.cast/v1", "vote.sell/v1"),
    ("tag of another body", 24, "vote.cast/v1", "release.sign/v1"),
    ("next version of a tag", 24, "vote.cast/v1", "vote.cast/v2"),
    ("tag with a slash", 24, "vote.cast/v1", "vote.cast/v1/"),
    ("tag in capitals", 24, "vote.cast/v1", "Vote.cast/v1"),
    ("unknown member of the body", 24, '"choice":"yes"', '"choice":"yes","extra":1'),
    ("unknown choice", 24, '"yes"', '"maybe"'),
    ("root without padding", 30, 'uFU="', 'uFU"'),
    ("root with spare bits", 30, 'uFU="', 'uFV="'),
)
ENVELOPE_EDITS: tuple[tuple[str, int, str, str], ...] = (
    ("space", 25, '":"', '": "'),
    ("newline at the end", 25, "]}", "]}\n"),
    ("a member more", 25, '"keyid"', '"a":1,"keyid"'),
    ("another payload type", 24, "vnd.in-toto+json", "vnd.in-toto+xml"),
    ("no signature", 24, '"signatures":[', '"signatures":[],"x":['),
    ("keyid in capitals", 20, '"keyid":"', '"keyid":"A'),
    ("no keyid", 20, '"keyid"', '"id"'),
    ("payload without padding", 30, '=","payloadType', '","payloadType'),
    ("URL-safe base64", 30, '"sig":"', '"sig":"-_'),
    ("no base64", 30, '"sig":"', '"sig":"*'),
    ("newline in base64", 30, '"sig":"', '"sig":"\\n'),
    ("escape in base64", 30, '"payload":"e', '"payload":"\\u0065'),
)


def golden() -> object:
    """Every tag's known answers."""
    said = []
    for seq, (tag, body) in enumerate(BODY_OF.items()):
        draft = draft_of(body, seq=seq)
        envelope = sign(draft, STATEMENT)
        assert read(envelope).statement.body == body
        payload = payload_of(draft)
        said.append(
            {
                "tag": tag,
                "payload": payload.decode(),
                "id": statement_id(payload),
                "envelope": envelope.decode(),
            }
        )
    return {
        "seeds": "private key k is the byte k 32 times: 1 statement, 2 head, 3 host, 4 model",
        "key_set_digest": key_set_digest(KEY_SET),
        "possession_text": possession_text(KEY_SET).decode(),
        "statements": said,
    }


def motions() -> object:
    """Known answers of the motions that came after the first."""
    keys = key_set_digest(KEY_SET)
    bodies: dict[str, Body] = {
        "admit": proposal_of(AdmitMotion(keys=keys, member=AUTHOR)),
        "host": proposal_of(HostMotion(member=AUTHOR), "the old host retires"),
        "amend": proposal_of(AmendMotion(base=digest("charter"), terms='{"a":"«b»"}')),
        "exclude": proposal_of(ExcludeMotion(member=AUTHOR, notice=NOTICE)),
        "suspend": proposal_of(SuspendMotion(member=AUTHOR, seconds=3_600), "a stolen laptop"),
        "suspend, after a notice": proposal_of(
            SuspendMotion(member=AUTHOR, seconds=864_000, notice=NOTICE)
        ),
        "vote.cast on an admission": VoteCast(
            choice="no", proposal=PROPOSAL, criterion="contact", reason="nobody answers"
        ),
    }
    said = []
    for seq, (motion, body) in enumerate(bodies.items()):
        draft = draft_of(body, seq=seq)
        payload = payload_of(draft)
        envelope = sign(draft, STATEMENT)
        assert read(envelope).statement.body == body
        said.append(
            {
                "motion": motion,
                "payload": payload.decode(),
                "id": statement_id(payload),
                "envelope": envelope.decode(),
            }
        )
    return {"statements": said}


def declared_use() -> object:
    """Known answer of a registration that says what the study is for."""
    registration = BODY_OF["study.register"]
    assert isinstance(registration, StudyRegister)
    use = UseTerms(
        purpose="disease", diseases=("MONDO:0004995",), commercial=False, ethics=sha256(b"approval")
    )
    draft = draft_of(msgspec.structs.replace(registration, use=use))
    payload = payload_of(draft)
    return {
        "payload": payload.decode(),
        "id": statement_id(payload),
        "envelope": sign(draft, STATEMENT).decode(),
    }


def wrap(payload: bytes) -> bytes:
    """The canonical envelope of any payload, honestly signed: only the payload can be wrong."""
    signature = STATEMENT.sign(pae(payload))
    good = json.loads(sign(draft_of(BODY_OF["vote.cast"]), STATEMENT))
    good["payload"] = b64encode(payload).decode()
    good["signatures"][0]["sig"] = b64encode(signature).decode()
    return json.dumps(good, sort_keys=True, separators=(",", ":")).encode()


def _edit(text: str, old: str, new: str) -> str:
    assert old in text, f"{old} is not in the good text"
    return text.replace(old, new, 1)


def bad() -> list[dict[str, object]]:
    """Every change that is refused."""
    envelope = sign(draft_of(BODY_OF["vote.cast"]), STATEMENT).decode()
    rows = [
        (name, attack, wrap(_edit(VOTE, old, new).encode()))
        for name, attack, old, new in PAYLOAD_EDITS
    ]
    rows += [
        (f"envelope: {name}", attack, _edit(envelope, old, new).encode())
        for name, attack, old, new in ENVELOPE_EDITS
    ]
    signature = envelope[envelope.index('{"keyid"') : -2]
    two = envelope.replace(signature, f"{signature},{signature}")
    rows += [
        ("envelope: two signatures", 24, two.encode()),
        ("overlong UTF-8", 29, wrap(VOTE.encode().replace(b"yes", b"\xc1\xb9es"))),
        ("empty payload", 24, wrap(b"")),
        ("payload is an array", 24, wrap(b"[]")),
    ]
    return [
        {"name": name, "attack": attack, "envelope": b64encode(row).decode()}
        for name, attack, row in rows
    ]


def write() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in (
        ("golden", golden()),
        ("motions", motions()),
        ("declared_use", declared_use()),
        ("bad_statements", bad()),
    ):
        text = json.dumps(content, indent=1, ensure_ascii=True) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    write()

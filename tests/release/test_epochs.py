"""Charter, founders and what follows from them: forged ones are refused (attacks 9 and 36)."""

from __future__ import annotations

import msgspec

from comity.commons.epochs import EpochDocument, EpochMember
from comity.errors import ExitCode
from comity.release.form import (
    CHARTER,
    EPOCH,
    FOUNDERS,
    POLICY,
    SIGNS,
)
from comity.release.verify import verify
from comity.statements.wire import canonical, read_canonical
from comity.values import MemberId
from tests.release.forgery import ANCHOR, FILES, MADE, judge, outside, refused
from tests.release.world import MemoryFolder, released
from tests.worlds import World, digest, found_body, keys_of

A, B, C, D = MADE.world.members


def test_attack_9_a_release_of_another_commons_is_refused() -> None:
    other = released(5)
    folder, own = other.folder(), other.anchor()
    assert verify(folder, own).code is ExitCode.DONE
    verdict = verify(folder, ANCHOR)
    assert verdict.checks[-1].name == "charter"
    assert own.origin in verdict.sentence and ANCHOR.origin in verdict.sentence


def test_attack_36_a_forged_charter_is_refused() -> None:
    charter = MADE.world.charter
    for forged in (
        msgspec.structs.replace(charter, name="A commons of ours"),
        msgspec.structs.replace(charter, founders=charter.founders[:3]),
        msgspec.structs.replace(charter, origin_prefix="other"),
        msgspec.structs.replace(charter, host=B),
    ):
        bent = FILES | {CHARTER: canonical(forged)}
        assert verify(MemoryFolder(bent), ANCHOR).checks[-1].name == "charter"
        assert verify(MemoryFolder(bent), None).code is ExitCode.NOT_VERIFIED
    weak = msgspec.structs.replace(charter, quorum=2)
    refused(FILES | {CHARTER: canonical(weak)}, "charter", "quorum")


def test_attack_36_forged_epochs_and_policies_are_refused() -> None:
    epoch = read_canonical(FILES[EPOCH], EpochDocument, 2**20)
    thief = EpochMember(A, keys_of(MemberId("thief")).key_set.keys)
    for forged in (
        msgspec.structs.replace(epoch, quorum=1),
        msgspec.structs.replace(epoch, members=(thief, *epoch.members[1:])),
        msgspec.structs.replace(epoch, members=epoch.members[1:]),
        msgspec.structs.replace(epoch, prev=digest("another charter")),
    ):
        refused(FILES | {EPOCH: canonical(forged)}, "derived files", EPOCH)
    weaker = FILES[POLICY].replace(b"group members 3", b"group members 1")
    refused(FILES | {POLICY: weaker}, "derived files", POLICY)


def test_attack_36_forged_founders_are_refused() -> None:
    lines = FILES[FOUNDERS].splitlines(keepends=True)
    other = World.of(5).log[0] + b"\n"
    for forged in (lines[:3], [*lines, lines[0]], [lines[1], lines[0], *lines[2:]]):
        refused(FILES | {FOUNDERS: b"".join(forged)}, "founders and keys")
    refused(FILES | {FOUNDERS: b"".join([other, *lines[1:]])}, "founders and keys", "commons")
    refused(FILES | {FOUNDERS: FILES[SIGNS]}, "founders and keys")


def test_attack_36_another_founding_statement_than_the_logs_is_refused() -> None:
    """A founder may sign its key set twice; only the one in the log is what was founded."""
    world = MADE.world
    first = World.empty(world.charter)
    again = first.envelope(A, world.entries[0].statement.body, time_s=first.now_s + 1)
    lines = FILES[FOUNDERS].splitlines(keepends=True)
    refused(FILES | {FOUNDERS: b"".join([again + b"\n", *lines[1:]])}, "log", FOUNDERS)


def test_attack_36_founders_need_their_own_keys_signature_and_possession() -> None:
    thief = keys_of(MemberId("thief"))
    body, key = found_body(A), keys_of(A).statement
    rest = FILES[FOUNDERS].splitlines(keepends=True)[1:]

    def founded_by(first: bytes) -> dict[str, bytes]:
        return FILES | {FOUNDERS: b"".join([first + b"\n", *rest])}

    own = outside(MADE.world, A, body, key)
    assert judge(founded_by(own)).checks[2].passed, "in form; only the log knows another first one"
    stolen = found_body(MemberId("thief"))
    refused(
        founded_by(outside(MADE.world, A, stolen, thief.statement)),
        "founders and keys",
        "keys-not-in-charter",
    )
    refused(founded_by(outside(MADE.world, A, body, thief.statement)), "founders and keys", "keyid")
    unheld = msgspec.structs.replace(body, possession=thief.possession)
    refused(founded_by(outside(MADE.world, A, unheld, key)), "founders and keys", "signature")

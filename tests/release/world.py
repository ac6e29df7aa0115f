"""A commons with one accepted round, a decided release and its folder, all with real keys.

Everything is really signed, admitted and applied; only the inside of the round is form: nobody
masks or trains, the members say what the fold asks for and accept a real model file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from comity.aggregation.layout import Layout, Segment, layout_bytes
from comity.commons.attempts import Closing, Confirming, Masking, Readying, Revealing, Starting
from comity.commons.dealing import digest_of_joins
from comity.commons.opening import expected_open
from comity.commons.rounds import expected_close, expected_start
from comity.commons.state import Accepted, Done, Study, Void
from comity.errors import Rule
from comity.learning.model import model_bytes
from comity.log.heads import Cosignature, SignedHead, TreeHead, cosign, origin_of, sign_head
from comity.release.anchor import Anchor, anchor_of
from comity.release.bundle import (
    Content,
    content_files,
    digests_of,
    manifest_text,
    proof_files,
    release_files,
)
from comity.release.card import model_card, model_config
from comity.release.form import pieces
from comity.statements.entries import Body
from comity.statements.governing import ProposalOpen, ReleaseMotion, ReleaseSign, VoteCast
from comity.statements.rounds import (
    JoinedData,
    RoundAccept,
    RoundCommit,
    RoundConfirm,
    RoundJoin,
    RoundOpen,
    RoundReady,
)
from comity.values import BlobName, Digest, MemberId, StatementId, sha256
from tests.worlds import World, digest, sealing_key, seed

LAYOUT = Layout(
    (
        Segment(name="weights", kind="real", shape=(3, 2), mant=1, exp=0),
        Segment(name="bias", kind="real", shape=(2,), mant=1, exp=0),
    )
)
MODEL = model_bytes(LAYOUT, np.arange(8, dtype=np.float32))
MODEL_DIGEST = sha256(MODEL)


@dataclass
class MemoryFolder:
    """A folder in memory, to bend: its files, and sizes that may lie."""

    files: dict[str, bytes]
    sizes: dict[str, int] = field(default_factory=dict)

    def names(self) -> Mapping[str, int]:
        return {path: len(file) for path, file in self.files.items()} | self.sizes

    def chunks(self, path: str) -> Iterator[bytes]:
        return pieces(self.files[path])


@dataclass
class Released:
    """A world in which a release was decided and signed, and the parts of its folder."""

    world: World
    study_id: StatementId
    content: dict[str, Content]
    manifest: bytes
    proposal: StatementId
    model: bytes = MODEL

    @property
    def study(self) -> Study:
        return self.world.study(self.study_id)

    @property
    def result(self) -> Accepted:
        return self.study.results[-1]

    def head(self, size: int | None = None) -> SignedHead:
        """The host's head at a size (now, when None)."""
        return signed_head(self.world, size)

    def proof(
        self, *, size: int | None = None, cosigners: Sequence[MemberId] | None = None
    ) -> dict[str, bytes]:
        """The files outside content/, under a head that these members (all) cosigned."""
        world, head = self.world, self.head(size)
        lines = cosigned(world, head.head, world.members if cosigners is None else cosigners)
        return proof_files(world.state, world.log, head, lines, self.proposal)

    def files(self) -> dict[str, bytes]:
        """The whole folder; every blob's bytes in place."""
        whole = release_files(self.content, self.manifest, self.proof())
        return {p: c if isinstance(c, bytes) else self.model for p, c in whole.items()}

    def folder(self) -> MemoryFolder:
        return MemoryFolder(self.files())

    def anchor(self, size: int | None = None) -> Anchor:
        """What a member gives away at a size (now, when None)."""
        return anchor_of(self.head(size).head)


def signed_head(world: World, size: int | None = None) -> SignedHead:
    """The head of a world's log, signed by its host."""
    at = world.tree.size if size is None else size
    origin = origin_of(world.state.commons, world.charter.origin_prefix)
    head = TreeHead(origin, at, world.tree.root(at))
    return sign_head(head, world.keys(world.state.epoch_at(at).host).host)


def cosigned(world: World, head: TreeHead, members: Sequence[MemberId]) -> list[Cosignature]:
    """Their cosignatures, one second apart from now on."""
    return [cosign(head, m, world.keys(m).head, world.now_s + at) for at, m in enumerate(members)]


def must_say(world: World, member: MemberId, body: Body) -> StatementId:
    """Say it; it must have an effect. Answers its id."""
    outcome = world.say(member, body)
    assert outcome == Done(), (body.tag, outcome)
    return world.last_id


def accepted_study(
    world: World, *, model: bytes = MODEL, exposed: Sequence[MemberId] = ()
) -> StatementId:
    """A study whose first round the members have accepted, with this model as its result."""
    study = world.register(
        world.members[0], layout=sha256(layout_bytes(LAYOUT)), words=LAYOUT.words
    )
    for member in world.members:
        world.enrol(member, study, exposed=member in exposed)
    play_round(world, study, sha256(model))
    return study


def play_round(world: World, study: StatementId, model: Digest) -> None:
    """One attempt of all members, from Open to accepted, in the log."""
    expected = expected_open(world.state, study)
    assert isinstance(expected, RoundOpen)
    host, members = world.state.host, world.members
    opened = must_say(world, host, expected)
    for seat, member in enumerate(members, 1):
        join = RoundJoin(
            blob=digest(f"dealing {member}"),
            datasets=(JoinedData(world.study(study).consents[member].dataset, digest("1")),),
            ephemeral_key=seed(opened, member)[:31] + b"\x01",
            opened=opened,
            rows_root=digest(f"rows {seat}"),
            self_commit=digest(f"self {seat}"),
        )
        must_say(world, member, join)
    readying = world.study(study).current
    assert isinstance(readying, Readying)
    for member in members:
        world.sealing_keys += 1
        must_say(
            world,
            member,
            RoundReady(
                complaints=(),
                joins=Digest(digest_of_joins(readying)),
                opened=opened,
                sealing_key=sealing_key(world.sealing_keys),
            ),
        )
    starting = world.study(study).current
    assert isinstance(starting, Starting)
    must_say(world, host, expected_start(starting))
    _sum_up(world, study, opened, model)


def _sum_up(world: World, study: StatementId, opened: StatementId, model: Digest) -> None:
    masking = world.study(study).current
    assert isinstance(masking, Masking)
    for member in world.members:
        body = RoundCommit(masking.started.binding, opened, digest(f"vector {member}"))
        must_say(world, member, body)
    closing = world.study(study).current
    assert isinstance(closing, Closing)
    closed = must_say(world, world.state.host, expected_close(closing, digest("sum")))
    assert isinstance(world.study(study).current, Confirming)
    for member in world.members:
        must_say(world, member, RoundConfirm(closed, opened, check_value=bytes(16)))
    assert isinstance(world.study(study).current, Revealing)
    before = len(world.study(study).results)
    for member in world.members:
        if len(world.study(study).results) > before:
            break
        accept = RoundAccept(closed=closed, model=model, opened=opened, total=digest("total"))
        must_say(world, member, accept)
    assert world.study(study).results[-1].model == model


def content_of(world: World, study: StatementId) -> dict[str, Content]:
    """Content with every kind of file."""
    held = world.study(study)
    result = held.results[-1]
    card = model_card(
        world.state,
        held,
        result,
        purpose="To be tested.",
        licence="CC0-1.0",
        reports=("reports/development.json", "reports/safety.json"),
    )
    return content_files(
        model=BlobName(result.model),
        card=card,
        config=model_config(world.state, held, result, LAYOUT),
        licence=b"Do what you like.\n",
        reports={"development": b'{"auc":0.5}\n', "safety": b"{}\n"},
    )


def propose(world: World, study: StatementId, manifest: bytes) -> StatementId:
    """Put the newest result, under this manifest, to the vote."""
    result = world.study(study).results[-1]
    motion = ReleaseMotion(
        manifest=sha256(manifest), model=result.model, round_no=result.round_no, study=study
    )
    return must_say(
        world, world.members[-1], ProposalOpen(motion="release", release=motion, reason="ready")
    )


def decide(world: World, proposal: StatementId) -> None:
    """Enough members say yes."""
    for member in world.members:
        if world.state.proposals[proposal].decided is None:
            must_say(world, member, VoteCast(choice="yes", proposal=proposal))
    assert world.state.proposals[proposal].decided


def sign_body(world: World, proposal: StatementId) -> ReleaseSign:
    motion = world.state.proposals[proposal].release
    assert motion is not None
    return ReleaseSign(manifest=motion.manifest, model=motion.model, proposal=proposal)


def released(
    count: int = 4,
    *,
    signers: int | None = None,
    early: int = 0,
    undecided: bool = False,
    model: bytes = MODEL,
) -> Released:
    """A commons of so many members that has released its first result.

    Args:
        signers: how many members have said release.sign in the end; all, when None.
        early: how many of them said it before the decision, so that it is void.
        undecided: the vote is never decided, so that every release.sign is void.
    """
    world = World.of(count)
    study = accepted_study(world, model=model)
    content = content_of(world, study)
    manifest = manifest_text(digests_of(content))
    proposal = propose(world, study, manifest)
    said = world.members[: count if signers is None else signers]
    for place, member in enumerate(said):
        if place == early and not undecided:
            decide(world, proposal)
        outcome = world.say(member, sign_body(world, proposal))
        void = undecided or place < early
        assert outcome == (Void(Rule.NOT_DECIDED) if void else Done())
    return Released(world, study, content, manifest, proposal, model)

"""One statement of each tag with fixed keys, and strategies that make any statement in form."""

from __future__ import annotations

from typing import get_type_hints

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import strategies as st
from msgspec import inspect as shapes

from comity.statements.entries import Body
from comity.statements.fields import ReasonField, TextField
from comity.statements.governing import (
    CommonsFound,
    KeySet,
    NoticeGive,
    NoticeReply,
    ObjectionAnswer,
    ProposalOpen,
    ProposalWithdraw,
    PublicKeys,
    ReleaseMotion,
    ReleaseSign,
    Seen,
    VoteCast,
    proposal_of,
)
from comity.statements.keysets import key_set_digest, make_possession
from comity.statements.membership import (
    EpochApprove,
    EvidenceFile,
    HostHandover,
    HostOffer,
    HostTakeover,
    KeysRevoke,
    KeysRotate,
    MemberApply,
    MemberLeave,
)
from comity.statements.rounds import (
    DroppedShares,
    JoinedData,
    ResolvedShare,
    RoundAbandon,
    RoundAccept,
    RoundClose,
    RoundCommit,
    RoundConfirm,
    RoundDispute,
    RoundJoin,
    RoundOpen,
    RoundReady,
    RoundRecover,
    RoundResolve,
    RoundReveal,
    RoundStart,
    SilentShares,
)
from comity.statements.studies import (
    Checklist,
    CodeReview,
    ConsentGive,
    ConsentRefuse,
    ConsentWithdraw,
    DatasetDeclare,
    Deadlines,
    Plan,
    StudyEnrol,
    StudyFail,
    StudyLeave,
    StudyPause,
    StudyRegister,
    StudyResume,
    UpdateRule,
)
from comity.statements.wire import BODIES, Draft
from comity.values import (
    ADDRESS_PATTERN,
    DISEASE_PATTERN,
    NOTHING,
    TEXT_BYTES_MAX,
    CommonsId,
    DatasetId,
    Digest,
    MemberId,
    Seat,
    StatementId,
    sha256,
)

AUTHOR = MemberId("hospital-a")
COMMONS = CommonsId(sha256(b"charter"))
STATEMENT = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
HEAD = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
HOST = Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32)
MODEL = ec.derive_private_key(int.from_bytes(bytes([4]) * 32, "big"), ec.SECP256R1())
KEY_SET = KeySet(
    keys=PublicKeys(
        head=HEAD.public_key().public_bytes_raw(),
        host=HOST.public_key().public_bytes_raw(),
        model=MODEL.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        statement=STATEMENT.public_key().public_bytes_raw(),
    ),
    member=AUTHOR,
    serial=0,
)
POSSESSION = make_possession(KEY_SET, head=HEAD, host=HOST, model=MODEL, statement=STATEMENT)
PUBLIC = KEY_SET.keys.statement


def digest(name: str) -> Digest:
    """A made-up digest."""
    return sha256(name.encode())


STUDY = StatementId(digest("study"))
OPENED = StatementId(digest("opened"))
CLOSED = StatementId(digest("closed"))
PROPOSAL = StatementId(digest("proposal"))
NOTICE = StatementId(digest("notice"))
DATASET = DatasetId("visits.2025")
SEALING_KEY = bytes(1_184) + bytes([9]) + bytes(31)

PLAN = Plan(
    attempts_max=3,
    code=digest("code"),
    colluders=1,
    deadlines=Deadlines(60, 120, 180, 240, 3_600, 3_660, 3_720, 7_200),
    layout=digest("layout"),
    model=digest("model"),
    parameters=digest("parameters"),
    rounds_max=10,
    rule=UpdateRule(name="fedadam", server_lr_millionths=1_000, beta1_millionths=900_000),
    survivors_min=3,
    weight_max=1_000,
    weights="hidden",
    words=1_000,
    moments=digest("moments"),
)

BODY_OF: dict[str, Body] = {
    body.tag: body
    for body in (
        CommonsFound(key_set=KEY_SET, possession=POSSESSION),
        Seen(),
        ProposalOpen(
            motion="release",
            release=ReleaseMotion(
                manifest=digest("manifest"), model=digest("model"), round_no=3, study=STUDY
            ),
            reason='Ready: «été» \u2028 \U0001f600 " \\ / \x07',
        ),
        VoteCast(choice="yes", proposal=PROPOSAL),
        ReleaseSign(manifest=digest("manifest"), model=digest("model"), proposal=PROPOSAL),
        DatasetDeclare(
            dataset=DATASET, unit="patient", version=digest("version"), epsilon_millionths=2_000_000
        ),
        StudyRegister(name="readmission", plan=PLAN, title="Readmission within 30 days"),
        ConsentGive(dataset=DATASET, exposed=False, study=STUDY, version=digest("version")),
        ConsentRefuse(study=STUDY, reason="not reviewed yet"),
        ConsentWithdraw(study=STUDY),
        StudyEnrol(sealing_key=SEALING_KEY, serial=0, study=STUDY),
        StudyLeave(study=STUDY),
        RoundOpen(
            attempt=1,
            colluders=1,
            degree=4,
            layout=digest("layout"),
            model=digest("model"),
            plan=digest("plan"),
            quorum=4,
            roster=digest("roster"),
            roster_count=5,
            round_no=1,
            study=STUDY,
            survivors_min=3,
            words=1_000,
            work=digest("work"),
        ),
        RoundJoin(
            blob=digest("blob"),
            datasets=(JoinedData(dataset=DATASET, version=digest("version")),),
            ephemeral_key=bytes([9]) + bytes(31),
            opened=OPENED,
            rows_root=digest("rows"),
            self_commit=digest("self"),
            weight=17,
        ),
        RoundReady(
            complaints=(Seat(2), Seat(5)),
            joins=digest("joins"),
            opened=OPENED,
            sealing_key=SEALING_KEY,
        ),
        RoundResolve(
            opened=OPENED,
            share=ResolvedShare(holder=Seat(2), path=(bytes(32),) * 3, plaintext=bytes(128)),
        ),
        RoundStart(joins=digest("joins"), opened=OPENED, participants=b"\x1f"),
        RoundCommit(binding=digest("binding"), opened=OPENED, vector=digest("vector")),
        RoundClose(
            binding=digest("binding"),
            commits=digest("commits"),
            opened=OPENED,
            sum=digest("sum"),
            survivors=b"\x1d",
        ),
        RoundConfirm(closed=CLOSED, opened=OPENED, check_value=bytes(range(16))),
        RoundDispute(closed=CLOSED, opened=OPENED, seats=(Seat(3),)),
        RoundReveal(
            closed=CLOSED,
            opened=OPENED,
            beta=bytes([7]) * 32,
            dropped=(DroppedShares(mu=bytes(32), seat=Seat(2), sigma=bytes(32)),),
        ),
        RoundRecover(
            closed=CLOSED, opened=OPENED, silent=(SilentShares(beta=bytes(32), seat=Seat(4)),)
        ),
        RoundAccept(closed=CLOSED, model=digest("next"), opened=OPENED, total=digest("total")),
        RoundAbandon(attempt=1, released=False, round_no=1, study=STUDY),
        MemberApply(key_set=KEY_SET, possession=POSSESSION, name="Hospital A"),
        MemberLeave(reason="merged with another hospital"),
        KeysRotate(key_set=KEY_SET, possession=POSSESSION),
        KeysRevoke(keys=key_set_digest(KEY_SET), member=AUTHOR, reason="a laptop was stolen"),
        EpochApprove(document=digest("document"), epoch=1),
        HostOffer(address="https://hospital-a.example:8443"),
        HostHandover(member=AUTHOR),
        HostTakeover(address="https://hospital-a.example", head_root=bytes(32), head_size=7),
        EvidenceFile(evidence='{"kind":"host","a":"—"}', subject=AUTHOR),
        ProposalWithdraw(proposal=PROPOSAL),
        ObjectionAnswer(proposal=PROPOSAL, reason="the code is the reviewed one"),
        NoticeGive(
            evidence=(digest("report"),), member=AUTHOR, reason="false check values in two rounds"
        ),
        NoticeReply(notice=NOTICE, reason="a disk had failed; it is replaced"),
        CodeReview(
            checklist=Checklist(
                clipping=True, columns=True, isolation=True, output=True, seed=False
            ),
            code=digest("code"),
            reason="the seed is the clock's",
        ),
        StudyPause(reason="a column is not what it says", study=STUDY),
        StudyResume(study=STUDY),
        StudyFail(
            attempt=1,
            kind="code-failed",
            round_no=2,
            study=STUDY,
            line=41,
            raised="ZeroDivisionError",
        ),
    )
}
"""One body of each tag."""


MOTIONS = ("release", "admit", "host", "amend", "exclude", "suspend")
"""The motions of proposal.open."""


def draft_of(body: Body, *, seq: int = 0) -> Draft:
    """A draft with fixed surroundings."""
    return Draft(
        author=AUTHOR,
        commons=COMMONS,
        seq=seq,
        prev=StatementId(NOTHING),
        head_size=0,
        head_root=bytes.fromhex(sha256(b"")),
        time_s=1_789_000_000,
        body=body,
    )


def _strings(shape: shapes.StrType) -> st.SearchStrategy[str]:
    if shape.pattern is None:
        longest = shape.max_length or 0
        return st.text(
            st.characters(exclude_categories=["Cs"]),
            min_size=shape.min_length or 0,
            max_size=min(longest, 50),
        ).filter(lambda text: len(text.encode()) <= TEXT_BYTES_MAX)
    if shape.pattern == ADDRESS_PATTERN:
        return st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
    if shape.pattern == DISEASE_PATTERN:
        return st.integers(0, 9_999_999).map("MONDO:{:07}".format)
    if "{64}" in shape.pattern:
        return st.binary(min_size=32, max_size=32).map(bytes.hex)
    labels = st.text("abz019-", min_size=1, max_size=12)
    return st.lists(labels, min_size=1, max_size=4).map(".".join)


def strategy_of(shape: shapes.Type) -> st.SearchStrategy[object]:
    """Any value of a msgspec type, within its bounds."""
    match shape:
        case shapes.StructType() if shape.cls is ProposalOpen:
            # One content, that of its motion: no field of it is free.
            parts = {part.name: strategy_of(part.type) for part in shape.fields}
            contents = st.one_of(*(parts[name] for name in MOTIONS))
            motions = contents.filter(lambda content: content is not None)
            return st.builds(proposal_of, motions, parts["reason"])
        case shapes.StructType():
            cls = shape.cls
            return st.builds(cls, **{part.name: strategy_of(part.type) for part in shape.fields})
        case shapes.IntType():
            low = shape.ge if shape.ge is not None else -(2**53) + 1
            high = shape.le if shape.le is not None else (shape.lt or 2**53) - 1
            return st.integers(low, high)
        case shapes.BoolType():
            return st.booleans()
        case shapes.NoneType():
            return st.none()
        case shapes.BytesType():
            low, high = shape.min_length or 0, shape.max_length or 0
            return st.binary(min_size=low, max_size=high)
        case shapes.StrType():
            return _strings(shape)
        case shapes.LiteralType():
            return st.sampled_from(shape.values)
        case shapes.VarTupleType():
            item = strategy_of(shape.item_type)
            longest = min(shape.max_length or 0, 4)
            return st.lists(item, min_size=shape.min_length or 0, max_size=longest).map(tuple)
        case shapes.UnionType():
            return st.one_of([strategy_of(part) for part in shape.types])
        case _:
            raise AssertionError(f"no strategy for {shape}: add one")


def any_body(cls: type[Body]) -> st.SearchStrategy[object]:
    """Any body of a class."""
    return strategy_of(shapes.type_info(cls))


def texts_of(cls: type) -> list[str]:
    """The names of a Struct's free texts."""
    hints = get_type_hints(cls, include_extras=True)
    return [name for name, hint in hints.items() if hint in (TextField, ReasonField)]


assert BODY_OF.keys() == BODIES.keys(), "each tag needs a sample"

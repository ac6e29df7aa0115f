"""A commons in memory, to bend: founders with real keys, their charter, the log, its meaning.

    world = World.of(5)                      # founded: every founder has entered
    a, b, *_ = world.members
    study = world.register(a)                # a study that fits the charter
    world.enrol(a, study)                    # data set, consent and sealing key in one go
    assert world.say(a, Seen()) == Void(Rule.TOO_SOON)

Statements are really signed, admitted and applied. Keys come from the members' names, so each
world of the same size has the same commons id. Time stands still until `pass_time`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.commons import fold
from comity.commons.charter import Charter, Founder, StudyBounds, default_quorum
from comity.commons.state import Accepted, Done, Outcome, State, Study
from comity.log.merkle import Tree, leaf_hash
from comity.statements.entries import Body, Entry
from comity.statements.governing import (
    CommonsFound,
    KeySet,
    Possession,
    ProposalOpen,
    PublicKeys,
    ReleaseMotion,
    Seen,
)
from comity.statements.keysets import key_set_digest, make_possession
from comity.statements.studies import (
    ConsentGive,
    DatasetDeclare,
    Deadlines,
    Plan,
    StudyEnrol,
    StudyRegister,
    UpdateRule,
    UseTerms,
)
from comity.statements.wire import Draft, sign
from comity.values import (
    DAY_S,
    NOTHING,
    SEALING_KEY_BYTES,
    DatasetId,
    Digest,
    MemberId,
    StatementId,
    sha256,
)

FIRST_S = 1_800_000_000
"""When every world begins."""


@dataclass(frozen=True)
class Keys:
    """The four private keys of a member, and what it shows of them."""

    statement: Ed25519PrivateKey
    head: Ed25519PrivateKey
    host: Ed25519PrivateKey
    model: ec.EllipticCurvePrivateKey
    key_set: KeySet
    possession: Possession


@lru_cache(maxsize=512)
def keys_of(member: MemberId, serial: int = 0) -> Keys:
    """A member's key set with this serial, always the same for the same name."""
    names = (member,) if serial == 0 else (member, str(serial))

    def ed25519(role: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(seed(*names, role))

    statement, head, host = ed25519("statement"), ed25519("head"), ed25519("host")
    model = ec.derive_private_key(int.from_bytes(seed(*names, "model")[1:], "big"), ec.SECP256R1())
    numbers = model.public_key().public_numbers()
    public = PublicKeys(
        head=head.public_key().public_bytes_raw(),
        host=host.public_key().public_bytes_raw(),
        model=b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"),
        statement=statement.public_key().public_bytes_raw(),
    )
    key_set = KeySet(keys=public, member=member, serial=serial)
    possession = make_possession(key_set, head=head, host=host, model=model, statement=statement)
    return Keys(statement, head, host, model, key_set, possession)


def seed(*names: str) -> bytes:
    """32 bytes that look random and are the same every time."""
    return bytes.fromhex(sha256("/".join(names).encode()))


def digest(name: str) -> Digest:
    """A digest that stands for something of this name."""
    return sha256(name.encode())


def sealing_key(number: int) -> bytes:
    """A sealing key that counts as valid; nobody can open what is sealed to it."""
    return bytes(SEALING_KEY_BYTES - 32) + (10_000 + number).to_bytes(32, "little")


def charter_of(count: int, **changes: object) -> Charter:
    """A charter of member-a, member-b, ... (in three digits above 26); member-a is the host."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [f"member-{letters[i]}" if count <= 26 else f"member-{i:03}" for i in range(count)]
    ids = [MemberId(name) for name in names]
    charter = Charter(
        format="comity-charter/1",
        founders=tuple(Founder(id=i, keys=key_set_digest(keys_of(i).key_set)) for i in ids),
        host=ids[0],
        name="A commons of invented members",
        origin_prefix="comity",
        protocol=1,
        quorum=default_quorum(count),
        release="simple-majority",
        studies=StudyBounds(
            attempts_max=10, colluders_min=1, end_by_s_max=DAY_S, rounds_max=100, survivors_min=3
        ),
        void_entries_per_day_max=1_000,
        vote_open_s=7 * DAY_S,
    )
    return msgspec.structs.replace(charter, **changes)


def plan_of(count: int, **changes: object) -> Plan:
    """A plan that fits `charter_of(count)`: one colluder, all deadlines an hour apart."""
    hours = [3_600 * hour for hour in range(1, 9)]
    plan = Plan(
        attempts_max=5,
        code=digest("code"),
        colluders=1,
        deadlines=Deadlines(*hours),
        layout=digest("layout"),
        model=digest("model 0"),
        parameters=digest("parameters"),
        rounds_max=3,
        rule=UpdateRule(name="fedavg", server_lr_millionths=1_000_000),
        survivors_min=max(3, -(-2 * count // 3)),
        weight_max=1,
        weights="equal",
        words=16,
    )
    return msgspec.structs.replace(plan, **changes)


@dataclass
class World:
    """A commons in memory. now_s: what every member's clock shows. log: the envelopes."""

    charter: Charter
    state: State
    tree: Tree = field(default_factory=Tree)
    log: list[bytes] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    now_s: int = FIRST_S
    sealing_keys: int = 0

    @classmethod
    def of(cls, count: int, **changes: object) -> World:
        """A founded commons of so many members; changes: fields of its charter."""
        world = cls.empty(charter_of(count, **changes))
        for member in world.members:
            world.say(member, found_body(member))
        return world

    @classmethod
    def empty(cls, charter: Charter) -> World:
        """A commons whose founders have said nothing yet."""
        return cls(charter, fold.found(charter))

    @property
    def members(self) -> tuple[MemberId, ...]:
        """All members, in the order of their seats in a full roster."""
        return self.state.members

    @property
    def last_id(self) -> StatementId:
        """The id of the newest statement."""
        return self.entries[-1].statement.id

    def draft(self, member: MemberId, body: Body, **changes: Any) -> Draft:
        """What the member would sign next, naming the newest head; changes: fields to bend."""
        first = (0, StatementId(NOTHING))
        known = member in self.state.authors
        seq, prev = fold.next_link(self.state, member) if known else first
        honest = Draft(
            author=member,
            commons=self.state.commons,
            seq=seq,
            prev=prev,
            head_size=self.tree.size,
            head_root=self.tree.root(),
            time_s=self.now_s,
            body=body,
        )
        return replace(honest, **changes)

    def envelope(self, member: MemberId, body: Body, **changes: Any) -> bytes:
        """What the member would send to say it next; nothing changes."""
        return sign(self.draft(member, body, **changes), self.keys(member).statement)

    def keys(self, member: MemberId) -> Keys:
        """The member's keys in force; a stranger's first ones."""
        held = self.state.keys.get(member)
        return keys_of(member, held.serial if held else 0)

    def say(self, member: MemberId, body: Body, time_s: int | None = None) -> Outcome:
        """Sign, admit, append, apply. Raises what `fold.admit` raises."""
        said_s = self.now_s if time_s is None else time_s
        return self.append(self.envelope(member, body, time_s=said_s))

    def append(self, envelope: bytes) -> Outcome:
        """Put these bytes at the end of the log."""
        entry = fold.admit(self.state, self.tree, envelope)
        self.tree.append(leaf_hash(envelope))
        self.log.append(envelope)
        self.entries.append(entry)
        self.state, outcome = fold.apply(self.state, entry)
        return outcome

    def done(self, member: MemberId, body: Body) -> None:
        """Say what must take effect."""
        outcome = self.say(member, body)
        assert outcome == Done(), outcome

    def replayed(self) -> State:
        """The meaning of the log, from its first entry."""
        state = fold.found(self.charter)
        for entry in self.entries:
            state, _ = fold.apply(state, entry)
        return state

    def pass_time(self, seconds: int, *, seen: tuple[MemberId, ...] | None = None) -> None:
        """Move all clocks; then the members in `seen` (all, when None) say that they are here."""
        self.now_s += seconds
        for member in self.members if seen is None else seen:
            self.say(member, Seen())

    def study(self, study_id: StatementId) -> Study:
        """What the state holds of it."""
        return self.state.studies[study_id]

    def register(
        self,
        member: MemberId,
        name: str = "study",
        *,
        use: UseTerms | None = None,
        **changes: object,
    ) -> StatementId:
        """Register a study; use: what it declares to be for; changes: fields of its plan."""
        plan = plan_of(len(self.members), **changes)
        self.done(member, StudyRegister(name=name, plan=plan, use=use))
        return self.last_id

    def declare(self, member: MemberId, version: str = "1") -> DatasetId:
        """Declare the member's one data set, in this version (void when it is declared already)."""
        dataset = DatasetId(f"data-of-{member}")
        body = DatasetDeclare(dataset=dataset, unit="record", version=digest(version))
        self.say(member, body)
        return dataset

    def consent(self, member: MemberId, study: StatementId, *, exposed: bool = False) -> None:
        """Declare the member's data set in version 1 and let the study use it."""
        dataset = self.declare(member)
        self.done(
            member, ConsentGive(dataset=dataset, exposed=exposed, study=study, version=digest("1"))
        )

    def enrol(self, member: MemberId, study: StatementId, *, exposed: bool = False) -> bytes:
        """Consent and enrol with a new sealing key; answers the key."""
        self.consent(member, study, exposed=exposed)
        self.done(member, self.enrol_body(member, study))
        return self.state.studies[study].enrolled[member].sealing_key or b""

    def accept(self, study: StatementId, model: str) -> Digest:
        """Bend the state: as if a round of all members had given this model. Not in the log."""
        before = self.state.studies[study]
        result = Accepted(
            round_no=before.round_no,
            attempt=before.attempt + 1,
            opened=StatementId(digest(f"opened {model}")),
            closed=StatementId(digest(f"closed {model}")),
            model=digest(model),
            moments=None,
            total=digest(f"total {model}"),
            survivors=frozenset(self.members),
            index=self.state.size,
        )
        self.bend_study(study, attempt=result.attempt, results=(*before.results, result))
        return result.model

    def bend(self, **changes: Any) -> None:
        """Change fields of the state behind the log's back."""
        self.state = replace(self.state, **changes)

    def bend_study(self, study: StatementId, **changes: Any) -> None:
        """Change fields of a study behind the log's back."""
        after = replace(self.state.studies[study], **changes)
        self.bend(studies={**self.state.studies, study: after})

    def propose(self, member: MemberId, study: StatementId) -> StatementId:
        """Propose to release the study's newest result."""
        result = self.state.studies[study].results[-1]
        motion = ReleaseMotion(
            manifest=digest(f"manifest of {result.model}"),
            model=result.model,
            round_no=result.round_no,
            study=study,
        )
        self.done(member, ProposalOpen(motion="release", release=motion))
        return self.last_id

    def enrol_body(self, member: MemberId, study: StatementId) -> StudyEnrol:
        """The member's next study.enrol, with a sealing key that nobody has seen."""
        self.sealing_keys += 1
        serial = self.state.studies[study].serials.get(member, -1) + 1
        return StudyEnrol(sealing_key=sealing_key(self.sealing_keys), serial=serial, study=study)


def found_body(member: MemberId) -> CommonsFound:
    """The member's commons.found."""
    keys = keys_of(member)
    return CommonsFound(key_set=keys.key_set, possession=keys.possession)

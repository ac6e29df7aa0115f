"""Rounds in memory: a study whose members say well-formed statements of any phase.

Signatures, log and fold are real. Secrets are made from names, so that commitments, rows and paths
fit; nobody trains, and models are named by their round. `Rounds.perform` says what a duty asks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from comity.commons import duties as owed
from comity.commons import fold, rounds
from comity.commons.attempts import (
    Closing,
    Ended,
    Live,
    Opened,
    Readying,
    Resolving,
    Starting,
    closed_of,
    opened_of,
    started_of,
)
from comity.commons.dealing import digest_of_joins
from comity.commons.state import Done, Outcome, Study
from comity.errors import Rule
from comity.statements.entries import Body
from comity.statements.governing import Seen
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
from comity.statements.studies import StudyRegister
from comity.values import (
    DatasetId,
    MemberId,
    Seat,
    StatementId,
    labelled_hash,
    neighbours,
    raw,
    share_row,
    to_digest,
    tree_path,
    tree_root,
    u16,
)
from tests.worlds import World, digest, plan_of, sealing_key, seed


def scalar(*names: str) -> bytes:
    """32 bytes below every bound that a share, secret or X25519 key has."""
    return b"\x01" + seed(*names)[1:31] + b"\x01"


@dataclass
class Rounds:
    """A world with one study in it.

    members: who enrolled in it. accused: (holder, dealer) of each complaint that comes with Ready.
    """

    world: World
    study_id: StatementId
    members: tuple[MemberId, ...]
    accused: set[tuple[MemberId, MemberId]] = field(default_factory=set)
    result: str = "model"

    @classmethod
    def of(cls, count: int, *, strangers: int = 0, **plan: object) -> Rounds:
        """So many members enrolled in one study, and strangers to it; plan: fields of its plan."""
        world = World.of(count + strangers)
        world.say(world.members[0], StudyRegister(name="s", plan=plan_of(count, **plan)))
        study = world.last_id
        for member in world.members[:count]:
            world.enrol(member, study)
        return cls(world, study, world.members[:count])

    @property
    def study(self) -> Study:
        return self.world.study(self.study_id)

    @property
    def attempt(self) -> Live:
        attempt = self.study.current
        assert attempt is not None
        return attempt

    @property
    def last(self) -> Live | Ended:
        """The live attempt, or else the one that ended last."""
        return self.study.current or self.study.ended[-1]

    @property
    def opened(self) -> Opened:
        return opened_of(self.last)

    @property
    def host(self) -> MemberId:
        return self.world.state.host

    def seat(self, member: MemberId) -> Seat:
        seat = self.opened.seat(member)
        assert seat is not None
        return seat

    def say(self, member: MemberId, body: Body) -> Outcome:
        return self.world.say(member, body)

    def done(self, member: MemberId, body: Body) -> None:
        """Say it, and see that it took effect."""
        outcome = self.say(member, body)
        assert outcome == Done(), (member, type(body).__name__, outcome)

    def void(self, member: MemberId, body: Body) -> Rule:
        """By which rule it would be void."""
        rule = fold.check(self.world.state, member, body, self.world.now_s)
        assert rule is not None, f"{type(body).__name__} by {member} would be done"
        return rule

    # bodies, one per statement

    def open(self) -> RoundOpen:
        body = rounds.expected_open(self.world.state, self.study_id)
        assert isinstance(body, RoundOpen), body
        return body

    def beta(self, member: MemberId) -> bytes:
        return scalar("beta", member, self.opened.id)

    def plaintext(self, dealer: MemberId, holder: MemberId) -> bytes:
        return b"".join(scalar(kind, dealer, holder, self.opened.id) for kind in "abcd")

    def rows(self, dealer: MemberId) -> list[bytes]:
        opened, seat = self.opened, self.seat(dealer)
        return [
            share_row(opened.id, seat, holder + 1, self.plaintext(dealer, member))
            for holder, member in enumerate(opened.roster)
        ]

    def join(self, member: MemberId) -> RoundJoin:
        promise = labelled_hash(
            "self-commit", raw(self.opened.id), u16(self.seat(member)), self.beta(member)
        )
        return RoundJoin(
            blob=digest(f"blob {member}"),
            datasets=(JoinedData(dataset=DatasetId(f"data-of-{member}"), version=digest("1")),),
            ephemeral_key=scalar("epk", member, self.opened.id),
            opened=self.opened.id,
            rows_root=to_digest(tree_root(self.rows(member))),
            self_commit=to_digest(promise),
        )

    def ready(self, member: MemberId) -> RoundReady:
        attempt = self.last
        joins = getattr(attempt, "joins", {})
        mine = {self.seat(dealer) for holder, dealer in self.accused if holder == member}
        self.world.sealing_keys += 1
        joined = attempt if isinstance(attempt, Readying | Resolving | Starting) else None
        return RoundReady(
            complaints=tuple(sorted(mine & joins.keys())),
            joins=digest_of_joins(joined) if joined else digest("no joins"),
            opened=self.opened.id,
            sealing_key=sealing_key(self.world.sealing_keys),
        )

    def resolve(self, dealer: MemberId, holder: MemberId) -> RoundResolve:
        seat = self.seat(holder)
        share = ResolvedShare(
            holder=seat,
            path=tree_path(self.rows(dealer), seat - 1),
            plaintext=self.plaintext(dealer, holder),
        )
        return RoundResolve(opened=self.opened.id, share=share)

    def start(self) -> RoundStart:
        attempt = self.last
        if isinstance(attempt, Starting):
            return rounds.expected_start(attempt)
        return RoundStart(joins=digest("joins"), opened=self.opened.id, participants=b"\x07")

    def commit(self, member: MemberId) -> RoundCommit:
        started = started_of(self.last)
        binding = started.binding if started else digest("no binding")
        return RoundCommit(
            binding=binding, opened=self.opened.id, vector=digest(f"vector {member}")
        )

    def close(self) -> RoundClose:
        attempt = self.last
        if isinstance(attempt, Closing):
            return rounds.expected_close(attempt, digest("sum"))
        return RoundClose(
            binding=digest("b"),
            commits=digest("c"),
            opened=self.opened.id,
            sum=digest("sum"),
            survivors=b"\x07",
        )

    @property
    def closed_id(self) -> StatementId:
        closed = closed_of(self.last)
        return closed.id if closed else StatementId(digest("no close"))

    def _among(self, member: MemberId, name: str) -> bool:
        closed = closed_of(self.last)
        return closed is not None and self.seat(member) in getattr(closed, name)

    @property
    def dropped(self) -> list[Seat]:
        closed = closed_of(self.last)
        return sorted(closed.dropped) if closed else []

    def confirm(self, member: MemberId) -> RoundConfirm:
        value = b"\x01" * 16 if self._among(member, "survivors") else None
        return RoundConfirm(closed=self.closed_id, opened=self.opened.id, check_value=value)

    def dispute(self, *members: MemberId) -> RoundDispute:
        seats = tuple(sorted(self.seat(member) for member in members))
        return RoundDispute(closed=self.closed_id, opened=self.opened.id, seats=seats)

    def reveal(self, member: MemberId) -> RoundReveal:
        alive, opened = self._among(member, "survivors"), self.opened
        beside = neighbours(self.seat(member), opened.count, opened.degree) if alive else ()
        shares = tuple(
            DroppedShares(
                mu=scalar("mu"),
                seat=seat,
                sigma=scalar("sigma"),
                m=seed("m") if seat in beside else None,
            )
            for seat in self.dropped
        )
        beta = self.beta(member) if alive else None
        return RoundReveal(closed=self.closed_id, opened=opened.id, beta=beta, dropped=shares)

    def recover(self, *silent: Seat) -> RoundRecover:
        mu = scalar("mu") if self.dropped else None
        shares = tuple(SilentShares(beta=scalar("b"), seat=s, mu=mu) for s in sorted(silent))
        return RoundRecover(closed=self.closed_id, opened=self.opened.id, silent=shares)

    def accept(self, result: str | None = None) -> RoundAccept:
        name = f"{result or self.result} {self.opened.round_no}"
        return RoundAccept(
            closed=self.closed_id,
            model=digest(name),
            opened=self.opened.id,
            total=digest(f"total {name}"),
        )

    def abandon(
        self, member: MemberId, attempt: Live | Ended | None = None, **changes: object
    ) -> RoundAbandon:
        """Truthful, unless `changes` say otherwise."""
        about = attempt or self.last
        seat, closed = opened_of(about).seat(member), closed_of(about)
        confirmed = seat in getattr(about, "confirmed", getattr(about, "confirms", ()))
        released = seat in getattr(about, "revealed", getattr(about, "reveals", ()))
        fields: dict[str, object] = {
            "attempt": opened_of(about).attempt,
            "released": released,
            "round_no": opened_of(about).round_no,
            "study": opened_of(about).study,
            "closed": closed.id if closed is not None and (confirmed or released) else None,
        }
        return RoundAbandon(**{**fields, **changes})  # type: ignore[arg-type]  # fields by name

    # what honest members say

    def body_of(self, member: MemberId, duty: owed.Duty) -> Body | None:
        """What this member says to perform the duty; None for what it asks a person."""
        match duty:
            case owed.SaySeen():
                return Seen()
            case owed.SayEnrol():
                return self.world.enrol_body(member, self.study_id)
            case owed.SayOpen() | owed.SayStart():
                return duty.body
            case owed.SayJoin():
                return self.join(member)
            case owed.SayReady():
                return self.ready(member)
            case owed.SayResolve():
                return self.resolve(member, self.opened.member(duty.holder))
            case owed.SayCommit():
                return self.commit(member)
            case owed.SayClose():
                return rounds.expected_close(duty.attempt, digest("sum"))
            case owed.SayConfirm():
                return self.confirm(member)
            case owed.SayReveal():
                return self.reveal(member)
            case owed.SayRecover():
                return self.recover(*duty.silent)
            case owed.SayAccept():
                return self.accept()
            case owed.SayAbandon():
                return self.abandon(member, duty.attempt)
            case _:
                return None

    def owed_by(self, member: MemberId) -> tuple[owed.Duty, ...]:
        world = self.world
        return owed.duties(world.state, member, world.state.size, world.now_s)

    def perform(self, member: MemberId) -> bool:
        """Say what the first of the member's duties asks; whether it owed anything.

        Everything it owes must be allowed now.
        """
        first: Body | None = None
        for duty in self.owed_by(member):
            body = self.body_of(member, duty)
            if body is not None:
                rule = fold.check(self.world.state, member, body, self.world.now_s)
                assert rule is None, (member, type(duty).__name__, rule)
                first = first or body
        if first is None:
            return False
        self.done(member, first)
        return True

    def settle(self, *members: MemberId) -> None:
        """Let these members (all, when none is named) perform until nobody owes anything."""
        acting = members or self.members
        while any([self.perform(member) for member in acting]):
            pass

    def settle_once(self) -> None:
        """Let every member perform one duty."""
        assert any([self.perform(member) for member in self.members]), "nobody owes anything"

    def pass_deadline(self, *members: MemberId) -> None:
        """Move the clocks past the deadline the attempt waits for; these members see it."""
        opened = self.opened
        now_s = rounds.round_time_s(self.world.state, opened)
        deadline_s = rounds.next_deadline_s(self.attempt, now_s)
        assert deadline_s is not None
        self.world.now_s = max(self.world.now_s, deadline_s)
        for member in members or self.members:
            if self.world.state.authors[member].time_s < self.world.now_s:
                self.say(member, Seen())

"""What this node says in a round, up to its Commit; and what it forgets as the log moves on.

The log says what is owed (`commons/duties.py`); `aggregation/` says what may be made of it; here
the two meet this member's journal, files and study process. Every secret is in the journal before
what is made from it leaves. Numbers in comments are the rows of aggregation-review.md 5;
`revealing.py` goes on from the Close.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import final

from comity.aggregation.dealing import rows_of
from comity.aggregation.secagg import (
    RAND_BYTES,
    join,
    ready,
    resolve,
    start,
    take_resolve,
)
from comity.aggregation.sharing import SEALING_RAND_BYTES, sealing_keys
from comity.aggregation.stages import Joined, Ready, Started
from comity.commons.attempts import Opened, closed_of, opened_of
from comity.commons.attempts import Started as StartedFact
from comity.commons.dealing import digest_of_joins
from comity.commons.duties import (
    Duty,
    SayAbandon,
    SayAccept,
    SayClose,
    SayCommit,
    SayConfirm,
    SayJoin,
    SayOpen,
    SayReady,
    SayRecover,
    SayResolve,
    SayReveal,
    SayStart,
)
from comity.commons.exposure import burned_set, exposed_by
from comity.commons.gate import check_open_time, check_run
from comity.commons.gate_steps import LocalFacts
from comity.commons.phases import complainers
from comity.commons.revealing import expected_close
from comity.commons.state import Outcome, State, Study
from comity.errors import DataFault, Refused, Rule, StudyFault
from comity.node.failures import tell_failure
from comity.node.gating import facts
from comity.node.practice import Practice, local_dataset, records_asked
from comity.node.remembering import lost_memory, resume, settle
from comity.node.stages import (
    dealings_of,
    members_of,
    plan_of,
    scope_of,
    sealing_secret,
    seat_of,
    stage_of,
)
from comity.node.station import Station
from comity.node.works import check_work, joined_data, work_record
from comity.statements.entries import Entry
from comity.statements.rounds import (
    JoinedData,
    ResolvedShare,
    RoundAbandon,
    RoundCommit,
    RoundJoin,
    RoundOpen,
    RoundReady,
    RoundResolve,
)
from comity.storage.ports import Attempt
from comity.values import BlobName, DatasetId, Digest, Seat, StatementId, sha256, tree_path

LOG = logging.getLogger(__name__)


@final
class Rounds:
    """This member's part in the rounds of all its studies, as far as the Commit.

    Args:
        station: the member's open folder.
        on_trained: called from another thread when a study's process has answered.
    """

    def __init__(self, station: Station, on_trained: Callable[[], None]) -> None:
        self._station = station
        self._practice = Practice(station, on_trained)
        resume(station)

    def close(self) -> None:
        """End the study processes."""
        self._practice.close()

    # -- what the log brings ------------------------------------------------------------------

    def applied(self, entry: Entry, outcome: Outcome) -> None:
        """An entry has been applied: forget what it makes superfluous."""
        for opened in settle(self._station, entry, outcome):
            self._practice.done(opened)
        self._practice.follow(self._station.replica.state)

    def lost_memory(self, entry: Entry) -> None:
        """The log holds a statement of mine that my journal does not: amnesia (R8)."""
        lost_memory(self._station, entry)

    # -- the hosting member -------------------------------------------------------------------

    def say_derived(self, duty: SayOpen | SayStart) -> None:
        """Open and Start repeat what the state derives."""
        body = duty.body
        if isinstance(body, RoundOpen):
            scope = Attempt(body.study, body.round_no, body.attempt)
        else:
            scope = scope_of(_live(self._station.replica.state, body.opened))
        self._station.say(body, scope=scope)

    def say_close(self, duty: SayClose) -> None:
        """Close, over the derived survivors, with the root of the sum my host has added up."""
        opened = duty.attempt.started.opened
        root = self._station.remote.sum_root(opened.id).root
        self._station.say(expected_close(duty.attempt, root), scope=scope_of(opened))

    # -- joining ------------------------------------------------------------------------------

    def say_join(self, duty: SayJoin) -> None:
        """1: the gate, the works, then secrets, dealing and Join in one transaction."""
        station, opened = self._station, duty.opened
        state = station.replica.state
        check_open_time(opened.time_s, station.clock())
        study = state.studies[opened.study]
        check_run(state, station.member, study.id, station.site, self._facts(study))
        consent = study.consents[station.member]
        check_work(station, opened, consent.dataset, consent.version)
        sealing_secret(station, opened)  # who cannot open its shares sits the attempt out (5.5)
        try:
            self._practice.prepare(study)
        except (StudyFault, DataFault) as fault:
            tell_failure(station, opened, fault)
            raise
        stage, dealing = join(
            plan_of(opened),
            seat_of(station, opened),
            rand=station.machine.rand(RAND_BYTES),
            member_secret=station.member_secret(),
        )
        name = BlobName(sha256(dealing.blob))
        station.blobs.write(name, 0, dealing.blob)
        station.blobs.finish(name)
        body = RoundJoin(
            blob=Digest(name),
            datasets=(JoinedData(dataset=consent.dataset, version=consent.version),),
            ephemeral_key=dealing.epk,
            opened=opened.id,
            rows_root=dealing.rows_root,
            self_commit=dealing.self_commit,
            weight=self._practice.declared_weight(study),
        )
        station.say(body, scope=scope_of(opened), stage=stage.to_bytes())

    def _facts(self, study: Study) -> LocalFacts:
        """What only this site knows; no study code runs for it."""
        station = self._station
        consent = study.consents.get(station.member)
        versions: dict[DatasetId, Digest] = {}
        if consent is not None:
            versions[consent.dataset] = local_dataset(station, consent.dataset).version_now()
        code = sha256(station.blob(study.register.plan.code).read_bytes())
        return facts(
            station,
            study,
            consent,
            code=code,
            versions=versions,
            walls=self._practice.walls(),
            records={} if consent is None else records_asked(station, consent, station.site),
        )

    def say_ready(self, duty: SayReady) -> None:
        """2: open and check what was dealt; bring the next sealing key; erase this one."""
        station, attempt = self._station, duty.attempt
        opened = attempt.opened
        scope = scope_of(opened)
        stage = stage_of(station, scope)
        if not isinstance(stage, Joined):
            raise _lost()
        secret = sealing_secret(station, opened)
        opened_stage, complaints = ready(stage, secret, dealings_of(station, opened, attempt.joins))
        next_secret, public = sealing_keys(station.machine.rand(SEALING_RAND_BYTES))
        station.journal.keep_sealing(sha256(public), next_secret.rand)
        body = RoundReady(
            complaints=tuple(Seat(dealer) for dealer in complaints),
            joins=Digest(digest_of_joins(attempt)),
            opened=opened.id,
            sealing_key=public,
        )
        station.say(body, scope=scope, stage=opened_stage.to_bytes())
        station.journal.erase_sealing(sha256(opened.sealing_keys[stage.seat - 1]))

    def say_resolve(self, duty: SayResolve) -> None:
        """3: answer a complaint in clear, unless more than c complained."""
        station, attempt = self._station, duty.attempt
        opened = attempt.opened
        stage = stage_of(station, scope_of(opened))
        if not isinstance(stage, Joined | Ready):
            raise _lost()
        against = complainers(attempt.readies)[Seat(stage.seat)]
        plaintext, path = resolve(stage, duty.holder, frozenset(map(int, against)))
        share = ResolvedShare(holder=duty.holder, path=path, plaintext=plaintext)
        body = RoundResolve(opened=opened.id, share=share)
        station.say(body, scope=scope_of(opened), part=duty.holder)

    # -- masking ------------------------------------------------------------------------------

    def say_commit(self, duty: SayCommit) -> None:
        """5, 6: check P, train, mask, and commit once the vector is durable (R4)."""
        station, started = self._station, duty.started
        opened = started.opened
        scope = scope_of(opened)
        if self._refuses_set(started) or self._refuses_work(started, scope):
            return
        stage = self._masking(started, scope)
        try:
            trained = self._practice.update(started)
        except (StudyFault, DataFault) as fault:
            tell_failure(station, opened, fault)
            raise
        if trained is None:
            return  # the study's process is at work; it wakes the loop
        path, root = self._practice.mask(started, stage, trained)
        # The root was computed from the very bytes that were written and synced.
        station.blobs.adopt(path, BlobName(root), lambda _: None)
        about = joined_data(station, opened, started.joins)
        assert about is not None, "a participant has joined with its data"
        record = work_record(opened, scope, *about, committed=True)
        body = RoundCommit(binding=started.binding, opened=opened.id, vector=root)
        station.say(body, scope=scope, works=[record])

    def _refuses_set(self, started: StartedFact) -> bool:
        """5.10 at Start: abandon before a training run is spent on a set that would be refused."""
        opened, state = started.opened, self._station.replica.state
        study = state.studies[opened.study]
        # After a burned attempt only the members of its set may commit, whoever else is in P.
        members = burned_set(study) or members_of(opened, started.participants)
        exposed = exposed_by(study, state, members)
        if exposed:
            names = ", ".join(sorted(exposed))
            abandon(
                self._station, opened, None, f"this set would nearly show the update of {names}"
            )
        return bool(exposed)

    def _refuses_work(self, started: StartedFact, scope: Attempt) -> bool:
        """P6, R6: abandon when the yes, the data or the work are not what they were at the Join."""
        station, opened = self._station, started.opened
        state = station.replica.state
        study = state.studies[opened.study]
        about = joined_data(station, opened, started.joins)
        consent = study.consents.get(station.member)
        try:
            if consent is None or about != (consent.dataset, consent.version):
                raise Refused(Rule.NO_CONSENT, "the consent is not the one this site joined with")
            check_work(station, opened, *about, but=scope)
            if not self._practice.is_asked(opened):
                check_run(state, station.member, study.id, station.site, self._facts(study))
        except Refused as refused:
            abandon(station, opened, None, str(refused))
            return True
        return False

    def _masking(self, started: StartedFact, scope: Attempt) -> Started:
        """Fix the binding: from here on polynomials and sigma are gone."""
        stage = stage_of(self._station, scope)
        if isinstance(stage, Started):
            if stage.binding != started.binding:
                raise Refused(Rule.NOT_AS_DERIVED, "this attempt was started otherwise before")
            return stage
        if not isinstance(stage, Ready):
            raise _lost()
        stage = self._with_resolved(stage, started)
        masking = start(stage, frozenset(map(int, started.participants)), started.binding)
        self._station.journal.keep(scope, masking.to_bytes())
        return masking

    def _with_resolved(self, stage: Ready, started: StartedFact) -> Ready:
        """4: use what dealers published in answer to my complaints."""
        for dealer in stage.complaints:
            plaintext = started.plain.get((Seat(dealer), Seat(stage.seat)))
            if plaintext is not None:
                fact = started.joins[Seat(dealer)]
                known = dealings_of(self._station, started.opened, {Seat(dealer): fact})
                dealing = known[dealer]
                rows = rows_of(dealing.blob, stage.terms.n)
                if rows is not None:
                    stage = take_resolve(stage, dealer, plaintext, tree_path(rows, stage.seat - 1))
        return stage

    # -- leaving ------------------------------------------------------------------------------

    def say_abandon(self, duty: SayAbandon) -> None:
        """12: my last word in the attempt."""
        closed = closed_of(duty.attempt)
        opened = opened_of(duty.attempt)
        abandon(self._station, opened, closed.id if closed else None, duty.reason)


def abandon(station: Station, opened: Opened, closed: StatementId | None, reason: str) -> None:
    """Say Abandon, truthful about what I did; then erase the secrets of the attempt (R3).

    Args:
        closed: the Close I may have confirmed. reason: for the operator's notes.
    """
    scope = scope_of(opened)
    promised = station.journal.promised(scope)
    spoke = "round.confirm" in promised or "round.reveal" in promised
    body = RoundAbandon(
        attempt=opened.attempt,
        released="round.reveal" in promised,
        round_no=opened.round_no,
        study=opened.study,
        closed=closed if spoke else None,
    )
    station.say(body, scope=scope, released=body.released)
    LOG.warning("abandoned round=%d attempt=%d why=%s", opened.round_no, opened.attempt, reason)
    station.journal.erase(scope)


def round_tag(state: State, duty: Duty) -> tuple[Attempt, str] | None:
    """The attempt and the tag of what a duty of a round makes this node say; None of others."""
    match duty:
        case SayJoin():
            return scope_of(duty.opened), "round.join"
        case SayReady():
            return scope_of(duty.attempt.opened), "round.ready"
        case SayStart():
            return scope_of(_live(state, duty.body.opened)), "round.start"
        case SayCommit():
            return scope_of(duty.started.opened), "round.commit"
        case SayClose():
            return scope_of(duty.attempt.started.opened), "round.close"
        case SayConfirm():
            return scope_of(duty.closed.started.opened), "round.confirm"
        case SayReveal():
            return scope_of(duty.attempt.closed.started.opened), "round.reveal"
        case SayRecover():
            tag = f"round.recover#{min(duty.silent)}"
            return scope_of(duty.attempt.closed.started.opened), tag
        case SayAccept():
            return scope_of(duty.attempt.closed.started.opened), "round.accept"
        case SayAbandon():
            return scope_of(opened_of(duty.attempt)), "round.abandon"
        case _:
            return None


def _live(state: State, opened_id: StatementId) -> Opened:
    for study in state.studies.values():
        if study.current is not None and opened_of(study.current).id == opened_id:
            return opened_of(study.current)
    raise Refused(Rule.ROUND_NOT_OPEN, "this attempt is not under way any more")


def _lost() -> Refused:
    return Refused(Rule.AMNESIA, "this node's secrets of the attempt are gone; it sits it out")

"""From a checked sum to the next model, for the round under way and for rounds this node missed.

Everything needed is in the log, the dealings and the sum: a member that was away computes every
result again by itself, and asks nobody for a model it would have to believe.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from comity.aggregation.layout import Layout, parse_layout
from comity.aggregation.stages import Dealing, DroppedShares, Reveal, SilentShares
from comity.aggregation.unmasking import Unmasker, gather
from comity.commons.attempts import Closed, Revealing
from comity.commons.state import Accepted, Study
from comity.errors import Forged, MemberFault, MemberFaultKind, Unavailable
from comity.learning.methods.cards import MethodCard
from comity.learning.model import model_bytes_count
from comity.learning.steps import Rule, RuleCard, rule_of
from comity.learning.tensors import model_part
from comity.node.lookup import find_study
from comity.node.stages import dealings_of, plan_of, survivors_of
from comity.node.station import Station
from comity.node.vectors import (
    SUM_BYTES,
    WORD_BYTES,
    NextModel,
    SumFile,
    Total,
    next_model,
    state_words,
    sum_sizes,
)
from comity.statements.rounds import RoundRecover, RoundReveal
from comity.statements.studies import Method, Plan, UpdateRule
from comity.values import BlobName, Seat


@final
@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Files of a model and of the update rule's moments (None when the rule has none)."""

    model: Path
    moments: Path | None


def layout_of(station: Station, study: Study) -> Layout:
    """The study's layout, from its blob."""
    return parse_layout(station.blob(study.register.plan.layout).read_bytes())


def update_rule(rule: UpdateRule) -> Rule:
    """The plan's update rule as `learning/steps.py` takes it."""
    return rule_of(
        RuleCard(
            rule.name,
            rule.server_lr_millionths,
            rule.beta1_millionths,
            rule.beta2_millionths,
            rule.tau_trillionths,
        )
    )


def method_said(card: MethodCard) -> Method | None:
    """The method as a plan says it; None for plain local steps."""
    method = Method(
        fine_tuning=card.fine_tuning,
        lr_trillionths=card.lr_trillionths,
        name=card.name,
        own=card.own,
        proximal_millionths=card.proximal_millionths,
        steps=card.steps,
    )
    return None if method == Method() else method


def method_text(plan: Plan) -> str:
    """Update rule and method of a plan, in a few words."""
    if plan.evaluates is not None:
        return f"evaluates model {plan.evaluates[:12]}"
    words: list[str] = [plan.rule.name]
    method = plan.method or Method()
    if method.name != "plain":
        words.append(method.name)
    if method.own:
        words.append(f"{method.own} own tensors at each site")
    if method.fine_tuning:
        words.append(f"{method.fine_tuning} rounds of fine tuning at each site")
    return ", ".join(words)


def given_model(station: Station, named: str) -> Path:
    """The model that an evaluation is given.

    Args:
        named: the absolute path of a file or of the folder of a release, a study (its newest
            model), or the digest of a model that members accepted.
    Raises:
        Refused(NO_SUCH_THING). Unavailable: nobody serves it now.
    """
    if os.path.isabs(named):  # what else lies where this node was started means nothing
        return Path(named)
    for study in station.replica.state.studies.values():
        for place, result in enumerate(study.results, start=1):
            if result.model == named:
                return _files_after(station, study, place).model
    return model_files(station, find_study(station.replica.state, named)).model


def model_files(station: Station, study: Study) -> ModelFiles:
    """The model the next round starts from, computed again from the log where it is missing.

    Raises:
        Unavailable: a first model, a dealing or a sum is not to be had now.
    """
    return _files_after(station, study, len(study.results))


def forget_models(station: Station, study: Study) -> None:
    """Use the files of models that nothing rests on any more: all but the first and the newest."""
    for result in study.results[-3:-2]:
        kept = {study.register.plan.model, *(later.model for later in study.results[-2:])}
        proposals = station.replica.state.proposals.values()
        kept |= {proposal.release.model for proposal in proposals if proposal.release}
        names = [result.model, *([result.moments] if result.moments else [])]
        for name in names:
            if result.model not in kept and station.blobs.finished(BlobName(name)):
                target = station.work / f"{name}.old"
                station.blobs.give_up(BlobName(name), target)
                station.scratch.give(target)


def _files_after(station: Station, study: Study, rounds: int) -> ModelFiles:
    plan = study.register.plan
    if rounds == 0:
        model, moments = station.blob(plan.model), plan.moments
        return ModelFiles(model, station.blob(moments) if moments else None)
    result = study.results[rounds - 1]
    names = [result.model, *([result.moments] if result.moments else [])]
    if not all(station.blobs.finished(BlobName(name)) for name in names):
        _compute_again(station, study, result, _files_after(station, study, rounds - 1))
    paths = [station.blobs.path(BlobName(name)) for name in names]
    return ModelFiles(paths[0], paths[1] if result.moments else None)


def _compute_again(station: Station, study: Study, result: Accepted, before: ModelFiles) -> None:
    """Compute an accepted result that this node did not see the making of."""
    attempt = next(ended for ended in study.ended if ended.opened.id == result.opened)
    closed = attempt.closed
    assert closed is not None, "what is accepted was closed"
    # The log also holds void ones, said to mislead; only a replay tells which took effect.
    then = station.replica.state_before(result.index).studies[study.id].current
    assert isinstance(then, Revealing), "what is accepted was being revealed"
    made = compute_next(station, study, closed, then.reveals, then.recovers, before)
    if (made.model, made.moments, made.total) != (result.model, result.moments, result.total):
        raise Forged(
            f"round {result.round_no}: this machine computes another model than the members"
            " accepted; do not use this node for this study, and report it"
        )


def fetch_sum(station: Station, closed: Closed) -> tuple[Path, bytes]:
    """The sum of a Close, fetched when it is not here, and its check value.

    Raises:
        Forged: the host serves another one. Unavailable: it serves none.
    """
    known = station.sums.get(closed.id)
    if known is not None:
        return known
    opened, binding = closed.started.opened, closed.started.binding
    coming = station.coming_sums.get(closed.id)
    if coming is None:
        path = station.scratch.take(station.work / f"{closed.id}.sum", SUM_BYTES * opened.words)
        coming = SumFile(path, opened.words, binding, closed.id)
        station.coming_sums[closed.id] = coming
    sizes, first = sum_sizes(opened.words), coming.chunks_count
    coming.take(station.remote.read_chunks(BlobName(closed.sum), sizes, first=first))
    root, value = coming.end()
    del station.coming_sums[closed.id]
    if root != closed.sum:
        raise Forged("the sum that the host serves is not the one that was closed")
    station.sums[closed.id] = (coming.path, value)
    return coming.path, value


def compute_next(
    station: Station,
    study: Study,
    closed: Closed,
    reveals: Mapping[Seat, RoundReveal],
    recovers: Mapping[Seat, RoundRecover],
    before: ModelFiles,
) -> NextModel:
    """Unmask the sum of a Close, judge the total, and make the next model a blob of this node.

    Args:
        reveals, recovers: as logged, by the seat that said them.
        before: the model and moments the attempt started from.
    Raises:
        Unavailable: too few shares are revealed yet.
        MemberFault: a dealing is false, shares are, or the total is out of range.
    """
    opened = closed.started.opened
    plan = study.register.plan
    dealings = dealings_of(
        station,
        opened,
        {s: j for s, j in closed.started.joins.items() if s in closed.started.participants},
    )
    unmasker = _unmasker(closed, dealings, reveals, recovers)
    layout = layout_of(station, study)
    rule = update_rule(plan.rule)
    model_size = model_bytes_count(model_part(layout))
    out = station.scratch.take(station.work / f"{closed.id}.model", model_size)
    out_moments = station.work / f"{closed.id}.moments"
    if state_words(rule, layout):
        station.scratch.take(out_moments, WORD_BYTES * state_words(rule, layout))
    made = next_model(
        fetch_sum(station, closed)[0],
        layout,
        unmasker,
        Total(closed.id, opened.count, len(closed.survivors), plan.weight_max, _declared(closed)),
        rule,
        model=before.model,
        moments=before.moments,
        out_model=out,
        out_moments=out_moments,
    )
    station.blobs.adopt(out, BlobName(made.model), lambda _: None)  # hashed while it was written
    if made.moments is not None:
        station.blobs.adopt(out_moments, BlobName(made.moments), lambda _: None)
    return made


def _declared(closed: Closed) -> int | None:
    if closed.started.opened.weights != "declared":
        return None
    return sum(closed.started.joins[seat].weight or 0 for seat in closed.survivors)


def _unmasker(
    closed: Closed,
    dealings: Mapping[int, Dealing],
    reveals: Mapping[Seat, RoundReveal],
    recovers: Mapping[Seat, RoundRecover],
) -> Unmasker:
    """Gather and rebuild every secret that unmasking takes (5.8)."""
    terms, survivors = plan_of(closed.started.opened).terms(), survivors_of(closed)
    gathered = gather(
        terms,
        survivors,
        dealings=dealings,
        reveals={int(seat): _reveal(said) for seat, said in reveals.items()},
        recovers={int(seat): _silent(said) for seat, said in recovers.items()},
    )
    if gathered.missing and gathered.false_seats:
        raise MemberFault(
            MemberFaultKind.BAD_SHARE,
            "what a member revealed does not fit what it or a dealer committed to",
            tuple(sorted(gathered.false_seats)),
        )
    if gathered.missing:
        seats = ", ".join(map(str, sorted(gathered.missing)))
        raise Unavailable(f"the secrets of seats {seats} are not revealed yet; the round waits")
    return Unmasker(
        terms,
        closed.started.binding,
        dealings=dealings,
        survivors=survivors,
        gathered=gathered,
    )


def _reveal(said: RoundReveal) -> Reveal:
    shares = [DroppedShares(gone.seat, gone.sigma, gone.mu, gone.m) for gone in said.dropped]
    return Reveal(said.beta, tuple(shares))


def _silent(said: RoundRecover) -> list[SilentShares]:
    return [SilentShares(share.seat, share.beta, share.mu) for share in said.silent]

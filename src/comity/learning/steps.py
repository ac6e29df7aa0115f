"""The next model from the mean update, the same bits on every machine (aggregation.md 5.12).

The law of this file: element-wise `+ - * / sqrt` in float64, one NumPy call at a time, and one
rounding to float32 at the end. No sums, no dot products, no powers, no fused kernels: whatever
groups or reorders operations may round differently elsewhere. So a model may be computed in chunks
of any size. Whoever computes a step first asks `flush_to_zero_fault`, in the same thread.

The mean update takes the part of the negative gradient. Adaptive steps: Reddi et al., "Adaptive
federated optimization" (2021), without bias correction. Momentum: Hsu et al., "Measuring the
effects of non-identical data distribution" (2019). Nesterov, the outer step of training with
little communication: Douillard et al., "DiLoCo" (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

import msgspec
import numpy as np
import numpy.typing as npt

from comity.errors import Malformed, StudyFault, StudyFaultKind

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

MILLION: Final = 10**6
TRILLION: Final = 10**12
SERVER_LR_MAX: Final = 1_000


@final
@dataclass(frozen=True, slots=True)
class FedAvg:
    """after = before + server_lr * mean.

    Args:
        server_lr: greater than 0, at most 1000, in whole millionths; 1 is plain averaging.
    """

    server_lr: float = 1.0

    def __post_init__(self) -> None:
        _rate(self.server_lr)


@final
@dataclass(frozen=True, slots=True)
class FedAdam:
    """m = b1 m + (1-b1) mean; v = b2 v + (1-b2) mean^2; after = before + lr m / (sqrt v + tau).

    Args:
        server_lr: greater than 0, at most 1000, in whole millionths.
        beta1: from 0 to below 1, in whole millionths.
        beta2: from 0 to below 1, in whole millionths.
        tau: greater than 0, at most 1, in whole trillionths; how adaptive the step is.
    """

    server_lr: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    tau: float = 1e-8

    def __post_init__(self) -> None:
        _adaptive(self.server_lr, (self.beta1, self.beta2), self.tau)


@final
@dataclass(frozen=True, slots=True)
class FedYogi:
    """Like `FedAdam`, but v = v - (1-b2) mean^2 sign(v - mean^2)."""

    server_lr: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    tau: float = 1e-8

    def __post_init__(self) -> None:
        _adaptive(self.server_lr, (self.beta1, self.beta2), self.tau)


@final
@dataclass(frozen=True, slots=True)
class FedAdagrad:
    """Like `FedAdam`, but v = v + mean^2: steps only get smaller."""

    server_lr: float = 0.01
    beta1: float = 0.9
    tau: float = 1e-8

    def __post_init__(self) -> None:
        _adaptive(self.server_lr, (self.beta1,), self.tau)


@final
@dataclass(frozen=True, slots=True)
class Momentum:
    """m = beta m + mean; after = before + server_lr m. With beta 0 it is `FedAvg`, bit for bit.

    Args:
        server_lr: greater than 0, at most 1000, in whole millionths.
        beta: from 0 to below 1, in whole millionths; the sum of steps grows by 1 / (1 - beta).
    """

    server_lr: float = 1.0
    beta: float = 0.9

    def __post_init__(self) -> None:
        _rate(self.server_lr)
        _below_one(self.beta)


@final
@dataclass(frozen=True, slots=True)
class Nesterov:
    """m = beta m + mean; after = before + server_lr (beta m + mean): looks one step ahead.

    Use it where members take many local steps a round. With beta 0 it is `FedAvg`, bit for bit.
    """

    server_lr: float = 0.7
    beta: float = 0.9

    def __post_init__(self) -> None:
        _rate(self.server_lr)
        _below_one(self.beta)


Rule = FedAvg | FedAdam | FedYogi | FedAdagrad | Momentum | Nesterov
RuleName = Literal["fedavg", "fedadam", "fedyogi", "fedadagrad", "momentum", "nesterov"]


@final
class RuleCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule in whole numbers, as a plan carries it; what a rule does not use is 0."""

    name: RuleName
    server_lr_millionths: int
    beta1_millionths: int
    beta2_millionths: int
    tau_trillionths: int


def rule_card(rule: Rule) -> RuleCard:
    """The rule in whole numbers."""
    rate = whole(rule.server_lr, MILLION)
    match rule:
        case FedAvg():
            return RuleCard("fedavg", rate, 0, 0, 0)
        case Momentum():
            return RuleCard("momentum", rate, whole(rule.beta, MILLION), 0, 0)
        case Nesterov():
            return RuleCard("nesterov", rate, whole(rule.beta, MILLION), 0, 0)
        case FedAdagrad():
            return RuleCard(
                "fedadagrad", rate, whole(rule.beta1, MILLION), 0, whole(rule.tau, TRILLION)
            )
        case FedAdam() | FedYogi():
            return RuleCard(
                "fedadam" if isinstance(rule, FedAdam) else "fedyogi",
                rate,
                whole(rule.beta1, MILLION),
                whole(rule.beta2, MILLION),
                whole(rule.tau, TRILLION),
            )


def rule_of(card: RuleCard) -> Rule:
    """The rule that a plan carries.

    Raises:
        Malformed: numbers no study file can declare, or a setting the rule does not have.
    """
    rate, beta1, beta2 = (
        number / MILLION
        for number in (card.server_lr_millionths, card.beta1_millionths, card.beta2_millionths)
    )
    tau = card.tau_trillionths / TRILLION
    rule: Rule
    try:
        match card.name:
            case "fedavg":
                rule = FedAvg(rate)
            case "momentum":
                rule = Momentum(rate, beta1)
            case "nesterov":
                rule = Nesterov(rate, beta1)
            case "fedadam":
                rule = FedAdam(rate, beta1, beta2, tau)
            case "fedyogi":
                rule = FedYogi(rate, beta1, beta2, tau)
            case "fedadagrad":
                rule = FedAdagrad(rate, beta1, tau)
    except StudyFault as fault:
        raise Malformed(f"update rule of the plan: {fault}") from None
    if rule_card(rule) != card:
        raise Malformed(f"update rule of the plan: {card.name} with a setting it does not have")
    return rule


def moments_count(rule: Rule) -> int:
    """How many vectors as long as the model a rule keeps from round to round: 0, 1 or 2."""
    if isinstance(rule, FedAvg):
        return 0
    return 1 if isinstance(rule, Momentum | Nesterov) else 2


def first_moments(rule: Rule, count: int) -> tuple[Float32Array, ...]:
    """The moments before the first round, float32, shape (count,): m = 0, v = tau^2."""
    if isinstance(rule, FedAvg):
        return ()
    if isinstance(rule, Momentum | Nesterov):
        return (np.zeros(count, np.float32),)
    tau = whole(rule.tau, TRILLION) / TRILLION
    return np.zeros(count, np.float32), np.full(count, tau * tau, np.float32)


def step_chunk(
    rule: Rule,
    weights: Float32Array,
    moments: tuple[Float32Array, ...],
    mean: Float64Array,
) -> tuple[Float32Array, tuple[Float32Array, ...]]:
    """The next model and the next moments of one chunk; nothing passed in is changed.

    Args:
        rule: the study's.
        weights: model before, float32, shape (k,); any part of the flat model.
        moments: of the same part, as `first_moments` or the round before gave them.
        mean: decoded mean update (after minus before) of the same part, float64, shape (k,).
    Returns:
        The model after, float32, and as many moments as came in, float32.
    """
    assert len(moments) == moments_count(rule)
    assert weights.shape == mean.shape
    assert all(moment.shape == mean.shape for moment in moments)
    assert weights.dtype == np.float32 and mean.dtype == np.float64
    rate = whole(rule.server_lr, MILLION) / MILLION
    if isinstance(rule, FedAvg):
        step = np.multiply(mean, rate)
        np.add(step, weights, out=step)
        return step.astype(np.float32), ()
    if isinstance(rule, Momentum | Nesterov):
        beta = whole(rule.beta, MILLION) / MILLION
        speed = np.multiply(moments[0], beta, dtype=np.float64)
        np.add(speed, mean, out=speed)
        kept = speed.astype(np.float32)
        if isinstance(rule, Nesterov):
            np.multiply(speed, beta, out=speed)
            np.add(speed, mean, out=speed)
        np.multiply(speed, rate, out=speed)
        np.add(speed, weights, out=speed)
        return speed.astype(np.float32), (kept,)
    first = _first_moment(rule, moments[0], mean)
    second = _second_moment(rule, moments[1], mean)
    bottom = np.sqrt(second.astype(np.float64))
    np.add(bottom, whole(rule.tau, TRILLION) / TRILLION, out=bottom)
    step = np.multiply(first, rate, dtype=np.float64)
    np.divide(step, bottom, out=step)
    np.add(step, weights, out=step)
    return step.astype(np.float32), (first, second)


def _first_moment(
    rule: FedAdam | FedYogi | FedAdagrad, moment: Float32Array, mean: Float64Array
) -> Float32Array:
    beta = whole(rule.beta1, MILLION)
    kept = np.multiply(moment, beta / MILLION, dtype=np.float64)
    fresh = np.multiply(mean, (MILLION - beta) / MILLION)
    np.add(kept, fresh, out=kept)
    return kept.astype(np.float32)


def _second_moment(
    rule: FedAdam | FedYogi | FedAdagrad, moment: Float32Array, mean: Float64Array
) -> Float32Array:
    square = np.multiply(mean, mean)
    if isinstance(rule, FedAdagrad):
        np.add(square, moment, out=square)
        return square.astype(np.float32)
    beta = whole(rule.beta2, MILLION)
    fresh = (MILLION - beta) / MILLION
    if isinstance(rule, FedAdam):
        np.multiply(square, fresh, out=square)
        kept = np.multiply(moment, beta / MILLION, dtype=np.float64)
        np.add(kept, square, out=kept)
        return kept.astype(np.float32)
    side = np.subtract(moment, square)
    np.sign(side, out=side)  # exact: -1, 0 or 1
    np.multiply(square, fresh, out=square)
    np.multiply(square, side, out=square)
    np.subtract(moment, square, out=square)
    return square.astype(np.float32)


def flush_to_zero_fault() -> str | None:
    """Why this thread must not compute a model; None when its arithmetic is IEEE 754.

    Some libraries switch a thread to "flush to zero" (FTZ) or "denormals are zero" (DAZ), which
    changes results. Costs microseconds; ask at start, in the thread that computes.
    Source: aggregation.md 11.3, attack 44.
    """
    for kind, bits, tiny in ((np.float32, np.uint32, 1 << 23), (np.float64, np.uint64, 1 << 52)):
        smallest_normal = np.full(64, tiny, bits).view(kind)  # long enough for SIMD loops
        halves = np.multiply(smallest_normal, kind(0.5))
        if (halves.view(bits) != tiny >> 1).any():
            return (
                f"flush-to-zero is on for {np.dtype(kind).name}: a library of this process set it"
            )
        subnormal = np.full(64, tiny >> 1, bits).view(kind)
        doubled = np.add(subnormal, subnormal)
        if (doubled.view(bits) != tiny).any():
            return (
                f"denormals-are-zero is on for {np.dtype(kind).name}: "
                "a library of this process set it"
            )
    return None


def whole(number: float, unit: int) -> int:
    """`number * unit` as the integer it is meant to be.

    Raises:
        StudyFault(NOT_LOADABLE): finer than 1 / unit.
    """
    result = round(number * unit)
    if abs(number * unit - result) > 1e-9 * max(1.0, abs(number * unit)):
        raise StudyFault(
            StudyFaultKind.NOT_LOADABLE,
            f"a number of rule or method is finer than 1/{unit}",
        )
    return result


def _rate(server_lr: float) -> None:
    if not 0 < server_lr <= SERVER_LR_MAX:
        raise StudyFault(
            StudyFaultKind.NOT_LOADABLE,
            f"server_lr must be above 0 and at most {SERVER_LR_MAX}",
        )
    if whole(server_lr, MILLION) == 0:
        raise StudyFault(StudyFaultKind.NOT_LOADABLE, "server_lr is less than a millionth")


def _adaptive(server_lr: float, betas: tuple[float, ...], tau: float) -> None:
    _rate(server_lr)
    for beta in betas:
        _below_one(beta)
    if not 0 < tau <= 1 or whole(tau, TRILLION) == 0:
        raise StudyFault(
            StudyFaultKind.NOT_LOADABLE, "tau must be at least a trillionth and at most 1"
        )


def _below_one(beta: float) -> None:
    if not 0 <= beta < 1 or whole(beta, MILLION) == MILLION:
        raise StudyFault(StudyFaultKind.NOT_LOADABLE, "a beta must be from 0 to below 1")

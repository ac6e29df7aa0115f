"""A method in whole numbers, as a plan carries it."""

from __future__ import annotations

from typing import Final, Literal, final

import msgspec

from comity.errors import Malformed, StudyFault
from comity.learning.methods.fedprox import FedProx
from comity.learning.methods.scaffold import Scaffold
from comity.learning.steps import MILLION, TRILLION, whole

Method = FedProx | Scaffold
MethodName = Literal["plain", "fedprox", "scaffold"]

FINE_TUNING_MAX: Final = 1_000


@final
class MethodCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a method does not use is 0. own: tensors that stay at home; fine_tuning: rounds."""

    name: MethodName = "plain"
    proximal_millionths: int = 0
    lr_trillionths: int = 0
    steps: int = 0
    own: int = 0
    fine_tuning: int = 0


def method_card(method: Method | None, own: int, fine_tuning: int) -> MethodCard:
    """The method in whole numbers."""
    match method:
        case FedProx():
            return MethodCard(
                "fedprox", whole(method.mu, MILLION), own=own, fine_tuning=fine_tuning
            )
        case Scaffold():
            return MethodCard(
                "scaffold",
                lr_trillionths=whole(method.lr, TRILLION),
                steps=method.steps,
                own=own,
                fine_tuning=fine_tuning,
            )
        case _:
            return MethodCard(own=own, fine_tuning=fine_tuning)


def method_of(card: MethodCard, control_range: float) -> Method | None:
    """The method that a plan carries.

    Args:
        control_range: of the control segments of its layout; 1.0 when there are none.
    Raises:
        Malformed: numbers no study file can declare, or a setting the method does not have.
    """
    method: Method | None = None
    try:
        match card.name:
            case "fedprox":
                method = FedProx(card.proximal_millionths / MILLION)
            case "scaffold":
                method = Scaffold(card.steps, card.lr_trillionths / TRILLION, control_range)
            case "plain":
                pass
    except StudyFault as fault:
        raise Malformed(f"method of the plan: {fault}") from None
    if method_card(method, card.own, card.fine_tuning) != card:
        raise Malformed(f"method of the plan: {card.name} with a setting it does not have")
    return method

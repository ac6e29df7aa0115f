"""What a node does about each duty: one call for each kind."""

from __future__ import annotations

from comity.commons.duties import (
    AskConsent,
    Duty,
    SayAbandon,
    SayAccept,
    SayApprove,
    SayClose,
    SayCommit,
    SayConfirm,
    SayEnrol,
    SayFound,
    SayJoin,
    SayOpen,
    SayReady,
    SayRecover,
    SayResolve,
    SayReveal,
    SaySeen,
    SayStart,
    SignRelease,
)
from comity.node.revealing import say_accept, say_confirm, say_recover, say_reveal
from comity.node.rounds import Rounds
from comity.node.standing import consent, enrol, found, sign_release
from comity.node.station import Station
from comity.node.succession import approve_settled
from comity.statements.governing import Seen


def perform(station: Station, rounds: Rounds, duty: Duty) -> None:
    """Do what is owed, or leave it to people. Raises ComityError, OSError: it was not done."""
    match duty:
        case SayFound():
            found(station)
        case SaySeen():
            station.say(Seen())
        case AskConsent():
            consent(station, duty)
        case SayEnrol():
            enrol(station, duty)
        case SayOpen() | SayStart():
            rounds.say_derived(duty)
        case SayJoin():
            rounds.say_join(duty)
        case SayReady():
            rounds.say_ready(duty)
        case SayResolve():
            rounds.say_resolve(duty)
        case SayCommit():
            rounds.say_commit(duty)
        case SayClose():
            rounds.say_close(duty)
        case SayConfirm():
            say_confirm(station, duty)
        case SayReveal():
            say_reveal(station, duty)
        case SayRecover():
            say_recover(station, duty)
        case SayAccept():
            say_accept(station, duty)
        case SayAbandon():
            rounds.say_abandon(duty)
        case SignRelease():
            sign_release(station, duty)
        case SayApprove():
            approve_settled(station, duty.pending)
        case _:
            pass  # AskReview, AskVote, AskApprove: people answer

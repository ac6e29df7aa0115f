"""The duties of a party, as types: what its node says by itself, and what it must ask a person.

Each holds what the node needs to perform it. When one is owed is decided in `duties.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from comity.commons.attempts import (
    Closed,
    Closing,
    Ended,
    Live,
    Opened,
    Readying,
    Resolving,
    Revealing,
    Started,
)
from comity.commons.state import Claim, Pending, Proposal, Study
from comity.statements.governing import ReleaseMotion
from comity.statements.rounds import RoundOpen, RoundStart
from comity.values import Seat


@final
@dataclass(frozen=True, slots=True)
class SayFound:
    """Enter the commons: commons.found with the own key set."""


@final
@dataclass(frozen=True, slots=True)
class SaySeen:
    """Say `seen`: a day has passed in silence, or a deadline that something waits for."""


@final
@dataclass(frozen=True, slots=True)
class SayEnrol:
    """Enrol (again) with a new sealing key; `studies.next_serial` gives the serial."""

    study: Study


@final
@dataclass(frozen=True, slots=True)
class SayOpen:
    """The hosting node opens the next attempt."""

    body: RoundOpen


@final
@dataclass(frozen=True, slots=True)
class SayJoin:
    """Run the gate, deal, and join."""

    opened: Opened


@final
@dataclass(frozen=True, slots=True)
class SayReady:
    """Open the shares, and say which dealers' do not fit; brings the next sealing key."""

    attempt: Readying


@final
@dataclass(frozen=True, slots=True)
class SayResolve:
    """Answer the complaint of this holder, unless the journal counts more than c complainers."""

    attempt: Resolving
    holder: Seat


@final
@dataclass(frozen=True, slots=True)
class SayStart:
    """The hosting node starts the attempt."""

    body: RoundStart


@final
@dataclass(frozen=True, slots=True)
class SayCommit:
    """Train, mask, store, and commit."""

    started: Started


@final
@dataclass(frozen=True, slots=True)
class SayClose:
    """The hosting node closes: `rounds.expected_close` with the root of the sum."""

    attempt: Closing


@final
@dataclass(frozen=True, slots=True)
class SayConfirm:
    """Confirm this Close, with the check value of the own vector exactly if it is in it."""

    closed: Closed


@final
@dataclass(frozen=True, slots=True)
class SayReveal:
    """Check the sum, then reveal. A member that is not in P reveals only what it still holds the
    key for; if it holds no shares it has nothing to say."""

    attempt: Revealing


@final
@dataclass(frozen=True, slots=True)
class SayRecover:
    """Give the shares of these silent survivors."""

    attempt: Revealing
    silent: frozenset[Seat]


@final
@dataclass(frozen=True, slots=True)
class SayAccept:
    """Unmask, check, compute the next model, and accept: all secrets it takes are in the log."""

    attempt: Revealing


@final
@dataclass(frozen=True, slots=True)
class SayAbandon:
    """Nothing more can come of the attempt. released_hint: None, for the journal knows better."""

    attempt: Live | Ended
    released_hint: None
    reason: str


@final
@dataclass(frozen=True, slots=True)
class SignRelease:
    """Replay, agree, and sign the release that was decided."""

    proposal: Proposal
    release: ReleaseMotion


@final
@dataclass(frozen=True, slots=True)
class SayApprove:
    """Approve the epoch that decisions and leaves alone make: nothing in it is one's word."""

    pending: Pending


@final
@dataclass(frozen=True, slots=True)
class AskApprove:
    """Ask a person to approve an epoch that rests on one member's word."""

    pending: Pending
    claim: Claim


@final
@dataclass(frozen=True, slots=True)
class AskConsent:
    """Ask a person (or the site policy): yes or no to this study."""

    study: Study


@final
@dataclass(frozen=True, slots=True)
class AskReview:
    """Ask a person to read this study's file: the charter demands more reviews of it."""

    study: Study


@final
@dataclass(frozen=True, slots=True)
class AskVote:
    """Ask a person for the member's vote."""

    proposal: Proposal


Duty = (
    SayFound
    | SaySeen
    | SayEnrol
    | SayOpen
    | SayJoin
    | SayReady
    | SayResolve
    | SayStart
    | SayCommit
    | SayClose
    | SayConfirm
    | SayReveal
    | SayRecover
    | SayAccept
    | SayAbandon
    | SignRelease
    | SayApprove
    | AskConsent
    | AskReview
    | AskVote
    | AskApprove
)

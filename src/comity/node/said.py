"""Whether a duty is on its way: said, and only the log does not show it yet."""

from __future__ import annotations

from comity.commons.duties import (
    AskConsent,
    Duty,
    SayApprove,
    SayEnrol,
    SayFound,
    SayOpen,
    SayResolve,
    SaySeen,
    SignRelease,
)
from comity.node.rounds import round_tag
from comity.node.stages import scope_of
from comity.node.station import Station
from comity.storage.ports import Attempt


def is_said(station: Station, duty: Duty) -> bool:
    """Whether this node has said what is owed, and only the log does not show it yet."""
    journal = station.journal
    match duty:
        case SayResolve():
            scope = scope_of(duty.attempt.opened)
            return f"round.resolve#{duty.holder}" in journal.promised(scope)
        case SayOpen():
            body = duty.body
            scope = Attempt(body.study, body.round_no, body.attempt)
            return body.tag in journal.promised(scope)
        case SayFound() | SaySeen() | AskConsent() | SayEnrol() | SignRelease() | SayApprove():
            author = station.replica.state.authors.get(station.member)
            last = journal.last_said()
            return last is not None and last[0] > (author.seq if author else -1)
        case _:
            said = round_tag(station.replica.state, duty)
            return said is not None and said[1] in journal.promised(said[0])

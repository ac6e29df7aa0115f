"""Every error, by whose fault it is; the codes of the rules; the exit codes of every command.

    ComityError
    ├── Malformed      not in the format               their bytes       drop it, say so
    ├── Forged         signature or hash does not fit  their bytes       drop it, say so
    ├── Refused(rule)  authentic, not allowed now      their statement   tell them the rule
    ├── HostFault      the host broke the protocol     the host          stop cosigning, alarm
    ├── MemberFault    a member broke the protocol     that member       keep evidence
    ├── StudyFault     the study's code failed         its author        code, file, line only
    ├── DataFault      the site's data do not fit      the data's owner  file, row, column
    ├── Unavailable    network or disk                 the world         retry later
    └── Misconfigured  settings                        the operator      name the setting

A message says what was expected, what came, and the next step. It never holds a secret, a share, a
mask, a value or a row of data. `AssertionError` is our own bug.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class ExitCode(IntEnum):
    """One table for every command (architecture.md 1.9)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    AGAINST_RULES = 3
    NOT_VERIFIED = 4
    CONSENT_MISSING = 5
    NO_ANCHOR = 6
    TOO_OLD = 7


class Rule(Enum):
    """Why an authentic statement has no effect (it is void), or may not be said (it is refused).

    The values are stable text codes; `docs/rules.md` explains each, a test triggers each.
    """

    # form that only the replayed state can judge: such an entry is never appended
    UNKNOWN_AUTHOR = "unknown-author"
    WRONG_COMMONS = "wrong-commons"
    CHAIN_BROKEN = "chain-broken"
    HEAD_UNKNOWN = "head-unknown"
    HELD_BACK = "held-back"
    # anybody
    NOT_FOUNDED = "not-founded"
    WRONG_PARTY = "wrong-party"
    NO_SUCH_THING = "no-such-thing"
    SAID_BEFORE = "said-before"
    TOO_SOON = "too-soon"
    TOO_MANY = "too-many"
    # founding and data sets
    KEYS_NOT_IN_CHARTER = "keys-not-in-charter"
    KEY_USED = "key-used"
    ID_TAKEN = "id-taken"
    # members, keys, hosts
    POSSESSION_NOT_SHOWN = "possession-not-shown"
    NOT_PROVEN = "not-proven"
    # studies
    STUDY_OUT_OF_BOUNDS = "study-out-of-bounds"
    BUDGET_WITHOUT_EVENTS = "budget-without-events"
    VERSION_NOT_DECLARED = "version-not-declared"
    NO_CONSENT = "no-consent"
    SEALING_KEY_INVALID = "sealing-key-invalid"
    SEALING_KEY_USED = "sealing-key-used"
    SERIAL_NOT_NEXT = "serial-not-next"
    NOT_REVIEWED = "not-reviewed"
    STUDY_PAUSED = "study-paused"
    # votes and releases
    BASE_CHANGED = "base-changed"
    VOTE_CLOSED = "vote-closed"
    NOT_DECIDED = "not-decided"
    NO_REASON = "no-reason"
    NO_RULE = "no-rule"
    CHARTER_UNFIT = "charter-unfit"
    SUSPENDED = "suspended"
    # the floor: rights that no vote and no charter can take (`commons/floor.py`)
    F4_SUM_TOO_SMALL = "f4-sum-too-small"
    F5_NO_NOTICE = "f5-no-notice"
    F5_NOTICE_TOO_YOUNG = "f5-notice-too-young"
    F5_NOTICE_TOO_SHORT = "f5-notice-too-short"
    F6_NO_CRITERION = "f6-no-criterion"
    F13_EXIT_TOO_SHORT = "f13-exit-too-short"
    F14_NO_END = "f14-no-end"
    # rounds
    NOT_AS_DERIVED = "not-as-derived"
    ATTEMPT_NOT_ENDED = "attempt-not-ended"
    ROUND_NOT_OPEN = "round-not-open"
    PHASE_CLOSED = "phase-closed"
    PHASE_NOT_OPEN = "phase-not-open"
    TOO_FEW = "too-few"
    BAD_POINT = "bad-point"
    SHARE_DOES_NOT_FIT = "share-does-not-fit"
    TOO_MANY_COMPLAINTS = "too-many-complaints"
    CHECK_VALUE_MISSING = "check-value-missing"
    AFTER_ABANDON = "after-abandon"
    BEFORE_QUORUM = "before-quorum"
    NOT_TRUTHFUL = "not-truthful"
    # only at a member's own node: it does not say the statement
    SITE_FORBIDS = "site-forbids"
    USE_MISMATCH = "use-mismatch"
    CODE_NOT_ALLOWED = "code-not-allowed"
    OUTSIDE_HOURS = "outside-hours"
    WAITS_FOR_PERSON = "waits-for-person"
    SET_NEARLY_EQUAL = "set-nearly-equal"
    WORK_SUMMED_BEFORE = "work-summed-before"
    AMNESIA = "amnesia"
    CLOCK_APART = "clock-apart"
    KEYS_NOT_IN_FORCE = "keys-not-in-force"
    HEAD_STALE = "head-stale"
    SANDBOX_MISSING = "sandbox-missing"


class ComityError(Exception):
    """Base of all; never raised itself."""


class Malformed(ComityError):
    """Bytes that are not in the format."""


class Forged(ComityError):
    """A signature or a hash that does not fit."""


class Refused(ComityError):
    """Authentic, but against a rule.

    Args:
        rule: which rule.
        message: what was expected, what came, what to do next.
    """

    def __init__(self, rule: Rule, message: str) -> None:
        super().__init__(f"{message} [{rule.value}]")
        self.rule = rule


class HostFaultKind(Enum):
    """What a host did that no honest host does."""

    SPLIT_VIEW = "split-view"
    ROLLBACK = "rollback"
    INADMISSIBLE = "inadmissible"
    WITHHELD = "withheld"
    WRONG_SUM = "wrong-sum"


class HostFault(ComityError):
    """The host broke the protocol; `evidence` is bytes that prove it to anyone (may be empty)."""

    def __init__(self, kind: HostFaultKind, message: str, evidence: bytes = b"") -> None:
        super().__init__(f"{message} [{kind.value}]")
        self.kind = kind
        self.evidence = evidence


class MemberFaultKind(Enum):
    """What a member did that no honest member does."""

    FALSE_CHECK = "false-check"
    BAD_SHARE = "bad-share"
    BAD_DEALING = "bad-dealing"
    TWO_STATEMENTS = "two-statements"
    BAD_SUM = "bad-sum"


class MemberFault(ComityError):
    """A member broke the protocol. `seats`: places in the roster, from 1; empty when anonymous."""

    def __init__(self, kind: MemberFaultKind, message: str, seats: tuple[int, ...] = ()) -> None:
        super().__init__(f"{message} [{kind.value}]")
        self.kind = kind
        self.seats = seats


class StudyFaultKind(Enum):
    """How the study's own code failed; the only thing about it that leaves the site."""

    NOT_FINITE = "not-finite"
    WRONG_SHAPE = "wrong-shape"
    WEIGHT_OUT_OF_RANGE = "weight-out-of-range"
    CODE_FAILED = "code-failed"
    NOT_LOADABLE = "not-loadable"
    LIMIT_EXCEEDED = "limit-exceeded"
    BAD_OUTPUT = "bad-output"


class Raised(Enum):
    """Which exception ended a study's code: the nearest of a fixed list, never a name of its own.

    `NOTHING`: none did; what the study gave was not what it may give, or its process was ended.
    """

    NOTHING = "nothing"
    ARITHMETIC = "ArithmeticError"
    ASSERTION = "AssertionError"
    ATTRIBUTE = "AttributeError"
    IMPORT = "ImportError"
    INDEX = "IndexError"
    KEY = "KeyError"
    MEMORY = "MemoryError"
    NAME = "NameError"
    OS = "OSError"
    PERMISSION = "PermissionError"
    RECURSION = "RecursionError"
    RUNTIME = "RuntimeError"
    SYNTAX = "SyntaxError"
    SYSTEM_EXIT = "SystemExit"
    TYPE = "TypeError"
    VALUE = "ValueError"
    ZERO_DIVISION = "ZeroDivisionError"
    OTHER = "other"


class StudyFault(ComityError):
    """The study's own code failed.

    Args:
        kind: how.
        message: for whoever runs it; nothing of the study's own text.
        where: file and line of the study, or "" when unknown.
        line: of the study file, from 1; 0 when unknown.
        raised: which exception ended it.
    """

    def __init__(
        self,
        kind: StudyFaultKind,
        message: str,
        where: str = "",
        *,
        line: int = 0,
        raised: Raised = Raised.NOTHING,
    ) -> None:
        super().__init__(f"{message}{f' at {where}' if where else ''} [{kind.value}]")
        self.kind = kind
        self.where = where
        self.line = line
        self.raised = raised


class DataFault(ComityError):
    """The site's data do not fit what the study declares. `where`: file, row, column; no value."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class Unavailable(ComityError):
    """Network or disk; trying again later may help."""


class Misconfigured(ComityError):
    """A setting is wrong, missing or unknown; the message names it and what is allowed."""


class HeadMoved(Unavailable):
    """Another writer has moved the stored head: the compare-and-swap did not happen."""

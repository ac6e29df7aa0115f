"""Words for people outside: how texts of members are shown, and the page that says how to check.

Whatever a member wrote (names, titles, reasons) is shown as plain text: no markup, no link, no
control or direction sign gets through (log-and-provenance.md 8, attack 45).
"""

from __future__ import annotations

import string
from typing import Final

from comity.commons.charter import Charter
from comity.log.heads import origin_of
from comity.release.form import BUNDLE_VERSION
from comity.values import CommonsId

_PLAIN_MARKS: Final = frozenset(" ,;?'-")

_VERIFY: Final = """\
# How to check this folder

Bundle {version}. It says that it is a release of the commons

    {name}
    {origin}

Do not believe the folder. Get an anchor, a file of four lines, from at least two of the members
over a channel of your own (mail, phone, paper). Then, without network:

    comity verify FOLDER --anchor anchor.txt

It ends with 0 when everything fits, and otherwise names the file and what differs. Without an
anchor it can only say that the folder agrees with itself (6), never whose it is.

What is checked: the charter is the one the anchor names; its founders' keys; that {quorum} of
{count} members cosigned the log's head and {quorum} of them signed this very content; the whole
log, entry by entry, when it is here; every file of `content/`, and that there is no other.

Other tools: in `content/`, `sha256sum -c MANIFEST.sha256`. `proof/log/` is a log in the static
form of c2sp.org/tlog-tiles, `proof/release.tlog-proof` is c2sp.org/tlog-proof, `proof/policy.txt`
is c2sp.org/tlog-policy.

Check the folder where nobody else can write; use it from there.
"""


def plain(text: str) -> str:
    """Text of unknown origin as one line of Markdown that shows it and does nothing."""
    return "".join(_shown(sign) for sign in text)


def one_line(text: str) -> str:
    """Text of unknown origin as one line for a terminal: what cannot be printed is escaped."""
    return "".join(s if s.isprintable() else f"[U+{ord(s):04X}]" for s in text)


def yaml_text(text: str) -> str:
    """A double-quoted YAML scalar of any text."""
    return '"' + "".join(_quoted(sign) for sign in text) + '"'


def verify_md(charter: Charter, commons: CommonsId, *, quorum: int, count: int) -> bytes:
    """VERIFY.md: follows from charter and epochs, so that nobody can put other advice into it.

    Args:
        quorum, count: cosigners of a final head, and members, in the newest epoch.
    """
    text = _VERIFY.format(
        version=BUNDLE_VERSION,
        name=one_line(charter.name),
        origin=origin_of(commons, charter.origin_prefix),
        quorum=quorum,
        count=count,
    )
    return text.encode()


def _shown(sign: str) -> str:
    if not sign.isprintable():
        return f"[U+{ord(sign):04X}]"
    if sign in string.punctuation and sign not in _PLAIN_MARKS:
        return {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(sign, "\\" + sign)
    return sign


def _quoted(sign: str) -> str:
    if sign in '"\\':
        return "\\" + sign
    return sign if sign.isprintable() else f"\\U{ord(sign):08x}"

"""Where in a text that people wrote (charter, site policy) a complaint is about."""

from __future__ import annotations

import re


def line_of(text: str, complaint: str) -> str:
    """` (line N)` of the first line that the complaint can be about; empty when none is found.

    Args:
        text: TOML. complaint: begins with the dotted path of a key, or names it in back quotes, as
            msgspec does.
    """
    places = (
        r"unknown field `([^`]+)`",
        r"value '(\w+)' - at `key`",
        r"\.(\w+?)(?:_s)?(?:\[[\d.]*\])?`$",
    )
    named = next((found for place in places if (found := re.search(place, complaint))), None)
    path = complaint.split(":", 1)[0].split(".")
    table, wanted = path[:-1], named[1] if named else path[-1]
    of = re.search(r" of ([a-z0-9.-]+):|and '([^']+)' look alike", complaint)
    if of:  # the last place: founders stand below what names one of them
        lines = [
            n for n, line in enumerate(text.splitlines(), 1) if f'= "{of[1] or of[2]}"' in line
        ]
        return f" (line {lines[-1]})" if lines else ""
    here: list[str] = []
    beginning = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        if header:
            here = re.sub(r"[\"']", "", header[1]).split(".")
            if here == path:
                return f" (line {number})"
            if here == table:
                beginning = f" (line {number})"
        elif re.match(rf"\s*{re.escape(wanted)}\s*=", line) and (named or here == table):
            return f" (line {number})"
    return beginning

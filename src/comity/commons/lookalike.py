"""Names that could be taken for one another, or that show otherwise than they are written.

Decided here: which texts of a charter nobody can be expected to read rightly. A member id has
a-z, 0-9, hyphens and dots only (`values.is_slug`), so there only digits pass for letters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

# Letters of other scripts, and digits, that look like Latin letters in common typefaces.
_LATIN: Final = str.maketrans(
    "аеорсухіјѕԁһӏԛԝкмтвнαορνικτυχ01|",
    "aeopcyxijsdhlqwkmtbhaopvikтuxoll".replace("т", "t"),
)


def name_fault(text: str) -> str | None:
    """Why this text may show otherwise than it is written; None when it is plain."""
    for character in text:
        if character != " " and not character.isprintable():
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            return f"leave out the character {name}, which is not seen or changes the order"
    if unicodedata.normalize("NFC", text) != text:
        return "write it in Unicode's composed form (NFC)"
    if text != " ".join(text.split(" ")).strip(" "):
        return "without spaces at its ends"
    return None


def look(text: str) -> str:
    """One text for all that look alike: widths, capitals, scripts, 0 and o, 1 and l."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_LATIN)
    return " ".join(plain.split())


def same_look(texts: Iterable[str]) -> tuple[str, str] | None:
    """The first two texts that look alike, in the order given; None when none do. "" is none."""
    seen: dict[str, str] = {}
    for text in texts:
        if text:
            first = seen.setdefault(look(text), text)
            if first is not text:
                return first, text
    return None

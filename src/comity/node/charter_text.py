"""A charter as people write it, from its canonical form: what they change and move again.

charter_from_toml(toml_of(charter)) == charter
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from comity.commons.charter import Charter
from comity.values import DAY_S

_UNITS: Final = (("d", DAY_S), ("h", 3_600), ("m", 60), ("s", 1))


def toml_of(charter: Charter) -> str:
    """The charter in TOML. Texts of a charter are printable, so JSON's escapes are TOML's."""
    whole = msgspec.to_builtins(charter)
    book = whole.pop("rulebook", None) or {}
    founders, bounds = whole.pop("founders"), whole.pop("studies")
    if book:
        del whole["release"], whole["vote_open_s"]
    lines = [*_keys(whole), "", "[studies]", *_keys(bounds)]
    if "groups" in book:
        lines += ["", "[groups]", *_keys(book["groups"])]
    for name, rule in book.get("rules", {}).items():
        lines += ["", f"[rules.{json.dumps(name)}]", *_rule(rule)]
    if book:
        lines += ["", "[decisions]", *_keys(book["decisions"])]
    for founder in founders:
        lines += ["", "[[founders]]", *_keys(founder)]
    return "\n".join(lines) + "\n"


def _keys(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}"


def _rule(rule: Mapping[str, Any]) -> Iterator[str]:
    for key, value in rule.items():
        if key.endswith("_s"):
            yield f"{key[:-2]} = {json.dumps(_duration(value))}"
        else:
            yield from _keys({key: value})


def _duration(seconds: int) -> str:
    unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"

"""A charter in plain sentences, one for each key, from a catalogue, so that languages can be added.

Nothing is summed up and nothing left out: what has no sentence cannot be signed unseen, so a key
without one is an error here and in the tests.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

from comity.commons.charter import Charter, charter_bytes
from comity.values import DAY_S

LANGUAGES: Final = ("en",)


class Sentence(NamedTuple):
    """path: of the key, such as rulebook.rules.weighty.quorum. text: what it says."""

    path: str
    text: str


class Change(NamedTuple):
    """A key that two charters differ in; `before` or `after` is empty where it is absent."""

    path: str
    before: str
    after: str


def sentences(charter: Charter, language: str = "en") -> list[Sentence]:
    """Every key of the charter as a sentence, in the order of the canonical form."""
    catalogue = _catalogue(language)
    return [
        Sentence(".".join(path), _sentence(catalogue, path, value))
        for path, value in _leaves(json.loads(charter_bytes(charter)), ())
    ]


def changes(before: Charter, after: Charter, language: str = "en") -> list[Change]:
    """What the second charter says otherwise than the first."""
    old, new = dict(sentences(before, language)), dict(sentences(after, language))
    paths = [*old, *(path for path in new if path not in old)]
    return [
        Change(path, old.get(path, ""), new.get(path, ""))
        for path in paths
        if old.get(path) != new.get(path)
    ]


@cache
def _catalogue(language: str) -> Mapping[str, Any]:
    text = resources.files("comity.cli").joinpath(f"plain_{language}.toml").read_text("utf-8")
    return tomllib.loads(text)


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _leaves(inside, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, (*path, item["id"] if isinstance(item, dict) else item))
    else:
        yield path, value


def _sentence(catalogue: Mapping[str, Any], path: tuple[str, ...], value: Any) -> str:
    found: Any = catalogue
    name = ""
    for step in path:
        if "*" in found:
            name, step = step, "*"
        found = found[step]
    if isinstance(found, dict):
        found = found[str(value).lower()]
    return str(found).format(name=name, value=_in_words(catalogue["words"], path[-1], value))


def _in_words(words: Mapping[str, str], key: str, value: Any) -> str:
    if key.endswith(("_s", "_s_max")):
        return _duration(words, int(value))
    if key in ("quorum", "yes", "cap") and value == "1":
        return words["all"]
    return str(value)


def _duration(words: Mapping[str, str], seconds: int) -> str:
    if seconds == DAY_S:
        return words["one_day"]
    for unit, size in (("days", DAY_S), ("hours", 3_600), ("minutes", 60)):
        if seconds >= size and seconds % size == 0:
            return words[unit].format(value=seconds // size)
    return words["seconds"].format(value=seconds)

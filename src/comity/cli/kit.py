"""`comity kit`: what an institution's officers read before it joins, written from what is set.

Decided here: the documents and their order; every sentence is in a catalogue (`kit_en.toml`), so
that languages can be added. Nothing is judged, and no document says that a law is met.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, final
from urllib.parse import urlsplit

import msgspec
import typer
from msgspec import Struct

from comity.cli.asking import expect, read_node
from comity.cli.chartering import Language, known_language
from comity.cli.plain import sentences
from comity.cli.terminal import AsJson, Folder, Screen
from comity.commons.charter import Charter
from comity.commons.site import SitePolicy
from comity.errors import Misconfigured, Unavailable
from comity.node.bootstrap import LOG_FILE
from comity.node.deciding import CharterText
from comity.node.deciding_wire import AskCharter
from comity.node.founding import CHARTER, read_charter
from comity.node.settings import NodeSettings, read_node_settings
from comity.node.site_file import SiteFile

HERE = Path(".")
PORTS: Final = {"http": 80, "https": 443}
Catalogue = Mapping[str, Mapping[str, str]]


@final
class KitWritten(Struct, frozen=True, tag="kit"):
    """The documents that were written."""

    folder: str
    files: tuple[str, ...]


def kit(
    out: Annotated[Path, typer.Argument(help="The new folder for the documents.")],
    language: Language = "en",
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Write what officers need before their institution joins, from what is actually set here.

    Three Markdown documents: a plain summary, a page for those who run machines and networks
    (connections, ports, names, limits), and a page for the data protection officer (what leaves,
    what cannot, every parameter with its meaning, residual risks).

    \b
    Example:
      comity kit for-our-officers --folder node-a
    """
    charter = charter_now(folder)
    settings = read_node_settings(folder / "node.toml")
    site = SiteFile(folder).now()
    written = documents(charter, settings, site, known_language(language))
    try:
        out.mkdir(parents=True)
        for name, text in written.items():
            (out / name).write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise Misconfigured(f"{out} exists already: name a new folder") from error
    except OSError as error:
        raise Unavailable(f"cannot write {out} ({error.strerror}); check the disk") from error
    lines = [f"written: {out / name}" for name in written]
    Screen(as_json).result(KitWritten(str(out.resolve()), tuple(written)), *lines)


def charter_now(folder: Path) -> Charter:
    """The charter in force by this node's copy of the log; before it has one, the signed one."""
    if not (folder / LOG_FILE).exists():
        return read_charter(folder / CHARTER)
    found = expect(CharterText, read_node(folder, AskCharter()))
    return msgspec.json.decode(found.text, type=Charter)


def documents(
    charter: Charter, settings: NodeSettings, site: SitePolicy, language: str = "en"
) -> dict[str, str]:
    """The documents by file name, in Markdown; the same settings give the same bytes."""
    words = _catalogue(language)
    facts = _facts(charter, settings, site, words)
    pages = {
        "summary.md": ("summary", _summary(words, charter, settings, language)),
        "it.md": ("it", _it(words, settings)),
        "data-protection.md": (
            "data_protection",
            _data_protection(words, charter, site, language),
        ),
    }
    made = {}
    for name, (title, parts) in pages.items():
        whole = [words["titles"][title], words["notes"]["made"], *parts, words["notes"]["law"]]
        made[name] = "\n\n".join(part.format_map(facts) for part in whole) + "\n"
    return made


# -- pages ---------------------------------------------------------------------------------------


def _summary(
    words: Catalogue, charter: Charter, settings: NodeSettings, language: str
) -> Iterator[str]:
    own = words["summary"]
    yield own["what"]
    yield own["host_is_me"] if settings.member == charter.host else own["host"]
    yield own["reviews" if charter.studies.reviewers else "reviews_none"]
    yield from (own["consent"], own["stop"], own["left"], own["leave"], own["charter"])
    yield _braced(_bullets([each.text for each in sentences(charter, language)]))
    yield own["end"]


def _it(words: Catalogue, settings: NodeSettings) -> Iterator[str]:
    own = words["it"]
    yield own["flows"]
    yield "\n".join([own["table"], *_connections(own, settings)])
    if not settings.mirror:
        yield own["no_mirror"]
    yield from (own["outward"], own["tls"])
    yield own["plain_none" if settings.plain_http == "loopback" else "plain_on_purpose"]
    yield own["control"]
    yield from (own["machine"], own["clock"], own["folder"], own["study"], own["doctor"])
    yield own["settings"]
    yield _braced(_bullets(list(_settings(words, "node", settings))))


def _data_protection(
    words: Catalogue, charter: Charter, site: SitePolicy, language: str
) -> Iterator[str]:
    own = words["data_protection"]
    yield from (own["leaves"], own["leaves_list"], own["leaves_not"], own["leaves_not_list"])
    yield own[f"sandbox_{site.sandbox if isinstance(site.sandbox, str) else 'walls'}"]
    yield from (own["ledger"], own["parameters"], own["budget"], own["sums"])
    yield own["exposed_yes" if site.exposed else "exposed_no"]
    of_studies = [s.text for s in sentences(charter, language) if s.path.startswith("studies.")]
    yield _braced(_bullets([*of_studies, *_settings(words, "site", site)]))
    yield from (own["risks"], own["risks_text"], own["means"], own["means_list"])


def _connections(own: Mapping[str, str], settings: NodeSettings) -> Iterator[str]:
    def row(source: str, url: str, purpose: str) -> str:
        at = urlsplit(url)
        port = str(at.port or PORTS.get(at.scheme, 0))
        name = at.hostname or url
        cells = {"source": source, "target": name, "port": port, "purpose": purpose}
        return own["row"].format_map({key: _braced(cell) for key, cell in cells.items()})

    if settings.proxy:
        yield row(own["node"], settings.proxy, own["to_proxy"])
    yield row(own["node"], settings.host_url, own["to_host"])
    for url in settings.hosts:
        yield row(own["node"], url, own["to_other_host"])
    for url in settings.peers:
        yield row(own["node"], url, own["to_peer"])
    if settings.mirror:
        yield row(own["peer"], f"//{settings.mirror}", own["to_mirror"])


# -- facts ---------------------------------------------------------------------------------------


def _facts(
    charter: Charter, settings: NodeSettings, site: SitePolicy, words: Catalogue
) -> dict[str, str]:
    bounds, risks = charter.studies, words["data_protection"]
    return {
        "absence": risks["absence_goes_on" if site.exposed else "absence_waits"],
        "authorities": f"`{settings.ca_file}`" if settings.ca_file else words["words"]["system"],
        "colluders_min": str(bounds.colluders_min),
        "commons": charter.name,
        "count": str(len(charter.founders)),
        "cpu_s_max": str(site.cpu_s_max),
        "host": charter.host,
        "member": settings.member,
        "members": ", ".join(each.name or each.id for each in charter.founders),
        "memory_mb_max": str(site.memory_mb_max),
        "poll_s": str(settings.poll_s),
        "review_orgs": str(bounds.review_orgs),
        "reviewers": str(bounds.reviewers),
        "survivors_min": str(max(bounds.survivors_min, site.survivors_min)),
        "walls": ", ".join(sorted(site.walls)),
    }


def _settings(words: Catalogue, table: str, settings: Struct) -> Iterator[str]:
    """Each setting in a sentence."""
    for path, value in _leaves(msgspec.to_builtins(settings), ""):
        group, _, rest = path.partition(".")
        name, _, key = rest.rpartition(".")  # of a table whose keys its owner chose
        form = words[table].get(path) or words[table].get(f"{group}.{key}", words["words"]["other"])
        yield form.format(path=path, name=name, value=_in_words(words["words"], value))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:  # Any: what TOML can hold
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _leaves(inside, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _in_words(words: Mapping[str, str], value: Any) -> str:  # Any: what TOML can hold
    if isinstance(value, bool):
        return words["yes" if value else "no"]
    if isinstance(value, list | tuple):
        return ", ".join(f"`{each}`" for each in value) or words["none"]
    return words.get(str(value), str(value)) if value != "" else words["none"]


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _braced(text: str) -> str:
    """Text of people, through a later `format_map`, as it stands."""
    return text.replace("{", "{{").replace("}", "}}")


@cache
def _catalogue(language: str) -> Catalogue:
    text = resources.files("comity.cli").joinpath(f"kit_{language}.toml").read_text("utf-8")
    return tomllib.loads(text)

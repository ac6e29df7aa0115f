"""Writes the pages that repeat the code: rules, commands, and the bodies of statements.

    make docs        # python -m tests.make_docs

The house test compares the pages with what is written here, so they cannot grow old.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from comity.statements import fields, governing, membership, rounds, studies
from tests.doc_example import example
from tests.rule_meanings import MEANINGS, SECTIONS

ROOT = Path(__file__).resolve().parents[1]
NAMED = {
    fields.DigestField: "digest",
    fields.StatementIdField: "statement id",
    fields.CommonsIdField: "commons id",
    fields.MemberField: "member id",
    fields.DatasetField: "data-set id",
    fields.SlugField: "slug",
    fields.TextField: "text, at most 2,000 bytes",
    fields.ReasonField: "text, not empty, at most 2,000 bytes",
    fields.AddressField: "printable ASCII without spaces, at most 256 bytes",
    fields.EvidenceField: "text, not empty, at most 16,384 bytes",
    fields.LogSize: "log size",
    fields.Count: "integer from 0",
    fields.Positive: "integer from 1",
    fields.Duration: "seconds, from 1",
    fields.SeatField: "seat",
    fields.Words: "words",
    fields.BitSet: "bit set of seats",
    fields.SealingKey: "sealing key",
    fields.Signature: "ECDSA signature, DER",
}
FAMILIES = (
    ("The commons itself", governing, governing.GOVERNING),
    ("Members, keys, epochs, hosts", membership, membership.BELONGING),
    ("Data sets, studies, consent", studies, studies.STUDYING),
    ("Rounds", rounds, rounds.ROUNDING),
)


def pages(root: Path) -> dict[Path, str]:
    """Each generated page and what it should hold now."""
    protocol = root / "docs/protocol.md"
    page = protocol.read_text(encoding="utf-8")
    page = between(page, "example", "\n".join(["", *example(), ""]))
    page = between(page, "bodies", "\n".join(bodies()))
    made = {root / "docs/rules.md": rules_page(), protocol: page}
    if importlib.util.find_spec("comity.cli.main") is not None:
        made[root / "docs/commands.md"] = commands_page()
    return made


def between(page: str, name: str, text: str) -> str:
    """The page with the text between the two comments of this name."""
    start, stop = f"<!-- {name}: written by `make docs` -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(stop)
    return f"{before}{start}\n{text}\n{stop}{after}"


def rules_page() -> str:
    """docs/rules.md: every rule, what it means, and what to do."""
    lines = [
        "# Rules",
        "",
        "A statement that is authentic but not allowed is **void**: it stays in the log, has no",
        "effect, and carries one of these codes. Whoever is about to say it asks the same",
        "questions first and is **refused** with the same code. `grep -r Rule.NAME tests` finds",
        "the tests that trigger one. Written by `make docs`.",
    ]
    for title, rules in SECTIONS:
        lines += ["", f"## {title}", "", "| code | meaning | what to do |"]
        lines.append("| --- | --- | --- |")
        for rule in rules:
            meaning, advice = MEANINGS[rule]
            lines.append(f"| `{rule.value}` | {meaning} | {advice} |")
    return "\n".join(lines) + "\n"


def bodies() -> Iterator[str]:
    """One table for each tag, then the parts that several of them hold."""
    parts: dict[str, type[Struct]] = {}
    for title, module, classes in FAMILIES:
        yield from ("", f"### {title}")
        for body in classes:
            yield from ("", f"**`{body.tag}`** {first_sentences(body)}", "")
            yield from rows(body, parts)
        for name in sorted(parts):
            if parts[name].__module__ == module.__name__:
                yield from ("", f"*{name}*. {first_sentences(parts[name])}", "")
                yield from rows(parts[name], {})


def rows(kind: type[Struct], parts: dict[str, type[Struct]]) -> Iterator[str]:
    """The fields of a body, in the order they have on the wire; collects the parts they name."""
    hints = get_type_hints(kind, include_extras=True)
    shown = sorted(msgspec.structs.fields(kind), key=lambda each: each.encode_name)
    if not shown:
        yield "No fields."
        return
    yield from ("| field | value |", "| --- | --- |")
    for each in shown:
        left_out = "" if each.required else "; left out when " + default_text(each.default)
        yield f"| `{each.encode_name}` | {spell(hints[each.name], parts)}{left_out} |"


def default_text(default: object) -> str:
    """How a default reads in a sentence."""
    return "absent" if default is None else str(default) if default else "empty or 0"


def spell(hint: Any, parts: dict[str, type[Struct]]) -> str:  # Any: type hints have no type
    """A field's type in words."""
    if hint in NAMED:
        return NAMED[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, bound = arguments[0], arguments[1]
        return f"{spell(base, parts)}{bounds_of(base, bound)}"
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, UnionType):
        return " or ".join(spell(one, parts) for one in arguments if one is not type(None))
    if origin is tuple:
        return f"list of *{spell(arguments[0], parts)}*"
    if isinstance(hint, type) and issubclass(hint, Struct):
        parts[hint.__name__] = hint
        spell_all(hint, parts)
        return hint.__name__
    return {int: "integer", str: "text", bytes: "base64", bool: "true or false"}[hint]


def spell_all(kind: type[Struct], parts: dict[str, type[Struct]]) -> None:
    """Collect the parts that this part holds in turn."""
    for hint in get_type_hints(kind, include_extras=True).values():
        if get_origin(hint) is not None or isinstance(hint, type):
            spell(hint, parts)


def bounds_of(base: object, bound: Meta) -> str:
    """The bounds of a field in words."""
    if base is bytes:
        return f" of {bound.max_length} bytes"
    low = bound.min_length if bound.ge is None else bound.ge
    high = bound.max_length if bound.le is None else bound.le
    text = f", at least {low:,}" if low is not None else ""
    text += f", at most {high:,}" if high is not None else ""
    return text + (f", below {bound.lt:,}" if bound.lt is not None else "")


def first_sentences(kind: type[object]) -> str:
    """The first paragraph of a class's docstring, on one line."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def commands_page() -> str:
    """docs/commands.md: every command of the Typer app with its options and their help."""
    import typer.main

    from comity.cli.main import app

    lines = ["# Commands", "", "Exit codes: [operating.md](operating.md). Written by `make docs`."]
    lines += list(commands_of(typer.main.get_command(app), "comity"))
    return "\n".join(lines) + "\n"


def commands_of(command: Any, name: str) -> Iterator[str]:  # Any: Click's own classes, by duck type
    """One section for each command below this one."""
    if getattr(command, "commands", None):
        for part in sorted(command.commands):
            yield from commands_of(command.commands[part], f"{name} {part}")
        return
    yield from ("", f"## `{name}`", "", " ".join((command.help or "").split()), "")
    for parameter in command.params:
        is_option = parameter.param_type_name == "option"
        shown = parameter.opts[-1] if is_option else parameter.name.upper()
        said = " ".join((getattr(parameter, "help", None) or "").split())
        yield f"- `{shown}`" + (f": {said}" if said else "")


def main() -> None:
    """Write every page that differs."""
    for path, page in pages(ROOT).items():
        if not path.exists() or path.read_text(encoding="utf-8") != page:
            path.write_text(page, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

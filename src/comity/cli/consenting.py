"""`comity consent list` and `comity consent simulate`: what this site's policy says, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comity.cli.asking import expect, read_node
from comity.cli.terminal import AsJson, Folder, Screen, table
from comity.cli.work import HERE, consent
from comity.node.consent_wire import ListConsents, SimulateConsent
from comity.node.consenting import ConsentList, ConsentStatus, Simulated, TermShown
from comity.statements.studies import UseTerms

_DECISIONS = {
    "by-itself": "the policy says yes by itself",
    "waits-for-person": "a person is asked",
    "forbidden": "the policy forbids it, whatever a person says",
}


@consent.command("list")
def consent_list(
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only what waits for a person of this site.")
    ] = False,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """List the studies that are under way, what this site's policy says of each, and why.

    \b
    Example:
      comity consent list --waiting
    """
    found = expect(ConsentList, read_node(folder, ListConsents()))
    shown = [each for each in found.studies if each.waits or not waiting]
    lines = [line for each in shown for line in _lines(each)]
    nothing = "nobody is waited for" if waiting else "no study is under way"
    Screen(as_json).result(ConsentList(tuple(shown)), *(lines or [nothing]))


@consent.command("simulate")
def consent_simulate(
    study: Annotated[str, typer.Argument(help="A study file, or the name of a registered study.")],
    dataset: Annotated[
        str | None, typer.Option(help="Of this site; may be left out if it has one.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Another site policy; default: this site's site.toml.")
    ] = None,
    folder: Folder = HERE,
    as_json: AsJson = False,
) -> None:
    """Show what this site's policy would do with a study, before anybody signs anything.

    Nothing is said and nothing runs on data. Every step of the gate is asked, in its order.

    \b
    Example:
      comity consent simulate risk.py
      comity consent simulate risk --policy stricter.toml
    """
    file = Path(study)
    is_file = file.suffix == ".py" or file.is_file()
    wish = SimulateConsent(
        study=None if is_file else study,
        file=str(file.absolute()) if is_file else None,
        dataset=dataset,
        policy="" if policy is None else str(policy.absolute()),
    )
    found = expect(Simulated, read_node(folder, wish))
    rows = [[each.step, each.code or "passes", each.why] for each in found.steps]
    Screen(as_json).result(
        found,
        f"study {found.name}: {found.rounds} rounds, {found.parameters} numbers, code {found.code}",
        f"it is for: {use_words(found.use)}",
        f"data set {found.dataset} in version {found.version}",
        *_term_lines(found.terms),
        table(("step", "result", "why"), rows),
        f"CONSENT: {_DECISIONS[found.decision]}",
        "with consent, a round could begin now" if found.runs_now else "no round could begin now",
    )


def use_words(use: UseTerms | None) -> str:
    """What a study declares to be for, in a few words."""
    if use is None:
        return "it does not say"
    flags = {
        "commercial": use.commercial,
        "among not-for-profit institutions": use.non_profit,
        "develops methods": use.methods,
        "on population origins": use.ancestry,
    }
    parts = [use.purpose, *use.diseases]
    parts += [name if said else f"not {name}" for name, said in flags.items() if said is not None]
    parts += [f"ethics approval {use.ethics[:12]}"] if use.ethics else []
    return ", ".join(parts)


def _lines(each: ConsentStatus) -> list[str]:
    given = f"given by {each.by}" if each.by else each.answer
    lines = [
        f"study {each.name} ({each.id[:12]}) of {each.author}: consent {given}",
        f"  {each.title}",
        f"  it is for: {use_words(each.use)}; code {each.code}",
        f"  {_DECISIONS[each.decision]}",
    ]
    if each.stops is not None:
        lines.append(f"  because of {each.stops.step}: {each.stops.why} [{each.stops.code}]")
    lines += [f"  {line}" for line in _term_lines(each.terms)]
    if each.waits:
        lines.append(f"  ANSWER: {each.command}, or: comity consent refuse {each.id[:12]}")
    return lines


def _term_lines(terms: tuple[TermShown, ...]) -> list[str]:
    return [f"{each.fit}: {each.name} ({each.term}): {each.why}" for each in terms]

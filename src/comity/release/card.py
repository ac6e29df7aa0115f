"""The model card and config.json: what a release says about itself, from what the log says.

Written by the proposer's node, read by everybody who votes on it. `verify` vouches for its bytes
(the members signed them), and takes no fact from it.
Source: log-and-provenance.md 4; aggregation.md 9, whose text is not to be softened.
"""

from __future__ import annotations

from collections import Counter
from typing import final

from msgspec import Struct

from comity.aggregation.layout import Layout
from comity.commons.state import Accepted, State, Study
from comity.log.heads import origin_of
from comity.release.words import plain, yaml_text
from comity.statements.wire import canonical
from comity.values import CommonsId, Digest, MemberId, StatementId

_CARD = """\
---
{front}---

# {title}

{purpose}

## Who made it

The commons "{commons}" (`{origin}`), in round {round_no} of the study `{study}`.

| member | country | rounds taken part in |
| --- | --- | --- |
{members}

## How

Rounds accepted: {rounds} of {rounds_max}. Each is one sum over the members' updates, added without
anybody reading one. Next model from the sum: `{rule}`. Weights: {weights}.{evaluates}

| what | SHA-256 |
| --- | --- |
| code of the study | `{code}` |
| layout of the model | `{layout}` |
| first model | `{first}` |
| this model | `{model}` |

Data sets, by their declared versions. The data stayed with their owners.

| data set | member | unit | version |
| --- | --- | --- | --- |
{datasets}

## What the rounds protect, and what not

{protection}
## Reports

{reports}

## Licence

{licence}
"""

_EVALUATES = """

**This is an evaluation.** Nothing was trained: the file holds, for each metric, the mean of its
values and the share of weights at which it is defined, of the given model `{given}`,
which is no part of this release."""

_PROTECTION = """\
> *What this round protects.* Nobody, including the host and up to **{colluders}** members acting
> with it, sees your update. They see the sum of at least **{survivors_min}** updates, over one set
> of members. The sum is checked by every member; nobody can change it after seeing it.
>
> *What it does not protect.* The sum itself says something about your data; with few members, or
> if the others compare notes beyond **{colluders}**, it can say a lot. Only differential privacy
> limits that; this study's guarantee is (ε, δ) = none. Whoever can read the commons' log and its
> files can compute every sum.
>
> *If a member is missing from one round and present in the next, the two results together show
> nearly its update, to anyone.* This study therefore {absence}.
>
> *A dishonest member can spoil the result.* Secrecy means nobody can look at one update. The sum
> is correct, the inputs may not be. It can even make a round worthless for you while it and the
> host still learn the sum; nobody can tell who did it. This study uses: one sum — strongest
> secrecy, no defence against a poisoner.
>
> *Once you have sent your masked update you cannot take it back*; abandoning may come too late.
>
> *With three members* all three must stay online to the end and two of them together see the
> third. *With two members* there is no secrecy between you.
"""


@final
class TensorConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One tensor of the model file: float32, in the order of the file."""

    name: str
    shape: tuple[int, ...]


@final
class ModelConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """content/model/config.json: what code that loads the model needs to know."""

    code: Digest
    commons: CommonsId
    format: str
    layout: Digest
    name: str
    round_no: int
    study: StatementId
    tensors: tuple[TensorConfig, ...]


def model_config(state: State, study: Study, result: Accepted, layout: Layout) -> bytes:
    """config.json as canonical JSON."""
    plan = study.register.plan
    config = ModelConfig(
        code=plan.code,
        commons=state.commons,
        format="comity-model/1",
        layout=plan.layout,
        name=study.register.name,
        round_no=result.round_no,
        study=study.id,
        tensors=tuple(TensorConfig(s.name, s.shape) for s in layout.segments),
    )
    return canonical(config)


def model_card(
    state: State,
    study: Study,
    result: Accepted,
    *,
    purpose: str = "",
    licence: str = "",
    reports: tuple[str, ...] = (),
) -> bytes:
    """content/model/README.md.

    Args:
        result: the accepted result that is released, one of the study's.
        purpose: what the model is for, in the proposer's words; plain text.
        licence: its name; none is claimed when empty.
        reports: paths of the reports beside it, relative to content/.
    """
    plan, charter = study.register.plan, state.charter
    title = study.register.title or study.register.name
    files = "\n".join(f"- `{path}`" for path in sorted(reports))
    return _CARD.format(
        front=_front(state, study, result, title, licence),
        title=plain(title),
        purpose=plain(purpose) or "The proposer did not say what it is for.",
        commons=plain(charter.name),
        origin=origin_of(state.commons, charter.origin_prefix),
        round_no=result.round_no,
        study=study.id,
        members=_members(state, study, result),
        rounds=result.round_no,
        rounds_max=plan.rounds_max,
        rule=plan.rule.name,
        weights=plan.weights,
        evaluates=_EVALUATES.format(given=plan.evaluates) if plan.evaluates else "",
        code=plan.code,
        layout=plan.layout,
        first=plan.model,
        model=result.model,
        datasets=_datasets(state, study, result),
        protection=protection_text(study),
        reports=files or "None. What each member gains and what it risks is not reported here.",
        licence=plain(licence) or "None is given: ask the members before you use it.",
    ).encode()


def protection_text(study: Study) -> str:
    """What a sum of this study protects and what not, as Markdown (aggregation.md 9)."""
    plan = study.register.plan
    exposed = sorted(m for m, consent in study.consents.items() if consent.exposed)
    return _PROTECTION.format(
        colluders=plan.colluders,
        survivors_min=plan.survivors_min,
        absence=_absence(exposed, everybody=len(exposed) == len(study.consents)),
    )


def took_part(study: Study, result: Accepted) -> dict[MemberId, int]:
    """In how many rounds up to this one each member's update was in the sum."""
    rounds = study.results[: result.round_no]
    return dict(sorted(Counter(m for each in rounds for m in each.survivors).items()))


def _absence(exposed: list[MemberId], *, everybody: bool) -> str:
    if not exposed:
        return "waits for the missing member"
    goes_on = f"goes on, because these members agreed to be exposed: {', '.join(exposed)}"
    return goes_on if everybody else f"waits for the missing member; for some only it {goes_on}"


def _front(state: State, study: Study, result: Accepted, title: str, licence: str) -> str:
    texts = {
        "title": title,
        "license": licence or "none",
        "commons": state.commons,
        "study": study.id,
        "code": study.register.plan.code,
        "model": result.model,
    }
    lines = [f"{name}: {yaml_text(text)}\n" for name, text in texts.items()]
    return "".join(lines) + f"round: {result.round_no}\n"


def _members(state: State, study: Study, result: Accepted) -> str:
    countries = {m: applied.country for m, applied in state.changes.applications.items()}
    countries |= {founder.id: founder.country for founder in state.founding.founders}
    rows = took_part(study, result).items()
    return "\n".join(f"| {m} | {plain(countries[m]) or '-'} | {count} |" for m, count in rows)


def _datasets(state: State, study: Study, result: Accepted) -> str:
    rows = []
    for member in took_part(study, result):
        consent = study.consents.get(member)
        if consent is None:
            rows.append(f"| - | {member} | - | consent withdrawn since |")
            continue
        unit = state.datasets[consent.dataset].unit
        rows.append(f"| {consent.dataset} | {member} | {unit} | `{consent.version}` |")
    return "\n".join(rows)

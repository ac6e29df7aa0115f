"""The card says who took part and what a sum protects, in words that are not to be softened."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec

from comity.release.card import model_card, model_config, protection_text, took_part
from comity.statements.studies import ConsentWithdraw
from tests.release.world import LAYOUT, accepted_study, play_round, released
from tests.worlds import World, charter_of, digest, found_body


def test_the_card_names_members_rounds_digests_and_reports() -> None:
    made = released(4)
    card = made.files()["content/model/README.md"].decode()
    for member in made.world.members:
        assert f"| {member} | - | 1 |" in card
    assert made.result.model in card and made.study.register.plan.code in card
    assert "- `reports/development.json`" in card
    assert "Rounds accepted: 1 of 3." in card
    assert card.startswith('---\ntitle: "study"\nlicense: "CC0-1.0"\n')


def test_an_evaluation_says_that_it_is_none_but_the_metrics_of_a_given_model() -> None:
    made = released(4)
    plan = msgspec.structs.replace(made.study.register.plan, evaluates=digest("given"))
    register = msgspec.structs.replace(made.study.register, plan=plan)
    study = replace(made.study, register=register)
    card = model_card(made.world.state, study, made.result).decode()
    assert "Nothing was trained" in card and digest("given") in card
    assert "Nothing was trained" not in made.files()["content/model/README.md"].decode()


def test_it_claims_no_licence_no_purpose_and_no_report_that_is_not_given() -> None:
    made = released(4)
    card = model_card(made.world.state, made.study, made.result).decode()
    assert 'license: "none"' in card
    assert "None is given" in card and "did not say" in card and "None. What each member" in card


def test_a_consent_withdrawn_after_the_round_is_said() -> None:
    made = released(4)
    made.world.say(made.world.members[1], ConsentWithdraw(study=made.study_id))
    card = model_card(made.world.state, made.study, made.result).decode()
    assert "| - | member-b | - | consent withdrawn since |" in card
    assert "| data-of-member-a | member-a | record |" in card


def test_the_words_of_the_design_are_not_softened() -> None:
    said = " ".join(protection_text(released(4).study).replace("\n>", " ").split())
    for sentence in (
        "Nobody, including the host and up to **1** members acting with it, sees your update.",
        "They see the sum of at least **3** updates, over one set of members.",
        "The sum itself says something about your data; with few members, or if the others compare "
        "notes beyond **1**, it can say a lot.",
        "this study's guarantee is (ε, δ) = none.",
        "Whoever can read the commons' log and its files can compute every sum.",
        "the two results together show nearly its update, to anyone.*",
        "*A dishonest member can spoil the result.*",
        "nobody can tell who did it.",
        "strongest secrecy, no defence against a poisoner.",
        "*Once you have sent your masked update you cannot take it back*; abandoning may come too "
        "late.",
        "two of them together see the third. *With two members* there is no secrecy between you.",
    ):
        assert sentence in said, sentence


def test_whoever_agreed_to_be_exposed_is_named() -> None:
    def text(exposed: int) -> str:
        world = World.of(3)
        study = accepted_study(world, exposed=world.members[:exposed])
        return " ".join(protection_text(world.study(study)).replace("\n>", " ").split())

    assert "waits for the missing member." in text(0) and "agreed" not in text(0)
    assert "waits for the missing member;" in text(2)
    assert "agreed to be exposed: member-a, member-b." in text(2)
    assert "waits" not in text(3)
    assert "goes on, because these members agreed to be exposed" in text(3)


def test_took_part_counts_the_rounds_up_to_the_released_one() -> None:
    world = World.of(3)
    study = accepted_study(world)
    play_round(world, study, digest("second model"))
    first, second = world.study(study).results
    assert took_part(world.study(study), first) == dict.fromkeys(world.members, 1)
    assert took_part(world.study(study), second) == dict.fromkeys(world.members, 2)


def test_attack_45_names_and_titles_of_members_are_shown_as_text() -> None:
    charter = charter_of(3)
    founders = tuple(
        msgspec.structs.replace(f, country="<b>|x") if f.id == "member-a" else f
        for f in charter.founders
    )
    world = World.empty(
        msgspec.structs.replace(charter, founders=founders, name="](https://x) <i>\n# hello")
    )
    for member in world.members:
        world.say(member, found_body(member))
    study = world.study(accepted_study(world))
    card = model_card(
        world.state, study, study.results[-1], purpose="<script>\n---\n", licence='"\nevil: 1'
    ).decode()
    assert "<b>" not in card and "<i>" not in card and "<script>" not in card
    assert "&lt;b&gt;\\|x" in card
    assert "\n# hello" not in card and "\nevil: 1" not in card
    assert card.count("\n---\n") == 1 and card.startswith("---\n")


def test_the_config_says_what_loads_the_model() -> None:
    made = released(4)
    config = json.loads(model_config(made.world.state, made.study, made.result, LAYOUT))
    assert config["format"] == "comity-model/1"
    assert config["tensors"] == [
        {"name": "weights", "shape": [3, 2]},
        {"name": "bias", "shape": [2]},
    ]

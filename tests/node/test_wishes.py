"""Wishes on real stations: a founded commons of three, with a real host in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import msgspec
import pytest

from comity.commons.charter import Charter
from comity.errors import (
    ComityError,
    ExitCode,
    Misconfigured,
    Refused,
    Rule,
    StudyFault,
)
from comity.host.serve import HostServer
from comity.log.proofs import parse_tlog_proof
from comity.node import deciding, wishes
from comity.node.charter_text import toml_of
from comity.node.planning import PlanTerms, deadlines, plan_of, study_parts
from comity.node.station import Station
from comity.release.anchor import parse_anchor
from comity.release.verify import verify
from comity.storage.folder import DiskFolder
from comity.values import StatementId
from tests.e2e.places import Places, Running, found_places, running, wait_until
from tests.worlds import charter_of

ROWS = [
    f"{20 + i},{'yes' if i % 2 else 'no'},{'yes' if i % 3 == 0 else 'no'},"
    f"{'test' if i % 4 == 0 else 'train'}"
    for i in range(60)
]
TABLE = ("age,smoker,ill,part\n" + "\n".join(ROWS) + "\n").encode()
SITE = 'studies = "ask"\nsandbox = "warn"\n'
RECIPE = (Path(wishes.__file__).parents[1] / "recipes" / "minimal.py").read_text()
STUDY = RECIPE.replace("rounds=10", "rounds=2")
T = TypeVar("T")


@dataclass
class Commons:
    """Three running nodes; `ask` is what a command does."""

    places: Places
    nodes: list[Running]

    def ask(self, seat: int, call: Callable[[Station], T]) -> T:
        """Run a wish in the loop of a node."""
        # The loop hands back what `call` gave.
        return cast(T, self.nodes[seat].loop.ask(call))

    def say(self, seat: int, call: Callable[[Station], wishes.Said]) -> StatementId:
        """Run a wish that says something, and wait until all nodes have it in effect."""
        said = self.ask(seat, call)
        limit = time.monotonic() + 30
        for at in range(len(self.nodes)):
            found = self.ask(at, lambda s: wishes.logged(s, said.statement))
            while found.index < 0:
                assert time.monotonic() < limit, self.nodes[at].station.faults
                time.sleep(0.01)
                found = self.ask(at, lambda s: wishes.logged(s, said.statement))
            assert found.void == ""
        return said.statement

    def refused(self, seat: int, call: Callable[[Station], object]) -> ComityError:
        """The error that a wish ends with."""
        with pytest.raises(ComityError) as caught:
            self.ask(seat, call)
        return caught.value


@pytest.fixture(scope="module")
def commons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commons]:
    root = tmp_path_factory.mktemp("commons")
    places = found_places(root, ("a", "b", "c"), table=TABLE, site=SITE)
    host = HostServer(
        places.host_folder,
        places.charter,
        host_key=places.host.keys.host,
        listen="127.0.0.1:0",
        clock=lambda: int(time.time()),
    )
    thread = threading.Thread(target=host.run, args=(lambda _: None,), daemon=True)
    thread.start()
    with running(places, host.url) as nodes:
        wait_until(nodes, lambda state: state.founded_size > 0)
        made = Commons(places, nodes)
        for seat in range(3):
            while not made.ask(seat, wishes.status).founded:
                time.sleep(0.01)
        for seat, place in enumerate(places.all):
            made.say(seat, _declaring(place.member, place.table))
        yield made
    host.stop()
    thread.join(10)


def _declaring(name: str, table: Path) -> Callable[[Station], wishes.Said]:
    return lambda s: wishes.declare_dataset(s, f"data-{name}", table)


def _study(folder: Path, name: str, text: str = STUDY) -> Path:
    file = folder / f"{name}.py"
    file.write_text(text.replace('name="my-study"', f'name="{name}"'))
    return file


def _rule(error: ComityError) -> Rule:
    assert isinstance(error, Refused), error
    return error.rule


# -- the whole way -------------------------------------------------------------------------------


def test_from_a_study_file_to_a_release_that_verifies(commons: Commons, tmp_path: Path) -> None:
    file = _study(tmp_path, "journey")
    terms = PlanTerms(phase_s=60, train_s=60)
    study = commons.say(1, lambda s: wishes.register_study(s, file, terms=terms))
    too_soon = commons.refused(0, lambda s: wishes.evaluate(s, "journey"))
    assert _rule(too_soon) is Rule.TOO_SOON
    asked = commons.ask(0, wishes.status).asks
    assert [(ask.subject, ask.id) for ask in asked if ask.name == "journey"] == [("consent", study)]
    too_soon = commons.refused(0, lambda s: wishes.propose_release(s, "journey"))
    assert _rule(too_soon) is Rule.TOO_SOON
    for seat in range(3):
        commons.say(seat, lambda s: wishes.give_consent(s, study[:12]))
    wait_until(commons.nodes, lambda state: state.studies[study].finished)

    found = commons.ask(0, lambda s: wishes.evaluate(s, "journey"))
    assert found.round_no == 2
    assert found.together.keys() == found.alone.keys() == {"auc", "log_loss"}

    proposal = commons.say(2, lambda s: wishes.propose_release(s, "journey", purpose="to show"))
    early = commons.refused(0, lambda s: wishes.write_release(s, proposal, tmp_path / "early"))
    assert _rule(early) is Rule.NOT_DECIDED
    assert any(ask.subject == "vote" for ask in commons.ask(0, wishes.status).asks)
    commons.say(0, lambda s: wishes.cast_vote(s, proposal[:8], "yes"))
    commons.say(1, lambda s: wishes.cast_vote(s, proposal, "yes", reason="it helps"))
    while not commons.ask(2, wishes.status).proposals[0].ready:
        time.sleep(0.01)
    written = commons.ask(2, lambda s: wishes.write_release(s, "journey", tmp_path / "release"))
    anchor = parse_anchor(commons.ask(0, wishes.anchor).text.encode())
    verdict = verify(DiskFolder(Path(written.path)), anchor)
    assert (verdict.code, written.proposal) == (ExitCode.DONE, proposal), verdict.sentence

    seen = next(s for s in commons.ask(0, wishes.status).studies if s.id == study)
    assert (seen.phase, seen.results_count, seen.consent) == ("finished", 2, "given")
    assert seen.enrolled == ("a", "b", "c")


# -- data sets -----------------------------------------------------------------------------------


def test_a_data_set_is_declared_once_for_each_version(commons: Commons, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    table.write_bytes(TABLE)
    declare = _declaring("more", table)
    commons.say(0, declare)
    assert _rule(commons.refused(0, declare)) is Rule.SAID_BEFORE
    table.write_bytes(TABLE + b"50,yes,no,train\n")
    commons.say(0, declare)
    versions = [d for d in commons.ask(0, wishes.status).datasets if d.id == "data-more"]
    assert [known.path for known in versions] == [str(table)]
    assert _rule(commons.refused(1, declare)) is Rule.ID_TAKEN


@pytest.mark.parametrize(
    ("dataset", "unit", "title"),
    [("../up", "record", ""), ("ok", "Two Words", ""), ("ok", "record", "a\x1b[2Jb")],
)
def test_a_declaration_out_of_form_is_the_owners_mistake(
    commons: Commons, dataset: str, unit: str, title: str
) -> None:
    table = commons.places.all[0].table
    error = commons.refused(
        0, lambda s: wishes.declare_dataset(s, dataset, table, unit=unit, title=title)
    )
    assert type(error) is Misconfigured


def test_a_data_file_that_is_not_there_is_named(commons: Commons, tmp_path: Path) -> None:
    error = commons.refused(0, _declaring("gone", tmp_path / "gone.csv"))
    assert type(error) is Misconfigured and "gone.csv" in str(error)


# -- studies and consent -------------------------------------------------------------------------


def test_consent_is_given_refused_and_withdrawn(commons: Commons, tmp_path: Path) -> None:
    file = _study(tmp_path, "asked")
    commons.say(0, lambda s: wishes.register_study(s, file))

    def consent_of_b() -> str:
        studies = commons.ask(0, wishes.status).studies
        enrolled = next(s.enrolled for s in studies if s.name == "asked")
        return "in" if "b" in enrolled else "out"

    assert _rule(commons.refused(1, lambda s: wishes.withdraw_consent(s, "asked"))) is (
        Rule.NO_CONSENT
    )
    commons.say(1, lambda s: wishes.refuse_consent(s, "asked", reason="not yet"))
    assert _rule(commons.refused(1, lambda s: wishes.refuse_consent(s, "asked"))) is (
        Rule.SAID_BEFORE
    )
    study = commons.say(1, lambda s: wishes.give_consent(s, "asked"))
    assert study
    wait_until(
        commons.nodes,
        lambda state: any("b" in s.enrolled for s in state.studies.values()),
    )
    commons.say(1, lambda s: wishes.withdraw_consent(s, "asked"))
    assert consent_of_b() == "out"


def test_consent_that_this_site_cannot_keep_is_not_given(commons: Commons, tmp_path: Path) -> None:
    file = _study(tmp_path, "careful")
    commons.say(0, lambda s: wishes.register_study(s, file))
    expected = [
        (lambda s: wishes.give_consent(s, "careful", dataset="data-a"), Rule.NO_SUCH_THING),
        (lambda s: wishes.give_consent(s, "no-such-study"), Rule.NO_SUCH_THING),
        (lambda s: wishes.give_consent(s, "careful", exposed=True), Rule.SITE_FORBIDS),
    ]
    for call, rule in expected:
        assert _rule(commons.refused(2, call)) is rule
    table = commons.places.all[2].table
    table.write_bytes(TABLE + b"\n")
    try:
        changed = commons.refused(2, lambda s: wishes.give_consent(s, "careful"))
    finally:
        table.write_bytes(TABLE)
    assert _rule(changed) is Rule.VERSION_NOT_DECLARED


def test_the_same_wish_twice_before_it_is_logged_is_one_statement(
    commons: Commons, tmp_path: Path
) -> None:
    file = _study(tmp_path, "twice")
    commons.say(0, lambda s: wishes.register_study(s, file))
    both = commons.ask(2, lambda s: [wishes.refuse_consent(s, "twice").statement for _ in range(2)])
    assert both[0] == both[1]


def test_a_broken_study_file_is_not_registered(commons: Commons, tmp_path: Path) -> None:
    file = _study(tmp_path, "broken", "STUDY = 1 / 0\n")
    error = commons.refused(0, lambda s: wishes.register_study(s, file))
    assert isinstance(error, StudyFault) and "line 1" in str(error)


def test_a_study_out_of_bounds_names_the_setting(commons: Commons, tmp_path: Path) -> None:
    file = _study(tmp_path, "bold")
    terms = PlanTerms(colluders=2)
    error = commons.refused(0, lambda s: wishes.register_study(s, file, terms=terms))
    assert _rule(error) is Rule.STUDY_OUT_OF_BOUNDS and "survivors_min" in str(error)


def test_a_plan_is_safe_by_default(commons: Commons, tmp_path: Path) -> None:
    """c is a third of the others, u_min two thirds of all, at least c + 2."""
    file = _study(tmp_path, "sizes")
    site = commons.nodes[0].station.site
    parts = study_parts(file, tmp_path, site)
    expected = {3: (1, 3), 4: (1, 3), 5: (1, 4), 7: (2, 5), 10: (3, 7), 20: (6, 14)}
    for count, (colluders, survivors_min) in expected.items():
        plan = plan_of(parts, charter_of(count), count, PlanTerms())
        assert (plan.colluders, plan.survivors_min) == (colluders, survivors_min)
    with pytest.raises(Misconfigured):
        deadlines(0, 1)


# -- votes ---------------------------------------------------------------------------------------


def test_a_vote_on_nothing_is_refused(commons: Commons) -> None:
    gone = commons.refused(0, lambda s: wishes.cast_vote(s, "f" * 64, "yes"))
    assert _rule(gone) is Rule.NO_SUCH_THING
    short = commons.refused(0, lambda s: wishes.cast_vote(s, "", "yes"))
    assert _rule(short) is Rule.NO_SUCH_THING
    perhaps = commons.refused(
        0,
        lambda s: wishes.cast_vote(s, "ffff", "perhaps"),  # type: ignore[arg-type]  # the attack
    )
    assert type(perhaps) is Misconfigured


# -- the log -------------------------------------------------------------------------------------


def test_the_log_is_shown_in_pages(commons: Commons) -> None:
    page = commons.ask(0, lambda s: wishes.log_entries(s, 0, 3))
    assert [line.tag for line in page.lines] == ["commons.found"] * 3
    last = commons.ask(0, lambda s: wishes.log_entries(s, -1))
    assert last.start == last.size - 1 == last.lines[0].index
    assert commons.ask(0, lambda s: wishes.log_entries(s, last.size)).lines == ()
    shown = commons.ask(0, lambda s: wishes.show_entry(s, 0))
    assert shown.line == page.lines[0] and '"_type"' in shown.payload


def test_an_entry_is_proved_to_who_knows_the_keys_alone(commons: Commons) -> None:
    text = commons.ask(0, lambda s: wishes.prove_entry(s, 1)).text
    entry = commons.ask(0, lambda s: wishes.show_entry(s, 1)).envelope
    state = commons.nodes[0].station.replica.state
    keys = {member: key_set.keys.head for member, key_set in state.keys.items()}
    proof = parse_tlog_proof(text.encode())
    assert proof.index == 1
    proof.verify(entry.encode(), state.keys[state.host].keys.host, keys, state.quorum)


@pytest.mark.parametrize("index", [-1, 10**9])
def test_an_index_outside_the_log_is_refused(commons: Commons, index: int) -> None:
    shown = commons.refused(0, lambda s: wishes.show_entry(s, index))
    proved = commons.refused(0, lambda s: wishes.prove_entry(s, index))
    assert _rule(shown) is _rule(proved) is Rule.NO_SUCH_THING


def test_a_charter_is_amended_from_the_text_of_the_one_in_force(
    commons: Commons, tmp_path: Path
) -> None:
    shown = commons.ask(0, deciding.charter_in_force)
    charter = msgspec.json.decode(shown.text, type=Charter)
    bounds = msgspec.structs.replace(charter.studies, rounds_max=500)
    file = tmp_path / "next.toml"
    file.write_text(toml_of(msgspec.structs.replace(charter, studies=bounds)))
    moved = commons.say(0, lambda s: deciding.propose_amendment(s, file, reason="shorter"))
    for seat in range(3):
        commons.say(seat, lambda s: wishes.cast_vote(s, moved, "yes"))
    (line,) = (p for p in commons.ask(1, deciding.decisions).proposals if p.id == moved)
    assert (line.stage, line.rule, line.voters) == ("waiting", "*", 3)
    assert line.what == "amend the charter"
    file.write_text(toml_of(msgspec.structs.replace(charter, host=charter.founders[1].id)))
    assert "no vote changes host" in str(
        commons.refused(0, lambda s: deciding.propose_amendment(s, file))
    )


def test_a_notice_is_given_and_answered(commons: Commons, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_text("what happened")
    given = commons.say(
        0, lambda s: deciding.give_notice(s, "b", reason="a reason", evidence=(str(report),))
    )
    commons.say(1, lambda s: deciding.reply_to_notice(s, given[:8], "it is repaired"))
    (line,) = commons.ask(2, deciding.decisions).notices
    assert (line.id, line.member) == (given, "b") and line.reply
    for refused in (
        commons.refused(0, lambda s: deciding.propose_exclusion(s, given)),
        commons.refused(0, lambda s: deciding.propose_suspension(s, "b", 60, reason="now")),
    ):
        assert isinstance(refused, Refused) and refused.rule is Rule.NO_RULE
    missing = commons.refused(0, lambda s: deciding.propose_exclusion(s, "0000"))
    assert isinstance(missing, Refused) and missing.rule is Rule.NO_SUCH_THING
    nothing = (str(tmp_path / "nothing"),)
    gone = commons.refused(0, lambda s: deciding.give_notice(s, "b", reason="x", evidence=nothing))
    assert isinstance(gone, Misconfigured)

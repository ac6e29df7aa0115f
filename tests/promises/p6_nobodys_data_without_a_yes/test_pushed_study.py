"""P6. A study that the host pushes does not start at a site that did not say yes to its code.

Against running programs: `comity host serve` and `comity node run`. The hosting member registers a
study and serves its file; where a person is asked, no process starts. At the others it does.
"""

from __future__ import annotations

from pathlib import Path

from comity.node.control import ask_node
from comity.node.planning import PlanTerms
from comity.node.reports import Status
from comity.node.wish_wire import AskStatus
from tests.cli.commands import start
from tests.e2e.live import live
from tests.e2e.preparing import prepare
from tests.e2e.small_study import study_text

STARTED = "study process started"
FORBIDS = 'studies = "ask"\nsandbox = "warn"\ncode = ["{}"]\n'


def test_no_process_starts_for_a_study_nobody_here_said_yes_to(tmp_path: Path) -> None:
    terms = PlanTerms(phase_s=600, train_s=600)
    prepared = prepare(tmp_path / "made", 3, study_text(rounds=1), terms=terms)
    prepared.close()
    with live(prepared, tmp_path / "live") as commons:
        # The owner at m1 asks to be asked, and has reviewed other code than was registered.
        site = commons.place("m1").folder / "site.toml"
        site.write_text(FORBIDS.format("0" * 64))
        commons.start()
        commons.wait_until(lambda: STARTED in commons.said("m0"), 60)
        pushed = tmp_path / "pushed.py"
        pushed.write_text(study_text(rounds=1, numbers=50).replace('"small"', '"pushed"'))
        folder = ("--folder", commons.places.host.folder)
        process = start("study", "register", pushed, *folder, "--json")
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        commons.wait_until(lambda: commons.said("m0").count(STARTED) >= 1, 60)

        def asked() -> str:
            status = start("status", "--folder", commons.place("m1").folder)
            return status.communicate(timeout=60)[0]

        def known() -> bool:
            status = ask_node(commons.place("m1").folder, AskStatus())
            if not isinstance(status, Status):
                return False  # it does not run yet
            forbids = any("[code-not-allowed]" in each.why for each in status.obstacles)
            return forbids and any("pushed" in str(ask) for ask in status.asks)

        commons.wait_until(known, 90)
        assert "ASKS YOU: consent on pushed" in asked()
        assert "[code-not-allowed]" in asked(), "and it says why the other one does not run either"
        assert STARTED not in commons.said("m1")
        (pushed_study,) = [
            study
            for study in commons.reader.look().studies.values()
            if study.register.name == "pushed"
        ]
        assert "m1" not in pushed_study.consents and not pushed_study.results

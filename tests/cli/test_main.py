"""Every command: its help teaches, its mistakes are one sentence with the right exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from comity.cli.main import app
from comity.cli.terminal import exit_code_of
from comity.errors import (
    ComityError,
    DataFault,
    ExitCode,
    Forged,
    HostFault,
    HostFaultKind,
    Malformed,
    MemberFault,
    MemberFaultKind,
    Misconfigured,
    Refused,
    Rule,
    StudyFault,
    StudyFaultKind,
    Unavailable,
)
from tests.cli.commands import Terminal

EXPECTED = {
    "kit",
    "review give",
    "review list",
    "review show",
    "site left",
    "stop",
    "study pause",
    "study resume",
    "id new",
    "id show",
    "charter new",
    "charter check",
    "charter diff",
    "charter show",
    "charter sign",
    "commons found",
    "commons join",
    "host approve",
    "host follow",
    "host handover",
    "host offer",
    "host serve",
    "host takeover",
    "member admit",
    "member apply",
    "keys rotate",
    "keys revoke",
    "member leave",
    "member list",
    "host status",
    "node run",
    "node rebuild",
    "data add",
    "data check",
    "data twin",
    "simulate",
    "study failures",
    "study new",
    "study check",
    "study register",
    "study show",
    "study watch",
    "study evaluate",
    "consent give",
    "consent list",
    "consent refuse",
    "consent simulate",
    "consent withdraw",
    "release propose",
    "release write",
    "charter current",
    "notice give",
    "notice reply",
    "proposal amend",
    "proposal exclude",
    "proposal list",
    "proposal suspend",
    "proposal answer",
    "proposal withdraw",
    "vote",
    "verify",
    "status",
    "log list",
    "log show",
    "log prove",
    "log export",
    "log check",
    "doctor",
    "log head",
    "log compare",
    "evidence check",
    "evidence list",
    "evidence show",
    "anchor show",
    "demo",
}


def _commands() -> list[str]:
    found = []
    for name, command in getattr(get_command(app), "commands").items():  # noqa: B009  # the type has no such field
        below = getattr(command, "commands", None)
        found += [f"{name} {verb}" for verb in below] if below else [name]
    return sorted(found)


def test_the_commands_are_these() -> None:
    assert set(_commands()) == EXPECTED


@pytest.mark.parametrize("command", _commands())
def test_help_teaches_with_an_example(comity: Terminal, command: str) -> None:
    ran = comity(*command.split(), "--help")
    assert ran.code == ExitCode.DONE
    assert f"Example:\n    comity {command}" in ran.out
    assert "--json" in ran.out
    assert "--passphrase " not in ran.out, "a passphrase is never an argument"


def test_the_first_help_tells_the_exit_codes(comity: Terminal) -> None:
    assert "6 no fault found but no anchor given" in comity("--help").out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Malformed("x"), ExitCode.FAILED),
        (Forged("x"), ExitCode.NOT_VERIFIED),
        (Refused(Rule.TOO_FEW, "x"), ExitCode.AGAINST_RULES),
        (Refused(Rule.NO_CONSENT, "x"), ExitCode.CONSENT_MISSING),
        (HostFault(HostFaultKind.ROLLBACK, "x"), ExitCode.FAILED),
        (MemberFault(MemberFaultKind.BAD_SUM, "x"), ExitCode.FAILED),
        (StudyFault(StudyFaultKind.CODE_FAILED, "x"), ExitCode.FAILED),
        (DataFault("x"), ExitCode.FAILED),
        (Unavailable("x"), ExitCode.FAILED),
        (Misconfigured("x"), ExitCode.USAGE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ComityError) else value.name,
)
def test_every_error_has_its_exit_code(error: ComityError, code: ExitCode) -> None:
    assert exit_code_of(error) is code


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-noun",),
        ("log", "show", "twelve"),
        ("vote", "ffff"),
        ("vote", "ffff", "perhaps"),
        ("log", "show", "--folder", "nowhere", "-1"),
        ("status", "--folder", "nowhere"),
        ("anchor", "show", "--folder", "nowhere"),
        ("host", "status", "--folder", "nowhere"),
        ("host", "serve", "--tls-key", "k.pem"),
        ("charter", "check", "nowhere.toml"),
        ("id", "show", "--folder", "nowhere"),
        ("id", "new", "Hospital A", "--folder", "new", "--unencrypted-on-purpose"),
        ("id", "new", "a", "--unencrypted-on-purpose", "--passphrase-fd", "3"),
        ("id", "new", "a", "--passphrase-file", "nowhere"),
        ("id", "new", "a", "--passphrase-fd", "987"),
        ("node", "run", "--folder", "nowhere", "--unencrypted-on-purpose"),
        ("study", "new", "x.py", "--recipe", "no-such-recipe"),
        ("verify", "nowhere"),
    ],
    ids=" ".join,
)
def test_a_mistake_of_the_user_is_one_sentence(
    comity: Terminal,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = comity(*arguments)
    assert ran.code == ExitCode.USAGE, ran.err
    assert ran.out == "" and "Traceback" not in ran.err and ran.err.strip()


def test_a_passphrase_is_asked_for_at_a_terminal_only(comity: Terminal, tmp_path: Path) -> None:
    ran = comity("id", "new", "hospital-a", "--folder", tmp_path / "node")
    assert ran.code == ExitCode.USAGE and "--passphrase-fd" in ran.err
    assert not (tmp_path / "node").exists()


def test_a_passphrase_file_open_to_others_is_refused(comity: Terminal, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse\n")
    secret.chmod(0o644)
    arguments = ("id", "new", "a", "--folder", tmp_path / "node", "--passphrase-file", secret)
    ran = comity(*arguments)
    assert ran.code == ExitCode.USAGE and "chmod 600" in ran.err
    assert "correct horse" not in ran.err
    secret.chmod(0o600)
    assert comity(*arguments).code == ExitCode.DONE


def test_a_study_is_copied_once(comity: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "study.py"
    assert comity("study", "new", file, "--json").json()["recipe"] == "minimal"
    again = comity("study", "new", file)
    assert again.code == ExitCode.USAGE and "exists" in again.err


def test_a_study_file_is_tried_on_a_table(comity: Terminal, tmp_path: Path) -> None:
    file, table = tmp_path / "study.py", tmp_path / "t.csv"
    comity("study", "new", file)
    table.write_text("age,smoker,ill,part\n50,yes,no,train\n60,no,yes,test\n")
    ran = comity("study", "check", file, "--data", table, "--weak-sandbox", "--json")
    assert (ran.json()["name"], ran.json()["rows"]) == ("my-study", 2)
    table.write_text("age,smoker,ill,part\n50,perhaps,no,train\n")
    ran = comity("study", "check", file, "--data", table, "--weak-sandbox")
    assert ran.code == ExitCode.FAILED and "row" in ran.err and "perhaps" not in ran.err


@pytest.mark.parametrize(
    ("recipe", "method", "own"),
    [
        ("scaffold", "scaffold", []),
        ("own_head", "plain", ["intercept"]),
        ("perceptron", "plain", ["outer", "intercept"]),
    ],
)
def test_recipes_of_methods_are_copied_and_tried(
    comity: Terminal, tmp_path: Path, recipe: str, method: str, own: list[str]
) -> None:
    file, table = tmp_path / "study.py", tmp_path / "t.csv"
    table.write_text("age,smoker,ill,part\n50,yes,no,train\n60,no,yes,test\n")
    assert comity("study", "new", file, "--recipe", recipe).code == ExitCode.DONE
    tried = ("study", "check", file, "--data", table, "--weak-sandbox")
    found = comity(*tried, "--json").json()
    assert (found["method"], found["own"]) == (method, own)
    told = comity(*tried).out
    assert f"method {method}" in told and ("never leaves a site" in told) == bool(own)


def test_verify_says_why_a_folder_is_none(comity: Terminal, tmp_path: Path) -> None:
    ran = comity("verify", tmp_path, "--json")
    assert ran.code == ExitCode.NOT_VERIFIED == ran.json()["code"]
    anchor = tmp_path / "anchor.txt"
    anchor.write_text("comity-anchor v1\n")
    assert comity("verify", tmp_path, "--anchor", anchor).code == ExitCode.FAILED

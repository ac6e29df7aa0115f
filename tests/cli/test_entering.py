"""From keys to a folder that a node can open, through commands."""

from __future__ import annotations

from pathlib import Path

from comity.errors import ExitCode
from tests.cli.commands import Terminal

URL = "http://127.0.0.1:8440"


def test_from_keys_to_a_folder_through_commands(comity: Terminal, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"correct horse\n")
    secret.chmod(0o600)
    unlock = {"a": ("--passphrase-file", secret)}
    plain = ("--unencrypted-on-purpose",)
    for name in "abc":
        folder = tmp_path / name
        ran = comity("id", "new", name, "--folder", folder, *unlock.get(name, plain), "--json")
        assert ran.code == ExitCode.DONE and ran.json()["member"] == name
        assert (folder / "keys.pem").stat().st_mode & 0o777 == 0o600
    shown = comity("id", "show", "--folder", tmp_path / "a", "--json").json()
    files = [tmp_path / name / f"{name}.id.json" for name in "abc"]
    charter = tmp_path / "charter.toml"
    arguments = ("--name", "Heart", "--host", "a", "--out", charter, "--json")
    made = comity("charter", "new", *files, *arguments).json()
    assert made == comity("charter", "check", charter, "--json").json()
    assert str(shown["digest"]) in charter.read_text()
    sign = ("charter", "sign", charter, "--host-url", URL, "--folder", tmp_path / "a")
    wrong = comity(*sign, *plain)
    assert wrong.code == ExitCode.USAGE and "passphrase" in wrong.err
    signed = comity(*sign, *unlock["a"], "--json")
    assert signed.json()["commons"] == made["commons"]
    join = ("commons", "join", tmp_path / "a" / "charter.json", "--host-url", URL)
    joined = comity(*join, "--folder", tmp_path / "b", "--commons", made["commons"], *plain)
    assert joined.code == ExitCode.DONE and str(made["commons"]) in joined.out
    apart = comity(*join, "--folder", tmp_path / "c", "--commons", "0" * 64, *plain)
    assert apart.code == ExitCode.USAGE
    status = comity("status", "--folder", tmp_path / "a", "--json")
    assert status.json()["missing"] == ["a", "b", "c"]
    assert comity("anchor", "show", "--folder", tmp_path / "a").code == ExitCode.FAILED
    assert comity("log", "show", 0, "--folder", tmp_path / "a").code == ExitCode.AGAINST_RULES
    other = (tmp_path / "c", *plain)
    assert comity("id", "new", "c2", "--folder", *other).code == ExitCode.USAGE

"""The house keeps its own laws: size, names, layers, purity, and documents that tell the truth.

Each test lists every place that breaks one law. Nothing here runs a protocol; it reads files, so it
takes a few seconds. The laws are those of CONTRIBUTING.md.
"""

from __future__ import annotations

import ast
import gc
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from comity import values
from comity.errors import ExitCode, Rule
from comity.statements.wire import BODIES
from tests import make_docs

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "comity"
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
README_LINES_MAX = 150
ADR_LINES_MAX = 60

CORE = ("errors", "values", "statements", "log", "commons", "aggregation", "learning", "release")
BANNED_WORDS = {"common", "util", "utils", "helper", "helpers", "base", "misc"}
BANNED_WORDS |= {"manager", "handler", "engine", "context"}
BANNED_FIRST = {"process", "do"}
BANNED_ALONE = {"process", "do", "act", "agent", "data", "checkpoint", "proof", "key"}
OUTERMOST = ("host/", "web/answering.py", "node/events.py", "node/sandbox_study.py", "cli/main.py")
"""Where an error of any kind may end its way: the loops of host, node, study process, command."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@pytest.fixture(autouse=True, scope="module")
def _without_collector() -> Iterator[None]:
    """Syntax trees are many objects that all stay: looking for garbage triples the time."""
    gc.disable()
    yield
    gc.enable()


@cache
def tracked() -> tuple[str, ...]:
    """Every file that is, or is about to be, in the repository, relative to its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return tuple(sorted(name for name in listed.splitlines() if (ROOT / name).is_file()))


@cache
def text_of(path: Path) -> str:
    """The file as text; what is not UTF-8 shows as replacement characters."""
    return path.read_text(encoding="utf-8", errors="replace")


@cache
def tree_of(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(text_of(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of the parsed file."""
    return tuple(ast.walk(tree_of(path)))


def python(*tops: str) -> list[Path]:
    """The Python files under these folders of the repository."""
    return [ROOT / name for name in tracked() if name.endswith(".py") and name.startswith(tops)]


def source() -> list[Path]:
    """The Python files of the program."""
    return python("src/comity/")


def core() -> list[Path]:
    """The Python files that do no I/O."""
    return [path for path in source() if path.relative_to(SOURCE).parts[0].split(".")[0] in CORE]


def text_of_tests() -> str:
    """All tests in one text, but for this one and what writes documents."""
    apart = {"test_house", "make_docs", "rule_meanings"}
    return "\n".join(text_of(path) for path in python("tests/") if path.stem not in apart)


def place(path: Path, line: int) -> str:
    """Where to look."""
    return f"{path.relative_to(ROOT)}:{line}"


def none_of(findings: list[str]) -> None:
    """Fail with every finding on its own line."""
    assert not findings, "\n" + "\n".join(findings)


def definitions(path: Path) -> Iterator[Definition]:
    """Every function and class, nested ones too."""
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


# size


def test_files_are_short() -> None:
    found = []
    for path in python("src/", "tests/", "bench/"):
        count = len(text_of(path).splitlines())
        if count > FILE_LINES_MAX:
            found.append(f"{path.relative_to(ROOT)}: {count} lines, at most {FILE_LINES_MAX}")
    none_of(found)


def test_functions_are_short() -> None:
    found = []
    for path in python("src/", "tests/", "bench/"):
        for node in definitions(path):
            if not isinstance(node, ast.ClassDef) and _body_lines(node) > FUNCTION_LINES_MAX:
                found.append(f"{place(path, node.lineno)}: {node.name}, {_body_lines(node)} lines")
    none_of(found)


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is None:
        return whole
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1)


def test_documents_are_short() -> None:
    limits = {ROOT / "README.md": README_LINES_MAX}
    limits |= {path: ADR_LINES_MAX for path in (ROOT / "docs/adr").glob("0*.md")}
    counts = {path: len(text_of(path).splitlines()) for path in limits}
    none_of([f"{path.name}: {counts[path]}" for path in limits if counts[path] > limits[path]])


# names


def test_names_say_what_is_meant() -> None:
    found = []
    for path in source():
        if path.stem != "__init__" and _banned(path.stem):
            found.append(f"{path.relative_to(ROOT)}: its name")
        for node in definitions(path):
            if _banned(node.name):
                found.append(f"{place(path, node.lineno)}: {node.name}")
    none_of(found)


def _banned(name: str) -> bool:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name.strip("_"))
    spoken = [word.lower() for word in words]
    if not spoken:
        return False
    alone = len(spoken) == 1 and spoken[0] in BANNED_ALONE
    return alone or spoken[0] in BANNED_FIRST or not BANNED_WORDS.isdisjoint(spoken)


def test_banned_names_are_found() -> None:
    bad = ("KeyManager", "_helper", "process_entries", "doIt", "Context", "data", "Agent")
    good = ("Dataset", "sealing_key", "TreeHead", "done", "actual", "database", "raw_data")
    assert (all(map(_banned, bad)), any(map(_banned, good))) == (True, False)


# layers and purity


def test_imports_go_one_way() -> None:
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, "run `make check`: an import goes up a layer"


def test_recipes_are_study_files_and_no_modules_of_the_house() -> None:
    imported = re.compile(r"^\s*(from|import) +comity\.recipes", re.MULTILINE)
    house = [path for path in source() if "recipes" not in path.relative_to(SOURCE).parts]
    none_of([str(path.relative_to(ROOT)) for path in house if imported.search(text_of(path))])


def test_the_core_has_no_clock_chance_or_files() -> None:
    modules = {"os", "pathlib", "tempfile", "shutil", "logging", "time", "random", "secrets"}
    calls = {"open", "print", "input", "exec", "eval"}
    seeded = {"np.random.Generator", "np.random.PCG64", "np.random.SeedSequence"}
    found = []
    for path in core():
        summing = "aggregation" in path.parts
        for node in nodes_of(path):
            bad: set[str] = set()
            if isinstance(node, ast.Import):
                bad = modules & {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                bad = modules & {(node.module or "").split(".")[0]}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                bad = calls & {node.func.id}
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np.random":
                # A seeded generator is an argument; masks and shares may not even have that.
                bad = {ast.unparse(node)} - (set() if summing else seeded)
            line = getattr(node, "lineno", 0)
            found += [f"{place(path, line)}: {name}" for name in sorted(bad)]
    none_of(found)


def test_the_commons_counts_in_integers() -> None:
    found = []
    for path in python("src/comity/commons/"):
        for node in nodes_of(path):
            is_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
            divides = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
            makes = isinstance(node, ast.Name) and node.id in {"float", "complex"}
            if is_float or divides or makes:
                found.append(place(path, getattr(node, "lineno", 0)))
    none_of(found)


def test_no_error_is_swallowed() -> None:
    found = []
    for path in source():
        if path.relative_to(SOURCE).as_posix().startswith(OUTERMOST):
            continue
        for node in nodes_of(path):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else "Exception"
            broad = re.search(r"\b(Base)?Exception\b", caught)
            if broad and not isinstance(node.body[-1], ast.Raise):
                found.append(f"{place(path, node.lineno)}: catches everything")
    none_of(found)


def test_tests_use_real_parts() -> None:
    mocks = re.compile(r"^\s*(from|import) +(unittest|mock|pytest_mock)\b", re.MULTILINE)
    mocked = [path for path in python("tests/") if mocks.search(text_of(path))]
    none_of([str(path.relative_to(ROOT)) for path in mocked])


def test_nothing_is_left_to_do() -> None:
    words = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
    found = []
    for path in python("src/", "tests/", "bench/"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if words.search(line):
                found.append(place(path, number))
    none_of(found)


def test_no_machine_or_registry_is_named() -> None:
    hosts = re.compile(r"py[p]i\.org|python[h]osted\.org|index-ur[l] *=|/simp[l]e/")
    paths = re.compile(r"(?<![\w.}\-])/(work|root|home|Users)/\w")
    found = []
    for name in tracked():
        if name.endswith(".lock") or not name.startswith("tests/vectors/"):
            for number, line in enumerate(text_of(ROOT / name).splitlines(), 1):
                if hosts.search(line) or paths.search(line):
                    found.append(f"{name}:{number}: {line.strip()[:60]}")
    none_of(found)


def test_nothing_from_outside_is_committed() -> None:
    odd = [name for name in tracked() if (ROOT / name).is_symlink()]
    none_of(odd + [name for name in tracked() if name.startswith("shared/")])


def test_every_public_name_is_explained() -> None:
    found = []
    for path in source():
        tree = tree_of(path)
        law = ast.get_docstring(tree) or ""
        if not law and tree.body:
            found.append(f"{path.relative_to(ROOT)}: the module")
        is_study = "recipes" in path.parts
        found += [
            f"{place(path, node.lineno)}: {name}"
            for name, node in _silent(tree, law)
            if not (is_study and name in ("initial", "train", "evaluate"))
        ]
    none_of(found)


def _silent(tree: ast.Module, law: str) -> Iterator[tuple[str, Definition]]:
    """Public definitions without a docstring. What every class of a module has (`about()`) may be
    described once, in the module's docstring; what a study offers is in `learning/study.py`."""
    for node in _public(tree.body):
        if not ast.get_docstring(node):
            yield node.name, node
        for part in _public(node.body) if isinstance(node, ast.ClassDef) else ():
            if not ast.get_docstring(part) and f"`{part.name}()`" not in law:
                yield f"{node.name}.{part.name}", part


def _public(body: list[ast.stmt]) -> Iterator[Definition]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield from () if node.name.startswith("_") else (node,)


def test_every_rule_is_triggered_by_a_test() -> None:
    said = text_of_tests()
    none_of([rule.name for rule in Rule if not re.search(rf"\bRule\.{rule.name}\b", said)])


def test_every_limit_is_crossed_by_a_test() -> None:
    said = text_of_tests()
    limits = [name for name in vars(values) if re.fullmatch(r"[A-Z_]+(_MAX|_MIN|_S)", name)]
    none_of([name for name in limits if name != "DAY_S" and not re.search(rf"\b{name}\b", said)])


def test_generated_pages_are_up_to_date() -> None:
    stale = [path for path, page in make_docs.pages(ROOT).items() if text_of(path) != page]
    none_of([f"{path.relative_to(ROOT)}: run `make docs`" for path in stale])


def test_every_rule_tag_and_exit_code_is_documented() -> None:
    rules, protocol = text_of(ROOT / "docs/rules.md"), text_of(ROOT / "docs/protocol.md")
    operating = text_of(ROOT / "docs/operating.md")
    found = [f"rules.md: {rule.value}" for rule in Rule if f"`{rule.value}`" not in rules]
    found += [f"protocol.md: {tag}" for tag in BODIES if f"`{tag}`" not in protocol]
    found += [
        f"operating.md: exit code {code}" for code in ExitCode if f"| {code:d} |" not in operating
    ]
    none_of(found)


def test_every_setting_is_documented() -> None:
    documents = ("operating", "founding", "site-policy")
    pages = "".join(text_of(ROOT / f"docs/{each}.md") for each in documents)
    found = []
    for path in source():
        for node in _public(tree_of(path).body):
            if re.search(r"Settings$|^(Site|Dataset)Policy$|^Charter$|^StudyBounds$", node.name):
                names = [part.target for part in node.body if isinstance(part, ast.AnnAssign)]
                found += [
                    f"{place(path, node.lineno)}: {ast.unparse(name)}"
                    for name in names
                    if f"`{ast.unparse(name)}`" not in pages
                ]
    none_of(found)


def test_every_command_that_is_named_exists() -> None:
    page = text_of(ROOT / "docs/commands.md")
    known = set(re.findall(r"^## `comity ([a-z ]+)`", page, re.MULTILINE))
    groups = {name.split()[0] for name in known if " " in name}
    known |= groups
    found = []
    for path in [*source(), *(ROOT / name for name in tracked() if name.endswith(".md"))]:
        for name in re.findall(r"`comity ([a-z]+(?: [a-z]+)?)(?=[` ])", text_of(path)):
            if name not in known and name.split()[0] not in known - groups:
                found.append(f"{path.relative_to(ROOT)}: comity {name}")
    none_of(found)


def test_every_noun_is_in_the_glossary() -> None:
    glossary = text_of(ROOT / "docs/glossary.md").lower()
    missing: dict[str, str] = {}
    for path in python("src/comity/statements/", "src/comity/commons/"):
        for node in _public(tree_of(path).body):
            words = re.findall(r"[A-Z][a-z]+", node.name) if isinstance(node, ast.ClassDef) else []
            for word in words:
                root = re.sub(r"(ments?|ing|ed|s)$", "", word.lower())
                if not re.search(rf"\b{root}", glossary):
                    missing.setdefault(word, f"{place(path, node.lineno)}: {word} of {node.name}")
    none_of(list(missing.values()))


def test_documents_point_at_what_exists() -> None:
    found = []
    for name in tracked():
        if not name.endswith(".md"):
            continue
        page = ROOT / name
        for target in re.findall(r"\]\(([^)#\s]+)", text_of(page)):
            if "://" not in target and not (page.parent / target).exists():
                found.append(f"{name}: link to {target}")
        for target in re.findall(r"`((?:src|tests|docs|bench)/[\w./-]+)`", text_of(page)):
            if not (ROOT / target).exists():
                found.append(f"{name}: {target}")
    none_of(found)


def test_every_promise_has_its_folder() -> None:
    folders = {path.parent.name for path in (ROOT / "tests/promises").glob("p*/test_promise.py")}
    assert [name[:2] for name in sorted(folders)] == [f"p{n}" for n in range(1, 9)]

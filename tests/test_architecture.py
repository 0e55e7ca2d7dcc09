"""The rules for every file: allowed imports, style, types, and what must never be in the repository."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "billvend"

PURE_MODULES = frozenset(
    {
        *("__future__", "abc", "collections", "dataclasses", "enum", "types", "typing"),
        *("base64", "binascii", "hashlib", "hmac", "json", "struct", "zlib"),
        *("bisect", "contextlib", "copy", "functools", "graphlib", "heapq", "itertools", "operator"),
        *("datetime", "decimal", "fractions", "math", "numbers"),
        *("ipaddress", "re", "string", "textwrap", "unicodedata"),
    }
)
"""The modules that the domain may use. They read and write nothing outside, and use no clock and no random numbers."""

IMPURE_CALLS = frozenset({"open", "print", "input", "breakpoint", "eval", "exec", "__import__"})
CLOCK_CALLS = frozenset({"now", "today", "utcnow"})


def modules_of(*folders: str) -> list[Path]:
    """Every module in these folders of the package."""
    return sorted(path for folder in folders for path in (PACKAGE / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the top-level package of every import, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "billvend" if node.level else str(node.module).partition(".")[0]


def third_party_imports(source: str) -> list[str]:
    """The packages in imports_of that are neither the standard library nor billvend."""
    known = sys.stdlib_module_names | {"billvend"}
    return [f"line {line}: {name}" for line, name in imports_of(ast.parse(source)) if name not in known]


def impure_uses(source: str) -> list[str]:
    """Where a module does I/O, reads the clock or uses random numbers."""
    tree = ast.parse(source)
    found = [
        f"line {line}: {name}" for line, name in imports_of(tree) if name not in PURE_MODULES | {"billvend"}
    ]
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="date" | "datetime"), attr=name) if name in CLOCK_CALLS:
                found.append(f"line {node.lineno}: {name}")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="date" | "datetime"))):
                pass  # reported already
            case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCK_CALLS:
                found.append(f"line {node.lineno}: {name}()")
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                found.append(f"line {node.lineno}: {name}()")
    return found


@pytest.mark.parametrize("path", modules_of("domain", "ports", "usecases"), ids=name_of)
def test_core_imports_the_standard_library_and_itself(path: Path) -> None:
    assert third_party_imports(path.read_text()) == []


@pytest.mark.parametrize("path", modules_of("domain"), ids=name_of)
def test_domain_has_no_io_no_clock_no_randomness(path: Path) -> None:
    assert impure_uses(path.read_text()) == []


def test_what_is_imported_is_declared() -> None:
    """A package that is installed with another one today may not be tomorrow."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[\[<>=~!; ]", wanted)[0].lower() for wanted in project["dependencies"]}
    distributions = packages_distributions()
    known = sys.stdlib_module_names | {"billvend"}
    for path in modules_of("."):
        for line, name in imports_of(ast.parse(path.read_text())):
            owners = {owner.lower().replace("_", "-") for owner in distributions.get(name, [name])}
            assert name in known or owners & declared, f"{name_of(path)}, line {line}: {name}"


def test_core_packages_exist() -> None:
    assert {path.parent.name for path in modules_of("domain", "ports", "usecases")} >= {
        "domain",
        "ports",
        "usecases",
    }


@pytest.mark.parametrize(
    "source",
    [
        "import sqlalchemy",
        "import os, redis",
        "from pydantic.types import Secret",
        "def late():\n    import httpx",
        "if TYPE_CHECKING:\n    from rich import console",
    ],
)
def test_third_party_import_is_found(source: str) -> None:
    assert len(third_party_imports(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        *("import time", "import random", "import uuid", "import secrets", "import os", "import socket"),
        *("import threading", "import sqlite3", "from os.path import exists", "import sqlalchemy"),
        *(
            "datetime.now(UTC)",
            "clock = datetime.utcnow",
            "date.today()",
            "moment.now()",
            "open('file')",
            "print(1)",
        ),
        "def late():\n    import time",
    ],
)
def test_impure_use_is_found(source: str) -> None:
    assert len(impure_uses(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime",
        "import billvend.domain.money",
        "from collections.abc import Mapping",
        "later = command.now",
    ],
)
def test_pure_code_passes(source: str) -> None:
    assert impure_uses(source) == third_party_imports(source) == []


# --- checkers ---------------------------------------------------------------------------------------------------------


def run(*command: str) -> None:
    """Run a checker at the root of the project; show its output if it finds something."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


@pytest.mark.tools
def test_import_contracts_hold() -> None:
    run(str(Path(sys.executable).with_name("lint-imports")))


@pytest.mark.tools
@pytest.mark.timeout(500)  # the first time, mypy reads all the libraries too
def test_types() -> None:
    run(sys.executable, "-m", "mypy")


@pytest.mark.tools
@pytest.mark.parametrize("command", ["check", "format --check"])
def test_style(command: str) -> None:
    run(sys.executable, "-m", "ruff", *command.split(), "--output-format", "concise")


# --- what must never be in the repository -----------------------------------------------------------------------------

# Written so that they don't match themselves.
FORBIDDEN_TEXT = {
    "the host of a package index": rb"(?i)\b(test\.)?p[y]pi\.(org|python\.org)|p[y]thonhosted\.org|https?://\S+/s[i]mple\b",
    "a way to a package index": rb"--(extra-)?i[n]dex-url|--f[i]nd-links|PIP_I[N]DEX_URL|UV_(DEFAULT_)?I[N]DEX",
    "a path of one machine": rb"(?<![\w.~-])/(w[o]rk|r[o]ot|opt/p[y]pi)/",
}


def project_files() -> Iterator[Path]:
    """All files that are committed or about to be; without git, all files that are not in a hidden folder."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        yield from (ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())
        return
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") or name == ".ci"]
        yield from (Path(folder) / name for name in names)


def forbidden_text_in(content: bytes) -> list[str]:
    """The forbidden texts in a file, each with its line."""
    return [
        f"line {number}: {what}: {match.group().decode()}"
        for number, line in enumerate(content.split(b"\n"), start=1)
        for what, pattern in FORBIDDEN_TEXT.items()
        for match in re.finditer(pattern, line)
    ]


def test_no_file_names_a_package_index_or_a_machine() -> None:
    assert {
        str(path): found for path in project_files() if (found := forbidden_text_in(path.read_bytes()))
    } == {}


def test_no_lock_file_with_addresses() -> None:
    assert [path for path in project_files() if path.name in {"uv.lock", "pylock.toml", "poetry.lock"}] == []


@pytest.mark.parametrize(
    "line",
    [
        "https://py{}pi.org/project/x",
        "url = 'https://files.py{}thonhosted.org/packages/x'",
        "https://mirror.example/root/s{}imple/",
        "pip install --i{}ndex-url x",
        "open('/w{}ork/main/x')",
        "PATH=/r{}oot/bin:$PATH",
    ],
)
def test_forbidden_text_is_found(line: str) -> None:
    assert len(forbidden_text_in(line.format("").encode())) == 1
    assert forbidden_text_in(b"on PyPI; src/work/x; ~/root/; /workers/") == []

"""The project's tasks. `nox -l` lists them. `nox` runs the checkers and the tests.

Each session has its own virtual environment, with the Python that runs nox, and reuses it the next time. Arguments
after `--` go to the tool: `nox -s unit -- -k money`.
"""

import os
import shutil
from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
PINS = "requirements/tests.txt"
TESTS_AT_ONCE = ("-n", "3", "--dist", "worksteal")

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]


def install(session: nox.Session, group: str, *, project: bool = True) -> None:
    """Install a dependency group at its pinned versions and, as a user would, the project."""
    requirements = nox.project.dependency_groups(PYPROJECT, group)
    session.install("--constraint", PINS, *requirements, *(["."] if project else []))


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, including those of style, types and architecture."""
    install(session, "tests")
    session.run("pytest", *TESTS_AT_ONCE, "--durations", "25", *session.posargs)


WITHOUT_SERVER = ("-m", "not integration and not tools and not long")
UNIT_TESTS = [f"tests/{part}" for part in ("config", "domain", "notify", "provider", "queue", "usecases")]


@nox.session
def unit(session: nox.Session) -> None:
    """The core, the use cases and the adapters, without a server. Run it at each save: it takes less than a minute."""
    install(session, "tests")
    session.run("pytest", *TESTS_AT_ONCE, *WITHOUT_SERVER, *UNIT_TESTS, *session.posargs)


@nox.session(name="unit-3.13", python="3.13")
def unit_on_the_newest(session: nox.Session) -> None:
    """All tests that need no server and do not take long, on Python 3.13: also SQLite, the CLI and the API."""
    install(session, "tests")
    session.run("pytest", *TESTS_AT_ONCE, *WITHOUT_SERVER, *session.posargs)


@nox.session
def integration(session: nox.Session) -> None:
    """The tests that need PostgreSQL, Valkey or Redis."""
    install(session, "tests")
    session.run("pytest", *TESTS_AT_ONCE, "-m", "integration", *session.posargs)


@nox.session(default=False)
def crash(session: nox.Session) -> None:
    """Kill a real process at every crash point, each time that it is reached (about ten minutes)."""
    install(session, "tests")
    session.run("pytest", *TESTS_AT_ONCE, "tests/crash", *session.posargs, env={"BILLVEND_CRASH": "all"})


@nox.session(default=False)
def simulation(session: nox.Session) -> None:
    """100,000 payments under every fault, on a simulated clock. The seed is printed."""
    install(session, "tests")
    payments = {"BILLVEND_SIMULATION": "100000"}
    session.run("pytest", "-n0", "-s", "--timeout", "0", "tests/simulation", *session.posargs, env=payments)


@nox.session(default=False)
def histories(session: nox.Session) -> None:
    """Thousands of random histories of the core, the journal and the group commit, new ones each time (hours)."""
    install(session, "tests")
    machines = ("tests/domain", "tests/storage/test_stateful.py", "tests/storage/test_group_commit.py")
    session.run("pytest", *TESTS_AT_ONCE, *machines, *session.posargs, env={"HYPOTHESIS_PROFILE": "nightly"})


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Schemathesis over the running API, for ten minutes."""
    install(session, "tests")
    minutes = {"BILLVEND_FUZZ_SECONDS": "600"}
    session.run("pytest", "-n0", "--timeout", "0", "tests/api/test_openapi.py", *session.posargs, env=minutes)


@nox.session
def browser(session: nox.Session) -> None:
    """Swagger UI in a real Chromium, which is installed from Debian if there is none. Draws docs/swagger.png."""
    install(session, "browser")
    if shutil.which("chromium") is None and shutil.which("apt-get") and os.geteuid() == 0:
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            session.run(
                "apt-get", "--quiet", *arguments, external=True, silent=True, success_codes=range(256)
            )
    chromium = shutil.which("chromium")
    if chromium is None:
        session.skip(
            "There is no Chromium, and this session can't install it. Install it first: apt-get install chromium"
        )
    environment = {
        "BILLVEND_CHROMIUM": chromium,
        "BILLVEND_SCREENSHOT": str(Path("docs", "swagger.png").resolve()),
    }
    session.run("pytest", "tests/browser/swagger.py", *session.posargs, env=environment)


@nox.session
def coverage(session: nox.Session) -> None:
    """All tests, with the lines and branches that they do not reach."""
    install(session, "tests")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *TESTS_AT_ONCE, "-m", "not tools", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and which package may import which."""
    install(session, "lint", project=False)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", env={"PYTHONPATH": "src"})


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, over everything."""
    install(session, "tests")
    session.run("mypy", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure billvend on this machine, and compare it with pgbench."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Ten minutes of load over HTTP, with workers and a provider. Memory must not grow, and the audit must pass."""
    install(session, "tests")
    session.run("python", "-m", "benchmarks.soak", *session.posargs)


@nox.session(venv_backend="virtualenv", reuse_venv=False, default=False)
def pins(session: nox.Session) -> None:
    """Write the newest versions that work together to requirements/tests.txt."""
    groups = nox.project.dependency_groups(PYPROJECT, "tests", "bench", "browser")
    session.install(*groups, ".")
    frozen = session.run("python", "-m", "pip", "freeze", "--exclude", "billvend", silent=True)
    heading = "# The versions that the tests and the checkers run with. Renew them with `nox -s pins`.\n"
    Path(PINS).write_text(heading + str(frozen))

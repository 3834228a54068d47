"""The fixture `check`, the profiles, and the ledger at the end of a run; see `ledger`."""

import os

# Before NumPy is imported. The matrices here are small: more threads only wait for one another.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from typing import Any  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from theory.ledger import STATEMENTS, Ledger  # noqa: E402

# A test states its own number of examples (`strategies.examples`) as that of the default profile; `deep` takes 100
# times as many, and new ones each time.
settings.register_profile("default", derandomize=True, deadline=None, database=None, print_blob=True, max_examples=100)
settings.register_profile("deep", deadline=None, print_blob=True, max_examples=100 * 100)
settings.load_profile("default")

LEDGER = Ledger()
NOTES: list[str] = []


@pytest.fixture(scope="session")
def check() -> Ledger:
    """check(statement=, compared=, deviation=, tolerance=, because=): see `ledger`."""
    return LEDGER


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--statements", action="store_true", help="write theory/STATEMENTS.md from a green run")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The run that writes STATEMENTS.md has nothing to hold it against."""
    if config.getoption("statements"):
        gone = [item for item in items if item.name == "test_the_table_of_statements_is_complete"]
        items[:] = [item for item in items if item not in gone]
        config.hook.pytest_deselected(items=gone)


def pytest_runtest_setup(item: pytest.Item) -> None:
    LEDGER.at = item.path.name, getattr(item, "originalname", item.name)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    worker = getattr(session.config, "workeroutput", None)
    if worker is not None:
        worker["ledger"] = LEDGER.dump()
    elif session.config.getoption("statements"):
        if exitstatus == 0:
            before = STATEMENTS.read_text(encoding="utf-8") if STATEMENTS.exists() else ""
            STATEMENTS.write_text(LEDGER.markdown(before), encoding="utf-8")
        NOTES.append(f"{STATEMENTS.name} {'written' if exitstatus == 0 else 'not written: the run was not green'}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist hands in its rows."""
    LEDGER.load(getattr(node, "workeroutput", {}).get("ledger", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if LEDGER.rows:
        terminalreporter.section("statements: largest deviation seen")
        terminalreporter.write_line(LEDGER.table())
    for note in NOTES:
        terminalreporter.write_line(note)

"""The ledger: what each test compared, to what tolerance and why, and the largest deviation it saw.

Tests take the fixture `check` and call it for each comparison,

    check(statement="Prop 3.2", compared="IRL then RL against matching", deviation=gap, tolerance=SOLVER, because="...")

For an inequality the deviation is the violation, negative where there is room. One `compared` in a test has one
tolerance and one reason: scale the deviation, not the tolerance. The rows end in the terminal and in STATEMENTS.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOM = Path(__file__).parent
STATEMENTS = ROOM / "STATEMENTS.md"

FRAME = ("test_strategies.py", "test_ledger.py")
"""Tests of the frame itself, which state nothing of the paper."""

SECTION = re.compile(r"^`(test_\w+\.py)`$", re.MULTILINE)

HEAD = """# Every statement, and how far it is from failing

Written by `pytest theory/ --statements`; `theory/test_ledger.py` holds it complete. A deviation is the difference of
two sides that share no code, or the violation of an inequality (negative: room to spare); the largest one is that of
the default run. `pytest theory/ --hypothesis-profile=deep` draws 100 times the examples.
"""


@dataclass(frozen=True)
class Row:
    """One comparison of one test (`file` name, `test` function): the largest deviation of `count` draws."""

    file: str
    test: str
    statement: str
    compared: str
    tolerance: float
    because: str
    deviation: float
    count: int = 1

    @property
    def key(self) -> tuple[str, str, str]:
        return self.file, self.test, self.compared

    def merge(self, other: Row) -> Row:
        """Both draws in one row. Raises ValueError where statement, tolerance or reason differ."""
        terms, others = [(r.statement, r.tolerance, r.because) for r in (self, other)]
        if terms != others:
            raise ValueError(
                f"check in {self.test}, {self.compared!r}, must keep one statement, tolerance and reason, "
                f"but has {terms} and {others}"
            )
        worst = max(self, other, key=lambda row: (row.deviation != row.deviation, row.deviation))  # NaN is the worst
        return Row(**{**asdict(worst), "count": self.count + other.count})


class Ledger:
    """Rows by (file, test, compared); calling it adds one and fails where the deviation exceeds the tolerance."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], Row] = {}
        self.at = ("", "")

    def __call__(self, *, statement: str, compared: str, deviation: float, tolerance: float, because: str) -> None:
        __tracebackhide__ = True
        deviation, tolerance = float(deviation), float(tolerance)
        self.add(Row(*self.at, statement, compared, tolerance, because, deviation))
        if not deviation <= tolerance:
            raise AssertionError(
                f"{statement}: {compared}: deviation {deviation:.3g} exceeds {tolerance:.3g} ({because})"
            )

    def add(self, row: Row) -> None:
        self.rows[row.key] = self.rows[row.key].merge(row) if row.key in self.rows else row

    def load(self, records: Iterable[dict[str, Any]]) -> None:
        """Rows of another process, as `dump` gave them."""
        for record in records:
            self.add(Row(**record))

    def dump(self) -> list[dict[str, Any]]:
        return [asdict(row) for row in self.rows.values()]

    def table(self) -> str:
        """The rows for a terminal: a line for each test, below it one for each comparison."""
        lines, at = ["largest deviation   tolerance  compared"], ("", "")
        for row in sorted(self.rows.values(), key=lambda r: _order(r.file) + r.key):
            if (row.file, row.test) != at:
                at = row.file, row.test
                lines.append(f"{row.statement}: {row.file}::{row.test}")
            lines.append(f"{row.deviation:>17.1e} {row.tolerance:>11.1e}  {row.compared}")
        return "\n".join(lines)

    def markdown(self, before: str = "") -> str:
        """STATEMENTS.md: the sections of the files that this run saw in full, and those of `before` for the others."""
        kept, fresh = sections(before), {file: self._section(file, doc) for file, (doc, _) in self._seen().items()}
        found = {file: fresh.get(file, kept.get(file)) for file in catalogue()}
        return "\n".join([HEAD, *(part for part in found.values() if part)])

    def _seen(self) -> dict[str, tuple[str, list[str]]]:
        """The files of which every test that takes `check` recorded something."""
        seen = {(row.file, row.test) for row in self.rows.values()}
        return {
            file: (doc, tests)
            for file, (doc, tests) in catalogue().items()
            if tests and all((file, test) in seen for test in tests)
        }

    def _section(self, file: str, doc: str) -> str:
        title, _, body = doc.partition("\n")
        tests = catalogue()[file][1]
        lines = [f"## {title.rstrip('.')}", "", f"`{file}`", "", "```text", body.strip("\n"), "```", ""]
        lines += ["| test | compared | tolerance | because | largest deviation |", "| --- | --- | --- | --- | --- |"]
        for row in sorted((r for r in self.rows.values() if r.file == file), key=lambda r: tests.index(r.test)):
            cells = (f"`{row.test}`", row.compared, f"{row.tolerance:.1e}", row.because, f"{row.deviation:.1e}")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines) + "\n"


def sections(text: str) -> dict[str, str]:
    """File -> its section of a STATEMENTS.md."""
    parts = [part + "\n" for part in ("\n" + text).split("\n## ")[1:]]
    return {match[1]: "## " + part.rstrip("\n") + "\n" for part in parts if (match := SECTION.search(part))}


@cache
def catalogue(room: Path = ROOM) -> dict[str, tuple[str, list[str]]]:
    """File -> (docstring, names of the tests that take `check`), from the source; the frame's own tests left out."""
    found = {}
    for path in sorted(room.glob("test_*.py"), key=lambda p: _order(p.name)):
        if path.name in FRAME:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        tests = [
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef)
            and node.name.startswith("test_")
            and any(argument.arg == "check" for argument in (*node.args.args, *node.args.kwonlyargs))
        ]
        found[path.name] = (ast.get_docstring(tree) or "", tests)
    return found


def _order(file: str) -> tuple[tuple[int, int | str], ...]:
    """Numbers in a file name sort as numbers: test_3_2 before test_10."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in file.removesuffix(".py").split("_"))

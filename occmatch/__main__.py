"""The paper checked on this machine: every statement, and the largest deviation found on random MDPs.

    python -m occmatch [--seed 0] [--mdps 100] [--seconds 40]

Exit status 0 where every deviation is within its tolerance, 1 where one is not, 2 for arguments that cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from occmatch.statements import STATEMENTS, Row, Statement, check

WIDTH = 116
"""Columns where nothing says how many there are: a file, a pipe."""


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """--seed, --mdps and --seconds."""
    parser = argparse.ArgumentParser(
        prog="python -m occmatch", description="Check every statement of the paper on random MDPs."
    )
    parser.add_argument("--seed", type=int, default=0, help="which MDPs (default 0)")
    parser.add_argument("--mdps", type=int, default=100, help="MDPs for each statement, at most (default 100)")
    parser.add_argument("--seconds", type=float, default=40.0, help="time for all; each is tried once (default 40)")
    return parser.parse_args(argv)


def search(statements: Sequence[Statement], options: argparse.Namespace, console: Console) -> tuple[list[Row], bool]:
    """The rows, and whether the search ended by itself and not by Ctrl-C; shows a bar where there is a terminal."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    found: list[Row] = []
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("checking", total=1.0)
        try:
            for share, row, rows in check(statements, options.seed, options.mdps, options.seconds):
                found = rows
                bar.update(task, completed=share, description=row.statement.id)
        except KeyboardInterrupt:
            return found, False
        bar.update(task, completed=1.0, description="checked")
    return found, True


def table(rows: Sequence[Row]) -> Table:
    """A line for each statement; an id and a sentence that are those of the line above are left out."""
    found = Table("statement", "says", box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    for name in ("deviation", "tolerance", "MDPs"):
        found.add_column(name, justify="right")
    found.add_column("")
    before: Statement | None = None
    for row in rows:
        s = row.statement
        verdict = Text("holds", "green") if row.holds else Text(f"FAILS on MDP {row.worst}", "bold red")
        if not row.mdps:
            verdict = Text("not tried", "yellow")
        says = s.says if not s.case else f"  {s.case}" if before and before.says == s.says else f"{s.says}\n  {s.case}"
        name = Text("" if before and before.id == s.id else s.id)
        deviation = Text(f"{row.deviation:.1e}" if row.mdps else "")
        # Two lines where a sentence comes first: the numbers belong to the second.
        cells = (deviation, Text(f"{s.tolerance.value:.0e}"), Text(str(row.mdps)), verdict)
        above = "\n" if "\n" in says else ""
        found.add_row(name, Text(says), *(Text(above) + cell for cell in cells))
        before = s
    return found


def report(rows: Sequence[Row], seed: int, console: Console) -> None:
    """The table, what the tolerances are for, and a last line that says how it went."""
    console.print(table(rows))
    lines = [
        "",
        "Deviations are the largest found: differences of two sides computed by different means, or",
        "violations of inequalities (negative: room to spare). Tolerances:",
        *(f"  {t.value:.0e}  {t.because}" for t in dict.fromkeys(row.statement.tolerance for row in rows)),
        *(f"{row.statement.id}, MDP {row.worst}: {row.trouble}" for row in rows if row.trouble),
        "",
    ]
    failed, tried = sum(not row.holds for row in rows if row.mdps), sum(row.mdps > 0 for row in rows)
    verdict = f"{failed} of {tried} statements FAIL" if failed else f"{tried} of {len(rows)} statements hold"
    lines.append(f"{verdict}, on {sum(row.mdps for row in rows):,} draws in all (seed {seed})")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def main(argv: Sequence[str], statements: Sequence[Statement] = STATEMENTS) -> int:
    """Search, print, and return the exit status."""
    options, console = arguments(argv), Console()
    if not console.is_terminal:
        console.width = WIDTH
    try:
        rows, finished = search(statements, options, console)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report(rows, options.seed, console)
    if not finished:
        print("interrupted", file=sys.stderr)
        return 130
    return int(not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

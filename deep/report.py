"""The evaluation as a table and pictures, from the raw lines of `python -m deep.sweep`.

    python -m deep.report             write README.md, table.csv, figure1.png, learning_curves.png into results/
    python -m deep.report --check     recompute README.md and table.csv and fail, with status 1, on any difference

The same lines give the same bytes of text: the bootstrap's seeds come from the cells' names. Pictures are not compared.
"""

import difflib
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from deep import sweep_lines
from deep.cli import main_guard
from deep.files import write_atomic
from deep.report_cells import Result, results
from deep.report_csv import table
from deep.report_figures import figure_1, learning_curves
from deep.report_text import page
from deep.sweep_lines import Line

SHOWN = 20  # lines of a difference


@dataclass(frozen=True)
class Report:
    """Make the report from every *.jsonl file of a folder."""

    folder: Path = Path("results")
    """Where the raw lines are and the report goes."""
    check: bool = False
    """Only compare what is there with what the raw lines say."""


def collect(folder: Path) -> list[Line]:
    """The raw lines of a folder, file by file; ValueError where there are none."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in sweep_lines.read(path)]
    if not lines:
        raise ValueError(f"folder must hold raw lines in *.jsonl files, but {folder} has none")
    return lines


def texts(lines: list[Line], found: list[Result]) -> dict[str, str]:
    """File name to content."""
    return {"README.md": page(found, lines), "table.csv": table(found)}


def differences(folder: Path, expected: dict[str, str]) -> list[str]:
    """What differs between the files and the recomputed texts, as a diff; empty where nothing does."""
    out: list[str] = []
    for name, text in expected.items():
        path = folder / name
        have = path.read_bytes().decode() if path.exists() else ""
        if have != text:
            pair = have.splitlines(), text.splitlines()
            diff = list(difflib.unified_diff(*pair, f"{path} as it is", f"{path} from the raw lines", "", "", 0, ""))
            more = [f"... and {len(diff) - SHOWN} more lines"] if len(diff) > SHOWN else []
            out += (diff or [f"{path} differs in its line ends"])[:SHOWN] + more
    return out


def main(argv: list[str]) -> None:
    """Entry point of `python -m deep.report`; exit status 1 where --check finds a difference."""
    console = Console(markup=False, emoji=False)
    request = tyro.cli(Report, prog="python -m deep.report", args=argv, description=__doc__)
    lines = collect(request.folder)
    found = results(lines)
    expected = texts(lines, found)
    if request.check:
        wrong = differences(request.folder, expected)
        if wrong:
            print("\n".join(wrong), file=sys.stderr)
            sys.exit(1)
        console.print(f"{request.folder}: README.md and table.csv are what {len(lines)} raw lines say")
        return
    for name, text in expected.items():
        write_atomic(request.folder / name, text.encode())
    figure_1(found, request.folder / "figure1.png")
    learning_curves(found, request.folder / "learning_curves.png")
    console.print(f"{request.folder}: {len(found)} cells from {len(lines)} raw lines", soft_wrap=True)


if __name__ == "__main__":
    main_guard(lambda: main(sys.argv[1:]))

"""The display of a sweep, with rich: runs ended, environment steps of the whole grid, time left.

Without a terminal (a log file, CI) every ended run is one plain line.
"""

import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from deep.sweep_grid import Cell
from deep.sweep_lines import Line
from deep.sweep_run import progress

CLONING = 5_000  # environment steps that take about as long as a cloning run, which has none
LOOK = 5.0  # seconds between looks at the runs in progress


def work(cell: Cell) -> int:
    """What a run weighs in the time left, in environment steps."""
    return max(cell.steps, CLONING)


def clock(seconds: float) -> str:
    """A duration as people say it: 40 s, 12 min, 3 h 05 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Display:
    """Progress of a sweep over `cells`; use it in a `with` block."""

    def __init__(self, cells: list[Cell], runs: Path, console: Console) -> None:
        self.runs, self.console = runs, console
        self.going = {cell.identity(): cell for cell in cells}
        self.total = sum(work(cell) for cell in cells)
        self.count, self.ended, self.finished_work, self.failures = len(cells), 0, 0, 0
        self.began = self.looked = time.monotonic()
        self.start: int | None = None
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(30),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[line]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(f"0/{self.count} runs", total=self.total, line="")

    def __enter__(self) -> "Display":
        self.bar.start()
        self.tick(force=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def done(self) -> int:
        """Work done so far, runs in progress included."""
        return self.finished_work + sum(min(progress(c, self.runs), work(c)) for c in self.going.values())

    def left(self, done: int) -> str:
        """Time left, from the pace since the start."""
        new = done - (self.start or 0)
        if new <= 0:
            return ""
        return clock((time.monotonic() - self.began) / new * (self.total - done)) + " left"

    def tick(self, force: bool = False) -> None:
        """Look at the runs in progress, if the last look is a while ago."""
        now = time.monotonic()
        if not force and (now - self.looked < LOOK or not self.console.is_terminal):
            return
        self.looked, done = now, self.done()
        if self.start is None:
            self.start = done  # what earlier sweeps left half done is not this one's pace
        failed = f", {self.failures} failed" if self.failures else ""
        self.bar.update(
            self.task, completed=done, description=f"{self.ended}/{self.count} runs{failed}", line=self.left(done)
        )

    def finished(self, cell: Cell, line: Line) -> None:
        share = line["normalised_return"]
        part = "" if share is None else f" (score {share:z.0%})"
        self._end(cell, f"{cell.name}: {line['return_mean']:z,.1f}{part} in {clock(line['seconds'])}")

    def failed(self, cell: Cell, error: str) -> None:
        self.failures += 1
        self._end(cell, f"{cell.name} failed: {error}")

    def _end(self, cell: Cell, text: str) -> None:
        self.ended += 1
        self.finished_work += work(cell)
        del self.going[cell.identity()]
        self.tick(force=True)
        left = "" if self.console.is_terminal or self.ended == self.count else f"; {self.left(self.done())}"
        self.console.print(f"{self.ended}/{self.count}  {text}{left}", soft_wrap=True, highlight=False, markup=False)

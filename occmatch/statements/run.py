"""Which statement meets which MDP, and the largest deviation of each.

MDP number i of a seed is the same for every statement. Statements share the time, not the MDPs: the one that has had
least goes next, so that what costs a millisecond is tried on a hundred MDPs while a convex program is solved on a few.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from occmatch import checks
from occmatch.statements.plain import random_mdp
from occmatch.statements.statement import Statement


@dataclass(frozen=True)
class Row:
    """The largest `deviation` of a statement over `mdps` MDPs, met on MDP number `worst`; NaN is the largest of all.

    `trouble` is what an exception said, its deviation infinite.
    """

    statement: Statement
    deviation: float = -np.inf
    worst: int = 0
    mdps: int = 0
    seconds: float = 0.0
    trouble: str = ""

    @property
    def holds(self) -> bool:
        """Whether it was tried, and no deviation exceeded the tolerance."""
        return self.mdps > 0 and self.deviation <= self.statement.tolerance.value

    def take(self, deviation: float, trouble: str, seconds: float) -> Row:
        """The row with one more MDP counted."""
        row = replace(self, mdps=self.mdps + 1, seconds=self.seconds + seconds)
        if deviation <= self.deviation or np.isnan(self.deviation):
            return row
        return replace(row, deviation=deviation, worst=self.mdps, trouble=trouble)


def check(
    statements: Sequence[Statement],
    seed: int = 0,
    mdps: int = 100,
    seconds: float = 40.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[float, Row, list[Row]]]:
    """Yield (share of the work done, the row that grew, the rows so far) after each MDP of a statement.

    Each statement is tried once at least and on `mdps` MDPs at most, and all of them for `seconds` in sum: which of
    the two ends the work decides whether the table is the same on every machine. Raises ValueError for bad arguments.
    """
    seed, mdps = checks.count(seed, "seed", least=0), checks.count(mdps, "mdps")
    if checks.scalar(seconds, "seconds") <= 0.0:
        raise ValueError(f"seconds must be positive, but is {seconds:g}")
    rows = [Row(statement) for statement in statements]
    began = clock()
    while waiting := [i for i, row in enumerate(rows) if row.mdps < mdps]:
        i = min(waiting, key=lambda i: (rows[i].mdps > 0, rows[i].seconds))
        before = clock()
        if rows[i].mdps > 0 and before - began >= seconds:
            return
        found = _deviation(rows[i].statement, seed, rows[i].mdps)
        rows[i] = rows[i].take(*found, clock() - before)
        tried = sum(r.mdps > 0 for r in rows) / len(rows)
        share = max((clock() - began) / seconds, sum(r.mdps for r in rows) / (mdps * len(rows)))
        yield min(share, tried), rows[i], rows


def _deviation(statement: Statement, seed: int, index: int) -> tuple[float, str]:
    rng = np.random.default_rng([seed, index])
    mdp = random_mdp(rng)
    try:
        return statement.deviation(mdp, rng), ""
    except Exception as error:  # a row that says what broke is worth more than a table that does not appear
        return np.inf, f"{type(error).__name__}: {error}"

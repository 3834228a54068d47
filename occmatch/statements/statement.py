"""What a row of the table is: one statement of the paper, and how far it is from failing on one random MDP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from occmatch.mdp import MDP

Deviation = Callable[[MDP, np.random.Generator], float]


@dataclass(frozen=True)
class Tolerance:
    """The largest deviation that is still the arithmetic's and not the statement's, and why."""

    value: float
    because: str


ROUNDING = Tolerance(1e-10, "sums, linear solves and complex steps in float64 at gamma <= 0.95, relative to the mass")
NEWTON = Tolerance(1e-9, "a solver of ours ends at rounding; what it is held against is a sum or a sweep of its own")
VALUE = Tolerance(1e-6, "values of interior-point and simplex answers, which their solvers end at 1e-7 to 1e-9")
MEASURE = Tolerance(1e-4, "measures of answers whose values are off by up to 1e-8: the root of that, as Hbar is curved")


@dataclass(frozen=True)
class Statement:
    """A statement of the paper, and `deviation(mdp, rng)` that says how far it is from holding.

    A deviation is the difference of two sides computed by different means, or the violation of an inequality (at most
    0 where it holds), relative to the mass 1/(1-gamma) or to the values compared. NaN counts as a failure. `rng` draws
    whatever else the statement is about: policies, costs, features. `case` names the psi or phi of one of many.
    """

    id: str
    says: str
    deviation: Deviation
    tolerance: Tolerance
    case: str = ""

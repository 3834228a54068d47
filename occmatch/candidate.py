"""What a solver hands back: a candidate to be judged, or a typed failure that says why there is none.

A solver of the saddle point  min_{rho in D} max_c  -lam Hbar(rho) + <rho - rho_E, c> - psi(c)  returns one of

    Candidate    rho, cost and V that claim to be optimal; `occmatch.certificate` says how good the claim is
    NotAttained  the value is finite and a policy attains it, but no cost does: a diverging sequence of costs
    Unbounded    the dual grows without limit along a ray, so that no measure in D has finite psi*
    Infeasible   no point satisfies the constraints at all

The failures are values and not exceptions: each is what the mathematics says about the input, and none
holds NaN. `NoBestCost` is the exception of the pointwise problem  max_c <x, c> - psi(c).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Candidate:
    """A claimed saddle point, to be judged by the certificate.

    rho [S, A] occupancy measure, cost [S, A], V [S] soft value of the cost, pi [S, A] policy, lam the weight
    of the entropy; margin [S, A] where psi is a surrogate (the cost is then -phi(margin)); `attained` is
    False where cost is known for a member of a sequence whose limit does not exist; `match` over features and `irl`
    over an `Expression` do not look into it, and leave it True. `history` holds what an iterative
    method recorded, `gradient` the sup norm of the dual's gradient at the end where the method follows one
    (of the gradient map, the step of size one, where psi bounds the costs), `seconds` wall-clock time.
    """

    rho: Array
    cost: Array
    V: Array
    pi: Array
    lam: float
    method: str
    margin: Array | None = None
    attained: bool = True
    iterations: int = 0
    seconds: float = 0.0
    gradient: float | None = None
    history: Any = field(default=(), repr=False)


@dataclass(frozen=True)
class NotAttained:
    """The optimum `value` is finite and `pi`, `rho` attain the primal, but no cost attains the dual.

    `sequence` holds candidates whose dual values rise to `value` while their costs grow without limit along
    `ray` [S, A], whose scale means nothing. Each of them can be certified.
    """

    value: float
    rho: Array
    pi: Array
    ray: Array
    sequence: tuple[Candidate, ...]
    message: str
    attained: bool = False


@dataclass(frozen=True)
class Unbounded:
    """The dual p0.V - <rho_E, c> - psi(c) grows without limit along V + t ray_V, c + t ray.

    No rho in D has a finite psi*(rho - rho_E). ray [S, A] and ray_V [S] are the direction, `slope` the rate
    at which the dual grows (0 where it grows slower than linearly); `residual` [S] is the flow residual of
    rho_E, which is zero exactly where rho_E lies in D.
    """

    ray: Array
    ray_V: Array
    slope: float
    residual: Array
    message: str
    attained: bool = False


@dataclass(frozen=True)
class Infeasible:
    """No point satisfies the constraints; `excess` is the least total violation, where it is known."""

    message: str
    excess: float | None = None
    attained: bool = False


class NoBestCost(ArithmeticError):
    """max_c <rho - rho_E, c> - psi(c) has no maximiser.

    `ray` [S, A] is a direction of costs along which the objective rises to its supremum; `unbounded` says
    whether that supremum is +inf.
    """

    def __init__(self, message: str, ray: Array, unbounded: bool) -> None:
        super().__init__(message)
        self.ray = ray
        self.unbounded = unbounded

"""MDPs given by what they do to vectors, for kernels too large to store or with more structure than a sparse matrix.

All that RL(c) and occupancy measures need of a kernel are two linear maps, each the other's transpose:

    expect(V)(s, a) = sum_s' P(s'|s, a) V(s')  [S, A]        flow(rho)(s') = sum_{s, a} P(s'|s, a) rho(s, a)  [S]

`MatrixFree` holds them beside p0 and gamma, and `rl`, `occupancy`, `solve_policy`, `solve_visits` and the Bellman
operators take it wherever they take an `MDP`.  What needs single entries (sparse factors, graphs, plots, the LPs)
takes an `MDP` only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.mdp import MDP, Layout, check_layout

# Two sums of the same S * A products in another order differ by rounding; a wrong transpose differs by far more.
_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class MatrixFree:
    """An MDP as two functions: `expect` [S] -> [S, A] and its transpose `flow` [S, A] -> [S].

    `p0` [S], `gamma` in [0, 1), `A` actions; `terms` is the largest number of next states of one state and action,
    which bounds the rounding of a sweep.  What the two return is only read, and may be a view of their argument or one
    array filled anew by each call.  Raises ValueError where they are no functions, shapes are wrong, expect(1) is not
    1, or the two are not each other's transpose; these are tried on three vectors, so that a mistake in one place may
    escape.
    """

    expect: Callable[[FloatArray], FloatArray]
    flow: Callable[[FloatArray], FloatArray]
    p0: FloatArray
    gamma: float
    A: int
    terms: int
    layout: Layout | None = None

    def __post_init__(self) -> None:
        for name in ("expect", "flow"):
            if not callable(getattr(self, name)):
                raise ValueError(f"{name} must be a function, but is {type(getattr(self, name)).__name__}")
        initial = checks.real_array(self.p0, "p0")
        if initial.ndim != 1:
            raise ValueError(f"p0 must have shape (S,), but has shape {initial.shape}")
        initial = checks.distributions(initial, "p0", initial.shape)
        initial.setflags(write=False)
        object.__setattr__(self, "p0", initial)
        object.__setattr__(self, "gamma", checks.discount(self.gamma))
        object.__setattr__(self, "A", checks.count(self.A, "A"))
        object.__setattr__(self, "terms", checks.count(self.terms, "terms"))
        check_layout(self.layout, self.shape)
        self._try()

    @property
    def S(self) -> int:
        """Number of states."""
        return self.p0.size

    @property
    def shape(self) -> tuple[int, int]:
        """`(S, A)`: the shape of costs, policies and measures."""
        return self.S, self.A

    def __repr__(self) -> str:
        return f"MatrixFree(S={self.S}, A={self.A}, gamma={self.gamma:g})"

    def _try(self) -> None:
        total = checks.real_array(self.expect(np.ones(self.S)), "expect(1)", self.shape)
        off = np.abs(total - 1.0)
        if off.max() > checks.SUM_SLACK:
            s, a = divmod(int(off.argmax()), self.A)
            raise ValueError(f"expect(1)[{s}, {a}] must be 1, as probabilities sum to 1, but is {total[s, a]:.10g}")
        rng = np.random.default_rng(0)
        V, rho = rng.random(self.S), rng.random(self.shape)
        ahead = float((rho * checks.real_array(self.expect(V), "expect(V)", self.shape)).sum())
        back = float(V @ checks.real_array(self.flow(rho), "flow(rho)", (self.S,)))
        if abs(ahead - back) > _SLACK * abs(ahead):
            raise ValueError(
                f"flow must be the transpose of expect, but <rho, expect(V)> is {ahead:.10g} and <flow(rho), V> is "
                f"{back:.10g} for random V and rho"
            )


AnyMDP = MDP | MatrixFree


def terms(mdp: AnyMDP) -> int:
    """The largest number of next states of a state and action."""
    return mdp.terms if isinstance(mdp, MatrixFree) else int(np.diff(mdp.P.indptr).max())

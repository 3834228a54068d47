"""The two objectives of IRL_psi and what the solvers share.

    dual    G(c) = p0.V_c - <rho_E, c> - psi(c),   V_c the soft value of c         (concave; Eq 3)
    primal  F(rho) = -lam Hbar(rho) + psi*(rho - rho_E),   rho in D                (convex; Eq 4)

G(c) <= F(rho) for every pair, with equality exactly at a saddle point. The gradient of p0.V_c in c is rho_{pi_c}, so
that of the dual is rho_{pi_c} - rho_E - psi'(c) (Section 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from occmatch.bellman import rl
from occmatch.candidate import NoBestCost
from occmatch.mdp import MDP
from occmatch.occupancy import causal_entropy, occupancy, policy
from occmatch.progress import Say
from occmatch.regularisers import Regulariser, Surrogate

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class History:
    """What an iterative method recorded, one entry an iteration, as arrays [iterations].

    `dual` G(c), `primal` F(rho_c) (inf where psi* is), `gradient` the sup norm of the gradient map of the dual, `step`
    the step length taken.
    """

    dual: Array
    primal: Array
    gradient: Array
    step: Array


@dataclass
class Record:
    """History while it grows."""

    rows: list[tuple[float, float, float, float]] = field(default_factory=list)

    def add(self, dual: float, primal: float, gradient: float, step: float) -> None:
        """One more iteration: both values, the gradient's sup norm, the step length."""
        self.rows.append((dual, primal, gradient, step))

    def history(self) -> History:
        """The columns recorded so far."""
        return History(*np.array(self.rows, dtype=np.float64).reshape(-1, 4).T)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a method proposes: costs and policies to choose among, and its own account of the run."""

    costs: tuple[Array, ...]
    policies: tuple[Array, ...]
    iterations: int
    gradient: float | None = None
    history: History | tuple[()] = ()


@dataclass(frozen=True, eq=False)
class Problem:
    """One IRL problem, and the pairs that can carry mass.

    `free` [S, A] marks the pairs where some rho in D with finite psi* is positive; policies are confined to them. A
    live state, one that such a policy reaches, has at least one free action; in the other states all pairs are not
    free.
    """

    mdp: MDP
    rho_E: Array
    psi: Regulariser
    lam: float
    free: Array
    say: Say | None = None

    def report(self, method: str, iteration: int, gap: float, V: Array) -> None:
        """Tell whoever watches how far a method is: its gap, and V to start again from."""
        if self.say is not None:
            self.say(method, iteration, gap, lambda: V)

    def answer(self, c: Array, V0: Array | None = None) -> tuple[Array, Array, Array]:
        """V [S], pi and rho [S, A] of the soft optimal policy for c among those confined to free pairs."""
        if self.free.all():
            found = rl(self.mdp, c, self.lam, V0=V0, progress=False)
            return found.V, found.pi, found.rho
        folded, source, extra = self._fold
        found = rl(folded, np.take_along_axis(c, source, axis=1) + self.lam * extra, self.lam, V0=V0, progress=False)
        pi, rho = np.zeros_like(c), np.zeros_like(c)
        for a in range(self.mdp.A):
            at = np.arange(self.mdp.S), source[:, a]
            pi[at] += found.pi[:, a]
            rho[at] += found.rho[:, a]
        return found.V, pi, rho

    @cached_property
    def rest(self) -> Array:
        """Costs [S, A] where pairs are not free: the best for no mass, or an interior point where none is best."""
        try:
            return self.psi.best_cost(np.where(self.free, self.rho_E, 0.0), self.rho_E)
        except NoBestCost:
            return self.psi.best_cost(self.rho_E, self.rho_E)

    @cached_property
    def _fold(self) -> tuple[MDP, Array, Array]:
        """An MDP without the pairs that are not free, each replaced by a copy of the first free action of its state.

        A copied action would count n times in the soft value; log n on the cost of each copy takes that back exactly,
        where ruling a pair out by a large cost would round everything else.
        """
        S, A = self.mdp.shape
        live = self.free.any(axis=1)
        first = np.where(live, self.free.argmax(axis=1), 0)
        keep = self.free | ~live[:, None]
        source = np.where(keep, np.arange(A), first[:, None])
        copies = (source == first[:, None]).sum(axis=1)
        extra = np.where((source == first[:, None]) & live[:, None], np.log(copies)[:, None], 0.0)
        rows = (np.arange(S)[:, None] * A + source).ravel()
        return MDP(self.mdp.P[rows], self.mdp.p0, self.mdp.gamma), source, extra


def dual_value(problem: Problem, c: Array, V: Array) -> float:
    """G(c), from the soft value V of c."""
    return float(problem.mdp.p0 @ V) + problem.psi.dual_value(c, problem.rho_E)


def primal_value(problem: Problem, rho: Array) -> float:
    """F(rho) for rho in D."""
    value = problem.psi.divergence(rho, problem.rho_E)
    return value - problem.lam * causal_entropy(rho) if value < np.inf else np.inf


def noise(problem: Problem, V: Array) -> float:
    """How far rounding may put a computed dual value off: a few units in the last place of V, over 1 - gamma."""
    return 8 * np.finfo(np.float64).eps * (1 + float(np.abs(V).max())) / (1 - problem.mdp.gamma)


def best_cost(problem: Problem, costs: Iterable[Array]) -> tuple[Array, Array, Array]:
    """Of the costs, each repaired, the one with the largest dual value; with V and pi of its soft optimal policy."""
    found = []
    for c in costs:
        c = problem.psi.repair(c)
        V, pi, _ = problem.answer(c)
        found.append((dual_value(problem, c, V), c, V, pi))
    return max(found, key=lambda entry: entry[0])[1:]


def best_policy(problem: Problem, policies: Iterable[Array], free: Array) -> tuple[Array, Array, float]:
    """Of the policies, confined to `free` pairs [S, A], the one of least primal value; with its measure and value."""
    found = []
    allowed = free | ~free.any(axis=1, keepdims=True)
    for pi in policies:
        pi = np.where(allowed, pi, 0.0)
        pi = policy(np.where(pi.any(axis=1, keepdims=True), pi, allowed))
        rho = occupancy(problem.mdp, pi)
        found.append((primal_value(problem, rho), pi, rho))
    value, pi, rho = min(found, key=lambda entry: entry[0])
    return pi, rho, value


def margin_of(psi: Regulariser, c: Array) -> Array | None:
    """The margin of a cost where psi is a surrogate, +inf where the cost is at the end of its range."""
    return psi.loss.margin(c) if isinstance(psi, Surrogate) else None

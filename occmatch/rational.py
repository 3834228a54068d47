"""Exact arithmetic for small MDPs: every number a rational, every equation an identity.

A double is a dyadic rational, so an MDP in doubles is an exact one once each row is divided by its exact sum.  In
rationals Proposition 3.1 can be checked with `==`: policy(occupancy(pi)) is pi on visited states, and
occupancy(policy(rho)) is rho for every rho in D.  Numbers grow with S: tens of states take seconds, hundreds do not.
Needs python-flint (`pip install occmatch[exact]`); matrices are `flint.fmpq_mat`, of the shapes used elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.mdp import MDP

try:
    from flint import fmpq, fmpq_mat
except ImportError as missing:
    raise ImportError("occmatch.rational needs python-flint: pip install 'occmatch[exact]'") from missing


@dataclass(frozen=True, eq=False)
class RationalMDP:
    """An MDP in exact numbers: `P` [S * A, S] (row s * A + a), `p0` [S, 1], `gamma`."""

    P: fmpq_mat
    p0: fmpq_mat
    gamma: fmpq

    @property
    def S(self) -> int:
        """Number of states."""
        return self.P.ncols()

    @property
    def A(self) -> int:
        """Number of actions."""
        return self.P.nrows() // self.P.ncols()


def rational_mdp(mdp: MDP, gamma: Fraction | None = None) -> RationalMDP:
    """The MDP whose numbers are those of `mdp` exactly, each row divided by its exact sum.

    `gamma` replaces the discount, since Fraction(9, 10) is meant more often than the double nearest to 0.9.
    Raises ValueError where it is no rational number in [0, 1).
    """
    checks.explicit(mdp)
    try:
        discount = Fraction(mdp.gamma if gamma is None else gamma)
    except (TypeError, ValueError, ArithmeticError):
        raise ValueError(f"gamma must be a rational number, but is {gamma!r}") from None
    if not 0 <= discount < 1:
        raise ValueError(f"gamma must lie in [0, 1), but is {discount}")
    p0 = rational_distributions(mdp.p0[None, :]).transpose()
    return RationalMDP(rational_distributions(mdp.P.toarray()), p0, _rational(discount))


def to_rational(x: ArrayLike) -> fmpq_mat:
    """A matrix of doubles as rationals, exactly.  Raises ValueError where an entry is not finite."""
    array = checks.real_array(x, "x")
    if array.ndim != 2:
        raise ValueError(f"x must be a matrix, but has shape {array.shape}")
    return fmpq_mat(*array.shape, [_rational(Fraction(value)) for value in array.reshape(-1).tolist()])


def rational_distributions(x: ArrayLike) -> fmpq_mat:
    """Rows of probabilities as rationals, each divided by its exact sum: how a policy [S, A] becomes exact."""
    exact = to_rational(x)
    rows, columns = exact.nrows(), exact.ncols()
    # What this returns is divided by a sum in doubles, which would move the numbers by their rounding.
    checks.distributions(x, "x", (rows, columns))
    return fmpq_mat(
        rows, columns, [exact[i, j] / total for i, total in enumerate(_row_sums(exact)) for j in range(columns)]
    )


def occupancy(mdp: RationalMDP, pi: fmpq_mat) -> fmpq_mat:
    """rho_pi [S, A], exactly.  Raises ValueError unless each row of `pi` is >= 0 and sums to exactly 1."""
    _check_policy(mdp, pi)
    d = _system(mdp, pi).transpose().solve(mdp.p0)
    return fmpq_mat(mdp.S, mdp.A, [d[s, 0] * pi[s, a] for s in range(mdp.S) for a in range(mdp.A)])


def value(mdp: RationalMDP, pi: fmpq_mat, cost: fmpq_mat) -> fmpq_mat:
    """V [S, 1] = (I - gamma P_pi)^-1 sum_a pi c, exactly, for `cost` [S, A]; ValueError for another shape."""
    _check_policy(mdp, pi)
    _check_shape(mdp, cost, "cost")
    expected = [sum((pi[s, a] * cost[s, a] for a in range(mdp.A)), fmpq(0)) for s in range(mdp.S)]
    return _system(mdp, pi).solve(fmpq_mat(mdp.S, 1, expected))


def policy(rho: fmpq_mat) -> fmpq_mat:
    """pi_rho [S, A] = rho(s, a) / sum_a' rho(s, a'), uniform where the row is zero."""
    _check_exact(rho, "rho")
    rows, columns = rho.nrows(), rho.ncols()
    sums = _row_sums(rho)
    entries = [rho[s, a] / sums[s] if sums[s] != 0 else fmpq(1, columns) for s in range(rows) for a in range(columns)]
    return fmpq_mat(rows, columns, entries)


def flow_residual(mdp: RationalMDP, rho: fmpq_mat) -> fmpq_mat:
    """sum_a rho(s, a) - p0(s) - gamma (P' rho)(s) [S, 1]: the zero matrix if and only if the flow equations hold."""
    _check_shape(mdp, rho, "rho")
    inflow = mdp.P.transpose() * fmpq_mat(mdp.S * mdp.A, 1, rho.entries())
    return fmpq_mat(mdp.S, 1, _row_sums(rho)) - mdp.p0 - mdp.gamma * inflow


def to_float(x: fmpq_mat) -> FloatArray:
    """The nearest doubles."""
    values = [int(entry.p) / int(entry.q) for entry in x.entries()]
    return np.array(values).reshape(x.nrows(), x.ncols())


def _system(mdp: RationalMDP, pi: fmpq_mat) -> fmpq_mat:
    """I - gamma P_pi [S, S]."""
    S, A = mdp.S, mdp.A
    choose = fmpq_mat(S, S * A, [pi[s, row - s * A] if row // A == s else 0 for s in range(S) for row in range(S * A)])
    identity = fmpq_mat(S, S, [int(i == j) for i in range(S) for j in range(S)])
    return identity - mdp.gamma * (choose * mdp.P)


def _check_shape(mdp: RationalMDP, x: fmpq_mat, name: str) -> None:
    if not isinstance(mdp, RationalMDP):
        raise ValueError(f"mdp must be a RationalMDP, as rational_mdp makes it, but is {type(mdp).__name__}")
    _check_exact(x, name)
    if (x.nrows(), x.ncols()) != (mdp.S, mdp.A):
        raise ValueError(f"{name} must have shape {(mdp.S, mdp.A)}, but has shape {(x.nrows(), x.ncols())}")


def _check_exact(x: fmpq_mat, name: str) -> None:
    if not isinstance(x, fmpq_mat):
        raise ValueError(f"{name} must be a matrix of rationals, as to_rational makes it, but is {type(x).__name__}")


def _check_policy(mdp: RationalMDP, pi: fmpq_mat) -> None:
    _check_shape(mdp, pi, "pi")
    for s, total in enumerate(_row_sums(pi)):
        least = min(pi[s, a] for a in range(mdp.A))
        if total != 1 or least < 0:
            raise ValueError(
                f"pi[{s}] must be a probability distribution, but has least entry {least} and sum {total} "
                f"(rational_distributions makes rows sum to exactly 1)"
            )


def _row_sums(x: fmpq_mat) -> list[fmpq]:
    return [sum((x[i, j] for j in range(x.ncols())), fmpq(0)) for i in range(x.nrows())]


def _rational(x: Fraction) -> fmpq:
    return fmpq(x.numerator, x.denominator)

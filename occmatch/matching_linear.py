"""Linear solves with a fixed policy, as matching needs them: many, alike, and accurate where mass is tiny.

LU without pivoting keeps every entry of the visits d accurate however small (`linear` says why), and a step relative
to d lives on that; it is taken where fill-in is small, which is for few states and for graphs as narrow as a grid in
the plane. Factors of many states take seconds, and those of the policy before are kept: a few passes of refinement
with them correct the visits, entry by entry as accurate as new ones, as long as policies differ little. Elsewhere GMRES
starts from the previous answer. Errors there are relative to the largest visits, and visits below them are lifted to
that level: such states carry less mass than rounding moves about, on graphs that mix.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import csc_array, csr_array, eye_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import SuperLU, splu

from occmatch.checks import FloatArray
from occmatch.matching_krylov import gmres
from occmatch.mdp import MDP

# LU of so few states takes milliseconds whatever the fill-in.
_FEW_STATES = 200

# A grid of n x n states has bandwidth n in the ordering of Cuthill & McKee; up to this many times sqrt(S) counts as
# narrow.
_NARROW = 3.0

# From so many states on factors are kept for the next policy. A pass of refinement takes a fortieth of new factors, so
# that they pay if each pass gains a digit.
KEEP_STATES = 20_000
_PASSES, _GAIN = 15, 0.1

# Flow residual of visits, entry by entry relative to them, that is rounding.
_EXACT = 1e-14

# Visits from GMRES below this share of the mass are its rounding; from LU they are right down to underflow.
_NOISE, _UNDERFLOW = 1e-19, 1e-290


@dataclass(frozen=True, eq=False)
class Linear:
    """Solves with (I - gamma P_w), where P_w(s, s') = sum_a w(a|s) P(s'|s, a), for one MDP and any weights w [S, A]."""

    mdp: MDP
    direct: bool = field(init=False)
    inflow: csr_array = field(init=False, repr=False)
    kept: list[SuperLU] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inflow", self.mdp.P.T.tocsr())
        object.__setattr__(self, "direct", self.mdp.S <= _FEW_STATES or _narrow(self.mdp))

    @cached_property
    def dense(self) -> FloatArray:
        """V -> V - gamma P V as an array [S, A, S]; for few states."""
        S, A = self.mdp.shape
        return np.eye(S)[:, None, :] - self.mdp.gamma * self.mdp.P.toarray().reshape(S, A, S)

    def expect(self, y: FloatArray) -> FloatArray:
        """gamma (P y)(s, a) [S, A]."""
        return self.mdp.gamma * (self.mdp.P @ y).reshape(self.mdp.shape)

    def flow(self, x: FloatArray) -> FloatArray:
        """gamma (P' x)(s) [S]."""
        return self.mdp.gamma * (self.inflow @ x.reshape(-1))

    def mixture(self, w: FloatArray) -> csr_array:
        """gamma P_w, CSR [S, S]."""
        S, A = self.mdp.shape
        choose = csr_array((self.mdp.gamma * w.reshape(-1), np.arange(S * A), np.arange(0, S * A + 1, A)), (S, S * A))
        return csr_array(choose @ self.mdp.P)

    def factor(self, w: FloatArray) -> SuperLU:
        """LU factors of I - gamma P_w, for w >= 0 with rows that sum to at most 1."""
        matrix = csc_array(eye_array(self.mdp.S) - self.mixture(w))
        ordering = "MMD_AT_PLUS_A"
        return splu(matrix, permc_spec=ordering, diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def visits(self, pi: FloatArray, guess: FloatArray | None = None, rtol: float = 1e-15) -> FloatArray:
        """d [S] > 0 with d = p0 + gamma P_pi' d: by LU, or by GMRES from `guess` to a residual of `rtol` ||d||."""
        mdp, share = self.mdp, 1.0 - self.mdp.gamma
        if not self.direct:
            inflow = self.mixture(pi).T.tocsr()
            target = rtol * float(np.linalg.norm(mdp.p0)) / share
            d, left = gmres(lambda x: x - inflow @ x, mdp.p0, guess, rtol=0.0, atol=target)
            if left <= max(100.0 * target, 1e-13 * float(np.linalg.norm(d))):
                return np.maximum(mdp.p0 + inflow @ np.maximum(d, 0.0), _NOISE / share)
        elif self.kept and guess is not None:
            d = self._refined(pi, guess)
            if d is not None:
                return np.maximum(d, _UNDERFLOW)
        return np.maximum(self._keeping(pi).solve(mdp.p0, trans="T"), _UNDERFLOW)

    def _keeping(self, pi: FloatArray) -> SuperLU:
        """`factor`, kept where there are many states."""
        self.kept.clear()  # before there are two of them
        factors = self.factor(pi)
        if self.mdp.S >= KEEP_STATES:
            self.kept.append(factors)
        return factors

    def _refined(self, pi: FloatArray, d: FloatArray) -> FloatArray | None:
        """The visits from `d` [S] near them, by the factors of another policy; None where those are no longer near."""
        inflow = self.mixture(pi).T.tocsr()
        d, before = np.maximum(d, _UNDERFLOW), np.inf
        for _ in range(_PASSES):
            residual = self.mdp.p0 + inflow @ d - d
            off = float((np.abs(residual) / d).max())
            if off <= _EXACT:
                return d
            if off > _GAIN * before:
                return d if off <= 10.0 * _EXACT else None
            before = off
            d = d + self.kept[0].solve(residual, trans="T")
            if not (d > 0.0).all():
                return None
        return None

    def values(self, pi: FloatArray, r: FloatArray, rtol: float) -> FloatArray:
        """V [S] with V - gamma P_pi V = r, to rounding by LU, to a residual of `rtol` ||r|| by GMRES."""
        if not self.direct:
            onward = self.mixture(pi)
            V, left = gmres(lambda x: x - onward @ x, r, rtol=rtol)
            if left <= 100.0 * rtol * float(np.linalg.norm(r)):
                return V
        elif self.kept:
            # Residuals of soft policy iteration ask for a direction; one that is off costs a step more.
            onward, V = self.mixture(pi), self.kept[0].solve(r)
            V, left = gmres(lambda x: self.kept[0].solve(x - onward @ x), V, V, rtol=rtol, max_matvecs=_PASSES)
            if left <= rtol * float(np.linalg.norm(V)):
                return V
        return self._keeping(pi).solve(r)


def _narrow(mdp: MDP) -> bool:
    """Whether the states can be ordered so that transitions lead no further than a few sqrt(S)."""
    S, A = mdp.shape
    rows = np.repeat(np.arange(S * A), np.diff(mdp.P.indptr)) // A
    reach = csr_array((np.ones(rows.size), (rows, mdp.P.indices)), shape=(S, S))
    order = reverse_cuthill_mckee(csr_array(reach + reach.T), symmetric_mode=True)
    position = np.empty(S, dtype=np.int64)
    position[order] = np.arange(S)
    return bool(np.abs(position[rows] - position[mdp.P.indices]).max() <= _NARROW * np.sqrt(S))

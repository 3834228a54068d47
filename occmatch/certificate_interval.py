"""The certificate as a proof: every number an interval that encloses the exact one, for small MDPs.

The claim is read as exact doubles, and so is the MDP, each row of P divided by its exact sum. From there the two
bounds of `certificate` are computed in ball arithmetic (Arb, Johansson 2017), with psi and psi* written out a second
time, so that nothing is shared with what is judged: neither `losses` nor `regularisers` nor a floating-point solve.
(A claim that holds a margin only is read as the cost of that margin, to the nearest doubles.) What comes out holds
without "up to rounding":  dual_lower <= optimum <= primal_upper.

A cost outside the domain of psi by rounding is pulled in exactly; what is certified is the pulled cost. Not every
psi* can be met by doubles: an indicator of one point (psi constant) is infinite next to it, and a transport problem
or a user's own cvxpy expression has no closed form; these raise TypeError. Needs python-flint (`pip install
occmatch[exact]`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from occmatch import checks
from occmatch.candidate import Candidate
from occmatch.certificate import read
from occmatch.certificate_balls import FORMS, Ball, Form, ball, total
from occmatch.checks import FloatArray
from occmatch.mdp import MDP
from occmatch.occupancy import policy
from occmatch.regularisers import Regulariser

try:
    from flint import arb_mat, ctx
except ImportError as missing:
    raise ImportError("occmatch.certificate_interval needs python-flint: pip install 'occmatch[exact]'") from missing


@dataclass(frozen=True)
class Enclosure:
    """Proved bounds, rounded outwards to doubles: dual_lower <= optimum <= primal_upper.

    `gap` is an upper bound of the difference of the exact primal and dual values, `relative_gap` = gap / max(|primal|,
    |dual|, lam / (1 - gamma)); `width` is how much of it is the width of the intervals; `precision` in bits.
    """

    primal_upper: float
    dual_lower: float
    gap: float
    relative_gap: float
    width: float
    precision: int


def enclose(
    mdp: MDP, rho_E: FloatArray, psi: Regulariser, candidate: Candidate, lam: float | None = None, precision: int = 256
) -> Enclosure:
    """Proved bounds on the optimum from a candidate's rho, cost and V; the cost of dense linear algebra in S balls.

    Infinite where there is none: for a cost that cannot be pulled into the domain, or too few bits.
    Raises ValueError for bad arguments, lam = 0, or too few bits for the linear solve, TypeError for a typed failure in
    the place of a candidate and for a psi without a closed form (see the module).
    """
    claim = read(mdp, rho_E, psi, candidate, lam)
    V, lam = claim.V, checks.lam(claim.lam, positive=True)
    form = _form(psi)
    with ctx.workprec(checks.count(precision, "precision", least=2)):
        model, pi = _Balls(mdp), policy(claim.rho)
        expert = [ball(x) for x in claim.rho_E.reshape(-1)]
        c, dual_psi = form.dual(psi, claim.cost, expert)
        dual = total(p * ball(v) for p, v in zip(model.p0, V, strict=True)) + dual_psi
        dual += _shift(model, c, V, ball(lam))
        rho, pi_balls = model.occupancy(pi)
        primal = form.divergence(psi, rho, expert) - ball(lam) * _entropy(rho, pi_balls)
        gap = primal - dual
        upper, lower = _up(primal), _down(dual)
        scale = max(abs(float(primal.mid())), abs(float(dual.mid())), lam / (1.0 - mdp.gamma))
        return Enclosure(
            primal_upper=upper,
            dual_lower=lower,
            gap=_up(gap),
            relative_gap=_up(gap / ball(scale)),
            width=_up(primal.upper() - primal.lower() + dual.upper() - dual.lower()),
            precision=precision,
        )


def _form(psi: Regulariser) -> Form:
    for kind, form in FORMS.items():
        if type(psi) is kind:  # a class of one's own that derives from it may have changed what it means
            found = form(psi)
            if found is not None:
                return found
    raise TypeError(
        f"no interval form exists for {psi!r:.80}. Likely causes: (a) psi is constant, and psi* the indicator of a "
        "point that doubles cannot meet; (b) psi* is the answer of a solver (Lipschitz, Expression)"
    )


class _Balls:
    """The MDP in balls: rows [(next state, probability)] for each pair, p0 [S], gamma."""

    def __init__(self, mdp: MDP) -> None:
        self.shape = mdp.shape
        self.gamma = ball(mdp.gamma)
        self.p0 = _normalised([ball(p) for p in mdp.p0])
        self.rows = []
        for first, last in zip(mdp.P.indptr[:-1], mdp.P.indptr[1:], strict=True):
            weights = _normalised([ball(p) for p in mdp.P.data[first:last]])
            self.rows.append(list(zip(mdp.P.indices[first:last].tolist(), weights, strict=True)))

    def occupancy(self, pi: FloatArray) -> tuple[list[Ball], list[Ball]]:
        """(rho [S * A], pi [S * A]) of the policy whose rows are divided by their exact sums, by an enclosing solve."""
        S, A = self.shape
        exact = [p for row in pi for p in _normalised([ball(x) for x in row])]
        system = [[ball(0.0)] * S for _ in range(S)]
        for s in range(S):
            system[s][s] += 1
            for a in range(A):
                for to, probability in self.rows[s * A + a]:
                    system[to][s] -= self.gamma * exact[s * A + a] * probability
        try:
            d = arb_mat(system).solve(arb_mat([[p] for p in self.p0]))
        except ZeroDivisionError:
            raise ValueError(
                f"precision must be enough to tell I - gamma P' from a singular matrix, but is {ctx.prec} bits"
            ) from None
        return [d[k // A, 0] * exact[k] for k in range(S * A)], exact

    def q_value(self, c: list[Ball], V: FloatArray, pair: int) -> Ball:
        return c[pair] + self.gamma * total(p * ball(V[to]) for to, p in self.rows[pair])


def _shift(model: _Balls, c: list[Ball], V: FloatArray, lam: Ball) -> Ball:
    """min_s (T V - V)(s) / (1 - gamma), a ball around it or below."""
    S, A = model.shape
    least = None
    for s in range(S):
        Q = [model.q_value(c, V, s * A + a) for a in range(A)]
        centre = Q[int(np.argmin([float(q.mid()) for q in Q]))]
        backup = centre - lam * total(((centre - q) / lam).exp() for q in Q).log()
        step = backup - ball(V[s])
        least = step if least is None else least.min(step)
    return least / (1 - model.gamma)


def _entropy(rho: list[Ball], pi: list[Ball]) -> Ball:
    return -total(r * p.log() for r, p in zip(rho, pi, strict=True) if not p.is_zero())


def _normalised(weights: list[Ball]) -> list[Ball]:
    whole = total(weights)
    return [w / whole for w in weights]


def _up(x: Ball) -> float:
    bound = float(x.upper())
    return np.inf if np.isnan(bound) else float(np.nextafter(bound, np.inf))  # no number is no bound


def _down(x: Ball) -> float:
    return -_up(-x)

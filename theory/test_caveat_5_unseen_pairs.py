"""Caveat 5: what psi_GA is where the expert never goes.

Where rho_E(s, a) = 0 the term rho_E g(c) must be read as 0 * g = 0 together with c <= 0: psi_GA is the closure, and
the supremum over c sits at the boundary, c = 0, D = 1.  Such a pair adds nothing to psi_GA*, since rho log 1 = 0.

Naive: "an expectation over the expert's pairs does not see c there", so c is free.  Then a learner who goes there makes
<rho - rho_E, c> grow without limit and the conjugate is +inf.  The other naive reading, c < 0 strictly, has the same
supremum but no maximiser, so that IRL would have no answer for an expert who leaves some action out.

Source: Ho & Ermon (2016), equation 13 and proposition A.1, read with psi closed.
"""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

import occmatch as om
from occmatch.regularisers import Surrogate
from theory.ledger import Ledger
from theory.plain import apart, measure
from theory.strategies import Instance, examples, instances, policies

LOGISTIC = om.LOSSES["logistic"]


def g_terms(rho_E: np.ndarray, c: np.ndarray) -> float:
    """E_piE[g(c)] over the expert's pairs only."""
    seen = rho_E > 0
    return float((rho_E[seen] * (-c[seen] - np.log(-np.expm1(c[seen])))).sum())


def draw_unseen(instance: Instance, data: st.DataObject) -> tuple[om.MDP, np.ndarray, np.ndarray]:
    """An MDP, a learner and an expert; the learner goes where the expert does not."""
    mdp, _, rho_E = instance
    rho = measure(mdp, data.draw(policies(mdp, "interior")))
    assume(((rho > 1e-6) & (rho_E == 0)).any())
    return mdp, rho, rho_E


@examples(20)
@given(instances(kind="deterministic"), st.data())
def test_a_free_cost_makes_the_conjugate_infinite(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """The naive objective rises linearly, without limit, along costs that psi_GA's formula does not see."""
    _, rho, rho_E = draw_unseen(instance, data)
    unseen = rho_E == 0
    missed = float(rho[unseen].sum())

    def naive(height: float) -> float:
        c = np.where(unseen, height, -np.log(2))
        return float(((rho - rho_E) * c).sum()) - g_terms(rho_E, c)

    rise = (naive(1e6) - naive(1e3)) / (1e6 - 1e3)
    check(
        statement="Caveat 5",
        compared="naive: slope of the objective along free costs against the learner's mass there",
        deviation=apart(rise, missed),
        tolerance=1e-9,
        because="a difference of numbers of size 1e6 times the mass",
    )
    right = Surrogate(LOGISTIC, rho_E)
    value = right.divergence(rho, rho_E)
    check(
        statement="Caveat 5",
        compared="right: psi_GA* above 0, where the naive one is +inf (violation)",
        deviation=value / rho.sum(),
        tolerance=1e-13,
        because="a sum of logs of numbers below 1",
    )
    check(
        statement="Caveat 5",
        compared="right: psi_GA of a positive cost on an unseen pair against +inf",
        deviation=apart(right.value(np.where(unseen, 1e-3, -1.0)), np.inf),
        tolerance=0.0,
        because="two values, no arithmetic",
    )


@examples(20)
@given(instances(kind="deterministic"), st.data())
def test_the_supremum_sits_at_the_boundary(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """D -> 1 on unseen pairs: approached from inside, attained by the closure, and worth nothing."""
    mdp, rho, rho_E = draw_unseen(instance, data)
    psi, unseen = Surrogate(LOGISTIC, rho_E), rho_E == 0
    top = psi.divergence(rho, rho_E)
    best = psi.best_cost(rho, rho_E)
    inner = np.log(np.where(unseen, 1.0, rho) / np.where(unseen, 1.0, rho + rho_E))
    short = []
    for edge in (-1e-1, -1e-3, -1e-6):
        c = np.where(unseen, edge, inner)
        short.append(top - (float(((rho - rho_E) * c).sum()) - g_terms(rho_E, c)))
    check(
        statement="Caveat 5",
        compared="costs inside the boundary fall short by |c| times the unseen mass",
        deviation=max(abs(s - e * rho[unseen].sum()) for s, e in zip(short, (1e-1, 1e-3, 1e-6), strict=True))
        / rho.sum(),
        tolerance=1e-12,
        because="sums of 36 terms",
    )
    check(
        statement="Caveat 5",
        compared="the best cost on unseen pairs against 0, and what it attains against psi_GA*",
        deviation=np.abs(best[unseen & (rho > 0)]).max()
        + abs(float(((rho - rho_E) * best).sum()) - psi.value(best) - top) / rho.sum(),
        tolerance=1e-12,
        because="sums of 36 terms",
    )
    found = om.irl(mdp, rho_E, psi)
    check(
        statement="Caveat 5",
        compared="IRL has an answer for an expert who leaves actions out: attained, certified gap",
        deviation=om.certify(mdp, rho_E, psi, found).relative_gap if found.attained else np.inf,
        tolerance=1e-7,
        because="the conic program's relative gap of 1e-8",
    )

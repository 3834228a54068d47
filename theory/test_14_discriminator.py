"""Equation 14: the conjugate of psi_GA is the optimal negative log loss of a classifier.

    psi_GA*(rho_pi - rho_E)  =  max_{D in (0,1)^{S x A}}  E_pi[ log D(s, a) ] + E_piE[ log(1 - D(s, a)) ]

D = 1 means "from the learner".  The maximum is at D = rho_pi / (rho_pi + rho_E), and the cost there is c = log D: the
discriminator of a generative adversarial network, as the solution of an IRL problem.

Source: Ho & Ermon (2016), section 5, equation 14, proved in appendix A.1; Goodfellow et al. (2014).
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

import occmatch as om
from occmatch.regularisers import Surrogate
from theory.ledger import Ledger
from theory.plain import apart
from theory.strategies import Instance, examples, instances, measures, positive_instances, rngs

LOGISTIC = om.LOSSES["logistic"]
SEARCH = 1e-9
BRENT = "a maximum searched to 1e-8 in its argument is exact to second order, 1e-16, times the curvature of the mass"


def loss(rho: np.ndarray, rho_E: np.ndarray, D: np.ndarray) -> float:
    return float((rho * np.log(D) + rho_E * np.log1p(-D)).sum())


@examples(15)
@given(positive_instances(max_states=4), st.data())
def test_the_conjugate_is_the_best_log_loss(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """psi_GA* of occmatch; the supremum over costs by its definition; the maximum over D. Three searches, one value."""
    mdp, _, rho_E = instance
    rho = data.draw(measures(mdp, "interior"))
    psi = Surrogate(LOGISTIC, rho_E)
    over_costs = over_D = 0.0
    for p, q in zip(rho.flat, rho_E.flat, strict=True):
        c = minimize_scalar(
            lambda c, p=p, q=q: -((p - q) * c - q * (-c - np.log(-np.expm1(c)))),
            bounds=(-20.0, -1e-8),
            method="bounded",
            options={"xatol": 1e-10},
        )
        D = minimize_scalar(
            lambda D, p=p, q=q: -(p * np.log(D) + q * np.log1p(-D)),
            bounds=(1e-9, 1 - 1e-9),
            method="bounded",
            options={"xatol": 1e-10},
        )
        over_costs, over_D = over_costs - c.fun, over_D - D.fun
    for name, value in (("supremum over costs of <x, c> - psi_GA(c)", over_costs), ("maximum over D", over_D)):
        for form, mine in (("divergence", psi.divergence(rho, rho_E)), ("conjugate", psi.conjugate(rho - rho_E))):
            check(
                statement="Eq 14",
                compared=f"psi_GA* ({form}) against the {name}",
                deviation=apart(mine, value, scale=rho.sum()),
                tolerance=SEARCH,
                because=BRENT,
            )


@examples(15)
@given(instances(), st.data())
def test_no_discriminator_does_better(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """Attacked at random and by L-BFGS over the logits of D; with zeros in both measures."""
    mdp, _, rho_E = instance
    rho, rng = data.draw(measures(mdp)), data.draw(rngs())
    top = Surrogate(LOGISTIC, rho_E).divergence(rho, rho_E)

    def negative(m: np.ndarray) -> tuple[float, np.ndarray]:
        D = 1 / (1 + np.exp(-m))
        value = rho.ravel() @ np.logaddexp(0, -m) + rho_E.ravel() @ np.logaddexp(0, m)
        return float(value), rho_E.ravel() * D - rho.ravel() * (1 - D)

    found = minimize(
        negative,
        rng.normal(size=rho.size),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-500, 500)] * rho.size,
        options={"gtol": 1e-9, "ftol": 1e-15},
    )
    tried = [-found.fun] + [loss(rho, rho_E, rng.uniform(1e-6, 1 - 1e-6, size=mdp.shape)) for _ in range(10)]
    check(
        statement="Eq 14",
        compared="a discriminator beyond psi_GA* (violation)",
        deviation=(max(tried) - top) / rho.sum(),
        tolerance=1e-13,
        because="sums of 36 logs, relative to the mass",
    )
    check(
        statement="Eq 14",
        compared="the best discriminator of L-BFGS falls short of psi_GA* by",
        deviation=(top - max(tried)) / rho.sum(),
        tolerance=1e-7,
        because="where the best logit is infinite L-BFGS stops on a slope that is as small as what is left",
    )


@examples(15)
@given(positive_instances(), st.data())
def test_the_maximiser_is_the_share_of_the_learner(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    mdp, _, rho_E = instance
    rho = data.draw(measures(mdp, "interior"))
    cost = Surrogate(LOGISTIC, rho_E).best_cost(rho, rho_E)
    check(
        statement="Eq 14",
        compared="the best cost against log( rho / (rho + rho_E) )",
        deviation=apart(cost, np.log(rho / (rho + rho_E))),
        tolerance=1e-13,
        because="one ratio and one log",
    )

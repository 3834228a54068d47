"""Corollary A.1.1: the logistic loss gives psi_GA, so GAIL is the case phi(m) = log(1 + e^-m) of Proposition A.1.

With D = sigmoid(m) the cost of a margin is c = -phi(m) = log D and phi(-m) = -log(1 - D), hence

    g_phi(c) = -c - log(1 - e^c) = -log D - log(1 - D),
    psi_phi = psi_GA,       -R_phi(rho_pi, rho_E) = max_D E_pi[log D] + E_piE[log(1 - D)].

Source: Ho & Ermon (2016), appendix A.1, corollary A.1.1.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from occmatch.losses import Logistic
from occmatch.regularisers import Surrogate
from theory.ledger import Ledger
from theory.plain import apart
from theory.strategies import Instance, examples, instances, measures, positive_instances, rngs

LOGISTIC = Logistic()
ROUNDING = 1e-12
LOGS = "logs of 1 - D for D down to e^-12 from 1: five digits of D are spent"


@examples(30)
@given(positive_instances(), st.data())
def test_psi_of_the_logistic_loss_in_terms_of_the_discriminator(
    check: Ledger, instance: Instance, data: st.DataObject
) -> None:
    _, _, rho_E = instance
    m = data.draw(rngs()).uniform(-12, 12, size=rho_E.shape)
    D = 1 / (1 + np.exp(-m))
    psi = Surrogate(LOGISTIC, rho_E)
    check(
        statement="Cor A.1.1",
        compared="psi_phi(log D) against -E_piE[log D + log(1 - D)]",
        deviation=apart(psi.value(LOGISTIC.cost(m)), -(rho_E * (np.log(D) + np.log(1 - D))).sum()),
        tolerance=1e-10,
        because=LOGS,
    )
    check(
        statement="Cor A.1.1",
        compared="the cost of a margin against log D, and its margin against logit D",
        deviation=apart(LOGISTIC.cost(m), np.log(D)) + apart(LOGISTIC.margin(np.log(D)), m),
        tolerance=1e-10,
        because=LOGS,
    )
    check(
        statement="Cor A.1.1",
        compared="the dual's -<rho_E, c> - psi(c) against E_piE[log(1 - D)]",
        deviation=apart(psi.dual_value(LOGISTIC.cost(m), rho_E), (rho_E * np.log(1 - D)).sum()),
        tolerance=1e-10,
        because=LOGS,
    )


@examples(30)
@given(instances(), st.data())
def test_the_margin_risk_is_the_log_loss_of_the_best_discriminator(
    check: Ledger, instance: Instance, data: st.DataObject
) -> None:
    mdp, _, rho_E = instance
    rho = data.draw(measures(mdp))
    total = np.where(rho + rho_E > 0, rho + rho_E, 1.0)
    D = rho / total
    log_loss = sum(p * np.log(d) for p, d in zip(rho.flat, D.flat, strict=True) if p > 0)
    log_loss += sum(q * np.log(e / t) for q, e, t in zip(rho_E.flat, rho_E.flat, total.flat, strict=True) if q > 0)
    check(
        statement="Cor A.1.1",
        compared="psi_phi* against E_pi[log D] + E_piE[log(1 - D)] at D = rho / (rho + rho_E)",
        deviation=apart(Surrogate(LOGISTIC, rho_E).divergence(rho, rho_E), log_loss, scale=float(rho.sum())),
        tolerance=ROUNDING,
        because="sums of 36 logs",
    )

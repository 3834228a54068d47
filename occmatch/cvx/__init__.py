"""The functions of this package as cvxpy atoms, and nowhere else: psi, psi*, and the causal entropy.

psi        psi(c) and -<rho_E, c> - psi(c), for IRL          conjugate  psi*(rho - rho_E), for matching
conic      the conjugate of a function that the user wrote
"""

from occmatch.cvx.conjugate import conjugate, neg_causal_entropy
from occmatch.cvx.psi import dual_value, psi

__all__ = ["conjugate", "dual_value", "neg_causal_entropy", "psi"]

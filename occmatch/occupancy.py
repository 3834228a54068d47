"""Occupancy measures: how often a policy is where, and what it does there.

    rho_pi(s, a) = pi(a|s) sum_t gamma^t P(s_t = s | pi)

is never normalised: it sums to 1/(1-gamma), and E_pi[c] = <rho_pi, c>.  These measures are exactly the polytope

    D = { rho >= 0 : sum_a rho(s, a) = p0(s) + gamma sum_{s', a} P(s|s', a) rho(s', a) for all s },

and rho -> pi_rho(a|s) = rho(s, a) / sum_a' rho(s, a') inverts pi -> rho_pi on visited states (Proposition 3.1).
Causal entropy is H(pi) = E_pi[-log pi(a|s)] for policies and, for measures, the concave function

    Hbar(rho) = - sum rho(s, a) log( rho(s, a) / sum_a' rho(s, a') ),      0 log 0 = 0;

H(pi) = Hbar(rho_pi) (Lemma 3.1).  Where a state is never visited its row of pi_rho is arbitrary; here it is uniform.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.special import rel_entr, xlogy

from occmatch import checks
from occmatch.checks import FloatArray
from occmatch.linear import solve_visits
from occmatch.mdp import MDP


def occupancy(mdp: MDP, pi: FloatArray) -> FloatArray:
    """rho_pi [S, A] of the policy `pi` [S, A]; it sums to 1/(1-gamma).  Raises ValueError where `pi` is no policy."""
    pi = checks.policy(mdp, pi)
    return solve_visits(mdp, pi)[:, None] * pi


def visits(rho: FloatArray) -> FloatArray:
    """d(s) = sum_a rho(s, a): discounted state visits [S] of `rho` [S, A], finite; else ValueError."""
    return checks.real_axes(rho, "rho", "S", "A").sum(axis=1)


def policy(rho: FloatArray) -> FloatArray:
    """pi_rho(a|s) = rho(s, a) / sum_a' rho(s, a') of a measure [S, A] >= 0; uniform where the row has no mass.

    Raises ValueError for negative or non-finite entries, and for another number of dimensions.
    """
    rho = checks.nonnegative(checks.real_axes(rho, "rho", "S", "A"), "rho")
    with np.errstate(over="ignore"):
        total = rho.sum(axis=1, keepdims=True)
    if np.isinf(total).any():  # a row divided by its largest entry has the same policy, and a sum up to A
        rho = np.where(np.isinf(total), rho / np.maximum(rho.max(axis=1, keepdims=True), 1.0), rho)
        total = rho.sum(axis=1, keepdims=True)
    return np.divide(rho, total, out=np.full(rho.shape, 1.0 / rho.shape[1]), where=total > 0.0)


def flow_residual(mdp: MDP, rho: FloatArray) -> FloatArray:
    """sum_a rho(s, a) - p0(s) - gamma (P' rho)(s) [S]: zero exactly on D (together with rho >= 0)."""
    rho = checks.cost(mdp, rho, "rho")
    return rho.sum(axis=1) - mdp.p0 - mdp.gamma * mdp.flow(rho)


def flow_matrix(mdp: MDP) -> csr_array:
    """M as CSR [S, S * A] with (M rho)(s) = sum_a rho(s, a) - gamma (P' rho)(s): D = { rho >= 0 : M rho = p0 }."""
    checks.explicit(mdp)
    S, A = mdp.shape
    row_sums = csr_array((np.ones(S * A), np.arange(S * A), np.arange(S + 1) * A), shape=(S, S * A))
    return csr_array(row_sums - mdp.gamma * mdp.P.T.tocsr())


def entropy(mdp: MDP, pi: FloatArray) -> float:
    """H(pi) = E_pi[-log pi(a|s)], discounted, in nats; between 0 and log(A)/(1-gamma)."""
    pi = checks.policy(mdp, pi)
    return float(-(solve_visits(mdp, pi) @ xlogy(pi, pi).sum(axis=1)))


def causal_entropy(rho: FloatArray) -> float:
    """Hbar(rho) = - sum rho log(rho / d), d(s) = sum_a rho(s, a), 0 log 0 = 0; positively homogeneous and concave.

    Raises ValueError unless `rho` is finite [S, A] >= 0.
    """
    rho = checks.nonnegative(checks.real_axes(rho, "rho", "S", "A"), "rho")
    return float(-rel_entr(rho, visits(rho)[:, None]).sum())


def grad_causal_entropy(rho: FloatArray) -> FloatArray:
    """grad Hbar(rho) = -log pi_rho [S, A]: +inf where rho(s, a) = 0 in a visited state, log A in one not visited."""
    with np.errstate(divide="ignore"):
        return -np.log(policy(rho))

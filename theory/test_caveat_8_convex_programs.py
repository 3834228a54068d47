"""Caveat 8: both sides as convex programs, and what their solvers return.

    -Hbar(rho) = sum(rel_entr(rho, B rho)),     (B rho)(s, a) = sum_a' rho(s, a'),     rel_entr(x, y) = x log(x / y)

IRL for any psi is one program with no policy inside,

    max_{c, V}  p0.V - <rho_E, c> - psi(c)
    subject to  lam log sum_a exp( (V(s) - c(s, a) - gamma (P V)(s, a)) / lam ) <= 0   for every s,

whose multipliers, one a state, are the discounted state visits of the optimal policy. At lam = 0 everything is linear:

    naive   a linear program over D returns a deterministic policy
    right   D has one at every vertex, but an interior-point method returns the middle of the optimal face where actions
            tie; a simplex method (HiGHS) returns a vertex

Source: a remark on Ho & Ermon (2016), Eq 3; rel_entr and log_sum_exp are cvxpy's; linear case: Puterman (1994), 6.9.
"""

import cvxpy as cp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from occmatch.regularisers import Box, Quadratic, Surrogate
from theory.ledger import Ledger
from theory.oracles import flow, kernel
from theory.strategies import Instance, examples, mdps, measures, positive_instances, rngs

GAMMAS = st.sampled_from([0.0, 0.5, 0.9])
LAMS = st.sampled_from([0.3, 1.0])

ROUNDING = 1e-13
SUM = "two sums of 18 terms, in units of (1 + log A) / (1 - gamma)"
VALUE = 1e-6
CONIC = "Clarabel ends at 1e-8, in units of (1 + lam) / (1 - gamma)"
VISITS = 1e-4
MULTIPLIER = "multipliers of exponential cones are good to the root of Clarabel's 1e-8, as a share of the mass"


@examples(40)
@given(mdps(), st.data())
def test_the_entropy_is_a_sum_of_relative_entropies(check: Ledger, mdp: om.MDP, data: st.DataObject) -> None:
    rho = data.draw(measures(mdp))
    atoms = cp.sum(cp.rel_entr(cp.Constant(rho), cp.Constant(np.repeat(rho.sum(axis=1, keepdims=True), mdp.A, axis=1))))
    check(
        statement="Caveat 8",
        compared="sum(rel_entr(rho, B rho)) against -Hbar(rho)",
        deviation=abs(float(atoms.value) + om.causal_entropy(rho)) * (1.0 - mdp.gamma) / (1.0 + np.log(mdp.A)),
        tolerance=ROUNDING,
        because=SUM,
    )


def _psi(name: str, c: cp.Variable, rho_E: np.ndarray) -> tuple[cp.Expression, list[cp.Constraint]]:
    """Three psi written by hand; psi_GA = sum rho_E (-c - log(1 - e^c)) on c <= 0, with t >= -log(1 - e^c)."""
    if name == "quadratic":
        return 0.5 * cp.sum_squares(c), []
    if name == "box":
        return cp.Constant(0.0), [cp.abs(c) <= 1.0]
    t = cp.Variable(c.shape)
    cones = [cp.exp(c) + cp.exp(-t) <= 1.0]
    return cp.sum(cp.multiply(rho_E, t - c)), cones


PSIS = {
    "quadratic": lambda rho_E: Quadratic(),
    "box": lambda rho_E: Box(),
    "logistic": lambda rho_E: Surrogate(om.LOSSES["logistic"], rho_E),
}


@examples(12)
@given(positive_instances(max_states=4, gammas=GAMMAS, least=2), LAMS, st.sampled_from(sorted(PSIS)))
def test_irl_is_one_program_and_its_multipliers_are_visits(
    check: Ledger, instance: Instance, lam: float, name: str
) -> None:
    mdp, _, rho_E = instance
    P, size = kernel(mdp), (1.0 + lam) / (1.0 - mdp.gamma)
    c, V = cp.Variable(mdp.shape), cp.Variable(mdp.S)
    bellman = [
        lam * cp.log_sum_exp(cp.hstack([V[s] - c[s, a] - mdp.gamma * (P[s, a] @ V) for a in range(mdp.A)]) / lam) <= 0
        for s in range(mdp.S)
    ]
    psi, domain = _psi(name, c, rho_E)
    problem = cp.Problem(cp.Maximize(mdp.p0 @ V - cp.sum(cp.multiply(rho_E, c)) - psi), [*bellman, *domain])
    value = problem.solve(solver=cp.CLARABEL)
    matched = om.match(mdp, rho_E, PSIS[name](rho_E), lam)
    primal = PSIS[name](rho_E).divergence(matched.rho, rho_E) - lam * om.causal_entropy(matched.rho)
    check(
        statement="Caveat 8",
        compared="program in (c, V) written by hand against matching",
        deviation=abs(value - primal) / size,
        tolerance=VALUE,
        because=CONIC,
    )
    visits = np.array([float(np.squeeze(k.dual_value)) for k in bellman])
    check(
        statement="Caveat 8",
        compared="multipliers of the Bellman constraints against state visits",
        deviation=np.abs(visits - matched.rho.sum(axis=1)).max() * (1.0 - mdp.gamma),
        tolerance=VISITS,
        because=MULTIPLIER,
    )


@examples(8)
@given(mdps(max_states=4, least=2, gammas=GAMMAS), rngs())
def test_an_interior_point_optimum_is_no_vertex_where_actions_tie(
    check: Ledger, mdp: om.MDP, rng: np.random.Generator
) -> None:
    # Costs and kernel do not tell the first two actions apart.
    P = kernel(mdp)
    P[:, 1] = P[:, 0]
    cost = rng.normal(size=mdp.shape)
    cost[:, :2] = -5.0
    tied = om.MDP(P, mdp.p0, mdp.gamma)
    share = 1.0 - tied.gamma
    value = tied.p0 @ om.rl(tied, cost, 0.0).V
    policies = {}
    for solver in (cp.CLARABEL, cp.HIGHS):
        rho = cp.Variable(tied.shape, nonneg=True)
        in_D = flow(tied) @ cp.vec(rho, order="C") == tied.p0
        problem = cp.Problem(cp.Minimize(cp.sum(cp.multiply(cost, rho))), [in_D])
        problem.solve(solver=solver)
        check(
            statement="Caveat 8",
            compared="value of the linear program over D against policy iteration",
            deviation=abs(problem.value - value) * share / 5.0,
            tolerance=VALUE,
            because=CONIC,
        )
        visited = rho.value.sum(axis=1) > 1e-6
        policies[solver] = om.policy(np.maximum(rho.value, 0.0))[visited].max(axis=1)
    assert policies[cp.CLARABEL].min() < 0.9, "naive: one action a state"
    check(
        statement="Caveat 8",
        compared="largest probability in a visited state of HiGHS's optimum, against 1",
        deviation=1.0 - policies[cp.HIGHS].min(),
        tolerance=1e-6,
        because="HiGHS' tolerance 1e-7 over visits of at least 1e-6 is a ratio; at a vertex entries are exactly 0",
    )
    rule = om.lp.deterministic_policy(tied, cost)
    assert set(rule.flat) <= {0.0, 1.0}
    check(
        statement="Caveat 8",
        compared="cost of lp.deterministic_policy against policy iteration",
        deviation=abs((om.occupancy(tied, rule) * cost).sum() - value) * share / 5.0,
        tolerance=VALUE,
        because=CONIC,
    )

"""Frank-Wolfe: that is what apprenticeship learning by projection is.

Abbeel & Ng's projection algorithm lowers h(rho) = 1/2 ||F'(rho - rho_E)||^2 over D by calling RL on the cost F gap_k,
gap_k = F'(rho_k - rho_E), which is the linear oracle of Frank-Wolfe, and moving the mixture to the nearest point of the
segment to its answer, which is exact line search.  So, with C the squared diameter of F'D, after k steps

    h_k - h*  <=  2 C / (k + 2),          h_k - h*  <=  <F gap_k, rho_k - oracle_k>,

the second being a certificate; h* = 0 where rho_E is in D.

Source: Zahavy, Cohen, Kaplan & Mansour (2020); Abbeel & Ng (2004), section 3.1; Jaggi (2013), theorem 1.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from occmatch.regularisers import L2Ball
from theory.ledger import Ledger
from theory.oracles import deterministic_policies
from theory.plain import apart, measure, softmax
from theory.search import any_mdp, worst
from theory.strategies import Instance, examples, instances, rngs

STEPS = 40


def feature_expectations(F: np.ndarray, rho: np.ndarray) -> np.ndarray:
    return np.einsum("sa,sak->k", rho, F)


@examples(8)
@given(instances(max_states=3, max_actions=2, least=2), st.data())
def test_the_projection_algorithm_is_frank_wolfe(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """Both told in their own words, the oracle RL in the one and the best vertex by enumeration in the other."""
    mdp, _, rho_E = instance
    F = data.draw(rngs()).normal(size=(*mdp.shape, 3))
    vertices = np.array([feature_expectations(F, measure(mdp, pi)) for pi in deterministic_policies(mdp)])
    target = feature_expectations(F, rho_E)
    size = np.abs(F).max() / (1 - mdp.gamma)
    diameter = max(float(((a - b) ** 2).sum()) for a in vertices for b in vertices)

    # Abbeel & Ng: project the expert on the line through the mean so far and the newest answer, in feature space.
    mean = feature_expectations(F, om.occupancy(mdp, np.full(mdp.shape, 1 / mdp.A)))
    point = mean.copy()
    worst_rate, worst_gap, drift = -np.inf, -np.inf, 0.0
    for k in range(STEPS):
        w = mean - target
        answer = feature_expectations(F, om.rl(mdp, F @ w, lam=0.0).rho)
        along = answer - mean
        length = float(along @ along)
        mean = mean + (np.clip(-(w @ along) / length, 0.0, 1.0) if length > 0 else 0.0) * along
        # Frank-Wolfe: the vertex of least slope, then the step that minimises the quadratic.
        slope = point - target
        vertex = vertices[np.argmin(vertices @ slope)]
        gap = float(slope @ (point - vertex))
        bend = float(((vertex - point) ** 2).sum())
        point = point + (min(1.0, gap / bend) if bend > 0 and gap > 0 else 0.0) * (vertex - point)
        h = 0.5 * float((mean - target) @ (mean - target))
        worst_rate = max(worst_rate, h - 2 * diameter / (k + 3))
        worst_gap = max(worst_gap, 0.5 * float(slope @ slope) - gap)
        drift = max(drift, abs(h - 0.5 * float((point - target) @ (point - target))))
    check(
        statement="Frank-Wolfe",
        compared="objective of the projection algorithm against Frank-Wolfe with exact line search",
        deviation=drift / size**2,
        tolerance=1e-8,
        because="ties of the oracle and rounding of gaps near the optimum grow over 40 steps",
    )
    check(
        statement="Frank-Wolfe",
        compared="h_k above 2 C / (k + 2) (violation)",
        deviation=max(worst_rate, -(size**2)) / size**2,
        tolerance=1e-12,
        because="squares of sums of 6 terms",
    )
    check(
        statement="Frank-Wolfe",
        compared="h_k - h* above the Frank-Wolfe gap (violation)",
        deviation=max(worst_gap, -(size**2)) / size**2,
        tolerance=1e-12,
        because="squares of sums of 6 terms",
    )


@examples(6)
@given(instances(max_states=3, max_actions=2, least=2), st.data())
def test_its_limit_is_matching_over_the_l2_ball(check: Ledger, instance: Instance, data: st.DataObject) -> None:
    """An expert outside D: the gap certifies how far the mixture is from the optimum of `match` without entropy."""
    mdp, _, rho_E = instance
    rng = data.draw(rngs())
    F = rng.normal(size=(*mdp.shape, 3))
    target = rho_E * rng.uniform(0.5, 1.5, size=mdp.shape)
    found = om.match(mdp, target, L2Ball(F), lam=0.0)
    optimum = 0.5 * float((feature_expectations(F, found.rho - target) ** 2).sum())
    rho = om.occupancy(mdp, np.full(mdp.shape, 1 / mdp.A))
    least, top = np.inf, np.inf
    for k in range(STEPS):
        w = feature_expectations(F, rho - target)
        oracle = om.rl(mdp, F @ w, lam=0.0).rho
        gap = float(w @ feature_expectations(F, rho - oracle))
        least, top = min(least, 0.5 * float(w @ w) - optimum), min(top, optimum - 0.5 * float(w @ w) + gap)
        rho = rho + 2 / (k + 2) * (oracle - rho)
    scale = np.abs(F).max() ** 2 * rho.sum() ** 2
    check(
        statement="Frank-Wolfe",
        compared="optimum of match outside the bracket of the Frank-Wolfe gaps (violation)",
        deviation=-min(least, top) / scale,
        tolerance=1e-7,
        because="Clarabel's relative gap of 1e-8",
    )
    check(
        statement="Frank-Wolfe",
        compared="matched value against psi* of its measure",
        deviation=apart(L2Ball(F).divergence(found.rho, target), np.sqrt(2 * optimum), scale=rho.sum()),
        tolerance=1e-12,
        because="the same sums in another order",
    )


@examples(3)
@given(st.sampled_from([0.5, 0.9]), rngs())
def test_a_search_for_the_worst_mdp_keeps_the_rate(check: Ledger, gamma: float, rng: np.random.Generator) -> None:
    """Over kernel, start, expert and features: the rate and the certificate of every step, in units of C."""

    def above(*x: np.ndarray) -> float:
        rows, start, theta_E, F = x
        mdp = any_mdp(rows, start, gamma)
        vertices = np.array([feature_expectations(F, measure(mdp, pi)) for pi in deterministic_policies(mdp)])
        target = feature_expectations(F, measure(mdp, softmax(theta_E)))
        diameter = max(float(((a - b) ** 2).sum()) for a in vertices for b in vertices)
        point, found = vertices[0], -np.inf
        for k in range(1, 9):
            slope = point - target
            towards = vertices[np.argmin(vertices @ slope)] - point
            gap, length = -float(slope @ towards), float(towards @ towards)
            found = max(found, 0.5 * float(slope @ slope) - gap)
            point = point + (np.clip(gap / length, 0.0, 1.0) if length > 0 else 0.0) * towards
            found = max(found, 0.5 * float(((point - target) ** 2).sum()) - 2 * diameter / (k + 2))
        return found / diameter

    check(
        statement="Frank-Wolfe",
        compared="h_k above 2 C / (k + 2) or above the gap, worst MDP found, as a share of C (violation)",
        deviation=worst(above, ((2, 2, 2), (2,), (2, 2), (2, 2, 3)), rng),
        tolerance=1e-12,
        because="squares of sums of 6 terms",
    )

"""Caveat 3: visits counted from finite data are, as a rule, no occupancy measure.

Corollary 3.2.1 needs rho_E in D. For any x and the shaping direction c_V = V - gamma P V,

    <rho - x, c_V> = p0.V - <x, c_V> = -<residual(x), V>,     residual(x)(s) = sum_a x(s, a) - p0(s) - gamma (P' x)(s),

for every rho in D. With psi constant,

    naive   IRL on the counts gives the expert's cost, and its learner matches the counts
    right   where the residual is not zero the dual grows without limit along a shaping direction, at rate
            |<residual, V>|; IRL returns that ray, and a cost exists again after projecting on D or with another psi

Source: a remark on Ho & Ermon (2016), Cor 3.2.1; shaping: Ng, Harada & Russell (1999).
"""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

import occmatch as om
from occmatch.regularisers import Constant, Surrogate
from theory.ledger import Ledger
from theory.oracles import flow, series_occupancy, soft_policy, soft_value
from theory.strategies import Instance, examples, positive_instances, rngs

GAMMAS = st.sampled_from([0.5, 0.9])

ROUNDING = 1e-10
SWEEPS = "value iteration at costs of size up to 1e3, relative to them"
MATCHED = 1e-5
PROGRAM = "Clarabel at 1e-8, twice: the projection on D, and the cost"


def counts(instance: Instance, rng: np.random.Generator, episodes: int = 5) -> np.ndarray:
    """Discounted visits of a few episodes."""
    mdp, pi_E, _ = instance
    return om.empirical(mdp, om.sample_trajectories(mdp, pi_E, episodes, 60, rng))


def dual(mdp: om.MDP, rho_E: np.ndarray, c: np.ndarray) -> float:
    return float(mdp.p0 @ soft_value(mdp, c, 1.0)) - float((rho_E * c).sum())


@examples(12)
@given(positive_instances(max_states=4, least=2, gammas=GAMMAS), rngs())
def test_the_dual_grows_along_a_shaping_direction(check: Ledger, instance: Instance, rng: np.random.Generator) -> None:
    mdp, counted = instance.mdp, counts(instance, rng)
    residual = flow(mdp) @ counted.ravel() - mdp.p0
    assume(np.abs(residual).max() > 1e-3)
    terms = {"statement": "Caveat 3", "tolerance": ROUNDING, "because": SWEEPS}

    # By hand: shape along -residual, at any size.
    V = -residual
    shaped = (V - 0.0)[:, None] - mdp.gamma * mdp.expect(V)
    at = [dual(mdp, counted, t * shaped) for t in (0.0, 1.0, 100.0)]
    rate = float(residual @ residual)
    off = max(abs(at[1] - at[0] - rate), abs(at[2] - at[0] - 100.0 * rate) / 100.0)
    check(**terms, compared="growth of G along shaping against |residual|^2 t", deviation=off)

    # As a value: the ray that irl returns does what it says.
    found = om.irl(mdp, counted, Constant())
    assert isinstance(found, om.Unbounded), "naive: a cost"
    slope = (dual(mdp, counted, 200.0 * found.ray) - dual(mdp, counted, 100.0 * found.ray)) / 100.0
    check(
        **terms,
        compared="slope of G along the ray of irl against the stated one (violation)",
        deviation=found.slope - slope,
    )
    assert found.slope > 0


@examples(6)
@given(positive_instances(max_states=3, least=2, gammas=GAMMAS), rngs())
def test_after_projection_the_corollary_holds_again(
    check: Ledger, instance: Instance, rng: np.random.Generator
) -> None:
    mdp = instance.mdp
    counted = counts(instance, rng, 30)
    assume((counted > 0).all())
    projected = om.project_kl(mdp, counted)
    cost = om.irl(mdp, projected, Constant()).cost
    rho = series_occupancy(mdp, soft_policy(mdp, cost, 1.0))
    check(
        statement="Caveat 3",
        compared="measure of the learner against the projected counts, share of the mass",
        deviation=np.abs(rho - projected).sum() * (1.0 - mdp.gamma),
        tolerance=MATCHED,
        because=PROGRAM,
    )
    logistic = om.irl(mdp, counted, Surrogate(om.LOSSES["logistic"], counted))
    assert isinstance(logistic, om.Candidate) and om.certify(
        mdp, counted, Surrogate(om.LOSSES["logistic"], counted), logistic
    ).holds(MATCHED)

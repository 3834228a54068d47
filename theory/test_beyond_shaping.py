"""Shaping: which changes of a cost no policy can see.

Adding a potential difference,  c'(s, a) = c(s, a) + Phi(s) - gamma (P Phi)(s, a),  shifts every policy's cost by one
number: <rho_pi, c'> = <rho_pi, c> + p0.Phi. So optimal policies stay, soft or hard, and V' = V + Phi. In one MDP whose
states are all visited there is nothing else of the kind: the costs with the same value under every policy, up to a
constant that c itself fixes, form a space of dimension S, which is that of the shapings.

Source: Ng, Harada & Russell (1999), Theorem 1 (with state-action costs and expectations over the next state).
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from theory.ledger import Ledger
from theory.oracles import deterministic_policies, kernel, series_occupancy, soft_policy
from theory.search import worst
from theory.strategies import costs, examples, mdps, policies, rngs

ROUNDING = 1e-11
SERIES = "power series and value iteration to rounding, in units of |Phi| / (1 - gamma)"


def shaping(mdp: om.MDP, potential: np.ndarray) -> np.ndarray:
    return potential[:, None] - mdp.gamma * (kernel(mdp) @ potential)


@examples(50)
@given(mdps(), st.data(), rngs())
def test_a_potential_changes_no_comparison_of_policies(
    check: Ledger, mdp: om.MDP, data: st.DataObject, rng: np.random.Generator
) -> None:
    cost, pi, potential = data.draw(costs(mdp)), data.draw(policies(mdp)), 3.0 * rng.normal(size=mdp.S)
    shaped = cost + shaping(mdp, potential)
    share = 1.0 - mdp.gamma
    terms = {"statement": "Shaping", "tolerance": ROUNDING, "because": SERIES}
    moved = (series_occupancy(mdp, pi) * (shaped - cost)).sum() - mdp.p0 @ potential
    check(**terms, compared="E_pi[c'] - E_pi[c] against p0.Phi", deviation=abs(moved) * share)
    soft, before = om.rl(mdp, shaped, 0.5), soft_policy(mdp, cost, 0.5)
    check(**terms, compared="soft optimal policy of c' against that of c", deviation=np.abs(soft.pi - before).max())
    off = soft.V - potential - om.rl(mdp, cost, 0.5).V
    check(**terms, compared="V' against V + Phi", deviation=np.abs(off).max() * share)
    # Where actions tie either may be chosen: the policies may differ, their costs may not.
    chosen = om.rl(mdp, shaped, 0.0).rho
    lost = (chosen * cost).sum() - mdp.p0 @ om.rl(mdp, cost, 0.0).V
    check(**terms, compared="hard optimal policy of c' under c, against the optimum", deviation=abs(lost) * share)


@examples(15)
@given(mdps(max_states=3, reachable=True))
def test_nothing_else_goes_unseen(check: Ledger, mdp: om.MDP) -> None:
    measures = np.array([series_occupancy(mdp, pi).ravel() for pi in deterministic_policies(mdp)]) * (1.0 - mdp.gamma)
    apart = measures - measures[0]
    rank = np.linalg.matrix_rank(apart, tol=1e-9)
    basis = np.stack([shaping(mdp, e).ravel() for e in np.eye(mdp.S)], axis=1)
    terms = {
        "statement": "Shaping",
        "tolerance": 0.0,
        "because": "a rank is an integer; singular values below 1e-9 count as 0",
    }
    check(
        **terms,
        compared="dimension of costs no policy tells apart against S",
        deviation=abs(apart.shape[1] - rank - mdp.S),
    )
    check(**terms, compared="dimension of the shapings against S", deviation=abs(np.linalg.matrix_rank(basis) - mdp.S))
    check(
        statement="Shaping",
        compared="shapings on differences of measures",
        deviation=np.abs(apart @ basis).max(),
        tolerance=ROUNDING,
        because=SERIES,
    )


@examples(4)
@given(mdps(max_states=3, max_actions=2, least=2, reachable=True, gammas=st.just(0.9)), rngs())
def test_a_search_for_another_unseen_change_comes_back_to_shaping(
    check: Ledger, mdp: om.MDP, rng: np.random.Generator
) -> None:
    measures = np.array([series_occupancy(mdp, pi).ravel() for pi in deterministic_policies(mdp)]) * (1.0 - mdp.gamma)
    basis = np.linalg.qr(np.stack([shaping(mdp, e).ravel() for e in np.eye(mdp.S)], axis=1))[0]

    def unseen(x: np.ndarray) -> float:
        rest = x - basis @ (basis.T @ x)
        return least / np.sqrt(len(measures)) - float(np.ptp(measures @ x) / np.linalg.norm(rest))

    least = np.sort(np.linalg.svd(measures - measures[0], compute_uv=False))[-(mdp.S * (mdp.A - 1))]
    check(
        statement="Shaping",
        compared="a change that no policy sees, off the shapings, by search (violation)",
        deviation=worst(unseen, ((mdp.S * mdp.A,),), rng),
        tolerance=ROUNDING,
        because="the spread over n policies is at least the least singular value over the root of n",
    )

"""Caveat 2: the argmax of IRL may be empty, and the value identity holds all the same.

An expert that never takes an action in a state it visits cannot be the soft optimal policy of a finite cost, since that
policy takes every action. With psi constant,

    naive   IRL returns the expert's cost
    right   sup_c G(c) = -lam Hbar(rho_E) is approached by costs that diverge: an action that the expert avoids needs
            a disadvantage k, the gap closes like e^(-k / lam), and so k ~ lam log(1 / gap)

One state, two actions, gamma = 0, the expert on the first: G((0, k)) = -lam log(1 + e^(-k / lam)), below 0 for every k.

Source: a remark on Ho & Ermon (2016), Prop 3.2; existence of primal optima and minimax: Sion (1958).
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import occmatch as om
from occmatch.regularisers import Constant
from theory.ledger import Ledger
from theory.oracles import soft_policy, soft_value
from theory.strategies import Instance, examples, instances

LAMS = st.sampled_from([0.3, 1.0])
GAMMAS = st.sampled_from([0.0, 0.5, 0.9])

ROUNDING = 1e-11
SWEEPS = "value iteration to rounding, in units of (1 + lam) / (1 - gamma)"
RATE = 0.2
SLOWEST = "several avoided actions add up to a factor, and larger disadvantages than the least to less"


def dual(mdp: om.MDP, rho_E: np.ndarray, c: np.ndarray, lam: float) -> float:
    return float(mdp.p0 @ soft_value(mdp, c, lam)) - float((rho_E * c).sum())


@examples(15)
@given(instances(max_states=4, kind="deterministic", least=2, gammas=GAMMAS), LAMS)
def test_costs_diverge_and_the_value_converges(check: Ledger, instance: Instance, lam: float) -> None:
    mdp, pi_E, rho_E = instance
    size = (1.0 + lam) / (1.0 - mdp.gamma)
    found = om.irl(mdp, rho_E, Constant(), lam)
    assert isinstance(found, om.NotAttained), "naive: a finite cost"
    assert np.isfinite([found.value, *(np.abs(c.cost).max() for c in found.sequence)]).all()

    value = -lam * om.causal_entropy(rho_E)
    terms = {"statement": "Caveat 2", "tolerance": ROUNDING, "because": SWEEPS}
    check(**terms, compared="value against -lam Hbar(rho_E)", deviation=abs(found.value - value) / size)
    gaps = np.array([value - dual(mdp, rho_E, c.cost, lam) for c in found.sequence])
    check(**terms, compared="gaps grow along the sequence (violation)", deviation=np.diff(gaps).max() / size)
    check(**terms, compared="gap of the last cost", deviation=abs(gaps[-1]) / size)

    # The gap of each finite cost is that of its soft policy, which takes every action: positive, naive reading or not.
    pi = soft_policy(mdp, found.sequence[0].cost, lam)
    leak = lam * (rho_E.sum(axis=1) @ -np.log((pi * pi_E).sum(axis=1)))
    check(**terms, compared="gap of a cost against lam E_E[-log pi_c]", deviation=abs(gaps[0] - leak) / size)
    assert gaps[0] > 0

    # The gap is paid for in costs: log(1 / gap) grows with the spread of the advantages, nat for nat.
    spread = [np.ptp(c.cost) / lam for c in found.sequence[:3]]
    nats = -np.log(gaps[:3] / lam)
    check(
        statement="Caveat 2",
        compared="nats by which the gap shrinks per nat of the least disadvantage, against 1",
        deviation=abs((nats[1] - nats[0]) / 4.0 - 1.0),
        tolerance=RATE,
        because=SLOWEST,
    )
    assert spread[0] < spread[1] < spread[2]


@pytest.mark.parametrize("lam", [0.5, 1.0])
def test_the_worked_example(check: Ledger, lam: float) -> None:
    mdp = om.MDP(np.ones((1, 2, 1)), [1.0], 0.0)
    rho_E = np.array([[1.0, 0.0]])
    for k in (1.0, 5.0, 20.0):
        check(
            statement="Caveat 2",
            compared="G((0, k)) against -lam log(1 + e^(-k / lam))",
            deviation=abs(dual(mdp, rho_E, np.array([[0.0, k]]), lam) + lam * np.log1p(np.exp(-k / lam))),
            tolerance=1e-15,
            because="one sum of two exponentials",
        )
    found = om.irl(mdp, rho_E, Constant(), lam)
    assert found.value == 0.0 and found.pi.tolist() == [[1.0, 0.0]]


def test_a_psi_that_is_finite_there_has_an_optimal_cost() -> None:
    mdp = om.examples.two_state_chain()
    rho_E = om.occupancy(mdp, np.eye(mdp.A)[np.zeros(mdp.S, int)])
    found = om.irl(mdp, rho_E, om.regularisers.Surrogate(om.LOSSES["logistic"], rho_E))
    assert isinstance(found, om.Candidate) and np.isfinite(found.cost).all()

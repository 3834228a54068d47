"""Proposition 3.1 and the solvers in doubles, against exact arithmetic: `==` where mathematics says =."""

import re
from fractions import Fraction

import numpy as np
import pytest
from corner_mdps import corner_mdps, deterministic_policy, random_policy
from flint import fmpq, fmpq_mat

from occmatch import MDP, causal_entropy, examples, occupancy, rational, rl, solve_policy

EPS = np.finfo(float).eps

MDPS = {name: mdp for name, mdp in corner_mdps().items() if mdp.S <= 16}


def zeros(x):
    return all(entry == 0 for entry in x.entries())


@pytest.mark.parametrize("name", MDPS)
def test_proposition_3_1_is_an_identity(name):
    mdp, rng = MDPS[name], np.random.default_rng(1)
    exact = rational.rational_mdp(mdp)
    for floats in (random_policy(mdp, rng), deterministic_policy(mdp, rng)):
        pi = rational.rational_distributions(floats)
        rho = rational.occupancy(exact, pi)
        assert zeros(rational.flow_residual(exact, rho))
        assert all(entry >= 0 for entry in rho.entries())
        assert sum(rho.entries(), fmpq(0)) == 1 / (1 - exact.gamma)
        back = rational.policy(rho)
        for s in range(mdp.S):
            if any(rho[s, a] != 0 for a in range(mdp.A)):
                assert all(back[s, a] == pi[s, a] for a in range(mdp.A))
        assert rational.occupancy(exact, back) == rho


def test_every_measure_in_D_is_the_occupancy_of_its_policy():
    """The other direction: a mixture of occupancy measures lies in D, and is no policy's by construction."""
    mdp, rng = MDPS["garnet"] if "garnet" in MDPS else MDPS["slippery grid"], np.random.default_rng(2)
    exact = rational.rational_mdp(mdp)
    one, two = (
        rational.occupancy(exact, rational.rational_distributions(deterministic_policy(mdp, rng))) for _ in range(2)
    )
    mixture = fmpq(1, 3) * one + fmpq(2, 3) * two
    assert mixture not in (one, two)
    assert zeros(rational.flow_residual(exact, mixture))
    assert rational.occupancy(exact, rational.policy(mixture)) == mixture


@pytest.mark.parametrize("name", MDPS)
def test_doubles_agree_with_rationals(name):
    mdp, rng = MDPS[name], np.random.default_rng(3)
    exact, pi, cost = rational.rational_mdp(mdp), random_policy(mdp, rng), rng.normal(size=mdp.shape)
    # Rows of the exact MDP and policy differ from the doubles by one unit; a solve amplifies it by 2/(1-gamma).
    slack = 200 * EPS / (1 - mdp.gamma) ** 2
    pi_exact = rational.rational_distributions(pi)
    rho = rational.to_float(rational.occupancy(exact, pi_exact))
    np.testing.assert_allclose(occupancy(mdp, pi), rho, rtol=0, atol=slack)
    V = rational.to_float(rational.value(exact, pi_exact, rational.to_rational(cost)))[:, 0]
    np.testing.assert_allclose(solve_policy(mdp, pi, (pi * cost).sum(axis=1)), V, rtol=0, atol=4 * slack)


@pytest.mark.parametrize("name", MDPS)
def test_certified_error_of_rl_holds_exactly(name):
    """lam = 0: the exact value of the policy found is V* if no action improves it, which rationals can decide."""
    mdp = MDPS[name]
    cost = np.random.default_rng(4).integers(-8, 9, size=mdp.shape) / 8.0
    solved = rl(mdp, cost, lam=0.0)
    exact = rational.rational_mdp(mdp)
    c = rational.to_rational(cost)
    V = rational.value(exact, rational.to_rational(solved.pi), c)
    Q = exact.gamma * (exact.P * V)
    slack = Fraction(1, 10**9)
    for s in range(mdp.S):
        least = min(c[s, a] + Q[s * mdp.A + a, 0] for a in range(mdp.A))
        gap = V[s, 0] - least
        assert 0 <= Fraction(int(gap.p), int(gap.q)) <= slack
        if gap == 0:
            continue
    improved = max(V[s, 0] - min(c[s, a] + Q[s * mdp.A + a, 0] for a in range(mdp.A)) for s in range(mdp.S))
    bound = float(Fraction(int(improved.p), int(improved.q))) / (1 - mdp.gamma)
    assert np.abs(solved.V - rational.to_float(V)[:, 0]).max() <= solved.error + bound


def test_the_discount_can_be_meant_exactly():
    mdp = examples.two_state_chain(gamma=0.9)
    pi = rational.rational_distributions(np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert rational.occupancy(rational.rational_mdp(mdp, Fraction(9, 10)), pi)[0, 0] == 10
    assert rational.occupancy(rational.rational_mdp(mdp), pi)[0, 0] != 10


def test_conversions_are_exact_and_back():
    x = np.array([[0.1, -1e-300], [3.0, 2.0**60]])
    exact = rational.to_rational(x)
    assert exact[0, 0] == fmpq(3602879701896397, 2**55)
    assert (rational.to_float(exact) == x).all()
    row = rational.rational_distributions(np.array([[0.1, 0.2, 0.7]]))
    assert sum(row.entries(), fmpq(0)) == 1


def test_numbers_are_those_of_the_doubles_and_not_of_their_quotients_by_a_rounded_sum():
    row = np.array([[0.7, 0.2, 0.1]])
    assert row.sum() != 1.0, "doubles divided by this sum are others"
    total = sum(Fraction(x) for x in row[0].tolist())
    expected = [Fraction(x) / total for x in row[0].tolist()]
    assert list(rational.rational_distributions(row).entries()) == [fmpq(x.numerator, x.denominator) for x in expected]
    mdp = examples.pendulum(4, torques=2)
    P, exact = mdp.P.toarray(), rational.rational_mdp(mdp).P
    assert (P.sum(axis=1) != 1.0).any()
    for i, numbers in enumerate(P.tolist()):
        largest = int(np.argmax(numbers))
        for j, number in enumerate(numbers):
            share = Fraction(number) / Fraction(numbers[largest])
            assert exact[i, j] == fmpq(share.numerator, share.denominator) * exact[i, largest]


def test_a_discount_nearer_to_one_than_doubles_is_exact():
    gamma = 1 - Fraction(1, 10**30)
    pi = rational.rational_distributions(np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert rational.occupancy(rational.rational_mdp(examples.two_state_chain(), gamma), pi)[0, 0] == 10**30


def test_policy_of_an_unvisited_state_is_uniform():
    assert rational.policy(fmpq_mat(1, 2, [0, 0])) == fmpq_mat(1, 2, [fmpq(1, 2), fmpq(1, 2)])


CERTAIN = fmpq_mat(2, 2, [1, 0, 1, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mdp: rational.occupancy(mdp, fmpq_mat(2, 2, [1, 0, fmpq(1, 2), fmpq(1, 3)])), "pi[1] must be a"),
        (lambda mdp: rational.occupancy(mdp, fmpq_mat(2, 2, [1, 0, 2, -1])), "has least entry -1 and sum 1"),
        (lambda mdp: rational.value(mdp, fmpq_mat(1, 2, [1, 0]), fmpq_mat(2, 2)), "pi must have shape (2, 2), but"),
        (lambda mdp: rational.value(mdp, CERTAIN, fmpq_mat(2, 3)), "cost must have shape (2, 2), but has shape (2, 3)"),
        (lambda mdp: rational.value(mdp, CERTAIN, fmpq_mat(1, 2)), "cost must have shape (2, 2), but has shape (1, 2)"),
        (lambda mdp: rational.occupancy(mdp, np.eye(2)), "pi must be a matrix of rationals, as to_rational makes it"),
        (lambda mdp: rational.policy(np.eye(2)), "rho must be a matrix of rationals, as to_rational makes"),
        (lambda mdp: rational.flow_residual(mdp, fmpq_mat(1, 2)), "rho must have shape (2, 2), but has shape (1, 2)"),
        (lambda mdp: rational.occupancy(examples.puterman(), CERTAIN), "mdp must be a RationalMDP, as"),
        (lambda mdp: rational.to_rational(np.ones(3)), "x must be a matrix, but has shape (3,)"),
        (lambda mdp: rational.to_rational([[np.inf]]), "x[0, 0] must be finite, but is inf"),
        (lambda mdp: rational.rational_distributions([[0.4, 0.4]]), "x[0] must be a probability distribution"),
        (lambda mdp: rational.rational_distributions(1.0), "x must be a matrix, but has shape ()"),
        (lambda mdp: rational.rational_mdp(examples.puterman(), Fraction(1)), "gamma must lie in [0, 1), but is 1"),
        (
            lambda mdp: rational.rational_mdp(examples.puterman(), Fraction(-1, 3)),
            "gamma must lie in [0, 1), but is -1/3",
        ),
        (lambda mdp: rational.rational_mdp(examples.puterman(), 10**400), "gamma must lie in [0, 1), but is 1000"),
        (lambda mdp: rational.rational_mdp(examples.puterman(), np.inf), "gamma must be a rational number, but is inf"),
        (
            lambda mdp: rational.rational_mdp(examples.puterman(), [0.5]),
            "gamma must be a rational number, but is [0.5]",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(rational.rational_mdp(examples.two_state_chain()))


def test_entropy_of_a_rational_measure_survives_the_way_back():
    mdp = MDP(np.full((2, 2, 2), 0.5), [0.5, 0.5], 0.5)
    rho = rational.to_float(rational.occupancy(rational.rational_mdp(mdp), fmpq_mat(2, 2, [fmpq(1, 2)] * 4)))
    assert causal_entropy(rho) == pytest.approx(2 * np.log(2), rel=4 * EPS)

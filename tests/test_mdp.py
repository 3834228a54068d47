"""Construction and validation of MDPs, and the two operations of their kernel."""

import dataclasses
import re
from fractions import Fraction

import numpy as np
import pytest
from corner_mdps import corner_mdps
from scipy.sparse import coo_array, coo_matrix, csc_array, csr_array

from occmatch import MDP, Layout, checks, examples

# Products of a row with at most 30 terms of size 1: 30 units in the last place.
ROUNDING = 30 * np.finfo(float).eps

GOOD = np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.25, 0.75]]])


def test_dense_and_every_sparse_form_are_the_same_mdp():
    rows = GOOD.reshape(4, 2)
    for P in (GOOD, GOOD.tolist(), csr_array(rows), csc_array(rows), coo_matrix(rows)):
        mdp = MDP(P, [1.0, 0.0], 0.9)
        assert mdp.shape == (2, 2)
        assert isinstance(mdp.P, csr_array)
        assert (mdp.P.toarray() == rows).all()


def test_sparse_duplicates_are_summed_and_zeros_dropped():
    P = coo_matrix(([0.5, 0.5, 0.0, 1.0], ([0, 0, 0, 1], [1, 1, 0, 1])), shape=(2, 2))
    mdp = MDP(P, [1.0, 0.0], 0.9)
    assert mdp.P.nnz == 2
    assert (mdp.P.toarray() == [[0.0, 1.0], [0.0, 1.0]]).all()


@pytest.mark.parametrize("name", corner_mdps())
def test_expect_and_flow_are_what_their_sums_say_and_each_other_transposed(name):
    mdp, rng = corner_mdps()[name], np.random.default_rng(1)
    V, rho = rng.normal(size=mdp.S), rng.random(mdp.shape)
    P = mdp.P.toarray().reshape(*mdp.shape, mdp.S)
    np.testing.assert_allclose(mdp.expect(V), np.einsum("sat,t->sa", P, V), rtol=0, atol=ROUNDING * abs(V).max())
    np.testing.assert_allclose(mdp.flow(rho), np.einsum("sat,sa->t", P, rho), rtol=0, atol=mdp.S * ROUNDING)
    assert mdp.flow(rho) @ V == pytest.approx((rho * mdp.expect(V)).sum(), abs=mdp.S * mdp.A * ROUNDING)


def test_rows_off_by_rounding_are_renormalised():
    P, p0 = GOOD.copy(), np.array([1.0, 2.220446049250313e-16])
    P[0, 0] = [0.5, 0.5000000000000002]
    mdp = MDP(P, p0, 0.9)
    assert np.abs(mdp.P.sum(axis=1) - 1.0).max() <= np.finfo(float).eps
    assert abs(mdp.p0.sum() - 1.0) <= np.finfo(float).eps
    assert P[0, 0, 1] == 0.5000000000000002, "the caller's array must not change"


def test_frozen_through_and_through():
    mdp = MDP(GOOD, [1.0, 0.0], 0.9)
    with pytest.raises(dataclasses.FrozenInstanceError):
        mdp.gamma = 0.5
    for array in (mdp.p0, mdp.P.data, mdp.P.indices):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert dataclasses.replace(mdp, gamma=0.5).gamma == 0.5


def bad_P(s, a, row):
    P = GOOD.copy()
    P[s, a] = row
    return P


WRONG = [
    (bad_P(1, 0, [0.6, 0.5]), [1, 0], 0.9, "P[1, 0] must be a probability distribution over next states, but has "),
    (bad_P(0, 1, [1.1, -0.1]), [1, 0], 0.9, "P[0, 1] must be a probability distribution over next states, but has "),
    (csr_array(bad_P(0, 1, [1.1, -0.1]).reshape(4, 2)), [1, 0], 0.9, "has least entry -0.1 and sum 1"),
    (csr_array(bad_P(1, 1, [0.0, np.nan]).reshape(4, 2)), [1, 0], 0.9, "P[1, 1, 1] must be finite, but is nan"),
    (csr_array(bad_P(1, 0, [np.inf, 1.0]).reshape(4, 2)), [1, 0], 0.9, "P[1, 0, 0] must be finite, but is inf"),
    (csr_array(bad_P(1, 1, [0.0, 0.0]).reshape(4, 2)), [1, 0], 0.9, "P[1, 1] must be a probability distribution"),
    (bad_P(0, 0, [np.nan, 1.0]), [1, 0], 0.9, "P[0, 0, 0] must be finite, but is nan"),
    (GOOD[0], [1, 0], 0.9, "P must have shape (S, A, S), or be sparse (S * A, S), but has shape (2, 2)"),
    (GOOD[:, :, :1], [1, 0], 0.9, "but has shape (2, 2, 1)"),
    (np.zeros((0, 1, 0)), [], 0.9, "but has shape (0, 1, 0)"),
    (csr_array(np.ones((3, 2))), [1, 0], 0.9, "P must be sparse of shape (S * A, S), but has shape (3, 2)"),
    (coo_array(np.ones(2)), [1, 0], 0.9, "P must be sparse of shape (S * A, S), but has shape (2,)"),
    ("kernel", [1, 0], 0.9, "P must be an array of real numbers, but is str"),
    (GOOD + 1j, [1, 0], 0.9, "P must be an array of real numbers, but is ndarray of complex128"),
    (csr_array(GOOD.reshape(4, 2) + 1j), [1, 0], 0.9, "P must be an array of real numbers, but is csr_array of c"),
    (GOOD, [1, 0, 0], 0.9, "p0 must have shape (2,), but has shape (3,)"),
    (GOOD, [0.5, 0.6], 0.9, "p0 must be a probability distribution, but has least entry 0.5 and sum 1.1"),
    (GOOD, [1.5, -0.5], 0.9, "p0 must be a probability distribution, but has least entry -0.5 and sum 1"),
    (GOOD, [1, 0], 1.0, "gamma must lie in [0, 1), but is 1.0"),
    (GOOD, [1, 0], -0.1, "gamma must lie in [0, 1), but is -0.1"),
    (GOOD, [1, 0], np.nan, "gamma must be finite, but is nan"),
    (GOOD, [1, 0], "high", "gamma must be an array of real numbers, but is str"),
    (GOOD, [1, 0], "0.9", "gamma must be an array of real numbers, but is str"),
    (GOOD, [1, 0], None, "gamma must be an array of real numbers, but is NoneType"),
]


@pytest.mark.parametrize(("P", "p0", "gamma", "message"), WRONG, ids=[wrong[3] for wrong in WRONG])
def test_wrong_arguments_are_named_with_index_and_value(P, p0, gamma, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MDP(P, p0, gamma)


def test_layout_must_fit():
    with pytest.raises(ValueError, match=re.escape("layout must have one cell a state and one move an action, (2, 2)")):
        MDP(GOOD, [1.0, 0.0], 0.9, Layout(((0, 0),), ((0, 1), (1, 0))))
    with pytest.raises(ValueError, match="layout must be a Layout, but is list"):
        MDP(GOOD, [1.0, 0.0], 0.9, [(0, 0), (0, 1)])


def test_a_layout_is_two_lists_of_places():
    layout = Layout([(0, 0), (0, 1)], [(0, 1)])
    assert layout == Layout(np.array([[0, 0], [0, 1]]), ((0, 1),))
    assert layout != Layout([(0, 0), (1, 0)], [(0, 1)])
    assert layout != "layout"
    with pytest.raises(ValueError, match="read-only"):
        layout.cells[0] = 1
    with pytest.raises(ValueError, match=re.escape("layout.cells must be integers of shape (n, 2), but is float64")):
        Layout([(0.5, 0.0)], [(0, 1)])
    with pytest.raises(ValueError, match=re.escape("layout.moves must be integers of shape (n, 2)")):
        Layout([(0, 0)], [1])
    with pytest.raises(ValueError, match=re.escape("layout.moves must be integers of shape (n, 2), but: setting an")):
        Layout([(0, 0)], [(0, 1), (1,)])


def test_checks_name_argument_index_and_value():
    mdp = examples.gridworld(2)
    uniform = np.full(mdp.shape, 0.25)
    wrong_row = uniform.copy()
    wrong_row[2] = [-0.1, 0.5, 0.3, 0.3]
    zero_row = uniform.copy()
    zero_row[1] = 0.0
    distribution = "must be a probability distribution, but has least entry"
    cases = [
        (lambda: checks.policy(mdp, wrong_row), f"pi[2] {distribution} -0.1 and sum 1"),
        (lambda: checks.policy(mdp, zero_row, "pi_E"), f"pi_E[1] {distribution} 0 and sum 0"),
        (lambda: checks.policy(mdp, uniform[:3]), "pi must have shape (4, 4), but has shape (3, 4)"),
        (lambda: checks.cost(mdp, np.where(wrong_row < 0, np.nan, 0.0)), "cost[2, 0] must be finite, but is nan"),
        (lambda: checks.measure(mdp, wrong_row, "rho_E"), "rho_E[2, 0] must be at least 0, but is -0.1"),
        (lambda: checks.lam(-1.0), "lam must be at least 0, but is -1"),
        (lambda: checks.lam(0.0, positive=True), "lam must be positive, but is 0"),
        (lambda: checks.count(True, "T"), "T must be an integer of at least 1, but is True"),
        (lambda: checks.count(2.0, "T"), "T must be an integer of at least 1, but is 2.0"),
        (lambda: checks.state(4, 4, "start"), "start must be a state in 0 .. 3, but is 4"),
        (lambda: checks.probability(1.5, "slip"), "slip must lie in [0, 1], but is 1.5"),
        (lambda: checks.state_vector(mdp, [0, 0, np.inf, 0]), "V[2] must be finite, but is inf"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


MASKED = np.ma.array([1.0, 2.0], mask=[False, True])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([1.0, 2j], "c must be an array of real numbers, but is list of complex128"),
        (MASKED, "c[1] must be a real number, but is masked"),
        (np.zeros(2, dtype="datetime64[s]"), "c must be an array of real numbers, but is ndarray of datetime64[s]"),
        (["1.5", "2"], "c must be an array of real numbers, but is list of <U3"),
        ([1.0, None], "c[1] must be a real number, but is NoneType"),
        ([1.0, 10**400], "c must be an array of real numbers, but is list: int too large to convert to float"),
        ([[1.0], [1.0, 2.0]], "c must be an array of real numbers, but is list: setting an array element with a sequ"),
        (csr_array(np.eye(2)), "c must be an array of real numbers, but is csr_array"),
    ],
)
def test_what_numpy_would_cast_or_drop_is_refused(x, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        checks.real_array(x, "c")


def test_real_numbers_of_every_type_are_taken():
    unmasked = np.ma.array([0.5, 1.0])
    for x in ([Fraction(1, 2), 1], np.float32([0.5, 1]), [0.5, True], unmasked, np.array([0.5, 1], object)):
        assert checks.real_array(x, "c").tolist() == [0.5, 1.0]
        assert type(checks.real_array(x, "c")) is np.ndarray

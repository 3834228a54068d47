"""Closed forms of psi* with their sources, and the constructors' answers to wrong arguments."""

import itertools
from collections.abc import Callable

import cvxpy as cp
import networkx as nx
import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from occmatch import examples, occupancy
from occmatch.candidate import NoBestCost
from occmatch.losses import LOSSES, SmoothedHinge
from occmatch.regularisers import (
    Box,
    Constant,
    Expression,
    FDivergence,
    L2Ball,
    Lipschitz,
    Quadratic,
    Simplex,
    Surrogate,
    project_simplex,
    transition_metric,
)

ROUNDING = 1e-12  # sums of twelve terms of size at most 10
SOLVER = 1e-7  # HiGHS and Clarabel stop at 1e-9 and 1e-11, relative to numbers of size 10

RNG = np.random.default_rng(11)
GAMMA = 0.9
MDP_ = examples.garnet(4, 3, 2, GAMMA, RNG)
RHO, RHO_E = (occupancy(MDP_, RNG.dirichlet(np.ones(3), size=4)) for _ in range(2))
P, Q = (1 - GAMMA) * RHO, (1 - GAMMA) * RHO_E  # the normalised measures
FEATURES = RNG.normal(size=(4, 3, 2))


def normalised(loss: str) -> float:
    return (1 - GAMMA) * Surrogate(LOSSES[loss], RHO_E).divergence(RHO, RHO_E)


def test_surrogates_are_the_divergences_of_the_paper() -> None:
    js = jensenshannon(P.ravel(), Q.ravel()) ** 2
    assert normalised("logistic") == pytest.approx(2 * js - 2 * np.log(2), abs=ROUNDING)
    assert normalised("exponential") == pytest.approx(((np.sqrt(P) - np.sqrt(Q)) ** 2).sum() - 2, abs=ROUNDING)
    assert normalised("exponential_linear") == pytest.approx(((P - Q) * np.log(P / Q)).sum() - 2, abs=ROUNDING)
    assert normalised("linear") == np.inf


@pytest.mark.parametrize("tau", [0.1, 0.01, 0.001])
def test_the_smoothed_hinge_tends_to_the_l1_distance(tau: float) -> None:
    smooth = (1 - GAMMA) * Surrogate(SmoothedHinge(tau=tau), RHO_E).divergence(RHO, RHO_E)
    below = np.abs(P - Q).sum() - 2 - smooth
    # 0 <= phi_tau - hinge <= tau log 2 at every margin, on measures of total mass 2.
    assert 0 <= below <= 2 * tau * np.log(2)


def test_f_divergences_of_normalised_measures() -> None:
    expected = {
        "kl": (P * np.log(P / Q)).sum(),
        "reverse_kl": (Q * np.log(Q / P)).sum(),
        "chi2": ((P - Q) ** 2 / Q).sum(),
        "hellinger": ((np.sqrt(P) - np.sqrt(Q)) ** 2).sum(),
        "js": 2 * jensenshannon(P.ravel(), Q.ravel()) ** 2,
        "tv": np.abs(P - Q).sum() / 2,
    }
    for name, value in expected.items():
        # Unnormalised measures scale every divergence by the mass 1 / (1 - gamma).
        assert FDivergence(name, RHO_E).divergence(RHO, RHO_E) == pytest.approx(value / (1 - GAMMA), rel=1e-10)
        assert FDivergence(name, Q).divergence(P, Q) == pytest.approx(value, rel=1e-10)


def test_psi_ga_where_the_expert_has_no_mass() -> None:
    """0 * g = 0 with c <= 0: the supremum sits at c = 0 (D = 1), and psi* has no share of those pairs."""
    rho_E = occupancy(MDP_, np.eye(3)[[0, 1, 2, 0]])
    psi, unseen = Surrogate(LOSSES["logistic"], rho_E), rho_E == 0
    best = psi.best_cost(RHO, rho_E)
    assert (best[unseen] == 0).all() and (best[~unseen] < 0).all()
    seen_only = Surrogate(LOSSES["logistic"], rho_E[~unseen][None]).divergence(RHO[~unseen][None], rho_E[~unseen][None])
    assert psi.divergence(RHO, rho_E) == pytest.approx(seen_only, rel=ROUNDING)
    above = best.copy()
    above[tuple(np.argwhere(unseen)[0])] = 1e-9
    assert psi.value(best) < np.inf and psi.value(above) == np.inf


def test_cost_classes() -> None:
    gap = np.array([(RHO * f).sum() - (RHO_E * f).sum() for f in np.moveaxis(FEATURES, 2, 0)])
    assert L2Ball(FEATURES, 2.5).divergence(RHO, RHO_E) == pytest.approx(2.5 * np.hypot(*gap), rel=ROUNDING)
    assert Simplex(FEATURES).divergence(RHO, RHO_E) == pytest.approx(gap.max(), rel=ROUNDING)
    assert Box(3.0).divergence(RHO, RHO_E) == pytest.approx(3 * np.abs(RHO - RHO_E).sum(), rel=ROUNDING)
    w = np.array([0.6, -0.8])
    assert L2Ball(FEATURES).value(FEATURES @ w) == 0 and L2Ball(FEATURES).value(FEATURES @ w * 1.01) == np.inf
    assert Simplex(FEATURES).value(FEATURES @ [0.3, 0.7]) == 0 and Simplex(FEATURES).value(FEATURES @ w) == np.inf
    assert Constant(FEATURES).value(100 * FEATURES @ w) == 0 and Constant(FEATURES).value(RHO) == np.inf
    assert Constant(FEATURES).divergence(RHO, RHO_E) == np.inf and Constant(FEATURES).divergence(RHO, RHO) == 0


@pytest.mark.parametrize("size", [1e17, -1e17, 1e308])
@pytest.mark.parametrize("rest", [[], [-1e308]])
def test_the_projection_onto_the_simplex_of_large_entries(size: float, rest: list[float]) -> None:
    assert project_simplex(np.array([size, size, *rest])).tolist() == [0.5, 0.5, *(0.0 for _ in rest)]


def test_the_projection_onto_the_simplex_is_the_nearest_point() -> None:
    v = RNG.normal(size=5)
    w = project_simplex(v)
    assert w.min() >= 0 and w.sum() == pytest.approx(1, abs=ROUNDING)
    # The variational inequality at every vertex: <v - w, e_k - w> <= 0.
    assert ((v - w) - (v - w) @ w).max() <= ROUNDING


def path(lengths: np.ndarray) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from((s, 0) for s in range(len(lengths) + 1))
    graph.add_weighted_edges_from(((s, 0), (s + 1, 0), length) for s, length in enumerate(lengths))
    return graph


def test_lipschitz_on_a_path_is_wasserstein_on_the_line() -> None:
    lengths = RNG.uniform(0.2, 2, size=5)
    at = np.concatenate([[0], np.cumsum(lengths)])
    p, q = 7 * RNG.dirichlet(np.ones(6)), 7 * RNG.dirichlet(np.ones(6))
    q[2] += q[0]
    q[0] = 0
    expected = 7 * wasserstein_distance(at, at, p, q)
    dense = np.abs(at[:, None] - at)
    for metric in (path(lengths), dense):
        psi = Lipschitz(metric)
        c = psi.best_cost(p[:, None], q[:, None])
        assert psi.divergence(p[:, None], q[:, None]) == pytest.approx(expected, rel=SOLVER)
        assert psi.value(c) == 0 and (p - q) @ c[:, 0] == pytest.approx(expected, rel=SOLVER)
        assert psi.repair(3 * c)[:, 0] == pytest.approx(np.min(3 * c[:, 0] + dense, axis=1))  # McShane
    assert psi.divergence(1.1 * p[:, None], q[:, None]) == np.inf


def test_lipschitz_on_two_components_cannot_move_mass_between_them() -> None:
    graph = path(np.ones(3))
    graph.remove_edge((1, 0), (2, 0))
    p, q = np.array([[2.0], [1], [1], [1]]), np.array([[1.0], [1], [2], [1]])
    with pytest.raises(NoBestCost) as error:
        Lipschitz(graph).best_cost(p, q)
    assert error.value.unbounded and (error.value.ray * (p - q)).sum() > 0
    assert Lipschitz(graph).divergence(p, q) == np.inf
    assert Lipschitz(graph).divergence(p[[1, 0, 2, 3]], p) == pytest.approx(1)


def test_without_edges_equal_measures_up_to_rounding_are_at_distance_zero() -> None:
    psi, p = Lipschitz(np.zeros((1, 1))), np.array([[100.0]])
    assert psi.divergence(p * (1 + 1e-15), p) == 0
    assert (psi.best_cost(p * (1 + 1e-15), p) == 0).all()
    assert psi.divergence(p + 1, p) == np.inf


def test_the_transition_metric_joins_steps_and_actions() -> None:
    chain = examples.garnet(5, 2, 1, 0.9, np.random.default_rng(0))
    P = chain.P.toarray().reshape(5, 2, 5)
    metric = transition_metric(chain, switch=0.25)
    assert (metric.data > 0).all()  # a stored zero would be an edge of length zero
    nodes = itertools.product(range(5), range(2))
    for (i, (s, a)), (j, (t, b)) in itertools.permutations(enumerate(nodes), 2):
        step = (P[s, :, t] + P[t, :, s]).any() and a == b and s != t
        assert metric[i, j] == (0.25 if s == t else float(step))


def test_an_expression_is_what_it_says() -> None:
    def psi_ga(c: cp.Variable) -> cp.Expression:
        return cp.sum(cp.multiply(RHO_E, -c - cp.log(1 - cp.exp(c))))

    c = -np.abs(RNG.normal(size=MDP_.shape)) - 0.1
    for written, native in (
        (Expression(psi_ga), Surrogate(LOSSES["logistic"], RHO_E)),
        (Expression(lambda c: (0, [cp.abs(c) <= 2])), Box(2.0)),
        (Expression(cp.sum_squares), Quadratic(2.0)),
    ):
        assert written.divergence(RHO, RHO_E) == pytest.approx(native.divergence(RHO, RHO_E), rel=SOLVER)
        for cost in (c / 2, 9 * np.ones(MDP_.shape)):
            assert written.value(cost) == pytest.approx(native.value(cost), rel=ROUNDING)
    with pytest.raises(NoBestCost):
        Expression(lambda c: cp.sum(c) * 0).best_cost(RHO, RHO_E)


NEGATIVE = np.array([[0.5, 0.1], [-0.2, 0.6]])
SKEW = np.array([[0.0, 1.0], [2.0, 0.0]])
LOOP = np.eye(2) + SKEW


def graph_of(*edges: tuple, make: type = nx.Graph) -> nx.Graph:
    """A graph of weighted edges (u, v, weight)."""
    graph = make()
    graph.add_weighted_edges_from(edges)
    return graph


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: Box(0.0), "bound must be positive, but is 0"),
    (lambda: Box(np.nan), "bound must be finite, but is nan"),
    (lambda: L2Ball(radius=-1.0), "radius must be positive, but is -1"),
    (lambda: L2Ball(np.ones((2, 3))), "features must have shape [S, A, K], but has shape (2, 3)"),
    (lambda: Simplex(np.full((1, 2, 1), np.inf)), "features[0, 0, 0] must be finite, but is inf"),
    (lambda: Constant(np.ones((2, 3, 0))), "features must have shape [S, A, K], but has shape (2, 3, 0)"),
    (lambda: Quadratic(-2.0), "weight must be positive, but has least entry -2"),
    (lambda: Quadratic(np.ones(3)), "weight must be a number or have shape [S, A], but has shape (3,)"),
    (lambda: Quadratic([]), "weight must be a number or have shape [S, A], but has shape (0,)"),
    (lambda: Quadratic(np.ones((2, 3, 1))), "weight must be a number or have shape [S, A], but has shape (2, 3, 1)"),
    (lambda: Quadratic(np.ones(3), FEATURES), "weight must be a number or have shape (2,), but has shape (3,)"),
    (
        lambda: Quadratic(1.0, np.ones((2, 3, 2))),
        "features must be linearly independent, but 2 features have rank 1, so that a cost has several weights",
    ),
    (lambda: Surrogate(LOSSES["logistic"], NEGATIVE), "rho_E[1, 0] must be at least 0, but is -0.2"),
    (lambda: Surrogate(LOSSES["logistic"], np.ones(3)), "rho_E must have shape [S, A], but has shape (3,)"),
    (lambda: FDivergence("kl", np.full((1, 2), np.nan)), "rho_E[0, 0] must be finite, but is nan"),
    (lambda: FDivergence(["kl"], Q), "name must be one of kl, reverse_kl, chi2, hellinger, js, tv, but is ['kl']"),
    (lambda: FDivergence("KL", Q), "name must be one of kl, reverse_kl, chi2, hellinger, js, tv, but is 'KL'"),
    (lambda: Lipschitz(np.ones((2, 3))), "metric must have shape [S*A, S*A], but has shape (2, 3)"),
    (lambda: Lipschitz(np.zeros((2, 2))), "metric[0, 1] must be positive off the diagonal, but is 0"),
    (lambda: Lipschitz(SKEW), "metric must be symmetric, but differs from its transpose at [0, 1]"),
    (lambda: Lipschitz(LOOP), "metric[0, 0] must be a positive finite length, zero on the diagonal, but is 1"),
    (
        lambda: Lipschitz(sparse.coo_array(([1.0, 1.0, 0.0], ([0, 1, 1], [1, 0, 2])), shape=(3, 3))),
        "metric[1, 2] must be a positive finite length, zero on the diagonal, but is 0",
    ),
    (lambda: Lipschitz(nx.path_graph(3)), "metric must have nodes (s, a), but has node 0"),
    (
        lambda: Lipschitz(nx.Graph([((0, 0), (1, 1))])),
        "metric must have a node for every pair (s, a), but has none for (0, 1)",
    ),
    (lambda: Lipschitz(nx.Graph()), "metric must have nodes (s, a), but has none"),
    (lambda: Lipschitz(graph_of((("a", 0), (0, 0), 1))), "metric must have nodes (s, a), but has node ('a', 0)"),
    (lambda: Lipschitz(graph_of(((0.0, 1), (0, 0), 1))), "metric must have nodes (s, a), but has node (0.0, 1)"),
    (
        lambda: Lipschitz(graph_of(((0, 0), (0, 1), "far"))),
        "metric must have positive weights, but edge ((0, 0), (0, 1)) has 'far'",
    ),
    (
        lambda: Lipschitz(graph_of(((0, 0), (0, 1), None))),
        "metric must have positive weights, but edge ((0, 0), (0, 1)) has None",
    ),
    (
        lambda: Lipschitz(graph_of(((0, 0), (0, 1), 1), ((0, 0), (0, 0), 1))),
        "metric[0, 0] must be a positive finite length, zero on the diagonal, but is 1",
    ),
    (
        lambda: Lipschitz(sparse.csr_array(1j * SKEW)),
        "metric must be an array of real numbers, but is csr_array of complex128",
    ),
    (lambda: transition_metric(MDP_, switch=0.0), "switch must be positive, but is 0"),
    (
        lambda: Expression(lambda c: -(c[0, 0] ** 2)).conjugate(np.ones((2, 2))),
        "fn must return a scalar convex expression (and convex constraints), but returns one of curvature CONCAVE and "
        "shape (). Likely causes: (a) a sum over entries is missing; (b) the function is concave; (c) it is convex, "
        "but not written by cvxpy's rules",
    ),
    (lambda: FDivergence("kl", RHO_E).value(np.zeros((1, 2))), "c must have shape (4, 3), but has shape (1, 2)"),
    (lambda: Surrogate(LOSSES["logistic"], RHO_E).value(np.zeros(3)), "c must have shape (4, 3), but has shape (3,)"),
    (lambda: Expression(3), "fn must be a function of a cvxpy Variable, but is int"),
    *(
        (
            lambda out=out: Expression(lambda c: out).conjugate(np.ones((2, 2))),
            f"fn(c) must be a scalar expression of cvxpy, or a pair of one and a list of constraints, but is {found}",
        )
        for out, found in ((None, "NoneType"), ("0", "str"), ((1, 2, 3), "a tuple of 3"))
    ),
    (lambda: Expression(lambda c: np.nan).conjugate(np.ones((2, 2))), "fn(c) must be finite, but is nan"),
    (
        lambda: Expression(lambda c: (cp.sum_squares(c), c >= -1)).conjugate(np.ones((2, 2))),
        "fn(c)[1] must be a list of cvxpy constraints, but is Inequality",
    ),
    (
        lambda: Expression(lambda c: (cp.sum_squares(c), [c >= -1, True])).value(np.ones((2, 2))),
        "fn(c)[1][1] must be a cvxpy constraint, but is bool",
    ),
]


@pytest.mark.parametrize(("build", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_wrong_arguments_are_named(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        build()
    assert str(error.value) == message


@pytest.mark.parametrize("make", [nx.MultiGraph, nx.MultiDiGraph])
def test_of_parallel_edges_the_shortest_counts(make: type) -> None:
    """In the metric of shortest paths the longer edge changes nothing, whichever end either was named by first."""
    u, v = (0, 0), (0, 1)
    psi = Lipschitz(graph_of((u, v, 5.0), (v, u, 1.0), (u, v, 1.0), (v, u, 3.0), make=make))
    assert psi.conjugate(np.array([[1.0, -1.0]])) == 1.0

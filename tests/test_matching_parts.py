"""The parts of occupancy matching: each against a dense or slower oracle."""

import numpy as np
import pytest
from corner_mdps import random_policy
from matching_problems import grids_and_garnets, problem

import occmatch as om
from occmatch.matching_classes import as_cost_class
from occmatch.matching_curvature import curvature, reward_curvature
from occmatch.matching_finish import soft_value
from occmatch.matching_krylov import gmres
from occmatch.matching_linear import Linear
from occmatch.matching_step import Newton
from occmatch.matching_support import support
from occmatch.regularisers import Box, L2Ball, Quadratic, Simplex

# A dense solve of a system of 2 S <= 40 equations, conditioned up to 1e4, and its GMRES twin at rtol 1e-13.
DENSE = 1e-9

# Krylov


@pytest.mark.parametrize("restart", [5, 50])
def test_gmres_solves_what_a_dense_solve_does(restart):
    rng = np.random.default_rng(0)
    M = np.eye(40) + 0.1 * rng.normal(size=(40, 40))
    b = rng.normal(size=40)
    x, left = gmres(lambda v: M @ v, b, rtol=1e-13, restart=restart)
    assert np.abs(x - np.linalg.solve(M, b)).max() <= 1e-11
    assert left == pytest.approx(np.linalg.norm(b - M @ x)) and left <= 1e-13 * np.linalg.norm(b)


def test_gmres_starts_warm_stops_in_time_and_survives_singular_systems():
    rng = np.random.default_rng(1)
    M = np.eye(30) + 0.3 * rng.normal(size=(30, 30))
    exact = rng.normal(size=30)
    calls = []
    x, left = gmres(lambda v: calls.append(1) or M @ v, M @ exact, exact, rtol=1e-10)
    assert np.array_equal(x, exact) and left == 0.0 and len(calls) == 1
    _, left = gmres(lambda v: calls.append(1) or M @ v, M @ exact, rtol=1e-10, max_matvecs=10)
    assert len(calls) <= 12 and 0 < left < np.linalg.norm(M @ exact)
    singular = np.diag([1.0, 2.0, 0.0])
    x, left = gmres(lambda v: singular @ v, np.array([1.0, 1.0, 0.0]), rtol=1e-12)
    assert left <= 1e-12 and np.allclose(x, [1.0, 0.5, 0.0])
    x, left = gmres(lambda v: 0 * v, np.ones(3), rtol=1e-12)
    assert not x.any() and left == pytest.approx(3**0.5)


# Support


def test_support_is_the_whole_where_nothing_is_forbidden():
    mdp, _, _ = problem()
    part = support(mdp, np.zeros(mdp.shape, dtype=bool))
    reached = np.flatnonzero(om.occupancy(mdp, np.full(mdp.shape, 1 / 3)).sum(axis=1) > 0)
    assert np.array_equal(part.states, reached) and part.allowed.all()


@pytest.mark.parametrize("seed", range(5))
def test_support_is_where_allowed_policies_can_be(seed):
    """Oracle: the fixed point by definition, then visits of the uniform policy on what it allows."""
    rng = np.random.default_rng(seed)
    mdp = om.examples.garnet(12, 3, 2, 0.9, rng)
    forbidden = rng.random(mdp.shape) < 0.3
    P, allowed = mdp.P.toarray().reshape(12, 3, 12), ~forbidden
    while True:
        dead = ~allowed.any(axis=1)
        smaller = allowed & ~(P[:, :, dead].sum(axis=2) > 0)
        if (smaller == allowed).all():
            break
        allowed = smaller
    part = support(mdp, forbidden)
    if (mdp.p0[dead] > 0).any():
        assert part is None
        return
    pi = np.where(allowed, 1.0, 0.0)
    pi[dead] = 1.0
    rho = om.occupancy(mdp, pi / pi.sum(axis=1, keepdims=True))
    assert np.array_equal(part.states, np.flatnonzero(rho.sum(axis=1) > 0))
    assert np.array_equal(part.allowed, allowed[part.states])
    inside = part.restrict(pi / pi.sum(axis=1, keepdims=True))
    assert np.abs(part.extend(om.occupancy(part.mdp, inside)) - rho).max() <= 1e-13


def test_support_that_p0_cannot_avoid():
    mdp = om.examples.two_state_chain()
    assert support(mdp, np.array([[True, True], [False, False]])) is None
    # State 0 is allowed to stay only where staying does not end in the dead state 1.
    part = support(mdp, np.array([[False, False], [True, True]]))
    assert part.states.tolist() == [0] and part.allowed.tolist() == [[True, False]]


# Linear solves and steps


@pytest.mark.parametrize("name", grids_and_garnets())
def test_linear_solves(name):
    mdp = grids_and_garnets()[name]
    linear, pi = Linear(mdp), random_policy(mdp, np.random.default_rng(1))
    assert linear.direct == (name != "garnet by GMRES")
    d, r = linear.visits(pi), np.arange(mdp.S, dtype=float)
    reached = om.solve_visits(mdp, pi)
    assert np.abs(d - reached).max() <= 1e-12 * reached.max()
    assert np.abs(linear.values(pi, r, 1e-13) - om.solve_policy(mdp, pi, r)).max() <= 1e-9 * r.max()
    y = np.random.default_rng(2).normal(size=mdp.S)
    assert np.allclose(linear.expect(y), mdp.gamma * mdp.expect(y))
    assert np.allclose(linear.flow(pi), mdp.gamma * mdp.flow(pi))


def dense_step(mdp, pi, d, kappa, lam, G):
    """The Newton step from the bordered Hessian in rho itself: [H, B'; B, 0] with H = lam (1/rho - 1/d) + kappa/rho."""
    S, A = mdp.shape
    rho = d[:, None] * pi
    H = np.diag(((lam + kappa) / rho).ravel())
    for s in range(S):
        H[s * A : (s + 1) * A, s * A : (s + 1) * A] -= lam / d[s]
    B = np.kron(np.eye(S), np.ones(A)) - mdp.gamma * mdp.P.toarray().T
    system = np.block([[H, -B.T], [B, np.zeros((S, S))]])
    solution = np.linalg.solve(system, np.concatenate([-G.ravel(), np.zeros(S)]))
    dx, dV = solution[: S * A].reshape(S, A), solution[S * A :]
    e = dx.sum(axis=1) / d
    return dV, e, dx / rho - e[:, None]


@pytest.mark.parametrize("S", [5, 20, 80])
@pytest.mark.parametrize("lam", [0.05, 1.0])
def test_a_step_is_that_of_the_dense_kkt_system(S, lam):
    mdp, _, rng = problem(S=S)
    pi = random_policy(mdp, rng)
    d = om.solve_visits(mdp, pi) + 1e-3
    kappa = rng.random(mdp.shape) * 3
    kappa[0] = 1e-9  # a state that psi* hardly sees; zero would make the dense Hessian singular
    G = rng.normal(size=mdp.shape)
    dV, e, u = Newton(Linear(mdp), pi, d, kappa, lam).solve(G, 1e-13)
    expected = dense_step(mdp, pi, d, kappa, lam, G)
    for found, true in zip((dV, e, u), expected, strict=True):
        # The dense system divides by kappa = 1e-9: what it loses is in its own residual.
        assert np.abs(found - true).max() <= 1e-6 * np.abs(true).max()


@pytest.mark.parametrize("name", grids_and_garnets())
@pytest.mark.parametrize("free", [0.0, 0.5, 1.0])
def test_a_step_satisfies_its_equations_however_it_was_solved(name, free):
    mdp = grids_and_garnets()[name]
    rng = np.random.default_rng(3)
    pi, lam = random_policy(mdp, rng), 0.2
    d = Linear(mdp).visits(pi)
    kappa = rng.random(mdp.shape) * 10.0 ** rng.integers(-4, 3, size=mdp.shape) * (rng.random(mdp.shape) >= free)
    G = rng.normal(size=mdp.shape)
    linear = Linear(mdp)
    dV, e, u = Newton(linear, pi, d, kappa, lam).solve(G, 1e-12)
    z = pi * (u + e[:, None])
    stationarity = (lam + kappa) * u + kappa * e[:, None] + G - dV[:, None] + linear.expect(dV)
    stationarity -= (pi * stationarity).sum(axis=1, keepdims=True)
    flow = z.sum(axis=1) - linear.flow(d[:, None] * z) / d
    assert np.abs((pi * u).sum(axis=1)).max() <= 1e-12 * np.abs(u).max()
    assert np.abs(flow).max() <= DENSE * (1 + np.abs(z).max())
    assert np.abs(pi * stationarity).max() <= 1e-7 * (np.abs(G).max() + np.abs(dV).max())
    if free == 1.0:  # no psi*: the step is soft policy iteration, dV the value of G
        assert np.abs(dV - om.solve_policy(mdp, pi, (pi * G).sum(axis=1))).max() <= 1e-8 * np.abs(dV).max()


@pytest.mark.parametrize("K", [1, 4])
def test_curvature_of_the_dual_by_differences(K):
    mdp, rho_E, rng = problem()
    F = rng.normal(size=(*mdp.shape, K))
    w, lam, h = rng.normal(size=K), 0.5, 1e-5

    def gradient(v):
        return np.einsum("sak,sa->k", F, om.rl(mdp, F @ v, lam).rho - rho_E)

    columns = [(gradient(w + h * e) - gradient(w - h * e)) / (2 * h) for e in np.eye(K)]
    H = reward_curvature(mdp, om.rl(mdp, F @ w, lam), lam, F)
    # Central differences: h^2 of truncation against eps / h of rounding, times the size of H.
    assert np.abs(-np.stack(columns) - H).max() <= 1e-7 * np.abs(H).max()


def test_curvature_dense_and_sparse_agree():
    mdp, _, rng = problem(S=12)
    answer = om.rl(mdp, rng.normal(size=mdp.shape), 0.4)
    K = mdp.S * mdp.A
    D, v, b = 10.0 ** rng.uniform(-3, 2, size=K), rng.normal(size=K), rng.normal(size=K)
    eye = np.eye(K).reshape(*mdp.shape, K)
    for rank_one in (None, v, 1e6 * v):
        sparse, along = curvature(Linear(mdp), answer, 0.4, None, D, rank_one)(b)
        dense, _ = curvature(Linear(mdp), answer, 0.4, eye, D, rank_one)(b)
        assert np.abs(sparse - dense).max() <= DENSE * np.abs(dense).max()
        A = reward_curvature(mdp, answer, 0.4, eye) + np.diag(D)
        if rank_one is v:  # with 1e6 v the plain product cancels six digits, which is why it is not used
            plain = float(v @ np.linalg.solve(A + np.outer(v, v), b))
            assert along == pytest.approx(plain, rel=DENSE)


@pytest.mark.parametrize("psi", [Box(0.7), L2Ball(radius=1.5), Simplex(), Quadratic(2.0, np.ones((3, 2, 1)))])
def test_cost_classes_by_differences(psi):
    one = as_cost_class(psi, (3, 2))
    rng = np.random.default_rng(0)
    w = one.start() + 0.01 * rng.random(one.K)
    g = one.slack(w)
    assert (one.slack(one.start()) > 0).all()
    z, dw, h = rng.random(g.size), rng.normal(size=one.K), 1e-6
    v = one.rank_one(w, z)
    change = (one.slack(w + h * dw) - one.slack(w - h * dw)) / (2 * h)
    assert np.allclose(one.push(w, z, dw, float(v @ dw) if v is not None else 0.0), change, atol=1e-8)
    assert float(one.pull(w, z) @ dw) == pytest.approx(float(z @ change), abs=1e-8)
    # D + v v' = - (curvature of z.g and of -psi) + G' diag(z/g) G.
    barrier = sum(one.push(w, z, e, float(v @ e) if v is not None else 0.0)[:, None] * np.eye(one.K)[i]
                  for i, e in enumerate(np.eye(one.K))) if g.size else np.zeros((0, one.K))  # fmt: skip
    bend = np.array([
        -(one.pull(w + h * e, z) + one.gradient(w + h * e) - one.pull(w - h * e, z) - one.gradient(w - h * e)) / (2 * h)
        for e in np.eye(one.K)
    ])  # fmt: skip
    whole = np.diag(one.diagonal(w, z)) + (np.outer(v, v) if v is not None else 0.0)
    assert np.allclose(whole, bend + barrier.T @ np.diag(z / g) @ barrier if g.size else bend, atol=1e-7)


def test_soft_value_is_that_of_rl():
    for mdp in grids_and_garnets().values():
        cost = np.random.default_rng(0).normal(size=mdp.shape)
        answer = om.rl(mdp, cost, 0.3)
        for guess in (None, answer.V + 1e-3 * np.sin(np.arange(mdp.S)), np.full(mdp.S, 1e3)):
            V, pi = soft_value(Linear(mdp), cost, 0.3, guess)
            assert (
                np.abs(V - answer.V).max() <= 1e-11 * np.abs(answer.V).max() and np.abs(pi - answer.pi).max() <= 1e-11
            )

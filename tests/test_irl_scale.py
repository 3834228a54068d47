"""IRL by Newton on many states: its parts against dense linear algebra, and the whole against the way of few states."""

import numpy as np
import pytest
from corner_mdps import random_policy

import occmatch as om
from occmatch import columns, linear
from occmatch.irl import krylov, newton, weights
from occmatch.irl.dual import Problem
from occmatch.irl.support import analyse
from occmatch.linear import resolvent
from occmatch.regularisers import REGISTERED, Constant, L2Ball, Quadratic, Surrogate

# Newton stops at rounding: 1e-16 times the condition 1/(1 - gamma) <= 100 of V, with three digits to spare.
OPTIMAL = 1e-11

# Two answers within that of one optimum, strongly convex in the policy: half the digits.
POLICY = 1e-5

# Conjugate gradients at rtol 1e-12 on at most 40 unknowns conditioned up to 1e3.
KRYLOV = 1e-8


@pytest.fixture
def many(monkeypatch):
    """The code takes every MDP for one of many states; no factors anywhere."""
    monkeypatch.setattr(newton, "DIRECT_STATES", 0)
    monkeypatch.setattr(weights, "DIRECT_STATES", 0)
    monkeypatch.setattr(linear, "_DENSE_STATES", 0)
    monkeypatch.setattr(linear, "_LU_WORK", 0.0)


def problem(seed: int, S: int = 10, A: int = 3, gamma: float = 0.9) -> tuple[om.MDP, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    mdp = om.examples.garnet(S, A, min(S, 3), gamma, rng)
    return mdp, om.occupancy(mdp, random_policy(mdp, rng)), rng


def gap(mdp: om.MDP, rho_E: np.ndarray, psi: object, found: object) -> float:
    assert isinstance(found, om.Candidate), found
    return abs(om.certify(mdp, rho_E, psi, found).relative_gap)


def test_conjugate_gradients_solve_end_early_and_survive_flat_directions() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 12))
    M, b = root @ root.T + np.eye(12), rng.normal(size=12)
    assert np.abs(krylov.conjugate_gradients(lambda x: M @ x, b, 1e-13, 100) - np.linalg.solve(M, b)).max() <= KRYLOV
    rough = krylov.conjugate_gradients(lambda x: M @ x, b, 0.5, 100)
    assert 0 < np.linalg.norm(b - M @ rough) <= 0.5 * np.linalg.norm(b)
    flat = np.diag([1.0, 2.0, 0.0])
    assert np.allclose(krylov.conjugate_gradients(lambda x: flat @ x, np.array([1.0, 1.0, 0.0]), 1e-12, 9), [1, 0.5, 0])
    assert not krylov.conjugate_gradients(lambda x: 0 * x, np.ones(3), 1e-12, 9).any()


@pytest.mark.parametrize("held", [0.0, 0.3])
def test_the_step_without_a_matrix_is_that_of_the_factors(held: float) -> None:
    mdp, rho_E, rng = problem(1)
    instance = Problem(mdp, rho_E, Quadratic(), 0.4, np.ones(mdp.shape, bool))
    pi = random_policy(mdp, rng)
    rho, bend = om.occupancy(mdp, pi), 10.0 ** rng.uniform(-2, 2, size=mdp.shape)
    fixed = rng.random(mdp.shape) < held
    r = np.where(fixed, 0.0, rng.normal(size=mdp.shape))
    expected = newton._step(instance, r, pi, rho, bend, fixed)
    found = krylov.krylov_step(instance, r, pi, rho, bend, fixed, 1e-12)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours - theirs).max() <= KRYLOV * np.abs(theirs).max()


def test_what_shaping_leaves_is_the_residual_of_least_squares() -> None:
    mdp, _, rng = problem(2)
    c = rng.normal(size=mdp.shape)
    B = np.kron(np.eye(mdp.S), np.ones((mdp.A, 1))) - mdp.gamma * mdp.P.toarray()
    V = np.linalg.lstsq(B, c.ravel(), rcond=None)[0]
    assert np.abs(krylov.off_shaping(mdp, c).ravel() - (c.ravel() - B @ V)).max() <= KRYLOV


@pytest.mark.parametrize("guess", [False, True])
def test_columns_are_solved_from_a_guess_to_the_accuracy_asked_for(guess: bool, many: None) -> None:
    mdp, _, rng = problem(3, S=30, gamma=0.97)
    R = rng.normal(size=(30, 5))
    R[:, 2] = 0.0
    one = resolvent(mdp, random_policy(mdp, rng))
    M = np.eye(30) - mdp.gamma * one.P_pi.toarray()
    exact = np.linalg.solve(M, R)
    start = exact + 1e-3 * rng.normal(size=R.shape) if guess else None
    kept = None if start is None else start.copy()
    X = columns.solve_columns(one, R, 1e-10, start)
    # The third column asks for zero, and gets it to the rounding of its guess.
    assert (np.abs(R - M @ X).max(axis=0) <= 1e-10 * np.abs(R).max(axis=0) + 1e-15).all()
    assert np.abs(X - exact).max() <= KRYLOV * np.abs(exact).max()
    assert start is None or np.array_equal(start, kept)
    # A guess that is as good as asked for stays as it is.
    assert np.array_equal(columns.solve_columns(one, R[:, :2], 1e-2, X[:, :2]), X[:, :2])


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("name", REGISTERED)
def test_many_states_and_few_find_the_same_policy(name: str, deterministic: bool, many: None) -> None:
    mdp, rho_E, rng = problem(4)
    if deterministic:
        rho_E = om.occupancy(mdp, np.eye(mdp.A)[rng.integers(mdp.A, size=mdp.S)])
    psi = REGISTERED[name](mdp, rho_E)
    if not newton.has_newton(psi):
        return
    found = om.irl(mdp, rho_E, psi, 0.3, "newton")
    if isinstance(found, om.NotAttained):
        last = om.certify(mdp, rho_E, psi, found.sequence[-1])
        assert last.dual == pytest.approx(found.value, rel=OPTIMAL, abs=OPTIMAL * last.scale)
        return
    assert gap(mdp, rho_E, psi, found) <= OPTIMAL
    assert np.abs(found.pi - om.match(mdp, rho_E, psi, 0.3).pi).max() <= POLICY


@pytest.mark.parametrize("make", [Constant, lambda F: Quadratic(0.5, F), lambda F: L2Ball(F, 0.05)])
def test_features_of_many_states(make: object, many: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hessian is rough at first, kept where Newton is fast, and summed over two states at a time."""
    mdp, rho_E, rng = problem(5, S=14)
    psi = make(rng.normal(size=(*mdp.shape, 4)))
    monkeypatch.setattr(weights, "BLOCK", 2 * mdp.A * 4)
    found = om.irl(mdp, rho_E, psi, 0.5, "newton")
    assert gap(mdp, rho_E, psi, found) <= OPTIMAL
    monkeypatch.undo()
    assert np.abs(found.pi - om.irl(mdp, rho_E, psi, 0.5, "newton").pi).max() <= POLICY


@pytest.mark.parametrize("loose", [False, True])
def test_steps_toward_a_nearly_deterministic_expert_are_doubled(loose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dual rises like 1 - exp(-t) there; the answer stays, and so does the gap."""
    if loose:
        monkeypatch.setattr(weights, "DIRECT_STATES", 0)
    rng = np.random.default_rng(12)
    mdp = om.examples.garnet(60, 3, 4, 0.9, rng)
    F = rng.normal(size=(*mdp.shape, 8))
    rho_E = om.rl(mdp, F @ rng.normal(size=8), 0.1).rho
    found, made, hessian = [], [], weights._hessian
    monkeypatch.setattr(weights, "_hessian", lambda *of: made.append(len(found)) or hessian(*of))
    for ahead in (weights.AHEAD, np.inf):
        monkeypatch.setattr(weights, "AHEAD", ahead)
        found.append(om.irl(mdp, rho_E, Constant(F), 0.1, "newton", tol=1e-9, progress=False))
        assert gap(mdp, rho_E, Constant(F), found[-1]) <= 1e-8
    assert made.count(0) <= 0.8 * made.count(1)
    assert np.abs(found[0].pi - found[1].pi).max() <= POLICY


def test_a_tolerance_ends_newton_early_at_a_gap_that_is_kept() -> None:
    mdp, rho_E, rng = problem(6)
    for psi in (Surrogate(om.LOSSES["logistic"], rho_E), Quadratic(0.5, rng.normal(size=(*mdp.shape, 3)))):
        rough, fine = (om.irl(mdp, rho_E, psi, 0.5, "newton", tol=tol) for tol in (1e-2, 0.0))
        assert rough.iterations < fine.iterations
        assert OPTIMAL < gap(mdp, rho_E, psi, rough) <= 2e-2  # the certificate's scale is within a factor of two


def test_an_expert_inside_needs_no_program_to_know_that_weights_exist() -> None:
    """rho_E > 0 is a matching measure inside D; the two linear programs, forced by a pair without mass, agree."""
    mdp, rho_E, rng = problem(7)
    F = rng.normal(size=(*mdp.shape, 3))
    assert analyse(mdp, rho_E, Constant(F), 1.0).free.all()
    touched = om.occupancy(mdp, np.where(np.arange(mdp.A) == 0, 0.0, 1.0 / (mdp.A - 1)) * np.ones(mdp.shape))
    by_programs = analyse(mdp, touched, Constant(F), 1.0)
    assert by_programs.attained and by_programs.free.all()
    off = analyse(mdp, rho_E * 1.5, Constant(np.ones((*mdp.shape, 1))), 1.0)
    assert isinstance(off, om.Unbounded)


def test_a_ball_over_too_many_costs_is_sent_to_matching(monkeypatch: pytest.MonkeyPatch) -> None:
    mdp, rho_E, _ = problem(8)
    monkeypatch.setattr(weights, "MOST_PAIRS", 29)
    with pytest.raises(ValueError, match=r"at most 29 pairs for an L2Ball without features.* has 30; `match`"):
        om.irl(mdp, rho_E, L2Ball(), method="newton")


@pytest.mark.parametrize("method", ["newton", "ascent"])
def test_progress_is_told_of_every_step_and_can_stop_the_work(method: str) -> None:
    mdp, rho_E, _ = problem(9)
    psi = Surrogate(om.LOSSES["logistic"], rho_E)
    reports = []
    found = om.irl(mdp, rho_E, psi, 0.5, method, max_iter=8, progress=reports.append)
    assert len(reports) == found.iterations and reports[-1].V.shape == (mdp.S,)

    def stop(report: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        om.irl(mdp, rho_E, psi, 0.5, method, progress=stop)

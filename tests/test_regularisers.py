"""The contract of every registered psi: conjugacy, convexity, derivatives, and the boundary of its domain.

Each psi* is compared with its definition, written here plainly and without the package (`LITERAL`); each psi with
its psi* by Fenchel-Young: <x, c> <= psi(c) + psi*(x), with equality at the best cost, so that both are right or both
wrong. The state that no policy reaches keeps 0 * psi(0 / 0) in every test.
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import linprog, minimize_scalar
from scipy.special import xlogy

from occmatch import MDP, occupancy
from occmatch.candidate import NoBestCost
from occmatch.regularisers import REGISTERED, FDivergence, Regulariser, Surrogate
from occmatch.regularisers import features as linear_features
from occmatch.regularisers.registered import example_features

ROUNDING = 1e-10  # sums of eight terms of size at most 1e2 after logs and square roots: a thousand ulps is 1e-12
SOLVER = 1e-7  # where a solver gives the number: Clarabel and HiGHS stop at 1e-9, Brent at sqrt(eps) in the argument
SECANT = 1e-5  # central differences, step 1e-6 of numbers of size 10: rounding 1e-9, truncation 1e-12 f'''

GAMMA = 0.8
KERNEL = np.random.default_rng(3).dirichlet(np.ones(3), size=(4, 2))
MDP_ = MDP(
    np.concatenate([KERNEL, np.zeros((4, 2, 1))], axis=2), [0.5, 0.3, 0.2, 0.0], GAMMA
)  # nothing reaches state 3
MIXED = np.array([[0.3, 0.7], [0.6, 0.4], [0.9, 0.1], [0.5, 0.5]])
LEARNER = np.array([[0.5, 0.5], [0.2, 0.8], [0.35, 0.65], [0.5, 0.5]])
CORNER = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
PAIRS = {
    "interior": (occupancy(MDP_, LEARNER), occupancy(MDP_, MIXED)),
    "deterministic expert": (occupancy(MDP_, LEARNER), occupancy(MDP_, CORNER)),
    "deterministic learner": (occupancy(MDP_, CORNER), occupancy(MDP_, MIXED)),
    "matched": (occupancy(MDP_, CORNER), occupancy(MDP_, CORNER)),
}
EXACT = ("constant", "surrogate_linear")  # psi* is the indicator of rho = rho_E
FINITE = (*EXACT, "expression", "quadratic", "surrogate_exponential_linear", "fdivergence_kl", "fdivergence_chi2")

PHI: dict[str, Callable[[float], float]] = {
    "logistic": lambda m: float(np.log(1 + np.exp(-m))),
    "exponential": lambda m: float(np.exp(-m)),
    "exponential_linear": lambda m: float(np.exp(-m)) - m,
    "smoothed_hinge": lambda m: 0.25 * float(np.log(1 + np.exp((1 - m) / 0.25))),
}
F: dict[str, tuple[Callable[[float], float], float]] = {  # f(t), and f'(inf)
    "kl": (lambda t: xlogy(t, t) - t + 1, np.inf),
    "reverse_kl": (lambda t: t - 1 - np.log(t) if t > 0 else np.inf, 1.0),
    "chi2": (lambda t: (t - 1) ** 2, np.inf),
    "hellinger": (lambda t: (np.sqrt(t) - 1) ** 2, 1.0),
    "js": (lambda t: xlogy(t, t) - (1 + t) * np.log((1 + t) / 2), np.log(2)),
    "tv": (lambda t: abs(t - 1) / 2, 0.5),
}


def least_risk(phi: Callable[[float], float], p: float, q: float) -> float:
    """min_m p phi(m) + q phi(-m) by Brent's method; the limit where one of p, q is zero."""
    if p == 0 or q == 0:
        return 0.0 if p == q or phi(40.0) > -1e-9 else -np.inf
    return minimize_scalar(
        lambda m: p * phi(m) + q * phi(-m), bounds=(-25, 25), method="bounded", options={"xatol": 1e-11}
    ).fun


def f_term(f: Callable[[float], float], upper: float, p: float, q: float) -> float:
    """q f(p / q) with 0 f(0 / 0) = 0 and 0 f(p / 0) = p f'(inf)."""
    return q * f(p / q) if q > 0 else (p * upper if p > 0 else 0.0)


def steepest(x: np.ndarray) -> float:
    """max <x, c> over |c_i - c_j| <= 1 on the edges of transition_metric, c_0 = 0: a linear program."""
    P, nodes = MDP_.P.toarray().reshape(4, 2, 4), list(itertools.product(range(4), range(2)))
    steps = {(s, t) for s, _, t in zip(*P.nonzero(), strict=True) if s != t}
    edges = [
        (i, j)
        for (i, (s, a)), (j, (t, b)) in itertools.permutations(enumerate(nodes), 2)
        if s == t or (a == b and {(s, t), (t, s)} & steps)
    ]
    rises = np.eye(8)[[i for i, _ in edges]] - np.eye(8)[[j for _, j in edges]]
    bounds = [(0, 0)] + [(None, None)] * 7
    return -linprog(-x.ravel(), A_ub=rises, b_ub=np.ones(len(edges)), bounds=bounds).fun


def moments(x: np.ndarray) -> np.ndarray:
    features = example_features(MDP_)
    return np.array([(features[:, :, k] * x).sum() for k in range(features.shape[2])])


def indicator(p: np.ndarray, q: np.ndarray) -> float:
    return 0.0 if np.array_equal(p, q) else np.inf


Literal = Callable[[np.ndarray, np.ndarray], float]
LITERAL: dict[str, Literal] = {
    "constant": indicator,
    "surrogate_linear": indicator,
    "l2_ball": lambda p, q: np.sqrt(((p - q) ** 2).sum()),
    "l2_ball_features": lambda p, q: np.sqrt((moments(p - q) ** 2).sum()),
    "simplex": lambda p, q: (p - q).max(),
    "simplex_features": lambda p, q: moments(p - q).max(),
    "box": lambda p, q: max((p - q).ravel() @ np.array(c) for c in itertools.product((-1, 1), repeat=p.size)),
    "quadratic": lambda p, q: ((p - q) ** 2).sum() / 2,
    "quadratic_features": lambda p, q: (moments(p - q) ** 2).sum(),  # weight 1/2
    "lipschitz": lambda p, q: steepest(p - q),
    "expression": lambda p, q: (np.maximum(np.abs(p - q) - 1, 0) ** 2).sum() / 2,
    **{
        f"surrogate_{name}": lambda p, q, phi=phi: -sum(map(least_risk, [phi] * p.size, p.ravel(), q.ravel()))
        for name, phi in PHI.items()
    },
    **{
        f"fdivergence_{name}": lambda p, q, f=f: sum(f_term(*f, a, b) for a, b in zip(p.flat, q.flat, strict=True))
        for name, f in F.items()
    },
}

registered = pytest.mark.parametrize("name", REGISTERED)
pairs = pytest.mark.parametrize("pair", PAIRS)


def build(name: str, pair: str) -> tuple[Regulariser, np.ndarray, np.ndarray]:
    rho, rho_E = PAIRS[pair]
    if name in EXACT:
        rho = rho_E
    return REGISTERED[name](MDP_, rho_E), rho, rho_E


def costs(psi: Regulariser, seed: int, n: int = 12) -> list[np.ndarray]:
    """Costs of the domain of psi, from points around it."""
    rng = np.random.default_rng(seed)
    inside = 0.01 if isinstance(psi, Surrogate) else 0.0  # at the largest double below sup T, 1 / |c| overflows
    return [psi.repair(scale * rng.normal(size=MDP_.shape)) - inside for scale in np.geomspace(0.05, 4, n)]


def objective(psi: Regulariser, x: np.ndarray, c: np.ndarray) -> float:
    return float(np.vdot(x, c)) - psi.value(c)


def close(a: float, b: float, tol: float = ROUNDING) -> bool:
    return a == b or abs(a - b) <= tol * (1 + abs(b))


def test_the_measures_reach_the_corners() -> None:
    for rho, rho_E in PAIRS.values():
        np.testing.assert_allclose([rho.sum(), rho_E.sum()], 1 / (1 - GAMMA), rtol=ROUNDING)
        assert not rho[3].any() and not rho_E[3].any()
    rho, rho_E = PAIRS["deterministic expert"]
    assert ((rho > 0) & (rho_E == 0)).sum() == 3
    rho, rho_E = PAIRS["deterministic learner"]
    assert ((rho == 0) & (rho_E > 0)).sum() == 3


@pairs
@registered
def test_the_conjugate_is_its_definition(name: str, pair: str) -> None:
    rho, rho_E = PAIRS[pair]
    psi = REGISTERED[name](MDP_, rho_E)
    expected = LITERAL[name](rho, rho_E)
    assert close(psi.conjugate(rho - rho_E), expected, SOLVER)
    assert close(psi.divergence(rho, rho_E), expected, SOLVER)


@pairs
@registered
def test_fenchel_young(name: str, pair: str) -> None:
    psi, rho, rho_E = build(name, pair)
    x, supremum = rho - rho_E, psi.divergence(rho, rho_E)
    tol = SOLVER if name in ("expression", "lipschitz") else ROUNDING
    for c in costs(psi, 0):
        gap = supremum - objective(psi, x, c)
        assert psi.value(c) < np.inf
        if name in EXACT or (pair == "matched" and name not in ("quadratic", "expression")):
            assert gap >= -tol * (1 + abs(supremum))
        else:
            assert gap > 0
    try:
        best = psi.best_cost(rho, rho_E)
    except NoBestCost as failure:
        rises = [objective(psi, x, psi.repair(np.zeros(MDP_.shape) - 1) + t * failure.ray) for t in (0, 5, 25)]
        assert rises[0] < rises[1] <= rises[2] <= supremum
        assert failure.unbounded == (supremum == np.inf)
        return
    assert close(objective(psi, x, best), supremum, tol)


@pairs
@registered
def test_psi_and_its_conjugate_are_convex(name: str, pair: str) -> None:
    psi, _, rho_E = build(name, pair)
    rng = np.random.default_rng(1)
    c, d = costs(psi, 1), costs(psi, 2)[::-1]
    for t, a, b in zip(rng.random(len(c)), c, d, strict=True):
        chord = t * psi.value(a) + (1 - t) * psi.value(b)
        assert psi.value(t * a + (1 - t) * b) <= chord + ROUNDING * (1 + abs(chord))
    for t in rng.random(3):
        p, q = (occupancy(MDP_, rng.dirichlet(np.ones(2), size=4)) for _ in range(2))
        middle, chord = psi.divergence(t * p + (1 - t) * q, rho_E), 0.0
        chord = t * psi.divergence(p, rho_E) + (1 - t) * psi.divergence(q, rho_E)
        assert middle == chord or middle <= chord + SOLVER * (1 + abs(chord))


@pairs
@registered
def test_the_dual_value_is_minus_the_cost_of_the_expert_minus_psi(name: str, pair: str) -> None:
    psi, rho, rho_E = build(name, pair)
    for c in costs(psi, 3):
        assert close(psi.dual_value(c, rho_E), -float(np.vdot(rho_E, c)) - psi.value(c))
        assert close(psi.dual_value(c, rho), -float(np.vdot(rho, c)) - psi.value(c))  # psi built on another expert
    if name not in FINITE:
        outside = np.full(MDP_.shape, 3.0)
        outside[0, 0] = -3.0
        assert psi.value(outside) == np.inf and psi.dual_value(outside, rho_E) == -np.inf


@registered
def test_gradient_and_hessian_are_those_of_the_divergence(name: str) -> None:
    psi, rho, rho_E = build(name, "interior")
    if not psi.smooth:
        assert name.split("_")[0] not in ("surrogate", "fdivergence") or name in ("surrogate_linear", "fdivergence_tv")
        if isinstance(psi, Surrogate | FDivergence):  # derivatives of the pieces, which the solvers do not ask for
            return
        with pytest.raises(NotImplementedError, match="no separable"):
            psi.hess_diag(rho, rho_E)
        return
    grad, hess = psi.grad(rho, rho_E), psi.hess_diag(rho, rho_E)
    np.testing.assert_array_equal(grad[:3], psi.best_cost(rho, rho_E)[:3])
    for s, a in itertools.product(range(3), range(2)):
        step = np.zeros(MDP_.shape)
        step[s, a] = 1e-6
        up, down = rho + step, rho - step
        slope = (psi.divergence(up, rho_E) - psi.divergence(down, rho_E)) / 2e-6
        bend = (psi.grad(up, rho_E) - psi.grad(down, rho_E))[s, a] / 2e-6
        assert close(grad[s, a], slope, SECANT) and close(hess[s, a], bend, SECANT)


@registered
def test_derivatives_of_psi_are_inverse_to_those_of_its_conjugate(name: str) -> None:
    psi, rho, rho_E = build(name, "interior")
    if not psi.smooth:
        return
    seen = rho_E > 0
    c = psi.best_cost(rho, rho_E)
    c[~seen] = psi.repair(np.full_like(c, -1.0))[~seen]
    np.testing.assert_allclose(psi.dvalue(c)[seen], (rho - rho_E)[seen], rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(psi.d2value(c)[seen] * psi.hess_diag(rho, rho_E)[seen], 1.0, rtol=ROUNDING)


@pairs
@registered
def test_repair_moves_only_what_is_outside(name: str, pair: str) -> None:
    psi, _, _ = build(name, pair)
    for c in costs(psi, 4):
        np.testing.assert_allclose(psi.repair(c), c, rtol=SOLVER, atol=ROUNDING)


@pairs
@registered
def test_prox_minimises_with_the_curvature_of_its_square(name: str, pair: str) -> None:
    psi, _, _ = build(name, pair)
    rng, step = np.random.default_rng(5), 0.7
    coordinates = (lambda w: w) if psi.features is None else (lambda w: psi.features @ w)
    v = rng.normal(size=MDP_.shape if psi.features is None else psi.features.shape[2])
    if name in ("lipschitz", "expression"):
        with pytest.raises(NotImplementedError, match="no closed-form proximal map"):
            psi.prox(v, step)
        return
    w = psi.prox(v, step)
    least = psi.value(coordinates(w)) + ((w - v) ** 2).sum() / (2 * step)
    others = [psi.prox(w + scale * rng.normal(size=w.shape), 1e-3) for scale in np.geomspace(1e-3, 2, 5)]
    for other in (*others, w + 0.02 * (v - w), w - 0.02 * (v - w)):  # a wrong step is off along this line
        value = psi.value(coordinates(other)) + ((other - v) ** 2).sum() / (2 * step)
        assert value >= least + ((other - w) ** 2).sum() / (2 * step) - ROUNDING * (1 + abs(least))


@pairs
@registered
def test_mass_on_forbidden_pairs_makes_the_divergence_infinite(name: str, pair: str) -> None:
    psi, _, rho_E = build(name, pair)
    forbidden = psi.forbidden(rho_E)
    assert not (forbidden & (rho_E > 0)).any()
    for s, a in itertools.product(range(4), range(2)):
        more = rho_E.copy()
        more[s, a] += 0.1
        if forbidden[s, a] or (psi.smooth and name != "quadratic"):
            assert (psi.divergence(more, rho_E) == np.inf) == forbidden[s, a]


def test_the_definitions_cover_the_registry() -> None:
    assert set(LITERAL) == set(REGISTERED)


@pytest.mark.parametrize("copies", [0, 1])
def test_coordinates_of_many_pairs_are_least_squares(copies):
    """Tall systems go another way; where features depend on each other the answer is still the one of least norm."""
    rng = np.random.default_rng(5)
    F = rng.normal(size=(4_000, 3, 6))
    F = np.concatenate([F] * (1 + copies), axis=2)
    c = F @ rng.normal(size=F.shape[2]) + 0.1 * rng.normal(size=F.shape[:2])
    w, distance = linear_features.coordinates(F, c)
    expected = np.linalg.lstsq(F.reshape(c.size, -1), c.ravel(), rcond=None)[0]
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-13)
    assert distance == np.abs(F @ w - c).max()

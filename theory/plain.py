"""More second opinions: formulas that take complex numbers, Q by its power series, descent over policies, Clarabel.

Policies, measures and entropies here accept complex arrays, so that a gradient is a complex step:
f(x + i h v) = f(x) + i h <grad f, v> + O(h^2) loses no digit to cancellation, and h = 1e-30 makes the rest zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize

from occmatch import MDP
from theory.oracles import TAIL, kernel

Array = np.ndarray

STEP = 1e-30
"""Of the complex step: its square is far below rounding."""


def softmax(theta: Array) -> Array:
    """exp(theta) divided by its row sums [S, A], theta real or complex."""
    weights = np.exp(theta - np.real(theta).max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def measure(mdp: MDP, pi: Array) -> Array:
    """rho [S, A] by the linear equation on pairs, rho = p0 pi + gamma pi P' rho, pi real or complex."""
    S, A = mdp.shape
    moves = (kernel(mdp)[..., None] * pi).reshape(S * A, S * A)
    return np.linalg.solve(np.eye(S * A) - mdp.gamma * moves.T, (mdp.p0[:, None] * pi).ravel()).reshape(S, A)


def entropy(rho: Array) -> complex | float:
    """Hbar(rho) = -sum rho log(rho / d), 0 log 0 = 0, rho real or complex."""
    d = np.broadcast_to(rho.sum(axis=1, keepdims=True), rho.shape)
    some = np.real(rho) > 0
    return -(rho[some] * np.log(rho[some] / d[some])).sum()


def following(mdp: MDP, pi: Array, signal: Array) -> Array:
    """Q(s, a) = E[sum_t gamma^t signal(s_t, a_t) | s_0 = s, a_0 = a] [S, A] by its power series."""
    P, Q, term, weight = kernel(mdp), np.zeros(mdp.shape), np.array(signal, dtype=float), 1.0
    while weight > TAIL:
        Q, weight = Q + term, weight * mdp.gamma
        term = mdp.gamma * (P @ (pi * term).sum(axis=1))
    return Q


def gradient(f: Callable[[Array], complex], theta: Array) -> Array:
    """grad f [S, A] by complex steps, entry by entry."""
    found = np.empty(theta.shape)
    for index in np.ndindex(*theta.shape):
        moved = theta.astype(complex)
        moved[index] += 1j * STEP
        found[index] = np.imag(f(moved)) / STEP
    return found


def lowest(
    mdp: MDP,
    f: Callable[[Array], float],
    slope: Callable[[Array], Array],
    starts: Iterable[Array],
    steps: int = 100,
) -> float:
    """The least f(rho) that L-BFGS over softmax policies finds from the given theta [S, A].

    `slope(rho)` [S, A] is the gradient of f in rho, or a subgradient.
    """
    S, A = mdp.shape
    P = kernel(mdp)

    def f_and_gradient(x: Array) -> tuple[float, Array]:
        pi = softmax(x.reshape(S, A))
        P_pi = np.einsum("sa,sat->st", pi, P)
        d = np.linalg.solve(np.eye(S) - mdp.gamma * P_pi.T, mdp.p0)
        rho = d[:, None] * pi
        signal = slope(rho)
        V = np.linalg.solve(np.eye(S) - mdp.gamma * P_pi, (pi * signal).sum(axis=1))
        advantage = signal + mdp.gamma * (P @ V) - V[:, None]
        return float(f(rho)), (rho * advantage).ravel()

    # L-BFGS asks for 1e-12 of the objective; softmax parameters beyond 30 are deterministic policies to rounding.
    bounds = [(-30.0, 30.0)] * (S * A)
    options = {"maxiter": steps, "ftol": 1e-13, "gtol": 1e-12}
    runs = (
        minimize(f_and_gradient, theta.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        for theta in starts
    )
    return min(float(run.fun) for run in runs)


def conic(problem: cp.Problem) -> bool:
    """Whether Clarabel solves a program to its own tolerance: a second opinion that is unsure is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "Solution may be inaccurate"
            problem.solve(solver=cp.CLARABEL)
    except cp.error.SolverError:
        return False
    return problem.status == cp.OPTIMAL


def apart(a: Array | float, b: Array | float, scale: float = 0.0) -> float:
    """max |a - b| relative to the largest number in either, or to `scale` if that is larger; equal infinities agree."""
    a, b = np.broadcast_arrays(np.asarray(a, dtype=float), np.asarray(b, dtype=float))
    same = a == b
    size = max(np.abs(x[np.isfinite(x)]).max(initial=0.0) for x in (a, b, np.array(scale)))
    distance = np.abs(np.where(same, 0.0, a) - np.where(same, 0.0, b)).max(initial=0.0)
    return float(distance) / (size or 1.0)

"""Pictures of the geometry: the polytope D of occupancy measures, and the saddle of Proposition 3.2."""

from __future__ import annotations

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from numpy.typing import ArrayLike
from scipy.spatial import ConvexHull

from occmatch import checks
from occmatch.candidate import Candidate
from occmatch.mdp import MDP
from occmatch.occupancy import causal_entropy, occupancy
from occmatch.regularisers import Regulariser, fitting

Pair = tuple[int, int]

MOST_CORNERS = 5_000  # each is a linear solve


def plot_polytope(mdp: MDP, x: Pair, y: Pair, ax: Axes | None = None) -> Axes:
    """The shadow of D on two of its coordinates, rho(x) and rho(y), for pairs x = (s, a) and y = (s', a').

    Corners of D are the measures of deterministic policies (Puterman 1994, section 6.9), so the shadow is the convex
    hull of theirs; they are drawn as dots. Raises ValueError for a pair outside the MDP, where there are more than
    5,000 such policies, or where the shadow has no area.
    """
    columns = [_pair(mdp, pair, name) for pair, name in ((x, "x"), (y, "y"))]
    if mdp.A**mdp.S > MOST_CORNERS:
        raise ValueError(f"mdp must have at most {MOST_CORNERS} deterministic policies, but has {mdp.A}^{mdp.S}")
    policies = (np.eye(mdp.A)[list(actions)] for actions in product(range(mdp.A), repeat=mdp.S))
    corners = np.array([occupancy(mdp, pi).reshape(-1)[columns] for pi in policies])
    if np.linalg.matrix_rank(corners - corners[0], tol=1e-9 / (1.0 - mdp.gamma)) < 2:
        raise ValueError(f"x and y must be pairs that vary independently, but {x} and {y} leave a shadow of no area")
    outline = corners[ConvexHull(corners).vertices]
    ax = plt.subplots()[1] if ax is None else ax
    ax.fill(*outline.T, facecolor="0.93", edgecolor="0.4", zorder=0)
    ax.plot(*corners.T, "o", color="0.3", markersize=5, zorder=3, label="deterministic policies")
    (s, a), (t, b) = x, y
    ax.set(xlabel=f"rho(s={s}, a={a})", ylabel=f"rho(s={t}, a={b})")
    return ax


def plot_saddle(
    mdp: MDP,
    rho_E: ArrayLike,
    psi: Regulariser,
    found: Candidate,
    pi: ArrayLike,
    cost: ArrayLike,
    ax: Axes | None = None,
    *,
    points: int = 61,
) -> Axes:
    """The saddle of Proposition 3.2 along two lines through a candidate: to the policy `pi` and to `cost` [S, A].

        L(t, u) = -lam Hbar(rho_t) + <rho_t - rho_E, c_u> - psi(c_u),    less L(0, 0),
        rho_t = rho + t (rho_pi - rho),   c_u = c + u (cost - c),        t and u in [-1, 1].

    Convex in t and concave in u; blank where rho_t is no measure or psi infinite. `points` a side, at least 3.
    Raises ValueError where a shape is wrong, `found` is a typed failure or has no cost, or psi is infinite there.
    """
    if not isinstance(found, Candidate) or found.cost is None:
        what = "one without" if isinstance(found, Candidate) else type(found).__name__
        raise ValueError(f"found must be a Candidate with a cost, but is {what}")
    checks.measure(mdp, found.rho, "found.rho")
    psi = fitting(mdp, psi)
    rho_E = checks.measure(mdp, rho_E, "rho_E")
    to, cost = occupancy(mdp, checks.policy(mdp, pi)) - found.rho, checks.cost(mdp, cost)
    # An odd number of points: the candidate itself is the middle one.
    line = np.linspace(-1.0, 1.0, checks.count(points, "points", least=3) // 2 * 2 + 1)
    rhos = [found.rho + t * to for t in line]
    costs = [found.cost + u * (cost - found.cost) for u in line]
    entropy = [-found.lam * causal_entropy(rho) if rho.min() >= 0.0 else np.nan for rho in rhos]
    value = np.array([psi.dual_value(c, rho_E) for c in costs])
    surface = np.array([[h + np.vdot(rho, c) for h, rho in zip(entropy, rhos, strict=True)] for c in costs])
    surface += np.where(np.isfinite(value), value, np.nan)[:, None]
    centre = surface[line.size // 2, line.size // 2]
    if not np.isfinite(centre):
        raise ValueError("found must hold a cost at which psi is finite, but psi(found.cost) is infinite")
    surface -= centre
    ax = plt.subplots()[1] if ax is None else ax
    image = ax.pcolormesh(line, line, surface, cmap="PuOr_r", norm=CenteredNorm(), shading="nearest", rasterized=True)
    ax.contour(line, line, surface, levels=12, colors="black", linewidths=0.5, alpha=0.6)
    ax.plot(0.0, 0.0, "o", color="white", markeredgecolor="black", label="the candidate")
    shown = np.isfinite(surface)
    t, u = line[shown.any(axis=0)], line[shown.any(axis=1)]
    ax.set(xlim=(t[0], t[-1]), ylim=(u[0], u[-1]))
    ax.set(xlabel="t: from the policy found to pi", ylabel="u: from the cost found to another")
    ax.figure.colorbar(image, ax=ax, label="L(t, u) - L(0, 0)")
    return ax


def _pair(mdp: MDP, pair: Pair, name: str) -> int:
    """Its place in a measure [S * A]."""
    found = checks.integers(pair, name, "2")
    if found.size != 2 or not (0 <= found[0] < mdp.S and 0 <= found[1] < mdp.A):
        raise ValueError(f"{name} must be a state and an action of the MDP {mdp.shape}, but is {pair}")
    return int(found[0]) * mdp.A + int(found[1])

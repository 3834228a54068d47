"""Pictures of policies, measures, costs and convergence.  Every function draws on `ax` (or new axes) and returns it.

A gridworld is an MDP with a layout: the cell of each state and the step of each action.  Values of states are heat
maps, values of states and actions are cells cut into one wedge an action on the side it points to, and policies are
arrows whose length is the probability.  No display is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from numpy.typing import ArrayLike

from occmatch import checks
from occmatch.mdp import MDP, Layout
from occmatch.occupancy import policy, visits
from occmatch.plots_geometry import plot_polytope, plot_saddle

__all__ = [
    "plot_convergence",
    "plot_cost",
    "plot_occupancy",
    "plot_pairs",
    "plot_policy",
    "plot_polytope",
    "plot_saddle",
    "plot_values",
]


def plot_values(
    mdp: MDP,
    V: ArrayLike,
    ax: Axes | None = None,
    *,
    label: str = "V",
    cmap: str = "viridis",
    norm: Normalize | None = None,
) -> Axes:
    """Heat map of a number for each state, `V` [S]; cells without a state stay empty.

    `norm` is matplotlib's scale of the colours, to give several pictures the same one.
    """
    layout, V = _layout(mdp), checks.state_vector(mdp, V)
    cells = layout.cells
    shown = (cells >= 0).all(axis=1)
    picture = np.full(cells.max(axis=0) + 1, np.nan)
    picture[tuple(cells[shown].T)] = V[shown]
    ax = _axes(ax)
    image = ax.imshow(picture, cmap=cmap, interpolation="nearest", norm=norm)
    return _finish(ax, image, label)


def plot_occupancy(mdp: MDP, rho: ArrayLike, ax: Axes | None = None, *, norm: Normalize | None = None) -> Axes:
    """Heat map of the visits d(s) = sum_a rho(s, a), with arrows for pi_rho in visited states; `rho` [S, A].

    Visits often differ by orders of magnitude: `norm=LogNorm(...)` of matplotlib shows them all.
    """
    rho = checks.measure(mdp, rho)
    ax = plot_values(mdp, visits(rho), ax, label="visits d(s)", cmap="magma", norm=norm)
    return _arrows(mdp, policy(rho) * (visits(rho) > 0.0)[:, None], ax, colour="white")


def plot_policy(mdp: MDP, pi: ArrayLike, ax: Axes | None = None, *, colour: str = "black") -> Axes:
    """One arrow for each state and action with pi(a|s) > 0, its length the probability; `pi` [S, A]."""
    layout, pi = _layout(mdp), checks.policy(mdp, pi)
    ax = _axes(ax)
    if not ax.has_data():  # on a heat map the cells are there already, and its row axis points down
        rows, columns = layout.cells.max(axis=0)
        ax.set(xlim=(-0.5, columns + 0.5), ylim=(rows + 0.5, -0.5), aspect="equal", xticks=[], yticks=[])
        ax.vlines(np.arange(columns) + 0.5, -0.5, rows + 0.5, colors="0.85", lw=0.8)
        ax.hlines(np.arange(rows) + 0.5, -0.5, columns + 0.5, colors="0.85", lw=0.8)
    return _arrows(mdp, pi, ax, colour)


def plot_cost(
    mdp: MDP, cost: ArrayLike, ax: Axes | None = None, *, label: str = "c(s, a)", cmap: str = "coolwarm"
) -> Axes:
    """Each cell cut into one wedge an action, coloured by c(s, a), colours centred on 0; `cost` [S, A].

    The wedge of an action is the triangle on the side that it points to, for one that stays a square in the middle.
    """
    layout, cost = _layout(mdp), checks.cost(mdp, cost)
    wedges, colours = [], []
    # Squares last, on top of the triangles.
    order = sorted(range(mdp.A), key=lambda a: not layout.moves[a].any())
    for a in order:
        for (row, column), c in zip(layout.cells, cost[:, a], strict=True):
            if row >= 0:
                wedges.append(_wedge(row, column, layout.moves[a]))
                colours.append(c)
    limit = max(float(np.abs(cost).max()), np.finfo(np.float64).tiny)
    ax = _axes(ax)
    shapes = PolyCollection(wedges, array=np.array(colours), cmap=cmap, clim=(-limit, limit), edgecolors="face")
    ax.add_collection(shapes)
    rows, columns = layout.cells.max(axis=0)
    ax.set(xlim=(-0.5, columns + 0.5), ylim=(rows + 0.5, -0.5), aspect="equal")
    return _finish(ax, shapes, label)


def plot_pairs(
    mdp: MDP, x: ArrayLike, ax: Axes | None = None, *, label: str = "rho(s, a)", cmap: str = "cividis"
) -> Axes:
    """A number for each pair as a table, a row a state and a column an action, written and coloured; `x` [S, A]."""
    x = checks.cost(mdp, x, "x")
    ax = _axes(ax)
    image = ax.imshow(x, cmap=cmap, aspect="auto")
    for (s, a), value in np.ndenumerate(x):
        luminance = np.dot(image.cmap(image.norm(value))[:3], (0.299, 0.587, 0.114))  # ITU-R BT.601
        ax.text(a, s, f"{value:.3g}", ha="center", va="center", color="black" if luminance > 0.5 else "white")
    _finish(ax, image, label)
    ax.set(xlabel="action", ylabel="state", xticks=range(mdp.A), yticks=range(mdp.S))
    return ax


def plot_convergence(curves: Mapping[str, Sequence[float]], ax: Axes | None = None, *, label: str = "gap") -> Axes:
    """Positive numbers (gaps, residuals) by iteration on a logarithmic scale, one line for each named sequence.

    Zeros, which a logarithm cannot show, are drawn as a gap in the line. Raises ValueError for no mapping.
    """
    if not isinstance(curves, Mapping):
        raise ValueError(f"curves must be a mapping of names to sequences, but is {type(curves).__name__}")
    ax = _axes(ax)
    for name, sequence in curves.items():
        values = checks.nonnegative(checks.real_array(sequence, f"curves[{name!r}]"), f"curves[{name!r}]")
        ax.plot(np.where(values > 0.0, values, np.nan), label=name, marker=".")
    ax.set(yscale="log", xlabel="iteration", ylabel=label)
    ax.grid(alpha=0.3)
    if curves:
        ax.legend()
    return ax


def _arrows(mdp: MDP, weights: np.ndarray, ax: Axes, colour: str) -> Axes:
    layout = _layout(mdp)
    cells, moves = layout.cells, layout.moves
    s, a = np.nonzero((weights > 0.0) & (cells[:, :1] >= 0) & (moves != 0).any(axis=1))
    length = 0.45 * weights[s, a] / np.linalg.norm(moves[a], axis=1)
    ax.quiver(
        cells[s, 1],
        cells[s, 0],
        length * moves[a, 1],
        length * moves[a, 0],
        angles="xy",
        scale_units="xy",
        scale=1.0,
        color=colour,
        width=0.03,
        units="xy",
        headwidth=4.0,
        headlength=4.0,
        headaxislength=3.5,
        edgecolor="black",
        linewidth=0.4 if colour != "black" else 0.0,  # light arrows must show on light cells too
    )
    return ax


def _wedge(row: int, column: int, move: np.ndarray) -> list[tuple[float, float]]:
    """Corners (x, y) of the part of a cell that belongs to a move."""
    if not move.any():
        half = 0.15
        return [(column + dx, row + dy) for dx, dy in ((-half, -half), (half, -half), (half, half), (-half, half))]
    dy, dx = 0.5 * move / np.abs(move).sum()
    # The side that the move points to runs across it, from corner to corner.
    return [(column, row), (column + dx - dy, row + dy + dx), (column + dx + dy, row + dy - dx)]


def _layout(mdp: MDP) -> Layout:
    if mdp.layout is None:
        raise ValueError("mdp must have a layout, the cell of each state and the step of each action, but has none")
    return mdp.layout


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots()[1] if ax is None else ax


def _finish(ax: Axes, mappable: object, label: str) -> Axes:
    ax.set(xticks=[], yticks=[])
    ax.figure.colorbar(mappable, ax=ax, label=label)
    return ax

"""Plots show the numbers that they are given, on the axes that they return, without a display."""

import re
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.quiver import Quiver

from occmatch import MDP, Layout, examples, occupancy, plots

GRID = examples.gridworld(3, 4, start=0)
UNIFORM = np.full(GRID.shape, 0.25)


@pytest.fixture(autouse=True)
def close_figures():
    mpl.use("Agg")
    yield
    plt.close("all")


def only(ax, kind):
    (found,) = [child for child in ax.get_children() if isinstance(child, kind)]
    return found


def test_values_lie_in_their_cells():
    V = np.arange(12.0)
    ax = plots.plot_values(GRID, V)
    assert (ax.images[0].get_array() == V.reshape(3, 4)).all()


def test_states_off_the_grid_are_left_out():
    mdp = MDP(np.full((2, 1, 2), 0.5), [1.0, 0.0], 0.9, Layout(((0, 1), (-1, -1)), ((0, 0),)))
    picture = plots.plot_values(mdp, [7.0, 8.0]).images[0].get_array()
    assert np.ma.filled(picture, -1.0).tolist() == [[-1.0, 7.0]]


def test_policy_arrows_point_where_actions_lead_and_are_as_long_as_likely():
    pi = np.zeros(GRID.shape)
    pi[:, 1], pi[:, 2] = 0.75, 0.25
    arrows = only(plots.plot_policy(GRID, pi), Quiver)
    assert arrows.N == 2 * GRID.S
    right, down = arrows.U > 0, arrows.V > 0  # the row axis points down
    assert right.sum() == down.sum() == GRID.S
    np.testing.assert_allclose(arrows.U[right] / arrows.V[down], 3.0, rtol=1e-12)
    first = (arrows.X == 0) & (arrows.Y == 0)
    assert first.sum() == 2


def test_occupancy_shows_visits_and_no_arrows_where_nobody_goes():
    grid = examples.gridworld(3, 4, slip=0.0, start=0)
    right = np.tile(np.eye(4)[1], (12, 1))
    rho = occupancy(grid, right)
    ax = plots.plot_occupancy(grid, rho)
    assert (ax.images[0].get_array() == rho.sum(axis=1).reshape(3, 4)).all()
    arrows = only(ax, Quiver)
    assert sorted(arrows.X) == [0, 1, 2, 3]
    assert (arrows.Y == 0).all()


def test_cost_wedges_hold_the_cost_of_the_side_that_they_touch():
    cost = np.random.default_rng(0).normal(size=GRID.shape)
    wedges = only(plots.plot_cost(GRID, cost), PolyCollection)
    colours = np.asarray(wedges.get_array())
    centres = np.array([path.vertices[:-1].mean(axis=0) for path in wedges.get_paths()])
    assert len(colours) == cost.size
    for s, (row, column) in enumerate(GRID.layout.cells):
        for a, (dr, dc) in enumerate(GRID.layout.moves):
            where = np.array([column + dc / 3, row + dr / 3])  # centre of mass of the triangle on that side
            nearest = np.abs(centres - where).sum(axis=1).argmin()
            assert np.abs(centres[nearest] - where).max() < 1e-12
            assert colours[nearest] == cost[s, a]
    limits = wedges.get_clim()
    assert limits[0] == -limits[1] == -np.abs(cost).max()


def test_an_action_that_stays_is_drawn_in_the_middle():
    mdp = MDP(np.ones((1, 2, 1)), [1.0], 0.9, Layout(((0, 0),), ((0, 0), (1, 1))))
    wedges = only(plots.plot_cost(mdp, [[1.0, 2.0]]), PolyCollection)
    assert np.asarray(wedges.get_array()).tolist() == [2.0, 1.0], "the square is drawn last, on top"
    square = wedges.get_paths()[1].vertices[:-1]
    assert np.abs(square.mean(axis=0)).max() < 1e-12
    assert np.abs(wedges.get_paths()[0].vertices).max() <= 0.5, "a wedge stays inside its cell"


def test_convergence_is_logarithmic_and_names_its_lines():
    ax = plots.plot_convergence({"newton": [1.0, 1e-3, 0.0], "ascent": [1.0, 0.5, 0.25]}, label="dual gap")
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "dual gap"
    newton, ascent = ax.lines
    assert newton.get_label() == "newton"
    assert np.isnan(newton.get_ydata()[2])
    assert ascent.get_ydata().tolist() == [1.0, 0.5, 0.25]


def test_given_axes_are_drawn_on():
    _, axes = plt.subplots(1, 5)
    rho = occupancy(GRID, UNIFORM)
    assert plots.plot_values(GRID, rho.sum(axis=1), axes[0]) is axes[0]
    assert plots.plot_occupancy(GRID, rho, axes[1]) is axes[1]
    assert plots.plot_policy(GRID, UNIFORM, axes[2]) is axes[2]
    assert plots.plot_cost(GRID, rho, axes[3]) is axes[3]
    assert plots.plot_convergence({}, axes[4]) is axes[4]
    axes[0].figure.canvas.draw()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.plot_values(examples.puterman(), [0, 0]), "mdp must have a layout"),
        (lambda: plots.plot_values(GRID, np.zeros(3)), "V must have shape (12,), but has shape (3,)"),
        (lambda: plots.plot_policy(GRID, 2 * UNIFORM), "pi[0] must be a probability distribution"),
        (lambda: plots.plot_cost(GRID, np.full(GRID.shape, np.inf)), "cost[0, 0] must be finite, but is inf"),
        (lambda: plots.plot_occupancy(GRID, -UNIFORM), "rho[0, 0] must be at least 0, but is -0.25"),
        (lambda: plots.plot_convergence({"gap": [1.0, -1.0]}), "curves['gap'][1] must be at least 0, but is -1"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_importing_the_package_loads_no_heavy_library_and_names_resolve():
    program = """
import sys
import occmatch
heavy = {"cvxpy", "torch", "matplotlib", "networkx", "flint", "gymnasium"} & set(sys.modules)
assert not heavy, heavy
import occmatch.occupancy
assert callable(occmatch.occupancy) and callable(occmatch.rl)
missing = [name for name in occmatch.__all__ if not hasattr(occmatch, name)]
assert not missing, missing
from occmatch.irl import irl
assert occmatch.irl is irl
"""
    subprocess.run([sys.executable, "-c", program], check=True)

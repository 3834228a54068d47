"""Plots show the numbers that they are given, on the axes that they return, without a display."""

import re
import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.quiver import Quiver

from occmatch import LOSSES, MDP, Layout, causal_entropy, examples, irl, match, occupancy, plots, rl
from occmatch.candidate import Infeasible
from occmatch.regularisers import Constant, Surrogate

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


def test_policy_on_empty_axes_has_the_rows_from_the_top_and_leaves_those_of_a_heat_map_alone():
    alone = plt.subplots()[1]
    plots.plot_policy(GRID, UNIFORM, alone)
    map_ = plots.plot_values(GRID, np.zeros(12))
    limits = map_.get_xlim(), map_.get_ylim()
    plots.plot_policy(GRID, UNIFORM, map_)
    assert (alone.get_xlim(), alone.get_ylim()) == ((-0.5, 3.5), (2.5, -0.5)) == limits
    assert (map_.get_xlim(), map_.get_ylim()) == limits


def test_several_pictures_can_share_one_scale():
    norm = LogNorm(1e-3, 10.0)
    rho = occupancy(GRID, UNIFORM)
    assert plots.plot_occupancy(GRID, rho, norm=norm).images[0].norm is norm
    assert plots.plot_values(GRID, rho.sum(axis=1), norm=norm).images[0].norm is norm


def test_pairs_are_written_where_they_belong_and_can_be_read():
    x = np.array([[1.5, 0.0], [-2.0, 0.25]])
    ax = plots.plot_pairs(examples.two_state_chain(), x, label="x")
    assert (ax.images[0].get_array() == x).all()
    assert {text.get_position(): text.get_text() for text in ax.texts} == {
        (0, 0): "1.5",
        (1, 0): "0",
        (0, 1): "-2",
        (1, 1): "0.25",
    }
    colours = {text.get_text(): text.get_color() for text in ax.texts}
    assert (colours["-2"], colours["1.5"]) == ("white", "black"), "the least is dark, the largest light"


def test_the_shadow_of_the_polytope_holds_every_measure_and_its_corners_are_deterministic_policies():
    mdp, rng = examples.two_state_chain(0.2), np.random.default_rng(1)
    ax = plots.plot_polytope(mdp, (0, 1), (1, 1))
    outline = ax.patches[0].get_path()
    for pi in rng.dirichlet([0.5, 0.5], size=(50, 2)):
        assert outline.contains_point(occupancy(mdp, pi)[:, 1])
    assert not outline.contains_point([1.0, 9.0])
    moves = {tuple(np.round(point, 9)) for point in ax.lines[0].get_xydata()}
    # By hand: never leaving 0; leaving it for good, a geometric wait; there and back for ever.
    gamma, p = 0.9, 0.8
    wait = 1 / (1 - gamma * (1 - p))
    to = gamma * p * wait
    both = wait / (1 - to**2)
    assert moves == {(0.0, 0.0), (round(wait, 9), 0.0), (round(both, 9), round(both * to, 9))}


def saddle():
    """Surface, t and u of the picture of a saddle, and what it was drawn from."""
    mdp = examples.gridworld(2, 3, slip=0.2, gamma=0.8)
    rho_E = occupancy(mdp, rl(mdp, examples.gridworld_cost(mdp), 0.5).pi)
    psi = Surrogate(LOSSES["logistic"], rho_E)
    found = match(mdp, rho_E, psi, 0.5)
    pi, cost = np.full(mdp.shape, 0.25), found.cost - np.linspace(0.0, 1.0, 24).reshape(6, 4)
    ax = plots.plot_saddle(mdp, rho_E, psi, found, pi, cost, points=9)
    mesh = only(ax, QuadMesh)
    return ax, np.ma.filled(mesh.get_array(), np.nan), (mdp, rho_E, psi, found, pi, cost)


SADDLE_ROUNDING = 1e-9  # values of size 10 at a candidate whose gradient vanishes up to the root of rounding


def test_the_saddle_rises_with_the_policy_and_falls_with_the_cost():
    ax, surface, (mdp, rho_E, psi, found, pi, cost) = saddle()
    middle, across = surface[4], surface[:, 4]
    assert middle[4] == 0.0
    assert np.nanmin(middle) >= -SADDLE_ROUNDING and middle[-1] > 0.01
    assert np.nanmax(across) <= SADDLE_ROUNDING and across[-1] < -0.01
    # One entry from the definition, by plain sums.
    rho = 0.5 * found.rho + 0.5 * occupancy(mdp, pi)
    c = 0.5 * (found.cost + cost)
    by_hand = [
        -found.lam * causal_entropy(r) + ((r - rho_E) * k).sum() - psi.value(k)
        for r, k in ((rho, c), (found.rho, found.cost))
    ]
    np.testing.assert_allclose(surface[6, 6], by_hand[0] - by_hand[1], atol=SADDLE_ROUNDING)
    assert (ax.get_xlim()[1], ax.get_ylim()[1]) == (1.0, 1.0)


def test_a_saddle_is_blank_where_there_is_no_measure():
    mdp = examples.two_state_chain(0.2)
    pi = np.array([[0.9, 0.1], [0.5, 0.5]])
    rho_E = occupancy(mdp, pi)
    found = irl(mdp, rho_E, Constant(), method="newton")
    ax = plots.plot_saddle(mdp, rho_E, Constant(), found, np.array([[0.0, 1.0], [0.5, 0.5]]), found.cost + 1.0)
    surface = np.ma.filled(only(ax, QuadMesh).get_array(), np.nan)
    assert np.isnan(surface[:, 0]).all() and np.isfinite(surface[:, 30:]).all()
    assert -1.0 < ax.get_xlim()[0] < 0.0 and ax.get_ylim() == (-1.0, 1.0)


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
    _, axes = plt.subplots(1, 7)
    rho = occupancy(GRID, UNIFORM)
    assert plots.plot_values(GRID, rho.sum(axis=1), axes[0]) is axes[0]
    assert plots.plot_occupancy(GRID, rho, axes[1]) is axes[1]
    assert plots.plot_policy(GRID, UNIFORM, axes[2]) is axes[2]
    assert plots.plot_cost(GRID, rho, axes[3]) is axes[3]
    assert plots.plot_convergence({}, axes[4]) is axes[4]
    assert plots.plot_pairs(GRID, rho, axes[5]) is axes[5]
    assert plots.plot_polytope(examples.two_state_chain(), (0, 1), (1, 1), axes[6]) is axes[6]
    axes[0].figure.canvas.draw()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.plot_values(examples.puterman(), [0, 0]), "mdp must have a layout"),
        (lambda: plots.plot_values(GRID, np.zeros(3)), "V must have shape (12,), but has shape (3,)"),
        (lambda: plots.plot_policy(GRID, 2 * UNIFORM), "pi[0] must be a probability distribution"),
        (lambda: plots.plot_cost(GRID, np.full(GRID.shape, np.inf)), "cost[0, 0] must be finite, but is inf"),
        (lambda: plots.plot_occupancy(GRID, -UNIFORM), "rho[0, 0] must be at least 0, but is -0.25"),
        (lambda: plots.plot_pairs(GRID, np.zeros((2, 2))), "x must have shape (12, 4), but has shape (2, 2)"),
        (
            lambda: plots.plot_polytope(examples.two_state_chain(), (0, 2), (1, 1)),
            "x must be a state and an action of the MDP (2, 2), but is (0, 2)",
        ),
        (
            lambda: plots.plot_polytope(examples.two_state_chain(), (0, 1), 3),
            "y must be integers of shape (2,), but is int64 of shape ()",
        ),
        (
            lambda: plots.plot_polytope(examples.two_state_chain(), (0.5, 1), (1, 1)),
            "x must be integers of shape (2,), but is float64 of shape (2,)",
        ),
        (
            lambda: plots.plot_polytope(examples.two_state_chain(), (0, 1, 1), (1, 1)),
            "x must be a state and an action of the MDP (2, 2), but is (0, 1, 1)",
        ),
        (
            lambda: plots.plot_polytope(GRID, (0, 1), (1, 1)),
            "mdp must have at most 5000 deterministic policies, but has 4^12",
        ),
        (
            lambda: plots.plot_polytope(examples.two_state_chain(), (0, 1), (0, 1)),
            "x and y must be pairs that vary independently, but (0, 1) and (0, 1) leave a shadow of no area",
        ),
        (lambda: plots.plot_convergence([1.0, 0.5]), "curves must be a mapping of names to sequences, but is list"),
        (lambda: plots.plot_convergence({"gap": [1.0, -1.0]}), "curves['gap'][1] must be at least 0, but is -1"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_a_saddle_is_drawn_of_candidates_with_a_cost_alone():
    _, _, (mdp, rho_E, psi, found, pi, cost) = saddle()
    failed = Infeasible("none")
    for wrong, said in ((replace(found, cost=None), "one without"), (failed, "Infeasible")):
        with pytest.raises(ValueError, match=f"found must be a Candidate with a cost, but is {said}"):
            plots.plot_saddle(mdp, rho_E, psi, wrong, pi, cost)
    with pytest.raises(ValueError, match="psi must be a Regulariser, but is str"):
        plots.plot_saddle(mdp, rho_E, "psi", found, pi, cost)
    with pytest.raises(ValueError, match=re.escape("found.rho must have shape (2, 2), but has shape (6, 4)")):
        plots.plot_saddle(examples.puterman(), rho_E[:2, :2], psi, found, pi, cost)


def test_importing_the_package_loads_no_heavy_library_and_names_resolve():
    program = """
import sys
from dataclasses import replace
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

"""Hypothesis strategies of finite MDPs and of what lives on them; `test_strategies` shows that the corners are reached.

What shrinks is the structure (sizes, kinds, gamma), drawn entry by entry; the numbers inside come from one seed, since
shrinking a kernel entry by entry says nothing and takes long. The corners are named and not left to chance: one state,
one action, gamma 0 and 0.99, deterministic rows, identical actions, states that absorb or that nothing reaches, zeros
in p0, policies with zeros, costs with ties and zeros.

    @examples(30)
    @given(instances(), st.data())
    def test_...(check, instance, data): ...
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from occmatch import MDP, occupancy

Array = np.ndarray

GAMMAS = st.sampled_from([0.0, 0.5, 0.9, 0.99]) | st.floats(0.05, 0.95)
"""Discounts, with the corners named; at 0.99 linear solves lose two digits, which tolerances have to allow."""

ROWS = ("dense", "sparse", "deterministic", "tied", "mixed")
"""How rows of the kernel look; "tied": the actions of a state lead to the same distribution."""

STARTS = ("uniform", "random", "point")
POLICIES = ("interior", "deterministic", "sparse")
COSTS = ("normal", "tied", "state", "one", "zero")

LEAST = 0.1
"""Interior policies and starts are at least LEAST / n in each of n entries, so that logs and ratios stay moderate."""


class Instance(NamedTuple):
    """An MDP, an expert's policy [S, A] and its occupancy measure [S, A]."""

    mdp: MDP
    pi_E: Array
    rho_E: Array


def examples(count: int) -> settings:
    """Decorator: `count` examples under the profile `default`, 100 times as many under `deep`."""
    scaled = max(1, count * settings.default.max_examples // 100)
    return settings(max_examples=scaled, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rngs() -> SearchStrategy[np.random.Generator]:
    """A generator for bulk numbers; the seed is what is reported and shrunk."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def mdps(
    draw: st.DrawFn,
    max_states: int = 6,
    max_actions: int = 3,
    gammas: SearchStrategy[float] = GAMMAS,
    reachable: bool = False,
    least: int = 1,
) -> MDP:
    """Finite MDPs; with `reachable`, p0 is positive everywhere, so that every policy visits every state.

    `least` states and actions: 2 where few examples are drawn, of which none should be trivial.
    """
    S, A = draw(st.integers(least, max_states)), draw(st.integers(least, max_actions))
    gamma = draw(gammas)
    rows, start = draw(st.sampled_from(ROWS)), draw(st.sampled_from(STARTS))
    absorbing, unreached = draw(st.booleans()), draw(st.booleans())
    rng = draw(rngs())
    P = _kernel(rows, S, A, rng)
    p0 = {"uniform": np.ones(S), "random": rng.dirichlet(np.ones(S)), "point": np.eye(S)[rng.integers(S)]}[start]
    if absorbing:
        s = rng.integers(S)
        P[s] = np.eye(S)[s]
    if unreached and S > 1:
        s = rng.integers(S)
        others = np.arange(S) != s
        to = (s + 1) % S
        P[others, :, to] += P[others, :, s]  # what led there leads to its neighbour instead
        P[others, :, s] = 0.0
        p0[to] += p0[s]
        p0[s] = 0.0
    if reachable:
        p0 = _inside(p0 / p0.sum())
    return MDP(P / P.sum(axis=2, keepdims=True), p0 / p0.sum(), gamma)


@st.composite
def policies(draw: st.DrawFn, mdp: MDP, kind: str = "any") -> Array:
    """Policies [S, A] of a kind: "interior" (every entry positive), "deterministic", "sparse" (zeros in some rows)."""
    kind = draw(st.sampled_from(POLICIES)) if kind == "any" else kind
    if kind not in POLICIES:
        raise ValueError(f"kind must be 'any' or one of {', '.join(POLICIES)}, but is {kind!r}")
    rng = draw(rngs())
    S, A = mdp.shape
    if kind == "deterministic":
        return np.eye(A)[rng.integers(A, size=S)]
    weights = _inside(rng.dirichlet(np.ones(A), size=S))
    if kind == "sparse":
        kept = rng.random((S, A)) < 0.5
        kept[np.arange(S), rng.integers(A, size=S)] = True
        weights = np.where(kept, weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


@st.composite
def measures(draw: st.DrawFn, mdp: MDP, kind: str = "any") -> Array:
    """Occupancy measures [S, A] in D: of one policy of a kind, or the mean of two."""
    rho = occupancy(mdp, draw(policies(mdp, kind)))
    return 0.5 * (rho + occupancy(mdp, draw(policies(mdp, kind)))) if draw(st.booleans()) else rho


@st.composite
def costs(draw: st.DrawFn, mdp: MDP, scale: float = 1.0) -> Array:
    """Costs [S, A] of about `scale`: normal; ties in {-1, 0, 1}; of the state alone; one entry; zero."""
    kind, rng = draw(st.sampled_from(COSTS)), draw(rngs())
    S, A = mdp.shape
    if kind == "normal":
        return scale * rng.normal(size=(S, A))
    if kind == "tied":
        return scale * rng.integers(-1, 2, size=(S, A)).astype(float)
    if kind == "state":
        return scale * np.repeat(rng.normal(size=(S, 1)), A, axis=1)
    cost = np.zeros((S, A))
    if kind == "one":
        cost[rng.integers(S), rng.integers(A)] = scale
    return cost


@st.composite
def instances(
    draw: st.DrawFn,
    max_states: int = 6,
    max_actions: int = 3,
    gammas: SearchStrategy[float] = GAMMAS,
    kind: str = "any",
    least: int = 1,
) -> Instance:
    """An MDP with an expert whose policy is of a kind; rho_E has zeros in unreached states and unused actions."""
    mdp = draw(mdps(max_states, max_actions, gammas, least=least))
    pi_E = draw(policies(mdp, kind))
    return Instance(mdp, pi_E, occupancy(mdp, pi_E))


@st.composite
def positive_instances(
    draw: st.DrawFn,
    max_states: int = 6,
    max_actions: int = 3,
    gammas: SearchStrategy[float] = GAMMAS,
    least: int = 1,
) -> Instance:
    """An MDP with an expert whose rho_E is positive everywhere."""
    mdp = draw(mdps(max_states, max_actions, gammas, reachable=True, least=least))
    pi_E = draw(policies(mdp, "interior"))
    return Instance(mdp, pi_E, occupancy(mdp, pi_E))


def _kernel(rows: str, S: int, A: int, rng: np.random.Generator) -> Array:
    """[S, A, S] with rows of a kind."""
    dense = rng.dirichlet(np.ones(S), size=(S, A))
    certain = np.eye(S)[rng.integers(S, size=(S, A))]
    share = rng.random((S, A, 1))
    sparse = share * certain + (1.0 - share) * np.eye(S)[rng.integers(S, size=(S, A))]
    if rows == "tied":
        return np.repeat(sparse[:, :1], A, axis=1)
    if rows == "mixed":
        pick = rng.integers(3, size=(S, A, 1))
        return np.choose(pick, [dense, sparse, certain])
    return {"dense": dense, "sparse": sparse, "deterministic": certain}[rows]


def _inside(weights: Array) -> Array:
    """Distributions moved off the boundary: at least LEAST / n in each of n entries."""
    return (1.0 - LEAST) * weights + LEAST / weights.shape[-1]

"""MDPs that reach the corners: one state, one action, gamma 0 and near 1, unreachable and absorbing states, ties."""

import numpy as np

from occmatch import MDP, examples


def corner_mdps() -> dict[str, MDP]:
    rng = np.random.default_rng(0)
    unreachable = np.array([[[1.0, 0.0, 0.0]] * 2, [[1.0, 0.0, 0.0]] * 2, [[0.0, 0.5, 0.5]] * 2])
    return {
        "one state": MDP(np.ones((1, 3, 1)), [1.0], 0.9),
        "one action": examples.garnet(5, 1, 2, 0.9, rng),
        "gamma 0": examples.garnet(6, 3, 2, 0.0, rng),
        "gamma 0.9999": examples.garnet(6, 3, 2, 0.9999, rng),
        "unreachable states": MDP(unreachable, [0.5, 0.5, 0.0], 0.8),
        "chain": examples.two_state_chain(),
        "deterministic grid": examples.gridworld(4, slip=0.0, gamma=0.9, start=0),
        "slippery grid": examples.gridworld(3, 5, slip=0.3, gamma=0.95),
        "absorbing end": examples.finite_horizon(examples.river_swim(4), 3),
        "garnet": examples.garnet(20, 4, 3, 0.95, rng),
    }


def random_policy(mdp: MDP, rng: np.random.Generator, concentration: float = 1.0) -> np.ndarray:
    return rng.dirichlet(np.full(mdp.A, concentration), size=mdp.S)


def deterministic_policy(mdp: MDP, rng: np.random.Generator) -> np.ndarray:
    return np.eye(mdp.A)[rng.integers(mdp.A, size=mdp.S)]

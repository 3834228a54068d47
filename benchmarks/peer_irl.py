"""The peers of peers_irl.py: tabular IRL of HumanCompatibleAI/imitation and of qzed/irl-maxent, control by QuantEcon.

    PEER/bin/python benchmarks/peer_irl.py problem.npz imitation

Runs in an environment of its own, because imitation needs older packages than this project; imports nothing from it.
Prints one line of JSON: seconds, iterations, and the state reward that it stops at. Everything but the
problem, the discount and the number of steps is the peer's default.
"""

import argparse
import json
import time
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np


def imitation(problem: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Adam on the linear state reward, and the update direction at `probe`."""
    import torch
    from imitation.algorithms.mce_irl import MCEIRL, mce_occupancy_measures
    from imitation.rewards.reward_nets import RewardNet
    from seals.base_envs import TabularModelPOMDP

    class StateReward(RewardNet):
        def __init__(self, env: TabularModelPOMDP, S: int) -> None:
            super().__init__(env.observation_space, env.action_space)
            self.w = torch.nn.Parameter(torch.zeros(S, dtype=torch.float64))

        def forward(self, state: torch.Tensor, *_: object) -> torch.Tensor:
            return state @ self.w

        @property
        def dtype(self) -> torch.dtype:
            return torch.float64

    torch.set_num_threads(1)
    P, S, gamma = problem["P"], len(problem["p0"]), float(problem["gamma"])
    env = TabularModelPOMDP(
        transition_matrix=P,
        observation_matrix=np.eye(S),
        reward_matrix=np.zeros(S),
        horizon=int(problem["horizon"]),
        initial_state_dist=problem["p0"],
    )
    net, steps = StateReward(env, S), int(problem["steps"])
    demo = problem["demo"]
    irl = MCEIRL(
        demo, env, net, np.random.default_rng(0), discount=gamma, linf_eps=0.0, grad_l2_eps=0.0, log_interval=None
    )
    start = time.perf_counter()
    irl.train(max_iter=steps)
    seconds = time.perf_counter() - start
    _, visits = mce_occupancy_measures(env, reward=problem["probe"], discount=gamma)
    update = (demo - visits).tolist()
    return {"seconds": seconds, "iterations": steps, "reward": net.w.detach().tolist(), "update": update}


def irl_maxent(problem: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Exponentiated gradient on the state reward, from sampled trajectories, as its example does."""
    from irl_maxent import maxent, optimizer, trajectory

    np.__dict__.setdefault("float", float)  # the release uses this name, which NumPy has dropped
    goal, S = int(problem["goal"]), len(problem["p0"])
    sampled = []
    for states, actions in zip(problem["states"], problem["actions"], strict=True):
        end = int(np.argmax(states == goal))
        steps = [(int(states[t]), int(actions[t]), int(states[t + 1])) for t in range(end)]
        sampled += [trajectory.Trajectory(steps)] if steps else []
    optim = optimizer.ExpSga(lr=optimizer.linear_decay(lr0=0.2))
    kernel = np.ascontiguousarray(problem["P"].transpose(0, 2, 1))
    start = time.perf_counter()
    reward = maxent.irl_causal(
        kernel, np.eye(S), [goal], sampled, optim, optimizer.Constant(1.0), float(problem["gamma"])
    )
    return {"seconds": time.perf_counter() - start, "iterations": int(optim.k), "reward": np.asarray(reward).tolist()}


def quantecon(problem: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Howard's policy iteration of DiscreteDP on the cost, once to compile and once to measure."""
    from quantecon.markov import DiscreteDP

    for _ in range(2):
        start = time.perf_counter()
        found = DiscreteDP(-problem["cost"], problem["P"], float(problem["gamma"])).solve("policy_iteration")
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "iterations": int(found.num_iter), "V": (-found.v).tolist()}


PEERS = {"imitation": imitation, "irl_maxent": irl_maxent, "quantecon": quantecon}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", help="npz that peers_irl.py wrote")
    parser.add_argument("package", choices=PEERS, help="the peer")
    arguments = parser.parse_args()
    with np.load(arguments.problem, allow_pickle=False) as file:
        problem = dict(file)
    try:
        row = PEERS[arguments.package](problem) | {"version": version(arguments.package)}
    except ImportError as error:
        row = {"missing": f"not installed ({error})"}
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

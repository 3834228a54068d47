"""Between tables and samples: policies of finite MDPs as arrays, and demonstrations of them.

A task of envs.register_table observes its state one-hot, so that a policy net is a table pi [S, A], one row an
observation, and a sample of pairs is a measure on states and actions. With no hidden units (learner.hidden = ())
the nets are the tables themselves: the tabular softmax policy, and a value for every state.
"""

from collections.abc import Callable

import numpy as np
import torch

from deep import demos, envs
from deep.demos import Demos
from deep.nets import Policy

AT_ONCE = 256  # simulators that sample demonstrations together


@torch.no_grad()
def policy_table(policy: Policy) -> np.ndarray:
    """pi [S, A], float64: the action probabilities of a categorical policy at every one-hot observation."""
    states = np.eye(len(policy.normaliser.mean))
    pi = policy(policy.normaliser(states)).logp.double().exp().numpy()
    return pi / pi.sum(1, keepdims=True)


def acting(pi: np.ndarray) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """A policy pi [S, A] as a function of one-hot observations [E, S] and a generator, for demos.sample_episodes."""
    pi = np.asarray(pi, dtype=np.float64)
    if pi.ndim != 2:
        raise ValueError(f"pi must have shape [S, A], but has {pi.shape}")
    wrong = ~((pi.min(1) >= 0) & (np.abs(pi.sum(1) - 1) <= 1e-9))  # rounding of a row that was normalised
    if wrong.any():
        s = int(np.argmax(wrong))
        raise ValueError(
            f"pi[{s}] must be a probability distribution, but has least entry {pi[s].min():g} and sum {pi[s].sum():g}"
        )
    ends = np.cumsum(pi, axis=1)
    ends[:, -1] = 1.0
    # An action of probability zero is never drawn: its end equals the one before it, or is behind the last.
    ends[ends >= 1.0 - 1e-15] = 1.0

    def act(obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return (rng.random(len(obs))[:, None] >= ends[obs.argmax(1)]).sum(1)

    return act


def demonstrations(env_id: str, pi: np.ndarray, episodes: int, seed: int) -> Demos:
    """Whole episodes of a policy pi [S, A] in a registered table; ValueError where pi is one of another table."""
    act = acting(pi)
    physics, acts = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    simulator = envs.make(env_id, max(1, min(episodes, AT_ONCE)), int(physics.integers(2**31)))
    expected = (simulator.spec.obs_dim, simulator.spec.act_dim)
    if np.shape(pi) != expected:
        raise ValueError(f"pi must have shape {expected} for {env_id}, but has {np.shape(pi)}")
    found = demos.sample_episodes(act, simulator, episodes, acts)
    simulator.close()
    return found


def frequencies(obs: np.ndarray, acts: np.ndarray, actions: int) -> np.ndarray:
    """Shares [S, A] of pairs with one-hot obs [N, S] and acts [N]: an estimate of (1 - gamma) rho."""
    S = obs.shape[1]
    counts = np.bincount(obs.argmax(1) * actions + acts, minlength=S * actions)
    return counts.reshape(S, actions) / len(acts)

"""The peer of throughput.py: GAIL of HumanCompatibleAI/imitation with the TRPO of sb3-contrib.

    PEER/bin/python benchmarks/peer_imitation.py --env Walker2d-v4 --pairs pairs.npz

Runs in an environment of its own, because imitation needs older packages than this project; imports nothing from it.
Everything that the command line does not set is the peer's default: networks, 2 discriminator updates a round, 10
value updates. Prints one line of JSON: environment steps a second of each round after the first, which warms up.
"""

import argparse
import json
import time
from importlib.metadata import version

import numpy as np
import torch
from imitation.algorithms.adversarial.gail import GAIL
from imitation.data.types import Transitions
from imitation.data.wrappers import RolloutInfoWrapper
from imitation.rewards.reward_nets import BasicRewardNet
from imitation.util.networks import RunningNorm
from imitation.util.util import make_vec_env
from sb3_contrib import TRPO

PACKAGES = ("imitation", "sb3-contrib", "stable-baselines3", "gymnasium", "mujoco", "numpy", "torch")


def expert(path: str) -> Transitions:
    """Expert pairs obs [N, O], acts [N, U] as the peer wants them.

    The default reward net reads neither successors nor ends, so that the observations may stand for the successors.
    """
    with np.load(path, allow_pickle=False) as file:
        obs, acts = file["obs"].astype(np.float64), file["acts"].astype(np.float32)
    n = len(obs)
    return Transitions(obs=obs, acts=acts, infos=np.array([{}] * n), next_obs=obs, dones=np.zeros(n, dtype=bool))


def rounds(arguments: argparse.Namespace) -> list[float]:
    """Environment steps a second of each timed round."""
    torch.set_num_threads(arguments.torch_threads)
    venv = make_vec_env(
        arguments.env,
        rng=np.random.default_rng(arguments.seed),
        n_envs=arguments.simulators,
        parallel=arguments.parallel,
        post_wrappers=[lambda env, _: RolloutInfoWrapper(env)],
    )
    pairs, steps = expert(arguments.pairs), -(-arguments.batch // arguments.simulators)
    trainer = GAIL(
        demonstrations=pairs,
        demo_batch_size=len(pairs),
        venv=venv,
        gen_algo=TRPO("MlpPolicy", venv, n_steps=steps, seed=arguments.seed),
        reward_net=BasicRewardNet(venv.observation_space, venv.action_space, normalize_input_layer=RunningNorm),
        allow_variable_horizon=True,
    )
    batch = steps * arguments.simulators
    ends: list[float] = []
    trainer.train(batch * (arguments.rounds + 1), callback=lambda _: ends.append(time.perf_counter()))
    venv.close()
    return [batch / float(seconds) for seconds in np.diff(ends)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", required=True, help="Gymnasium id of the task")
    parser.add_argument("--pairs", required=True, help="npz with the expert's obs [N, O] and acts [N, U]")
    parser.add_argument("--simulators", type=int, default=8, help="simulators (8 is the peer's default)")
    parser.add_argument("--parallel", action="store_true", help="a process for each simulator")
    parser.add_argument("--batch", type=int, default=2016, help="environment steps in a round, at least")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds")
    parser.add_argument("--seed", type=int, default=0, help="seed")
    parser.add_argument("--torch-threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    found = rounds(arguments)
    print(json.dumps({"steps_per_second": found, "versions": {name: version(name) for name in PACKAGES}}))


if __name__ == "__main__":
    main()

"""Simulators, the only part of the project that knows Gymnasium and MuJoCo.

base        what a simulator promises: EnvSpec, Step, Simulator, SimulatorFault
clock       time limits, staggered
tasks       what a native task consists of; planar holds Hopper, HalfCheetah, Walker2d
native      the tasks on MuJoCo's batched stepper
"""

from __future__ import annotations

from deep.envs.base import EnvSpec, Simulator, SimulatorFault, Step
from deep.envs.native import TASKS, NativeSimulator

__all__ = ["EnvSpec", "Simulator", "SimulatorFault", "Step", "make"]


def make(env_id: str, num: int, seed: int, threads: int = 0, stagger: bool = False) -> Simulator:
    """`num` simulators of a Gymnasium task, natively where there is a native path.

    All randomness comes from `seed`; `threads` = 0 uses every core and changes no bit of the results; `stagger`
    cuts the first episodes (by truncation) so that the simulators do not share one time index.
    """
    if env_id in TASKS:
        return NativeSimulator(env_id, num, seed, threads, stagger)
    raise ValueError(f"env_id must be one of {sorted(TASKS)}, but is {env_id!r}")

"""Simulators, the only part of the project that knows Gymnasium and MuJoCo.

base        what a simulator promises: EnvSpec, Step, Simulator, SimulatorFault
clock       time limits, staggered
saved       states as plain arrays
registry    which Gymnasium ids run here, as EnvSpec
quiet       notices about old tasks, silenced
tasks       what a native task consists of
planar, ant, humanoid, reacher  the tasks
pool        threads over mj_step, for tasks that observe contact forces
native      the tasks on MuJoCo's batched stepper
table       finite MDPs: P, p0, gamma, cost; table_env registers them, table_simulator steps them
gym_vector  any other Gymnasium id
poses       an episode of a MuJoCo task as geometry, for pictures
render      the same as pictures, without a display
"""

from __future__ import annotations

import dataclasses
from numbers import Integral

from deep.envs import registry
from deep.envs.base import EnvSpec, Simulator, SimulatorFault, Step
from deep.envs.gym_vector import GymSimulator
from deep.envs.native import TASKS, NativeSimulator
from deep.envs.poses import Poses, film
from deep.envs.table import Table
from deep.envs.table_env import TABLES, TableEnv, register_table
from deep.envs.table_simulator import TableSimulator

__all__ = [
    "EnvSpec",
    "Poses",
    "Simulator",
    "SimulatorFault",
    "Step",
    "Table",
    "TableEnv",
    "film",
    "make",
    "register_table",
    "spec",
]


def make(env_id: str, num: int, seed: int, threads: int = 0, stagger: bool = False) -> Simulator:
    """`num` simulators of a Gymnasium task, natively where there is a native path.

    All randomness comes from `seed`. `threads` is for native tasks: 0 uses every core, and no number of them
    changes a bit. `stagger` cuts the first episodes (by truncation), so that the simulators do not share one
    time index. An id may name the package that registers it ("package:Task-v0"), which is then imported. Raises
    ValueError for an id that does not run here, naming what was expected and found.
    """
    for name, value, least in (("num", num, 1), ("seed", seed, 0), ("threads", threads, 0)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, but is {value!r}")
    name = registry.resolve(env_id)
    simulator: Simulator
    if name in TABLES:
        simulator = TableSimulator(name, TABLES[name], num, seed)
    elif name in TASKS and registry.as_shipped(name):
        simulator = NativeSimulator(name, num, seed, threads, stagger)
    else:
        simulator = GymSimulator(name, num, seed, stagger)
    simulator.spec = dataclasses.replace(simulator.spec, id=env_id)
    return simulator


def spec(env_id: str) -> EnvSpec:
    """What a task looks like; ValueError as `make`."""
    probe = make(env_id, 1, 0)
    probe.close()
    return probe.spec

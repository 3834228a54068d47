"""A stand-in for `mujoco.batch.Batch` that also computes contact forces, for tasks that observe them.

Gymnasium calls mj_rnePostConstraint on the data that mj_step leaves behind, which under RK4 belong to the last
Runge-Kutta stage. A batch keeps no such data and evaluates sensors at the first stage only, so `cfrc_ext` cannot
be had from it, except by copying whole MjData out of a persistent one. Here each thread owns one MjData, and
takes the next simulation as it becomes free; MuJoCo releases the interpreter while it computes.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np
from mujoco.batch import SimulationError

__all__ = ["Pool"]

_ROW = int(mujoco.mjtState.mjSTATE_INTEGRATION)
_VIEWS = {
    "qpos": mujoco.mjtState.mjSTATE_QPOS,
    "qvel": mujoco.mjtState.mjSTATE_QVEL,
    "ctrl": mujoco.mjtState.mjSTATE_CTRL,
}


class Pool:
    """The part of Batch's interface that native simulators use, with the same meaning."""

    def __init__(self, model: mujoco.MjModel, num: int, threads: int) -> None:
        self.model = model
        self._datas = [mujoco.MjData(model) for _ in range(threads)]
        self._executor = ThreadPoolExecutor(threads)
        self._bound: dict[str, np.ndarray] = {}
        self._errors: dict[int, str] = {}
        self.warning = np.zeros((num, int(mujoco.mjtWarning.mjNWARNING), 2), dtype=np.int32)  # last info, count
        self.state = np.zeros((num, mujoco.mj_stateSize(model, _ROW)))
        mujoco.mj_getState(model, self._datas[0], self.state[0], _ROW)
        self.state[1:] = self.state[0]

    def bind(self, name: str) -> np.ndarray:
        """A live [E, ...] array: views of the rows for qpos, qvel, ctrl; outputs of the last call otherwise."""
        template = getattr(self._datas[0], name)
        if name in _VIEWS:
            # Components lie in the order of their bits, so those below this one precede it in the row.
            start = mujoco.mj_stateSize(self.model, int(_VIEWS[name]) - 1)
            return self.state[:, start : start + template.size]
        if name not in self._bound:
            self._bound[name] = np.zeros((len(self.state), *template.shape))
        return self._bound[name]

    def step(self, nstep: int) -> None:
        """mj_step `nstep` times, then mj_rnePostConstraint, in every simulation."""

        def advance(data: mujoco.MjData) -> None:
            mujoco.mj_step(self.model, data, nstep)
            mujoco.mj_rnePostConstraint(self.model, data)

        self._run(advance, range(len(self.state)))

    def forward(self, ids: np.ndarray) -> None:
        """mj_forward in the simulations `ids`."""
        self._run(lambda data: mujoco.mj_forward(self.model, data), ids.tolist())

    def error(self, sim: int) -> str:
        """What MuJoCo said of the simulation's failure in the last call."""
        return self._errors.get(sim, "")

    def _run(self, function: Callable[[mujoco.MjData], None], ids: range | list[int]) -> None:
        self._errors.clear()
        todo = iter(ids)  # advanced by all threads; one `next` is atomic under the interpreter's lock

        def work(data: mujoco.MjData) -> None:
            for i in todo:
                mujoco.mj_setState(self.model, data, self.state[i], _ROW)
                try:
                    function(data)
                except mujoco.FatalError as error:
                    self._errors[i] = str(error)
                    continue
                mujoco.mj_getState(self.model, data, self.state[i], _ROW)
                for name, out in self._bound.items():
                    out[i] = getattr(data, name)
                if data.warning.number.any():
                    self.warning[i, :, 1] += data.warning.number
                    data.warning.number[:] = 0

        list(self._executor.map(work, self._datas))
        if self._errors:
            failed = np.array(sorted(self._errors))
            raise SimulationError(failed, self._errors[int(failed[0])], len(ids))

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown()

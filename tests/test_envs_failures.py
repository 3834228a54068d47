"""Tasks of others that fail: one line and status 2, whatever they raise."""

import gc
import sys
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from command_lines import fails

from deep import expert
from deep.envs import SimulatorFault
from deep.envs.render import shots

FLAGS = ["--steps", "80", "--learner.simulators", "2", "--learner.batch", "40", "--threads", "1"]


class Leaves(gymnasium.Env):
    """Calls sys.exit, or raises, in the method of that name."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, where: str, render_mode: str | None = None) -> None:
        self.where, self.render_mode = where, render_mode
        self._at("__init__")

    def reset(self, *, seed=None, options=None):
        self._at("reset")
        return np.zeros(2), {}

    def step(self, action):
        self._at("step")
        return np.zeros(2), 1.0, False, False, {}

    def render(self):
        self._at("render")
        return np.zeros((8, 8, 3), np.uint8)

    def close(self):
        self._at("close")

    def _at(self, where: str) -> None:
        if where == self.where:
            sys.exit("needs a\nlicence")


@pytest.fixture
def task():
    gymnasium.register("Leaves-v0", entry_point=Leaves, max_episode_steps=10)
    yield lambda where: gymnasium.registry["Leaves-v0"].kwargs.update(where=where) or "Leaves-v0"
    del gymnasium.registry["Leaves-v0"]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("__init__", "Leaves-v0 must be installed, but cannot be made: needs a licence"),
        ("reset", "Leaves-v0: a simulator failed: reset raised SystemExit: needs a licence"),
        ("step", "Leaves-v0: a simulator failed: step raised SystemExit: needs a licence"),
        ("close", "Leaves-v0: a simulator failed: close raised SystemExit: needs a licence"),
    ],
)
def test_a_task_that_exits_is_one_line(task, where: str, words: str, tmp_path: Path) -> None:
    assert words in fails(expert.main, ["--env", task(where), *FLAGS, "--out", str(tmp_path / "run")])
    gc.collect()  # Gymnasium closes what it is about to forget


def test_a_package_that_exits_when_imported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exit_tasks.py").write_text("import sys\n\nsys.exit('needs a licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = fails(expert.main, ["--env", "exit_tasks:Any-v0", *FLAGS, "--out", str(tmp_path / "run")])
    assert "package that can be imported, but exit_tasks fails: SystemExit: needs a licence" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("where", "kind", "words"),
    [
        ("reset", SimulatorFault, "reset raised SystemExit: needs a licence"),
        ("step", SimulatorFault, "step raised SystemExit: needs a licence"),
        ("close", SimulatorFault, "close raised SystemExit: needs a licence"),
        ("render", ValueError, "must draw itself to be watched, but SystemExit: needs a licence"),
    ],
)
def test_a_task_that_exits_while_it_is_filmed(task, where: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        list(shots(task(where), lambda obs: 0, 0, 1, 3, 64))

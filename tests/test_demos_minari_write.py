"""What is written beside the episodes of a Minari data set: its id, and its task's spaces."""

import importlib
import json
import sys
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest

from deep.demos import Demos, load, save


def written(folder: Path, demos: Demos) -> dict:
    """Write a data set; returns its metadata."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    save(folder, demos, "minari")
    return json.loads((folder / "data" / "metadata.json").read_text())


def discrete(env: str) -> Demos:
    return Demos(np.zeros((3, 2)), np.array([0, 2, 1]), np.array([3]), metadata={"env": env})


def test_the_id_is_the_path_below_the_folder_of_local_data_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import minari

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    made = written(tmp_path / ".minari" / "datasets" / "own" / "task-v0", discrete("none"))
    assert made["dataset_id"] == "own/task-v0" == minari.load_dataset("own/task-v0").spec.dataset_id
    assert written(tmp_path / "elsewhere" / "task-v0", discrete("none"))["dataset_id"] == "task-v0"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "elsewhere"))
    assert written(tmp_path / "elsewhere" / "mine" / "task-v1", discrete("none"))["dataset_id"] == "mine/task-v1"


MODULE = """
import gymnasium
import numpy as np


class Start(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    action_space = gymnasium.spaces.Discrete(3, start=5)


gymnasium.register("Start-v0", entry_point="start_tasks:Start", max_episode_steps=9)
"""


def test_actions_of_a_packages_task_are_counted_from_its_own_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "start_tasks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    demos = discrete("start_tasks:Start-v0")
    made = written(tmp_path / "unknown-v0", demos)
    assert "start_tasks" not in sys.modules  # a name in a file imports no module
    assert json.loads(made["action_space"])["start"] == 0 and "env_spec" not in made
    importlib.import_module("start_tasks")
    try:
        made = written(tmp_path / "known-v0", demos)
    finally:
        del sys.modules["start_tasks"], gymnasium.registry["Start-v0"]
    space = json.loads(made["action_space"])
    assert (space["start"], space["n"]) == (5, 3) and json.loads(made["env_spec"])["id"] == "Start-v0"
    with h5py.File(tmp_path / "known-v0" / "data" / "main_data.hdf5") as file:
        assert file["episode_0/actions"][:].tolist() == [5, 7, 6]
    for name in ("unknown-v0", "known-v0"):
        assert load(tmp_path / name).acts.tolist() == [0, 2, 1]

"""What is written beside the episodes of a Minari data set: its id, and its task's spaces."""

import json
from pathlib import Path

import numpy as np
import pytest

from deep.demos import Demos, save


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

"""Resumed runs and their demonstrations: found from everywhere, and the same as before."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from command_lines import fails

from deep import demos, gail
from deep.config import GailConfig
from deep.config_values import from_dict
from deep.imitator import Imitator
from deep.run import Run

TASK = "CartPole-v0"
LIGHT = ["--learner.simulators", "8", "--learner.batch", "400", "--final-episodes", "2", "--threads", "1"]
SMALL = ["--env", TASK, "--eval-every", "0", "--bc.epochs", "20", *LIGHT]


def config(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())["config"]


def test_demonstrations_are_found_again_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(demos.bundled(TASK), "mine.npz")
    gail.main([*SMALL, "--demos", "mine.npz", "--steps", "400", "--out", "run"])
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    gail.main(["--resume", "../run", "--steps", "800"])
    assert config(tmp_path / "run")["demos"] == str(tmp_path / "mine.npz")


def test_a_run_whose_demonstrations_are_relative_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(demos.bundled(TASK), "mine.npz")
    gail.main([*SMALL, "--demos", "mine.npz", "--steps", "400", "--out", "run"])
    record = json.loads(Path("run/config.json").read_text())
    record["config"]["demos"] = "mine.npz"
    Path("run/config.json").write_text(json.dumps(record))
    gail.main(["--resume", "run", "--demos", "mine.npz", "--steps", "800"])
    assert config(Path("run"))["steps"] == 800


def test_the_id_of_a_data_set_means_the_same_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    where, data = tmp_path / "sets" / "cart" / "pole-v0", demos.load(demos.bundled(TASK))
    where.parent.mkdir(parents=True)
    demos.save(where, data, "minari")
    gail.main([*SMALL, "--demos", "cart/pole-v0", "--steps", "400", "--out", str(tmp_path / "run")])
    assert config(tmp_path / "run")["demos"] == str(where)
    (tmp_path / "here" / "cart").mkdir(parents=True)
    demos.save(tmp_path / "here" / "cart" / "pole-v0", dataclasses.replace(data, obs=data.obs + 1), "minari")
    monkeypatch.chdir(tmp_path / "here")
    gail.main(["--resume", str(tmp_path / "run"), "--steps", "800"])
    assert config(tmp_path / "run")["demos"] == str(where)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    record["config"]["demos"] = "cart/pole-v0"  # as earlier runs have it
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    said = fails(gail.main, ["--resume", str(tmp_path / "run"), "--steps", "1200"])
    assert "demos must hold what the run began with, but cart/pole-v0 has changed since" in said
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == record


def test_demonstrations_that_changed_are_noticed(tmp_path: Path) -> None:
    data, path, out = demos.load(demos.bundled(TASK)), tmp_path / "mine.npz", tmp_path / "run"
    demos.save(path, data)
    gail.main([*SMALL, "--demos", str(path), "--steps", "400", "--out", str(out)])
    record = (out / "config.json").read_bytes()
    demos.save(path, dataclasses.replace(data, acts=1 - data.acts))
    said = fails(gail.main, ["--resume", str(out), "--steps", "800"])
    assert f"demos must hold what the run began with, but {path} has changed since" in said
    assert (out / "config.json").read_bytes() == record
    demos.save(path, data)
    gail.main(["--resume", str(out), "--steps", "800"])
    imitator = Imitator(from_dict(GailConfig, config(out)))
    state = Run(out).latest().tensors
    del state["demos_sha256"]  # as in a checkpoint of an earlier version
    imitator.load_state_dict(state)
    assert imitator.env_steps == 800
    imitator.close()

"""Bundling an expert: its record, its weights and its demonstrations say the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from deep import bundle, demos, expert
from deep.config import protocol
from deep.envs import make
from deep.expert import load_policy

TASK = "Pendulum-v1"
FLAGS = ["--env", TASK, "--learner.simulators", "4", "--learner.batch", "400", "--threads", "1"]


def test_a_bundle_holds_the_last_policy_and_what_it_did(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    expert.main([*FLAGS, "--steps", "800", "--out", str(first)])
    expert.main([*FLAGS, "--steps", "400", "--init", str(first), "--learner.log-std", "-2", "--out", str(second)])
    made = bundle.bundle(bundle.Bundle(second, episodes=3, out=tmp_path / "data"), Console(quiet=True))
    folder = tmp_path / "data" / TASK
    record = json.loads((folder / "expert.json").read_text())
    assert record == made and record["env_steps"] == 1200
    assert [stage["command"].split("--out ")[1] for stage in record["training"]] == [
        f"runs/{TASK}-stage0",
        f"runs/{TASK}-stage1",
    ]
    assert f"--init runs/{TASK}-stage0" in record["training"][1]["command"]
    lines = (folder / "training.csv").read_text().splitlines()
    assert [int(line.split(",")[1]) for line in lines[1:]] == [400, 800, 1200]

    simulator = make(TASK, 1, 0)
    policy = load_policy(folder / "expert.safetensors", simulator.spec, tuple(record["hidden"]))
    simulator.close()
    assert policy.log_std.exp().item() == pytest.approx(np.exp(-2), rel=0.2)  # a trust region away from its start
    kept, told = demos.load(folder / "demos.npz"), record["demonstrations"]
    assert kept.episodes == told["trajectories"] == max(protocol(TASK).trajectories)
    assert kept.metadata["subsample"] == told["subsample"] == 20 and len(kept.obs) == told["pairs"]
    assert told["lengths"] == [200] * kept.episodes and kept.obs.dtype == np.float64


def test_a_stage_ends_where_the_next_one_began(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    expert.main([*FLAGS, "--steps", "800", "--out", str(first)])
    expert.main([*FLAGS, "--steps", "400", "--init", str(first), "--out", str(second)])
    runs = bundle.stages(second)
    before = bundle.joined(runs), bundle.commands(runs)
    expert.main(["--resume", str(first), "--steps", "1200"])
    assert (bundle.joined(runs), bundle.commands(runs)) == before and "--steps 800 " in before[1][0]["command"]
    record = json.loads((second / "config.json").read_text())
    started = record.pop("start")
    assert started["env_steps"] == 800 and started["iteration"] == 2
    (second / "config.json").write_text(json.dumps(record))  # as an earlier version left it
    assert [m["env_steps"] for m in bundle.joined(runs)] == [400, 800, 1200, 1600]
    for changed in ({"iteration": 9}, {"iteration": 3, "env_steps": 1200}):
        (second / "config.json").write_text(json.dumps(record | {"start": started | changed}))
        with pytest.raises(
            ValueError, match=f"init must be the run that {second} started from, but {first} is another"
        ):
            bundle.joined(runs)
    (second / "config.json").write_text(json.dumps(record | {"start": [3]}))
    with pytest.raises(ValueError, match="expected iteration and env_steps under start, but found"):
        bundle.joined(runs)


def test_demonstrations_with_wide_observations_are_rounded_to_single_precision() -> None:
    rng = np.random.default_rng(0)
    for width, single in ((bundle.WIDE, False), (bundle.WIDE + 1, True)):
        data = demos.Demos(rng.normal(size=(6, width)), rng.normal(size=(6, 2)), np.array([4, 2]))
        found = bundle.rounded(data)
        for before, after in ((data.obs, found.obs), (data.acts, found.acts)):
            np.testing.assert_array_equal(after, before.astype(np.float32) if single else before)


def test_what_cannot_be_bundled_is_refused_before_it_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    expert.main([*FLAGS, "--steps", "400", "--out", str(run)])
    monkeypatch.setattr(bundle, "evaluate_policy", None)
    record, lines = (run / "config.json").read_text(), (run / "metrics.jsonl").read_text()
    for old, new, words in (
        (TASK, "mine/Task-v0", "env must have no namespace, as its bundle is one folder, but is mine/Task-v0"),
        (TASK, "no_such_package:Task-v0", "asks to import no_such_package for its task"),
        (None, "", "folder must hold metrics"),
        (None, '{"x": 1}\n', "expected an integer iteration in line 1, but found None"),
    ):
        (run / "config.json").write_text(record.replace(f'"{old}"', f'"{new}"'))
        (run / "metrics.jsonl").write_text(lines if old else new)
        with pytest.raises(ValueError, match=words):
            bundle.bundle(bundle.Bundle(run, out=tmp_path / "data"), Console(quiet=True))
    assert not (tmp_path / "data").exists()


def test_a_run_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    expert.main([*FLAGS, "--steps", "400", "--out", str(run)])
    for file in (run / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="folder must hold a checkpoint"):
        bundle.bundle(bundle.Bundle(run, out=tmp_path / "data"), Console(quiet=True))
    assert not (tmp_path / "data").exists()

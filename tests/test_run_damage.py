"""Run folders, weights and records that were damaged: one line that names the file, and never a policy of NaN."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deep import files
from deep.cli import parse
from deep.config import GailConfig, gail_defaults
from deep.config_values import as_dict, from_dict
from deep.envs import EnvSpec
from deep.expert import load_into, recorded
from deep.nets import GaussianPolicy
from deep.run import Run

DEEP = "[" * 100_000  # beyond the depth that Python's parser takes


@pytest.mark.parametrize("text", ["", "{", DEEP, '"\ud800', "9" * 5000, b"\xff\xfe"])
def test_what_is_no_json_is_named_with_its_file(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match="expected JSON, but") as error:
        files.read_json(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("record", [{"command": "gail"}, {"command": "gail", "config": [1]}])
def test_a_run_without_settings_is_refused(tmp_path: Path, record: dict) -> None:
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="expected the settings under config, but found none"):
        Run.open(tmp_path, "gail")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (5, "GailConfig must be settings by name, but is '5'"),
        ({"steps": "many"}, "steps must be of type int, but is 'many'"),
        ({"steps": True}, "steps must be of type int, but is 'True'"),
        ({"entropy": None}, "entropy must be of type float, but is 'None'"),
        ({"demos": 3}, "demos must be of type pathlib.Path | None, but is '3'"),
        ({"loss": 1}, "loss must be of type"),
        ({"learner": 5}, "LearnerConfig must be settings by name, but is '5'"),
        ({"learner": {"hidden": [100, "x"]}}, "hidden must be of type tuple, but is"),
        ({"cost": {"lr": []}}, "lr"),
    ],
)
def test_settings_of_another_type_are_named(values: object, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("|", r"\|")):
        from_dict(GailConfig, values)


def test_a_loss_that_is_not_registered_is_named_before_a_run_goes_on(tmp_path: Path) -> None:
    config = as_dict(dataclasses.replace(gail_defaults("CartPole-v0"), loss="square_root"))
    Run.create(tmp_path / "run", "gail", config)
    words = "loss must be one of logistic, .*, but is 'square_root'; a loss of one's own must be registered"
    with pytest.raises(ValueError, match=words):
        parse(GailConfig, "gail", lambda given: gail_defaults(**given), ["--resume", str(tmp_path / "run")])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "expected JSON in line 2"),
        (b"\xff", "expected JSON in line 2"),
        (b"[1]", "expected a JSON object in line 2, but found list"),
        (b'{"iteration": 2}', "expected an integer env_steps in line 2, but found None"),
        (b'{"env_steps": 9, "iteration": 1.5}', "expected an integer iteration in line 2, but found 1.5"),
    ],
)
def test_a_damaged_line_of_metrics_is_named(tmp_path: Path, line: bytes, words: str) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"iteration": 1, "env_steps": 8}\n' + line + b"\n")
    with pytest.raises(ValueError, match=words):
        Run(tmp_path).metrics()


def test_a_checkpoint_with_an_endless_iteration_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    checksum = files.save_tensors(folder / "000001.safetensors", {"x": torch.zeros(1)})
    (folder / "000001.json").write_text(json.dumps({"iteration": float("inf"), "sha256": checksum}))
    with pytest.raises(ValueError, match="no checkpoint can be read"):
        Run(tmp_path).latest()


def test_a_checksum_that_is_none_can_be_printed(tmp_path: Path) -> None:
    files.save_tensors(tmp_path / "x", {"x": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"expected the bytes with SHA-256 [?]x+, but") as error:
        files.load_tensors(tmp_path / "x", "\ud800" + "x" * 1000)
    assert len(str(error.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    spec = EnvSpec("X-v0", 3, False, 2, -np.ones(2), np.ones(2), 10, False)
    policy = GaussianPolicy(spec, (4,), 0.0, torch.Generator().manual_seed(0))
    state = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    load_into(policy, state, "here")
    state["log_std"][1] = value
    with pytest.raises(ValueError, match="here: log_std must be finite, but is not"):
        load_into(policy, state, "here")


GOOD = {"mean": 1.0, "std": 0, "length": 10}


@pytest.mark.parametrize(
    "record",
    [[1], {}, {"stochastic": 3}, {"stochastic": {"mean": 1}}, {"stochastic": GOOD | {"mean": "x"}},
     {"stochastic": GOOD | {"mean": float("nan")}}, {"stochastic": GOOD | {"std": 10**400}},
     {"stochastic": GOOD, "deterministic": {}}],
)  # fmt: skip
def test_a_record_without_returns_is_refused(tmp_path: Path, record: object) -> None:
    path = tmp_path / "expert.json"
    (tmp_path / "demos.npz").touch()
    path.write_text(json.dumps({"stochastic": GOOD}))
    assert recorded("X-v0", tmp_path / "demos.npz") == {"stochastic": GOOD}
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="expected finite mean, std and length under"):
        recorded("X-v0", tmp_path / "demos.npz")

"""What loading and exporting a policy refuses, each in one line and before anything is written."""

import contextlib
import dataclasses
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import deep
from deep import export, export_onnx, export_program
from deep.cli import main_guard

DATA = Path(deep.__file__).parent / "data"


def test_observations_that_do_not_fit() -> None:
    policy = deep.load(DATA / "CartPole-v0")
    with pytest.raises(ValueError, match=r"obs must have shape \(4,\) or \(N, 4\) for CartPole-v0, but has \(3,\)"):
        policy.act(np.zeros(3))
    with pytest.raises(ValueError, match=r"but has \(2, 2, 4\)"):
        policy.predict(np.zeros((2, 2, 4)))
    with pytest.raises(ValueError, match=r"obs must be finite, but obs\[1, 2\] is nan"):
        policy.act(np.array([[0.0] * 4, [0, 0, np.nan, 0]]))
    # A Dict space's, what Gymnasium's reset returns, text, complex numbers, and rows that are no array.
    for wrong in ({"x": 1.0}, (np.zeros(4), {}), ["1"] * 4, np.zeros(4, complex), [[0.0] * 4, [0.0]]):
        with pytest.raises(ValueError, match=f"array of real numbers, but is {re.escape(repr(wrong)[:9])}"):
            policy.act(wrong)


def folder(path: Path, record: object) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(record))
    return path


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ([], "run must be a folder of gail, bc, expert, but .* is one of None"),
        ({"command": "sweep"}, "run must be a folder of gail, bc, expert, but .* is one of 'sweep'"),
        ({"command": ["gail"]}, r"run must be a folder of gail, bc, expert, but .* is one of \['gail'\]"),
        ({"command": "gail"}, "expected the settings under config, but found none"),
        ({"command": "bc", "config": {"hidden": [-1]}}, r"run/config\.json: hidden\[0\] must be at least 1, but is -1"),
        ({"command": "expert", "config": {"env": "Hopper-v4"}}, "run must hold a checkpoint"),
        ({"command": "gail", "config": {"typo": 1}}, "typo is not a setting of GailConfig"),
        ({"command": "bc", "config": {"env": "Hopper-v4"}}, "policy.safetensors: expected a safetensors file"),
    ],
)
def test_folders_without_a_policy(record: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        deep.load(folder(tmp_path / "run", record))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ([], "expected the task's name under env, but found None"),
        ({"env": 5, "hidden": [3]}, "expected the task's name under env, but found 5"),
        ({"env": "CartPole-v0"}, "expected a list of units, each at least 1, under hidden, but found None"),
        ({"env": "CartPole-v0", "hidden": ["a"]}, r"under hidden, but found \['a'\]"),
        ({"env": "CartPole-v0", "hidden": [0]}, r"under hidden, but found \[0\]"),
    ],
)
def test_damaged_records_of_an_expert(record: object, words: str, tmp_path: Path) -> None:
    (tmp_path / "expert.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"expert\.json: {words}|expert\.json: .*{words}"):
        deep.load(tmp_path)


def test_a_folder_does_not_import_a_package_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """config.json is data: a package that it names is imported only with leave."""
    (tmp_path / "sneaky_tasks.py").write_text("import pathlib\npathlib.Path('ran').write_text('yes')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    bundle = tmp_path / "expert"
    bundle.mkdir()
    for name in ("expert.json", "expert.safetensors"):
        (bundle / name).write_bytes((DATA / "CartPole-v0" / name).read_bytes())
    record = json.loads((bundle / "expert.json").read_text())
    (bundle / "expert.json").write_text(json.dumps(record | {"env": "sneaky_tasks:CartPole-v0"}))
    with pytest.raises(ValueError, match=r"asks to import sneaky_tasks for its task .*: allow it with trust"):
        deep.load(bundle)
    assert not Path("ran").exists()
    assert deep.load(bundle, trust=True).spec.id == "sneaky_tasks:CartPole-v0" and Path("ran").exists()
    sys.modules.pop("sneaky_tasks")


def test_errors_at_the_command_line_are_one_line(tmp_path: Path) -> None:
    err = io.StringIO()
    request = export.Request(tmp_path / "nothing", "onnx")
    with contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main_guard(lambda: export.export(request, Console()))
    assert stop.value.code == 2 and err.getvalue().count("\n") == 1 and "expected a JSON file" in err.getvalue()


def test_a_missing_package_is_named_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = export.Request(DATA / "CartPole-v0", "onnx", tmp_path / "p.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    printed = io.StringIO()
    export.export(request, Console(file=printed, width=500))
    assert "not compared with the policy: onnxruntime is not installed" in printed.getvalue()
    (tmp_path / "p.onnx").unlink()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        ValueError, match=re.escape("format onnx needs the onnx package: pip install 'occmatch[export]'")
    ):
        export.export(request, Console())
    assert list(tmp_path.iterdir()) == []


def test_actions_that_hardly_vary_differ_by_rounding_alone() -> None:
    policy = deep.load(DATA / "Hopper-v4")
    policy.policy.act_mean += 4000.0
    policy.policy.act_std *= 1e-3
    run = export_onnx.runner(export_onnx.graph(export_program.Program(policy), {}))
    assert export_program.check(policy, run) > 1e-3  # of their spread, and yet the next float32


def test_a_program_is_held_to_the_spread_of_actions_however_small() -> None:
    policy = deep.load(DATA / "Hopper-v4")
    policy.policy.act_mean *= 1e-9
    policy.policy.act_std *= 1e-9
    other = export_program.Program(policy)
    run = export_onnx.runner(export_onnx.graph(other, {}))
    assert 1e-8 < export_program.check(policy, run) < 1e-4  # float32 keeps seven digits, and a net loses some
    other.act_mean += 1e-11
    run = export_onnx.runner(export_onnx.graph(other, {}))
    with pytest.raises(ValueError, match="the exported program must act like the policy, but differs by"):
        export_program.check(policy, run)


@pytest.mark.parametrize("source", ["Hopper-v4", "CartPole-v0"])
def test_a_program_that_acts_otherwise_is_refused(source: str) -> None:
    policy = deep.load(DATA / source)
    wrong = dataclasses.replace(policy, spec=dataclasses.replace(policy.spec, act_start=1))
    other = export_program.Program(wrong)
    if not policy.spec.discrete:
        other.act_mean += 0.01
    run = export_onnx.runner(export_onnx.graph(other, {}))
    with pytest.raises(ValueError, match="the exported program must act like the policy, but differs by"):
        export_program.check(policy, run)

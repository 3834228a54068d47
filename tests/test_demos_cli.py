"""`python -m deep.demos`: sampling from a bundled expert, and showing files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deep.demos import DemoError, Demos, __main__, bundled, load, save, summary

ENV = "HalfCheetah-v4"


def command(*args: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "deep.demos", *map(str, args)], capture_output=True, text=True)


def test_sampling_writes_whole_episodes_that_the_seed_decides(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = [tmp_path / "new" / f"{name}.npz" for name in "abc"]
    for path, seed in zip(files, (7, 7, 8), strict=True):
        __main__.main(["sample", "--env", ENV, "--trajectories", "2", "--seed", str(seed), "--out", str(path)])
    assert "HalfCheetah-v4" in capsys.readouterr().out
    demos = load(files[0])
    assert demos.lengths.tolist() == [1000, 1000] and not demos.terminated.any()
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not np.array_equal(demos.obs, load(files[2]).obs)
    assert demos.metadata["env"] == ENV and demos.metadata["seed"] == 7
    assert set(demos.metadata["versions"]) >= {"mujoco", "gymnasium", "torch", "numpy"}
    # The bundled expert is what its record says: within five deviations of it on two episodes.
    record = json.loads((bundled(ENV).parent / "expert.json").read_text())["stochastic"]
    assert abs(demos.returns().mean() - record["mean"]) < 5 * record["std"]


def test_subsampling_keeps_pairs_of_the_same_episodes(tmp_path: Path) -> None:
    for k in (1, 20):
        out = str(tmp_path / f"{k}.npz")
        __main__.main(["sample", "--env", ENV, "--trajectories", "1", "--subsample", str(k), "--out", out])
    whole, thin = load(tmp_path / "1.npz"), load(tmp_path / "20.npz")
    assert thin.lengths.tolist() == [50] and thin.metadata["subsample"] == 20
    assert np.array_equal(thin.obs, whole.obs[thin.time]) and np.array_equal(thin.acts, whole.acts[thin.time])


def test_without_out_the_file_is_in_the_folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    __main__.main(["sample", "--env", ENV, "--trajectories", "1"])
    assert load("runs/demos/HalfCheetah-v4-1.npz").episodes == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--trajectories", "0"], "trajectories must be at least 1, but is 0"),
        (["--trajectories", "1", "--subsample", "0"], "subsample must be at least 1, but is 0"),
        (["--trajectories", "1", "--seed", "-1"], "seed must be at least 0, but is -1"),
    ],
)
def test_numbers_out_of_range_are_refused(args: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        __main__.main(["sample", "--env", ENV, *args])


def shown(path: object, capsys: pytest.CaptureFixture) -> dict[str, str]:
    """The table's rows."""
    __main__.main(["show", str(path)])
    rows = [line.split("│")[1:3] for line in capsys.readouterr().out.splitlines() if "│" in line]
    return {name.strip(): value.strip() for name, value in rows}


@pytest.mark.parametrize(
    ("form", "name", "words"),
    [
        ("minari", "hopper", "the folder's name must be <name>-v<number>, as Minari's ids are, but is 'hopper'"),
        ("minari", "there-v0", "must be a folder that is not there yet, but there is something of that name"),
        ("imitation", "there-v0", "must be a folder that is not there yet, but there is something of that name"),
        ("npz", "there-v0", "must be a file, but is a folder"),
        ("hdf5", "file/demos.hdf5", "must lie in a folder that can be written to, but .*file is none"),
    ],
)
def test_where_nothing_can_be_written_nothing_is_sampled(
    form: str, name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sampled(*args: object) -> None:
        raise AssertionError("sampled")

    monkeypatch.setattr(__main__, "record", sampled)
    monkeypatch.setattr(__main__, "load", sampled)
    (tmp_path / "there-v0").mkdir()
    (tmp_path / "file").write_text("")
    out = ["--format", form, "--out", str(tmp_path / name)]
    for argv in (
        ["sample", "--env", ENV, "--trajectories", "1"],
        ["record", ENV, "--trajectories", "1"],
        ["export", ENV],
    ):
        with pytest.raises(DemoError, match=words):
            __main__.main([*argv, *out])


def test_show_names_what_the_file_holds(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "demos.npz"
    obs = np.arange(12.0).reshape(6, 2)
    metadata = {"env": "Hopper-v4", "note": "[red]x[/red]\x1b[31m"}
    save(path, Demos(obs, -obs, np.array([2, 4]), obs[:, 0], np.array([True, False]), metadata=metadata))
    rows = shown(path, capsys)
    assert rows["episodes"] == "2" and rows["pairs"] == "6"
    assert rows["pairs an episode"] == "2 to 4, median 3"
    assert rows["observations"] == "2 numbers in [0, 11]" and rows["actions"] == "2 numbers in [-11, 0]"
    assert rows["return"] == "15.00 ± 13.00, from 2.00 to 28.00"
    assert rows["ended by the task"] == "1 of 2 episodes" and rows["time in the episode"] == "0 to 3"
    assert rows["env"] == "Hopper-v4"
    assert rows["note"] == json.dumps(metadata["note"])  # no control character reaches the terminal


def test_show_of_discrete_actions_without_rewards(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "demos.npz"
    save(path, Demos(np.zeros((4, 1)), np.array([1, 1, 0, 1]), np.array([4])))
    rows = shown(path, capsys)
    assert rows["actions"] == "discrete: 1 (75%), 0 (25%)"
    assert rows["return"] == "unknown: no rewards" and rows["ended by the task"] == "unknown"
    many = summary.table(Demos(np.zeros((10, 1)), np.arange(10), np.array([10])), path)
    assert next(cell for cell in many.columns[1].cells if "discrete" in str(cell)).endswith(", 7 (10%) and 2 more")


def test_show_finds_bundled_demonstrations_by_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(ENV, capsys)["return"] == "unknown: pairs were left out"
    with pytest.raises(
        DemoError, match="Nothing-v0: must be a file, a folder or the id of a local Minari data set, but there"
    ):
        __main__.main(["show", "Nothing-v0"])


@pytest.mark.parametrize("env_id", ["Nothing-v0", "", ".", "..", "../data/HalfCheetah-v4", f"./{ENV}"])
def test_only_the_names_of_tasks_find_bundled_files(env_id: str) -> None:
    assert bundled(env_id) is None


def test_bad_input_ends_with_one_line_and_status_2(tmp_path: Path) -> None:
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"")
    run = command("show", bad)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"error: {bad}: must be an npz file, but is empty\n"
    out = tmp_path / "out.npz"
    run = command("sample", "--env", "Nothing-v0", "--trajectories", 1, "--out", out)
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr.startswith("error: env must have a bundled expert, one of ") and run.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bad.npz"]

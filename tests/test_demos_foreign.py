"""Files as other programs write them: how their episodes end, and what each reader refuses."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from deep.demos import DemoError, Demos, child, load, quarantine

RNG = np.random.default_rng(5)
OBS, ACTS, REWARDS = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2)), RNG.normal(size=6)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Foreign formats in this process: starting another for every file takes a second."""
    monkeypatch.setattr(quarantine, "read", child.convert)


def words(path: Path, kind: Any = None) -> str:
    with pytest.raises(DemoError) as error:
        load(path, format=kind)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and message.isascii()
    return message.removeprefix(f"{path}: ")


def h5(path: Path, **arrays: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                file[name] = array
    return path


FLAGS = {"terminals": np.array([0, 1, 0, 0, 0, 0], bool), "timeouts": np.array([0, 0, 0, 1, 0, 0], bool)}
D4RL = {"observations": OBS, "actions": ACTS, "rewards": REWARDS} | FLAGS
EXTRA = {"infos/qpos": OBS, "metadata/algorithm": b"SAC", "next_observations": OBS}


@pytest.mark.parametrize(
    "changed",
    [{}, EXTRA, {n: v.astype(np.float32)[:, None] for n, v in FLAGS.items()}, {"rewards": REWARDS[:, None]}],
    ids=["plain", "more", "columns", "rewards"],
)
def test_d4rl_episodes_end_at_either_flag(tmp_path: Path, changed: dict) -> None:
    found = load(h5(tmp_path / "x", **D4RL | changed))
    assert found.lengths.tolist() == [2, 2, 2] and found.terminated.tolist() == [True, False, False]
    assert np.array_equal(found.obs, OBS) and np.array_equal(found.rewards, REWARDS) and found.last_obs is None


def test_d4rl_a_step_with_both_flags_is_termination(tmp_path: Path) -> None:
    both = np.array([0, 0, 1, 0, 0, 1], bool)
    assert load(h5(tmp_path / "x", **D4RL | {"terminals": both, "timeouts": both})).terminated.tolist() == [True] * 2


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"timeouts": None}, "timeouts must be there (booleans [N]; without them episodes that the clock ended run"),
        ({"observations": None}, "must have observations (D4RL) or obs_B_T_Do (the GAIL authors') at its root, but"),
        ({"terminals": np.full(6, 2)}, "terminals[0] must be true or false, but is 2"),
        ({"terminals": np.full(6, np.nan)}, "terminals[0] must be true or false, but is nan"),
        ({"terminals": np.zeros(5)}, "terminals must have 6 entries, one for each observation, but has shape [5]"),
        ({"rewards": np.full(6, "a", "S1")}, "rewards must be real numbers [N], but has dtype |S1"),
        ({"observations": OBS[:, None]}, "observations must be real numbers [N, O], at least one, but has shape [6, 1"),
        ({"actions": ACTS[:5]}, "acts must have 6 entries, one for each row of obs, but has shape [5, 2]"),
        ({"actions": np.full((6, 2), np.inf)}, "acts[0, 0] must be finite, but is inf"),
    ],
)  # fmt: skip
def test_d4rl_what_does_not_fit_is_named(tmp_path: Path, changed: dict, found: str) -> None:
    assert words(h5(tmp_path / "x", **D4RL | changed)).startswith(found)


def test_one_action_that_was_squeezed_is_a_column_again(tmp_path: Path) -> None:
    assert load(h5(tmp_path / "x", **D4RL | {"actions": ACTS[:, 0]})).acts.shape == (6, 1)
    assert load(h5(tmp_path / "y", **D4RL | {"actions": np.ones((6, 1), int)})).acts.tolist() == [1] * 6


TRAJS = {
    "obs_B_T_Do": np.arange(24.0).reshape(2, 4, 3),
    "a_B_T_Da": np.arange(16.0).reshape(2, 4, 2),
    "r_B_T": np.arange(8.0).reshape(2, 4),
    "len_B": np.array([2, 4], np.int32),
}


def test_the_gail_authors_trajectories_lose_their_padding(tmp_path: Path) -> None:
    path = h5(tmp_path / "x", **TRAJS)
    with h5py.File(path, "a") as file:
        file.attrs["args"] = json.dumps({"policy": "x.h5/snapshots/iter500", "deterministic": False})
    found = load(path)
    assert found.lengths.tolist() == [2, 4] and found.terminated is None
    assert np.array_equal(found.obs, np.concatenate([TRAJS["obs_B_T_Do"][0, :2], TRAJS["obs_B_T_Do"][1]]))
    assert found.rewards.tolist() == [0, 1, 4, 5, 6, 7] and found.metadata["args"]["deterministic"] is False
    discrete = load(h5(tmp_path / "y", **TRAJS | {"a_B_T_Da": np.ones((2, 4, 1), int)}))
    assert discrete.acts.tolist() == [1] * 6


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"len_B": np.array([2, 5])}, "len_B[1] must be in 1..4, but is 5"),
        ({"len_B": np.array([2])}, "len_B must have 2 entries, one a trajectory, but has shape [1]"),
        ({"r_B_T": np.zeros((2, 3))}, "r_B_T must begin with [2, 4], as obs_B_T_Do does, but has shape [2, 3]"),
        (
            {"a_B_T_Da": None},
            "a_B_T_Da must be there (numbers [B, T, Da]), but the file has ['len_B', 'obs_B_T_Do', 'r",
        ),
    ],
)
def test_the_gail_authors_layout_that_does_not_fit_is_named(tmp_path: Path, changed: dict, found: str) -> None:
    assert words(h5(tmp_path / "x", **TRAJS | changed)).startswith(found)


def buffers() -> list[Any]:
    from minari.data_collector import EpisodeBuffer

    flags = [([False, True], [False, False]), ([False, False, False], [False, False, True])]
    rows = [slice(0, 2), slice(2, 5)]
    return [
        EpisodeBuffer(
            observations=OBS[s.start : s.stop + 1], actions=ACTS[s], rewards=REWARDS[s], terminations=t, truncations=c
        )
        for s, (t, c) in zip(rows, flags, strict=True)
    ]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Minari asks for descriptions
@pytest.mark.parametrize("form", ["hdf5", "arrow"])
def test_minari_data_sets_as_minari_writes_them(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import gymnasium
    from minari import create_dataset_from_buffers

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    box = gymnasium.spaces.Box(-9, 9, (3,), np.float64)
    create_dataset_from_buffers(
        "some/where-v1", buffers(), env=gymnasium.spec("Hopper-v4"), observation_space=box, algorithm_name="mine",
        action_space=gymnasium.spaces.Box(-9, 9, (2,), np.float64), data_format=form, author="a", author_email="a@b",
        code_permalink="c", description="d",
    )  # fmt: skip
    found = load("some/where-v1")
    assert np.array_equal(found.obs, OBS[:5]) and np.array_equal(found.acts, ACTS[:5])
    assert np.array_equal(found.rewards, REWARDS[:5]) and np.array_equal(found.last_obs, OBS[[2, 5]])
    assert found.lengths.tolist() == [2, 3] and found.terminated.tolist() == [True, False]
    assert found.metadata["env"] == "Hopper-v4" and found.metadata["minari"]["algorithm_name"] == "mine"


def minari(folder: Path, record: dict | None = None, **changed: object) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "metadata.json").write_text(json.dumps({"data_format": "hdf5"} | (record or {})))
    end = np.array([False, True])
    one = {
        "observations": OBS[:3],
        "actions": ACTS[:2],
        "rewards": REWARDS[:2],
        "terminations": end,
        "truncations": ~end,
    }
    one["truncations"] = np.zeros(2, bool)
    h5(folder / "data" / "main_data.hdf5", **{f"episode_0/{n}": a for n, a in (one | changed).items()})
    return folder


@pytest.mark.parametrize(
    ("record", "changed", "found"),
    [
        ({}, {"actions": ACTS[:3]}, "observations of episode 0 must have 4 entries for 3 actions, but has [3, 3]"),
        ({}, {"terminations": np.ones(2, bool)}, "terminations[0] of episode 0 must be false before its last step"),
        ({}, {"observations": None, "observations/x": OBS}, "observations must be real numbers [T + 1, O], but is a"),
        ({}, {"rewards": None}, "rewards must be there (real numbers [T]), but the file has ['actions', 'observati"),
        ({"total_episodes": 2}, {}, "total_episodes must be the number of episodes, 1, but is 2"),
        ({"data_format": "parquet"}, {}, "data_format must be hdf5 or arrow, but is 'parquet'"),
    ],
)  # fmt: skip
def test_minari_what_does_not_fit_is_named(tmp_path: Path, record: dict, changed: dict, found: str) -> None:
    assert load(minari(tmp_path / "good")).terminated.tolist() == [True]
    assert words(minari(tmp_path / "x", record, **changed)).startswith(found)


@pytest.mark.parametrize("time", [np.array([0.0, 0.05, 0.1]), np.array([0, 1])])
def test_minari_infos_of_others_are_passed_over(tmp_path: Path, time: np.ndarray) -> None:
    """Seconds, or one entry a step: only files from here call the index of a pair infos/time."""
    assert load(minari(tmp_path / "x", **{"infos/time": time})).time is None


def test_minari_files_without_their_folder_are_refused(tmp_path: Path) -> None:
    path = minari(tmp_path / "x") / "data" / "main_data.hdf5"
    assert words(path).startswith("must be read with its folder's metadata.json: name the folder")


def rows(**changed: object) -> dict[str, Any]:
    """Two trajectories in the columns of imitation."""
    return {
        "obs": [OBS[:3].tolist(), OBS[2:6].tolist()],
        "acts": [ACTS[:2].tolist(), ACTS[2:5].tolist()],
        "infos": [["{}", '{"TimeLimit.truncated": false}'], ["{}", "{}", '{"TimeLimit.truncated": true}']],
        "terminal": [True, True],
        "rews": [REWARDS[:2].tolist(), REWARDS[2:5].tolist()],
    } | changed


def folder(path: Path, columns: dict[str, Any], state: dict | None = None) -> Path:
    path.mkdir()
    table = pa.table(columns)
    with pa.OSFile(str(path / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "a.arrow"}]} if state is None else state))
    return path


def test_imitation_the_end_is_told_by_the_last_info(tmp_path: Path) -> None:
    found = load(folder(tmp_path / "x", rows()))
    assert np.array_equal(found.obs, OBS[:5]) and np.array_equal(found.acts, ACTS[:5])
    assert np.array_equal(found.rewards, REWARDS[:5]) and np.array_equal(found.last_obs, OBS[[2, 5]])
    assert found.terminated.tolist() == [True, False] and found.lengths.tolist() == [2, 3]
    columns = rows()
    del columns["rews"]
    assert load(folder(tmp_path / "y", columns)).rewards is None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"infos": [["{}"] * 2, ["{}"] * 3]}, None),  # infos were not kept: it may have been the clock
        ({"infos": [["{}"] * 2, ["{}"] * 3], "terminal": [False, False]}, [False, False]),  # neither ended
        ({"terminal": [False, True]}, [False, False]),
        ({"infos": [["", "[]"], ["{}", "{}", '{"TimeLimit.truncated": 1}']]}, None),
        ({"infos": [["{}", '{"py/object": "os.system"}'], ["{}", "{}", "{}"]]}, None),
    ],
)
def test_imitation_an_end_without_a_reason_stays_unknown(tmp_path: Path, changed: dict, expected: object) -> None:
    found: Demos = load(folder(tmp_path / "x", rows(**changed)))
    assert (None if found.terminated is None else found.terminated.tolist()) == expected


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"obs": [OBS[:2].tolist(), OBS[2:6].tolist()]}, "obs[0] must have 3 entries, for its "),
        ({"acts": [[0.5, 0.5], [0.5] * 3]}, "acts must be integers [N] (or reals [N, U]), but have dtype float64"),
        ({"acts": [[[1.0], [1.0, 2.0]], [[1.0]] * 3]}, "acts must have lists of one width, but they differ"),
        ({"acts": [["a", "b"], ["c"] * 3]}, "acts must hold numbers, but holds type 'string'"),
        ({"terminal": [True, None]}, "terminal must have no gaps, but has 1"),
        ({"terminal": [1, 0]}, "terminal must be booleans, but has type 'int64'"),
        ({"rews": [[1.0, None], [1.0] * 3]}, "rews must have no gaps, but has 1"),
    ],
)
def test_imitation_what_does_not_fit_is_named(tmp_path: Path, changed: dict, found: str) -> None:
    assert words(folder(tmp_path / "x", rows(**changed))).startswith(found)


def test_a_dict_of_data_sets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text("{}")
    assert words(tmp_path).startswith("must be one split of a dict of data sets, but holds the dict: name the split's")


def old(path: Path, **changed: object) -> Path:
    """imitation's npz, with the pickle that its infos are."""
    base = {
        "obs": OBS,
        "acts": ACTS[:4],
        "terminal": np.array([True, True]),
        "indices": np.array([1]),
        "rews": OBS[:4, 0],
    }
    # As imitation saved it: infos are a pickle inside, which must never be read.
    np.savez(path, allow_pickle=True, **base | {"infos": np.array([{}] * 4)} | changed)
    return path


def test_imitation_npz_is_read_without_its_pickle(tmp_path: Path) -> None:
    found = load(old(tmp_path / "x.npz"))
    assert found.lengths.tolist() == [1, 3] and np.array_equal(found.obs, OBS[[0, 2, 3, 4]])
    assert np.array_equal(found.last_obs, OBS[[1, 5]]) and found.terminated is None
    assert load(old(tmp_path / "y.npz", terminal=np.zeros(2, bool))).terminated.tolist() == [False, False]
    single = old(tmp_path / "z.npz", obs=OBS[:5], indices=np.cumsum([]), terminal=np.array([True]))  # reals, as there
    assert load(single).lengths.tolist() == [4]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"indices": np.array([0])}, "indices must rise from 1 to below the number of acts, but do not"),
        ({"indices": np.array([9])}, "indices must rise from 1 to below the number of acts, but do not"),
        ({"indices": np.array([1.5])}, "indices must be integers [E - 1], but have dtype float64"),
        ({"obs": OBS[:5]}, "obs must have 6 rows, one more a trajectory than it has acts, but has shape [5, 3]"),
        ({"terminal": np.ones(3, bool)}, "terminal must have 2 entries, but has shape [3]"),
    ],
)
def test_imitation_npz_that_does_not_fit_is_named(tmp_path: Path, changed: dict, found: str) -> None:
    assert words(old(tmp_path / "x.npz", **changed)) == found

"""Every format: what was saved is loaded, told by content alone, and other programs read what was written."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from deep.demos import FORMATS, DemoError, Demos, child, load, npz, quarantine, save

FOLDERS = ("minari", "imitation")


def demos(**changed: object) -> Demos:
    arrays = {
        "obs": np.arange(10.0).reshape(5, 2) / 3,
        "acts": np.linspace(-2, 2, 15).reshape(5, 3),
        "lengths": np.array([2, 3]),
        "rewards": np.arange(5.0),
        "terminated": np.array([True, False]),
        "time": np.array([1, 4, 0, 3, 6]),
        "metadata": {"env": "Own-v4", "subsample": 3, "source": "pi ± 1"},
        "last_obs": np.array([[-1.0, 1.0], [0.5, 1e300]]),
    }
    return Demos(**arrays | changed)


def assert_equal(a: Demos, b: Demos) -> None:
    for name in ("obs", "acts", "lengths", "rewards", "terminated", "time", "last_obs"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            assert x.dtype == y.dtype and np.array_equal(x, y), name
    assert a.metadata == b.metadata


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Foreign formats in this process: starting another for every file takes a second."""
    monkeypatch.setattr(quarantine, "read", child.convert)


BARE = {"rewards": None, "terminated": None, "time": None, "last_obs": None, "metadata": {}}
ODD = {"terminated": "unknown", "rewards": None, "last_obs": False, "metadata": {"unknown": 1}, "unknown": ["rewards"]}
VARIANTS = {
    "all": {},
    "bare": BARE,
    "keys of the formats' own": {"metadata": ODD},
    "bare but for such keys": BARE | {"metadata": ODD},
    "discrete": {"acts": np.array([0, 2, 1, 1, 0])},
    "one action": {"acts": np.linspace(0, 1, 5)[:, None]},
    "one observation": {"obs": np.arange(5.0)[:, None], "last_obs": np.zeros((2, 1))},
    "one pair": BARE | {"obs": np.ones((1, 1)), "acts": np.array([0]), "lengths": np.array([1])},
    "no last": {"last_obs": None, "terminated": np.array([False, True])},
}


@pytest.mark.parametrize("changed", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("form", FORMATS)
def test_what_was_saved_is_loaded(tmp_path: Path, form: str, changed: dict) -> None:
    path = tmp_path / "any.name-v0" if form != "minari" else tmp_path / "name-v0"
    save(path, demos(**changed), form)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert_equal(load(path), demos(**changed))
    assert_equal(load(path, format=form), demos(**changed))


@pytest.mark.parametrize("form", FORMATS)
def test_the_real_child_process_reads_the_same(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    save(tmp_path / "x-v0", demos(), form)
    assert_equal(load(tmp_path / "x-v0"), demos())


@pytest.mark.parametrize("form", FORMATS)
def test_equal_demonstrations_give_equal_bytes(tmp_path: Path, form: str) -> None:
    def content(name: str) -> dict[str, bytes]:
        save(tmp_path / name / "x-v0", demos(), form)
        return {
            str(p.relative_to(tmp_path / name)): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()
        }

    for name in "ab":
        (tmp_path / name).mkdir()
    assert content("a") == content("b")


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path / "x-v0", demos(), form)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DemoError, match=r"x-v0: metadata must be JSON values, but"):
        save(tmp_path / "x-v0", demos(metadata={"x": {1}}), form)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", FOLDERS)
def test_a_folder_is_never_written_over(tmp_path: Path, form: str) -> None:
    (tmp_path / "x-v0").mkdir()
    with pytest.raises(DemoError, match=r"x-v0: must be a folder that is not there yet, but there is something"):
        save(tmp_path / "x-v0", demos(), form)


@pytest.mark.parametrize("form", [f for f in FORMATS if f != "npz"])
@pytest.mark.parametrize("verb", ["load", "save"])
def test_a_missing_package_is_named_with_the_extra(
    tmp_path: Path, form: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x-v0"
    save(path, demos(), form)
    for module in [m for m in sys.modules if m.startswith("deep.demos.") and m.rpartition(".")[2] in READERS]:
        monkeypatch.delitem(sys.modules, module)
        monkeypatch.delattr(module, raising=False)
    for package in ("h5py", "pyarrow"):
        monkeypatch.setitem(sys.modules, package, None)
    act: Callable[[], object] = (
        (lambda: load(path)) if verb == "load" else lambda: save(tmp_path / "y-v0", demos(), form)
    )
    with pytest.raises(
        DemoError, match=r"needs a package that is not installed \(.*\): pip install 'occmatch\[demos\]'"
    ):
        act()
    assert [p.name for p in tmp_path.iterdir()] == ["x-v0"]


READERS = {"hdf5", "arrow", "d4rl", "trajs", "minari_read", "minari_write", "imitation_read", "imitation_write"}


def test_minari_loads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import minari  # warns of nothing, but takes a second

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    (tmp_path / "own").mkdir()
    n, rng = 5, np.random.default_rng(0)
    given = demos(
        obs=rng.normal(size=(n, 11)), acts=rng.normal(size=(n, 3)), last_obs=rng.normal(size=(2, 11)),
        metadata={"env": "Hopper-v4", "source": "bundled expert"},
    )  # fmt: skip
    save(tmp_path / "own" / "hopper-v3", given, "minari")
    found = minari.load_dataset("own/hopper-v3")
    assert found.total_episodes == 2 and found.total_steps == n and found.spec.dataset_id == "own/hopper-v3"
    assert found.env_spec.id == "Hopper-v4" and found.action_space.shape == (3,) and found.action_space.high[0] == 1
    assert "own/hopper-v3" in minari.list_local_datasets()
    for i, episode in enumerate(found.iterate_episodes()):
        one = given.episode(i)
        assert np.array_equal(episode.observations, np.vstack([one.obs, one.last_obs]))
        assert np.array_equal(episode.actions, one.acts) and np.array_equal(episode.rewards, one.rewards)
        assert episode.terminations.tolist() == [False] * (one.lengths[0] - 1) + [one.terminated[0]]
        assert episode.truncations.tolist() == [False] * (one.lengths[0] - 1) + [not one.terminated[0]]
    assert_equal(load("own/hopper-v3"), given)  # by its id
    assert_equal(load(tmp_path / "own" / "hopper-v3" / "data"), given)


def test_a_name_in_the_metadata_imports_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_tasks.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    save(tmp_path / "x-v0", demos(metadata={"env": "bad_tasks:X-v0"}), "minari")
    record = json.loads((tmp_path / "x-v0" / "data" / "metadata.json").read_text())
    assert "env_spec" not in record and json.loads(record["action_space"])["high"] == [np.inf] * 3


@pytest.mark.parametrize("name", ["x", "x-v", "x-v0.1", "-v0 x"])
def test_the_name_of_a_minari_data_set_has_a_version(tmp_path: Path, name: str) -> None:
    with pytest.raises(DemoError, match="the folder's name must be <name>-v<number>, as Minari's ids are, but is"):
        save(tmp_path / name, demos(), "minari")


def test_datasets_loads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets  # after its settings

    save(tmp_path / "x", demos(), "imitation")
    found = datasets.load_from_disk(str(tmp_path / "x"))
    assert found.column_names == ["obs", "acts", "infos", "terminal", "rews"] and len(found) == 2
    for i, row in enumerate(found):
        one = demos().episode(i)
        assert np.array_equal(row["obs"], np.vstack([one.obs, one.last_obs])) and np.array_equal(row["acts"], one.acts)
        assert row["terminal"] is True and row["rews"] == one.rewards.tolist() and len(row["infos"]) == len(one.acts)
        assert json.loads(row["infos"][-1])["TimeLimit.truncated"] is not one.terminated[0]


def test_the_gail_authors_loader_reads_what_was_written(tmp_path: Path) -> None:
    """The slices that their scripts/imitate_mj.py takes, trajectory by trajectory."""
    save(tmp_path / "x.h5", demos(), "trajs")
    with h5py.File(tmp_path / "x.h5") as file:
        for i, length in enumerate(file["len_B"][...]):
            one = demos().episode(i)
            assert np.array_equal(file["obs_B_T_Do"][i, :length], one.obs)
            assert np.array_equal(file["a_B_T_Da"][i, :length], one.acts)
            assert np.array_equal(file["r_B_T"][i], np.pad(one.rewards, (0, 3 - length)))


def test_padding_that_would_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deep.demos.trajs.TOTAL", 2 * 3 * 2 * 8 - 1)
    with pytest.raises(
        DemoError, match="must take at most 95 bytes once padded to the longest trajectory, but takes 96"
    ):
        save(tmp_path / "x.h5", demos(), "trajs")


def test_the_old_way_to_import_npz_still_reads(tmp_path: Path) -> None:
    save(tmp_path / "x.npz", demos())
    assert_equal(npz.read(tmp_path / "x.npz"), demos())

"""Writing demonstration files: what comes back, and what is left when writing fails."""

import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from deep.demos import FORMATS, DemoError, Demos, load, npz, save


def demos(**changed: object) -> Demos:
    arrays = {
        "obs": np.arange(10.0).reshape(5, 2),
        "acts": np.linspace(-2, 2, 5)[:, None],
        "lengths": np.array([2, 3]),
        "rewards": np.arange(5.0),
        "terminated": np.array([True, False]),
        "time": np.array([1, 4, 0, 1, 2]),
        "last_obs": np.array([[-1.0, 1.0], [0.5, 1e300]]),
        "metadata": {"env": "Hopper-v4", "seed": 3, "versions": {"mujoco": "4.0.0"}, "source": "pi ± 1"},
    }
    return Demos(**arrays | changed)


def assert_equal(a: Demos, b: Demos) -> None:
    for name in ("obs", "acts", "lengths", "rewards", "terminated", "time", "last_obs"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None)
        if x is not None:
            assert x.dtype == y.dtype and np.array_equal(x, y)
    assert a.metadata == b.metadata


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "demos.npz"


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"rewards": None, "terminated": None, "time": None, "last_obs": None, "metadata": {}},
        {"acts": np.array([0, 1, 2, 1, 0])},
    ],
)
def test_what_was_saved_is_loaded(path: Path, changed: dict) -> None:
    save(path, demos(**changed))
    assert_equal(load(path), demos(**changed))
    assert_equal(load(str(path)), demos(**changed))


def test_numpy_reads_what_save_wrote(path: Path) -> None:
    save(path, demos())
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive) == set(npz.KEYS)
        assert json.loads(str(archive["metadata"])) == demos().metadata


def test_equal_demonstrations_give_equal_bytes(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", demos())
    save(tmp_path / "b.npz", demos())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, demos())
    before = path.read_bytes()

    def fails(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        save(path, demos(rewards=None))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["demos.npz"]


FULL = """
import resource, sys
from pathlib import Path
from deep.demos import FORMATS, load, save

demos = load(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for format in FORMATS:
    try:
        save(Path(sys.argv[2]) / f"{format}-v0", demos, format)
    except OSError as error:
        print(error.filename)
"""


def test_a_full_disk_is_an_error_that_names_the_path_and_leaves_nothing(tmp_path: Path) -> None:
    """In a process of its own, since HDF5 ends it where it is left to write to the disk itself."""
    rng = np.random.default_rng(0)
    save(tmp_path / "demos.npz", Demos(rng.normal(size=(400, 9)), rng.normal(size=(400, 3)), np.full(4, 100)))
    (out := tmp_path / "full").mkdir()
    command = [sys.executable, "-c", FULL, str(tmp_path / "demos.npz"), str(out)]
    found = subprocess.run(command, capture_output=True, text=True)
    assert (found.stderr, found.returncode) == ("", 0)
    assert found.stdout.split() == [str(out / f"{format}-v0") for format in FORMATS]
    assert not list(out.iterdir())


def test_the_file_appears_only_when_it_is_complete(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        seen.append((Path(source).parent, Path(target).exists(), zipfile.ZipFile(source).testzip()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    save(path, demos())
    assert seen == [(path.parent, False, None)]
    assert path.stat().st_mode & stat.S_IRGRP  # as open() makes files, not private as temporary ones are


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, np.float64], ids=["nan", "set", "type"])
def test_metadata_that_is_not_json_is_refused_and_nothing_written(path: Path, value: object) -> None:
    with pytest.raises(DemoError, match="metadata must be JSON values, but"):
        save(path, demos(metadata={"x": value}))
    assert not list(path.parent.iterdir())


def test_metadata_that_could_not_be_read_back_is_not_written(path: Path) -> None:
    with pytest.raises(DemoError, match="metadata must be JSON of at most 1048576 characters, but has 1048585"):
        save(path, demos(metadata={"x": "a" * 2**20}))

"""Hostile files: what they point to is not followed, what they claim not believed, and crashes are contained."""

import json
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmarks.fuzz_seeds import Trap, demos, seeds
from deep.demos import DemoError, child, limits, load, quarantine, save

ROOT = Path(__file__).parent.parent
SMALL = 2**20  # bytes that a file may unpack to where a test says so


def lay(case: dict[str, bytes], path: Path) -> Path:
    for name, content in case.items():
        target = path / name if name else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "read", child.convert)


WORDS = {
    "hdf5": ("must lie in the file itself, but is a link (ExternalLink)", "must have at most 268435456 entries, but",
             "but with filter 32015", "must lie in the file itself, but is stored in another one"),
    "imitation": ("names '../../etc/hostname'", "names '/etc/hostname'", "names '.hidden'"),
    "npz": ("holds Python objects (a pickle), which are never read", "metadata must be one text of JSON, but holds",
            "", "obs must leave the file within the ", "there is '../obs'", "there is '/etc/obs'",
            "looks like a pickle, which is never read"),
}  # fmt: skip
WORDS["trajs"] = WORDS["minari"] = WORDS["hdf5"]


@pytest.mark.parametrize("kind", WORDS)
def test_traps_are_refused_and_good_files_load(kind: str, tmp_path: Path, here: None, monkeypatch: object) -> None:
    monkeypatch.chdir(tmp_path)
    cases = seeds(kind, np.random.default_rng(0))
    for i, case in enumerate(cases):
        path = lay(case, tmp_path / f"{i}" / "x-v0")
        found = WORDS[kind][i - 6] if i >= 6 else ""
        if found:
            with pytest.raises(DemoError) as error:
                load(path)
            assert found in str(error.value) and "\n" not in str(error.value)
        else:
            assert load(path).obs.size
    assert len(cases) == 6 + len(WORDS[kind]) and {p.name for p in tmp_path.iterdir()} == {
        str(i) for i in range(len(cases))
    }


def test_the_traps_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused above would run code, or reach other files."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Trap()))  # its own, to see that it would have sprung
    assert len(list(tmp_path.iterdir())) == 1
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.arange(3.0)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["observations"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        assert file["observations"][...].tolist() == [0, 1, 2]


def test_all_arrays_together_stay_within_the_allowance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE", SMALL)
    path = tmp_path / "x.npz"
    n = SMALL // 8 // 3  # obs and acts fill two thirds, and rewards and time the rest and more
    base = {"obs": np.zeros((n, 1)), "acts": np.zeros((n, 1)), "lengths": np.array([n]), "rewards": np.zeros(n)}
    np.savez_compressed(path, **{k: v for k, v in base.items() if k != "rewards"})
    size = path.stat().st_size
    assert SMALL > 100 * size > 16 and load(path).episodes == 1
    np.savez_compressed(path, **base, time=np.arange(n, dtype=np.uint32) * 0)
    with pytest.raises(
        DemoError, match=r"time must leave the file within the .* bytes that one of its size may unpack to"
    ):
        load(path)


def test_the_chunks_of_hdf5_stay_within_the_allowance(tmp_path: Path, here: None, monkeypatch: object) -> None:
    save(tmp_path / "x", demos(np.random.default_rng(0)), "hdf5")
    monkeypatch.setattr(limits, "FREE", 0)
    monkeypatch.setattr(limits, "RATIO", 1)
    with h5py.File(tmp_path / "x", "a") as file:
        del file["observations"]
        file.create_dataset("observations", shape=(2, 2), maxshape=(None, 2), chunks=(2**20, 2), dtype="f8")
    with pytest.raises(
        DemoError, match=r"observations must have chunks within the \d+ bytes allowed, but has \[1048576"
    ):
        load(tmp_path / "x")


@pytest.mark.parametrize("kind", ["minari", "imitation"])
def test_links_out_of_a_folder_are_not_followed(tmp_path: Path, kind: str, here: None) -> None:
    save(tmp_path / "x-v0", demos(np.random.default_rng(0)), kind)
    for path in [p for p in (tmp_path / "x-v0").rglob("*") if p.is_file()]:
        content = path.read_bytes()
        (tmp_path / "out").write_bytes(content)
        path.unlink()
        path.symlink_to(tmp_path / "out")
        with pytest.raises(DemoError, match="folder"):
            load(tmp_path / "x-v0", format=kind)
        path.unlink()
        path.write_bytes(content)
    assert load(tmp_path / "x-v0").episodes == 3


def test_the_child_is_bounded(tmp_path: Path) -> None:
    """Memory, time and output beyond its limits end it, and nothing else."""
    for line in ("bytearray(2**34)", "[0 for _ in iter(int, 1)]", "open(1, 'wb').write(bytes(2**20))"):
        code = (
            f"import resource; from deep.demos import child, quarantine; quarantine.seconds = lambda size: 1;"
            f"child.limit(0); resource.setrlimit(resource.RLIMIT_FSIZE, (2**10, 2**10)); {line}"
        )
        with open(tmp_path / "out", "wb") as out:
            ended = subprocess.run(
                [sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, cwd=ROOT, timeout=60
            )
        assert (
            ended.returncode == -signal.SIGXCPU or b"MemoryError" in ended.stderr or b"File too large" in ended.stderr
        )


def test_whatever_becomes_of_the_child_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x", demos(np.random.default_rng(0)), "hdf5")
    for status, errors, found in (
        (-signal.SIGSEGV, b"", "must be intact, but is cut short or damaged (its reader ended with SIGSEGV)"),
        (-signal.SIGXCPU, b"", "must be read within its limit of time, but was not"),
        (1, b"Traceback", "must be intact, but is cut short or damaged (its reader ended with exit status 1)"),
        (quarantine.REFUSED, b"noise\nobs must be \x1b[31m\xff\n", "obs must be \\x1b[31m\\ufffd"),
        (0, b"", "must be an npz file, but is empty"),
    ):
        monkeypatch.setattr(quarantine, "run_child", lambda path, kind, out, s=status, e=errors: (s, e))
        with pytest.raises(DemoError) as error:
            load(tmp_path / "x")
        assert str(error.value) == f"{tmp_path / 'x'}: {found}"


def test_a_child_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x", demos(np.random.default_rng(0)), "hdf5")
    monkeypatch.setattr(quarantine, "CODE", "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)")
    monkeypatch.setattr(quarantine, "seconds", lambda size: 1)
    with pytest.raises(DemoError, match="must be read in 2 s, but was not"):
        load(tmp_path / "x")
    with pytest.raises(ChildProcessError):  # none is left
        os.waitpid(-1, os.WNOHANG)


def test_a_zip_that_torch_would_unpickle_is_never_trusted_by_itself(tmp_path: Path) -> None:
    import torch

    from deep.demos.sb3 import load_policy
    from deep.envs import EnvSpec

    path = lay(seeds("sb3", np.random.default_rng(0))[1], tmp_path / "x.zip")
    with pytest.raises(
        DemoError, match=r"must be a zip of Stable-Baselines3, but is damaged or another \(Weights only"
    ):
        load_policy(path, EnvSpec("CartPole-v0", 4, True, 2, None, None, 200, False))
    with zipfile.ZipFile(path) as archive, archive.open("policy.pth") as file, pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)


def test_a_short_run_of_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    """`python benchmarks/fuzz_files.py` is the long one; results continue where a run was stopped."""
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz_files.py"), "--out", str(tmp_path), "--only"]
    settings = os.environ | {"PYTHONPATH": str(ROOT)}
    for files in (20, 600):
        more = ["hdf5", "trajs", "imitation", "--files", str(files)]
        ended = subprocess.run([*command, *more], capture_output=True, text=True, env=settings)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    for name, number in (("HDF5, D4RL's layout", 90), ("HDF5, the GAIL authors' layout", 60)):
        assert f"| {name} | {number} |" in ended.stdout
    results = [json.loads(line) for line in (tmp_path / "hdf5-0.jsonl").read_text().splitlines()]
    assert [r["file"] for r in results] == list(range(90))
    assert sum(r["verdict"] == "accepted" for r in results) > 9 < sum(r["verdict"] == "refused" for r in results)

"""A wheel holds what it must and nothing else, and runs the two jobs where the repository is not."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from occmatch.statements import STATEMENTS

ROOT = Path(__file__).parent.parent
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "occmatch", "deep")


def run(folder: Path, *command: str, **environment: str) -> str:
    """stdout of a command that must succeed and say nothing on stderr."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=inherited | environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder stays behind, and none of an earlier build gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index")
    run(source, *pip, "--disable-pip-version-check", "-w", str(out), ".")
    (found,) = out.glob("occmatch-*-py3-none-any.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder it was installed into; its dependencies are those of this interpreter."""
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check")
    run(target, *pip, "--target", str(target), str(wheel))
    return target


def test_it_holds_the_packages_their_types_and_their_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    committed = subprocess.run(["git", "ls-files", "occmatch", "deep"], cwd=ROOT, capture_output=True, text=True)
    files = committed.stdout.split() or [
        p.relative_to(ROOT).as_posix() for package in ("occmatch", "deep") for p in (ROOT / package).rglob("*.[!p]*")
    ]
    assert {name for name in files if (ROOT / name).exists()} <= names
    assert {"occmatch/py.typed", "deep/py.typed", "deep/data/CartPole-v0/demos.npz"} <= names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"occmatch", "deep"}  # one is the metadata
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_is_what_runs(installed: Path, tmp_path: Path) -> None:
    show = "import occmatch, deep; print(occmatch.__file__); print(deep.__file__)"
    for line in run(tmp_path, sys.executable, "-c", show, PYTHONPATH=str(installed)).splitlines():
        assert Path(line).is_relative_to(installed)


def test_gail_runs_from_elsewhere(installed: Path, tmp_path: Path) -> None:
    command = (sys.executable, "-m", "deep.gail", "--env", "CartPole-v0", "--steps", "2000", "--final-episodes", "5")
    printed = run(tmp_path, *command, "--out", "trained", "--bc.epochs", "100", PYTHONPATH=str(installed))
    assert "behavioural cloning" in printed and "expert" in printed
    result = json.loads((tmp_path / "trained" / "result.json").read_text())
    assert result["env_steps"] >= 2000 and result["return_mean"] > 100


def test_the_paper_is_checked_from_elsewhere(installed: Path, tmp_path: Path) -> None:
    """Every statement on one MDP. Without a terminal: no bar, a plain table, and nothing on stderr."""
    command = (sys.executable, "-W", "error", "-m", "occmatch", "--mdps", "1", "--seconds", "0.1", "--seed", "2")
    printed = run(tmp_path, *command, PYTHONPATH=str(installed))
    assert f"{len(STATEMENTS)} of {len(STATEMENTS)} statements hold, on {len(STATEMENTS)} draws" in printed
    assert "\x1b" not in printed and "Prop 3.2" in printed

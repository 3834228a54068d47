"""Record, sample, convert and show demonstrations.

python -m deep.demos sample --env Walker2d-v4 --trajectories 25
python -m deep.demos record runs/gail-Hopper-v4-s0 --trajectories 25 --format minari --out data/hopper-v0
python -m deep.demos export demos.npz --format hdf5 --out demos.hdf5
python -m deep.demos show demos.hdf5
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from deep.cli import main_guard
from deep.demos import Demos, bundled, load, save, summary
from deep.demos.files import Format, check_target
from deep.demos.record import expert_source, open_source, record

SUFFIX = {"npz": ".npz", "hdf5": ".hdf5", "trajs": ".h5", "minari": "-v0", "imitation": ""}


@dataclass(frozen=True)
class Sample:
    """Sample trajectories from a bundled expert and write them to a file."""

    env: str
    """Gymnasium id of the task."""
    trajectories: int
    """Number of trajectories."""
    seed: int = 0
    """Seed of everything random."""
    out: Path | None = None
    """The file to write; runs/demos/<env>-<trajectories> and the format's ending where left out."""
    subsample: int = 1
    """Keep every k-th pair of a trajectory, from a random offset; 1 keeps them all."""
    format: Format = "npz"
    """How to write it: npz, D4RL's HDF5, the GAIL authors' HDF5 (trajs), Minari, or imitation's folder."""


@dataclass(frozen=True)
class Record:
    """Sample trajectories from a policy: of a bundled expert, a run, or Stable-Baselines3."""

    source: tyro.conf.Positional[str]
    """A run folder, a zip that Stable-Baselines3 saved, or the Gymnasium id of a bundled expert."""
    trajectories: int
    """Number of trajectories."""
    env: str | None = None
    """Gymnasium id of the task; needed for a zip, which does not name its own."""
    deterministic: bool = False
    """Take the mode of each action distribution instead of sampling it."""
    trust: bool = False
    """For sources of your own: read a zip with Stable-Baselines3 itself, which runs code that it holds; import the
    package that a run's task names."""
    seed: int = 0
    """Seed of everything random."""
    out: Path | None = None
    """The file or folder to write; runs/demos/<env>-<trajectories> and the format's ending where left out."""
    subsample: int = 1
    """Keep every k-th pair of a trajectory, from a random offset; 1 keeps them all."""
    format: Format = "npz"
    """How to write it: npz, D4RL's HDF5, the GAIL authors' HDF5 (trajs), Minari, or imitation's folder."""


@dataclass(frozen=True)
class Export:
    """Write demonstrations in another format."""

    source: tyro.conf.Positional[str]
    """A file or folder of any format, the id of a local Minari data set, or a Gymnasium id for the bundled ones."""
    format: Format
    """npz, D4RL's HDF5 (hdf5), the GAIL authors' HDF5 (trajs), Minari (minari), or imitation's folder (imitation)."""
    out: Path
    """The file or folder to write; a folder must not be there yet."""
    source_format: Format | None = None
    """What the source is, where its content does not say."""


@dataclass(frozen=True)
class Show:
    """Show what a demonstration file holds."""

    file: tyro.conf.Positional[Path]
    """A file or folder, the id of a local Minari data set, or a Gymnasium id for its bundled demonstrations."""
    format: Format | None = None
    """What it is, where its content does not say."""


def open_demos(source: str, kind: Format | None) -> tuple[Path, Demos]:
    """The demonstrations that a path, a Minari id or a Gymnasium id names, and where they lie."""
    path = Path(source)
    if not path.exists():
        path = bundled(source) or path
    return path, load(path, format=kind)


def main(argv: list[str]) -> None:
    """Entry point of `python -m deep.demos`."""
    commands = {"sample": Sample, "record": Record, "export": Export, "show": Show}
    options = tyro.extras.subcommand_cli_from_dict(commands, prog="python -m deep.demos", args=argv)
    if isinstance(options, Show):
        path, demos = open_demos(str(options.file), options.format)
    elif isinstance(options, Export):
        path = options.out
        check_target(path, options.format)
        demos = open_demos(options.source, options.source_format)[1]
        _save(path, demos, options.format)
    else:
        if isinstance(options, Sample):
            source, deterministic = expert_source(options.env), False
        else:
            source, deterministic = open_source(options.source, options.env, options.trust), options.deterministic
        name = f"{re.sub('[^-_a-zA-Z0-9]', '-', source.env)}-{options.trajectories}{SUFFIX[options.format]}"
        path = options.out or Path("runs/demos") / name
        check_target(path, options.format)
        demos = record(source, options.trajectories, options.seed, options.subsample, deterministic)
        _save(path, demos, options.format)
    Console(markup=False, emoji=False).print(summary.table(demos, path))


def _save(path: Path, demos: Demos, kind: Format) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, demos, kind)


if __name__ == "__main__":
    main_guard(lambda: main(sys.argv[1:]))

"""A grid of runs: tasks times methods times dataset sizes times seeds, each cell with its resolved configuration.

A cell is one run. Two cells are the same where they compute the same numbers: the identity is a digest of the method,
the configuration and the demonstrations' bytes, without the settings that results do not depend on.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import tyro

from deep import config_limits, demos
from deep.cli import absolute
from deep.config import CloningConfig, GailConfig, Preset, cloning_defaults, gail_defaults, protocol
from deep.config_values import as_dict, from_dict
from deep.demos.minari_path import dataset_folder

Method = Literal["gail", "bc", "fem", "gtal"]
METHODS: tuple[Method, ...] = ("gail", "bc", "fem", "gtal")
TASKS = (
    "CartPole-v0",
    "Acrobot-v1",
    "MountainCar-v0",
    "Reacher-v4",
    "HalfCheetah-v4",
    "Hopper-v4",
    "Walker2d-v4",
    "Ant-v4",
    "Humanoid-v4",
)
"""The paper's nine tasks (Section 6) as Gymnasium has them today, from small to large."""
EVALUATIONS = 10  # points of a learning curve
WITHOUT_EFFECT = ("threads", "checkpoint_every", "demos")  # on the numbers; the demonstrations count by their bytes
OF_MARGIN_NETS = ("hidden", "lr", "steps", "minibatch", "gradient_penalty", "entropy_bonus")  # of `cost`
OF_THE_GRID = ("env", "method", "preset", "trajectories", "seed", "steps")  # what a cell is, and not how it is run
LINEAR: tuple[Method, ...] = ("fem", "gtal")  # have no margin net


@dataclass(frozen=True)
class Cell:
    """One run: the method and its configuration."""

    method: Method
    config: GailConfig | CloningConfig

    @property
    def name(self) -> str:
        c = self.config
        some = "trajectory" if c.trajectories == 1 else "trajectories"
        return f"{self.method} {c.env} {c.trajectories} {some} seed {c.seed}"

    @property
    def steps(self) -> int:
        """Environment steps of training; 0 for cloning."""
        return getattr(self.config, "steps", 0)

    def demonstrations(self) -> Path:
        """The file or folder that is imitated; ValueError where there is none."""
        path = self.config.demos or demos.bundled(self.config.env)
        if path is None:
            raise ValueError(f"demos must name a file, because {self.config.env} has no bundled demonstrations")
        return dataset_folder(Path(path))

    def settings(self) -> dict[str, Any]:
        """The configuration as JSON values that mean the same on every machine."""
        found = as_dict(self.config)
        return found if self.config.demos is None else found | {"demos": self.config.demos.name}

    def identity(self) -> str:
        """16 hexadecimal digits that differ wherever the numbers may."""
        return identity(self.method, self.settings(), digest(self.demonstrations()))

    def to_json(self) -> str:
        return json.dumps({"method": self.method, "config": as_dict(self.config)})

    @staticmethod
    def from_json(text: str) -> "Cell":
        found = json.loads(text)
        kind = CloningConfig if found["method"] == "bc" else GailConfig
        return Cell(found["method"], from_dict(kind, found["config"]))


def identity(method: str, config: dict[str, Any], demonstrations: str) -> str:
    """Cell.identity of a stored configuration."""
    counted = {k: v for k, v in config.items() if k not in WITHOUT_EFFECT}
    unused = {"wandb": None} | ({"loss": "logistic", "device": "cpu"} if method in LINEAR else {})
    counted |= {k: v for k, v in unused.items() if k in counted}
    if method in LINEAR and isinstance(counted.get("cost"), dict):
        counted["cost"] = {k: v for k, v in counted["cost"].items() if k not in OF_MARGIN_NETS}
    text = json.dumps([method, counted, demonstrations], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def completed(method: str, config: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration with today's settings.

    One that has come into being since counts with its default, as it does when a run is resumed; a configuration of
    settings that are no more stays as it is.
    """
    try:
        return Cell(method, from_dict(CloningConfig if method == "bc" else GailConfig, config)).settings()
    except (TypeError, ValueError):
        return config


def is_bundled(env: str, demonstrations: str | None) -> bool:
    """Whether a digest is that of the demonstrations that are bundled for a task now."""
    path = demos.bundled(env)
    return path is not None and demonstrations == digest(path)


@cache
def digest(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder and their names."""
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    found = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        found.update(f"{file.relative_to(path).as_posix()} {digest(file)}\n".encode())
    return found.hexdigest()


def cell(
    method: Method,
    env: str,
    trajectories: int,
    seed: int,
    *,
    preset: Preset = "fast",
    steps: int | None = None,
    flags: tuple[str, ...] = (),
) -> Cell:
    """The cell that the defaults of a task mean, with `steps` where given, on one thread.

    `flags` are settings as `python -m deep.gail`, or deep.bc, takes them, and win over everything else. A learning
    curve has EVALUATIONS points.
    """
    if method == "bc":
        cloning = dataclasses.replace(cloning_defaults(env), trajectories=trajectories, seed=seed, threads=1)
        return Cell(method, _flagged(cloning, method, flags))
    config = gail_defaults(env, preset)
    total = steps or config.steps
    config = dataclasses.replace(
        config,
        method=method,
        trajectories=trajectories,
        seed=seed,
        steps=total,
        threads=1,
        eval_every=max(1, total // EVALUATIONS),
    )
    return Cell(method, _flagged(config, method, flags))


def _flagged(config: Any, method: str, flags: tuple[str, ...]) -> Any:
    if not flags:
        config_limits.check(config)
        return config
    found = tyro.cli(type(config), default=config, args=list(flags), prog=f"python -m deep.sweep ... -- ({method})")
    found = absolute(found)  # workers run in another folder
    for name in OF_THE_GRID:
        was, now = getattr(config, name, None), getattr(found, name, None)
        if now != was:
            raise ValueError(f"{name} must be given before --, where the grid is, but is {now} after it")
    config_limits.check(found)
    return found


def grid(
    envs: tuple[str, ...],
    methods: tuple[Method, ...],
    trajectories: tuple[int, ...] | Literal["protocol"],
    seeds: tuple[int, ...],
    **settings: Any,
) -> list[Cell]:
    """All cells, each method's with one seed everywhere before the next; `settings` are those of `cell`.

    Raises ValueError for an empty grid, for an entry that is there twice, for a task without bundled demonstrations,
    unless a flag names others, and for more trajectories than there are.
    """
    for name, entries in (("envs", envs), ("methods", methods), ("trajectories", trajectories), ("seeds", seeds)):
        if not entries:
            raise ValueError(f"{name} must have at least one entry, but is empty")
        if entries == "protocol":
            continue
        for i, entry in enumerate(entries):
            if entry in entries[:i]:
                raise ValueError(f"{name}[{i}] must differ from the entries before it, but is {entry} again")
    cells = [
        cell(method, env, number, seed, **settings)
        for method in methods
        for seed in seeds
        for env in envs
        for number in (protocol(env).trajectories if trajectories == "protocol" else trajectories)
    ]
    for found in cells:
        env = found.config.env
        if found.config.demos is None and demos.bundled(env) is None:
            have = ", ".join(e for e in TASKS if demos.bundled(e))
            raise ValueError(f"envs[{envs.index(env)}] must have bundled demonstrations, as {have} do, but is {env}")
    for found in cells:
        path, number = found.demonstrations(), found.config.trajectories
        most = episodes(path)
        if not 1 <= number <= most:
            raise ValueError(f"trajectories must be in 1..{most}, as {path} holds, but is {number}")
    return cells


@cache
def episodes(path: Path) -> int:
    """The number of episodes of a file or folder."""
    return demos.load(path).episodes

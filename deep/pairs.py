"""The expert's pairs that a run imitates: which trajectories of a file, and which of their pairs."""

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np

from deep import demos, envs
from deep.demos import Demos


class Choice(Protocol):
    """The settings that decide; demos = None stands for the bundled file of env."""

    @property
    def env(self) -> str: ...
    @property
    def demos(self) -> Path | None: ...
    @property
    def trajectories(self) -> int: ...
    @property
    def subsample(self) -> int: ...
    @property
    def seed(self) -> int: ...


def expert_pairs(config: Choice, spec: envs.EnvSpec) -> Demos:
    """The demonstrations of a run: config.trajectories of the file, every config.subsample-th pair."""
    return thinned(config, *trajectories(config, spec))


def trajectories(config: Choice, spec: envs.EnvSpec) -> tuple[Demos, np.random.Generator]:
    """config.trajectories of the file as it holds them, and the generator that `thinned` goes on with."""
    path = config.demos or demos.bundled(config.env)
    if path is None:
        raise ValueError(f"demos must name a file, because {config.env} has no bundled demonstrations")
    if config.subsample < 1:
        raise ValueError(f"subsample must be at least 1, but is {config.subsample}")
    data = demos.load(Path(path), spec)
    if config.subsample != 1 and data.uneven:
        raise ValueError(
            f"subsample must be 1, because the time in {path} leaves pairs out unevenly and its metadata name no "
            f"subsample, but is {config.subsample}"
        )
    kept = int(data.metadata.get("subsample", 1))
    if config.subsample % kept:
        raise ValueError(
            f"subsample must be a multiple of {kept}, because {path} holds every {kept}-th pair already, "
            f"but is {config.subsample}"
        )
    if not 1 <= config.trajectories <= data.episodes:
        raise ValueError(f"trajectories must be in 1..{data.episodes}, as {path} holds, but is {config.trajectories}")
    rng = np.random.default_rng(np.random.SeedSequence(config.seed).spawn(1)[0])
    return demos.take(data, config.trajectories, rng), rng


def thinned(config: Choice, chosen: Demos, rng: np.random.Generator) -> Demos:
    """Every config.subsample-th pair of what `trajectories` gave."""
    every = config.subsample // int(chosen.metadata.get("subsample", 1))
    return demos.subsample(chosen, every, rng) if every > 1 else chosen


def digest(pairs: Demos) -> np.ndarray:
    """SHA-256 of what a run learns from, uint8 [32]: the numbers themselves, whatever file they come from."""
    found = hashlib.sha256()
    for array in (pairs.obs, pairs.acts, pairs.lengths, pairs.terminated, pairs.time):
        found.update(b"none" if array is None else repr(array.shape).encode() + array.tobytes())
    return np.frombuffer(found.digest(), dtype=np.uint8).copy()


def absorbing_share(pairs: Demos, spec: envs.EnvSpec) -> float:
    """Share of the occupancy, over what the clock would record of an episode, that lies after termination.

    Where only every k-th pair was kept, from an offset that all k are as likely for, the last one kept is followed by
    0 to k - 1 more, (k - 1) / 2 of them on average. An episode of fewer than k pairs, of which one is kept, is taken
    for too long by that, and its length cannot be told any more: hence `trajectories` before `thinned`.
    """
    if pairs.terminated is None:
        raise ValueError("absorbing must be off for demonstrations that do not say which episodes terminated")
    if pairs.uneven:
        raise ValueError(
            "absorbing must be off for demonstrations whose time leaves pairs out unevenly and whose metadata name no "
            "subsample"
        )
    every = int(pairs.metadata.get("subsample", 1))
    if every > 1 and pairs.time is None:
        raise ValueError(
            f"absorbing must be off for demonstrations that keep every {every}-th pair and do not say when (time)"
        )
    unseen = (every - 1) / 2
    lived = np.minimum(pairs.times[np.cumsum(pairs.lengths) - 1] + 1 + unseen, spec.horizon)
    after = np.where(pairs.terminated, spec.steps_left(lived), 0)
    return float(after.sum() / (lived.sum() + after.sum()))

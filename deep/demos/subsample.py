"""Fewer pairs or fewer trajectories, as the paper thins its expert data (Section 6, Appendix B)."""

import numpy as np

from deep.demos.format import Demos

__all__ = ["subsample", "take"]


def subsample(demos: Demos, every: int, rng: np.random.Generator) -> Demos:
    """Keep every `every`-th pair of each trajectory, from a random offset in [0, every) (Appendix B).

    A trajectory no longer than `every` keeps one pair. `time` records which pairs were kept, unless `demos` were
    thinned before and do not say when; metadata["subsample"] is the factor against the recorded trajectories.
    ValueError where `every` is below 1, or above 1 for demonstrations that are uneven.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1, but is {every}")
    if every > 1 and demos.uneven:
        raise ValueError(f"every must be 1 for demonstrations whose time leaves pairs out unevenly, but is {every}")
    offsets = rng.integers(np.minimum(every, demos.lengths))
    lengths = (demos.lengths - offsets + every - 1) // every
    first = np.cumsum(lengths) - lengths
    position = np.arange(lengths.sum()) - np.repeat(first, lengths)
    rows = np.repeat(demos.starts + offsets, lengths) + every * position
    rewards = None if demos.rewards is None else demos.rewards[rows]
    metadata = demos.metadata | {"subsample": every * demos.metadata.get("subsample", 1)}
    time = None if demos.time is None and demos.metadata.get("subsample", 1) > 1 else demos.times[rows]
    return Demos(demos.obs[rows], demos.acts[rows], lengths, rewards, demos.terminated, time, metadata, demos.last_obs)


def take(demos: Demos, n: int, rng: np.random.Generator | None = None) -> Demos:
    """`n` of the trajectories, in their order: drawn without replacement, or the first ones where `rng` is None.

    One generator state gives nested sets: the 4 trajectories drawn are among the 11 that it would draw.
    """
    if not 1 <= n <= demos.episodes:
        raise ValueError(f"n must be in 1..{demos.episodes}, the trajectories there are, but is {n}")
    chosen = np.arange(n) if rng is None else np.sort(rng.permutation(demos.episodes)[:n])
    return demos.select(chosen)

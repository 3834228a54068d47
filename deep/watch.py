"""A film of a trained policy beside the bundled expert, from the same initial state, without a display.

    python -m deep.watch runs/gail-Walker2d-v4-s0 --out walker2d.gif

Each half is labelled with its return so far. An episode that is over stays on its last picture until the other is.
Actions are deterministic unless --stochastic asks otherwise. Films run at the speed of the simulated world.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.progress import track

from deep import exported, trained
from deep.cli import at_least, main_guard
from deep.envs import render
from deep.envs.render import Shot
from deep.expert import DATA
from deep.exported import Exported
from deep.watch_film import GIF_FPS, beside, check_format, default_suffix, write

EXPERT = "expert"
SEEDS = 2**31  # what every environment's seeding accepts lies below


@dataclass(frozen=True)
class Request:
    """Film the policy of a run beside the bundled expert."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of deep.gail, deep.expert or deep.bc, or the folder of a bundled expert."""
    out: Path | None = None
    """The film, .mp4 or .gif; watch.mp4 (watch.gif without imageio-ffmpeg) in the run folder by default."""
    episodes: int = 1
    """Episodes, one after another."""
    steps: int | None = None
    """Stop each episode after this many steps."""
    seed: int = 0
    """Seed of the first episode's initial state; the next ones count on."""
    stochastic: bool = False
    """Draw actions as in training."""
    fps: float = 25.0
    """Pictures a second, at most as many as the task has steps."""
    size: int = 320
    """Height of a picture in pixels."""
    alone: bool = False
    """Leave the expert out."""
    trust: bool = False
    """Allow the run to import the package that its task names."""


def policies(request: Request) -> dict[str, Exported]:
    """What is filmed, by label: the run's policy, and the bundled expert of its task where there is another one."""
    if (request.run / "expert.json").exists():
        return {EXPERT: exported.load(request.run, seed=request.seed, trust=request.trust)}
    run = trained.load(request.run, request.trust)
    found = {run.label: Exported.seeded(run.policy, run.spec, request.seed)}
    bundled = DATA / run.spec.id
    if not request.alone and (bundled / "expert.json").exists():
        found[EXPERT] = exported.load(bundled, seed=request.seed)
    return found


def together(streams: list[Iterator[Shot]]) -> Iterator[list[Shot]]:
    """The shots of several episodes side by side, the last one of each repeated until all are over."""
    last: list[Shot | None] = [None] * len(streams)
    while True:
        new = [next(stream, None) for stream in streams]
        if all(shot is None for shot in new):
            return
        last = [shot or old for shot, old in zip(new, last, strict=True)]
        yield [shot for shot in last if shot is not None]


def pictures(request: Request, found: dict[str, Exported], every: int) -> Iterator[np.ndarray]:
    """The film's pictures, [H, W, 3] uint8."""

    def actor(policy: Exported) -> Callable[[np.ndarray], np.ndarray]:
        return lambda obs: policy.act(obs, deterministic=not request.stochastic)

    for episode in range(request.episodes):
        streams = [
            render.shots(p.spec.id, actor(p), request.seed + episode, every, request.steps, request.size)
            for p in found.values()
        ]
        for shots in together(streams):
            yield beside(list(found), shots, request.size)


def watch(request: Request, console: Console) -> Path:
    """Write the film; returns its path. Raises ValueError for what cannot be filmed, and then writes nothing."""
    at_least(request, episodes=1, size=64, fps=1, seed=0, steps=1)
    if request.seed >= SEEDS:
        raise ValueError(f"seed must be below {SEEDS:,}, but is {request.seed}")
    found = policies(request)
    path = request.out or request.run / f"watch{default_suffix()}"
    check_format(path)
    env_id = next(iter(found.values())).spec.id
    rate = render.frame_rate(env_id)
    fps = min(request.fps, GIF_FPS) if path.suffix == ".gif" else request.fps
    every = max(math.ceil(rate / GIF_FPS) if path.suffix == ".gif" else 1, round(rate / fps))
    frames = pictures(request, found, every)
    if console.is_terminal:
        frames = track(frames, "filming", console=console)  # which would read an id as markup
    number = write(path, frames, rate / every)
    beside_whom = "" if request.alone or EXPERT in found else " (no bundled expert to set beside it)"
    size = path.stat().st_size
    console.print(f"{env_id}: {path}, {number} pictures, {size:,} bytes{beside_whom}", soft_wrap=True, highlight=False)
    return path


if __name__ == "__main__":
    main_guard(
        lambda: watch(
            tyro.cli(Request, prog="python -m deep.watch", args=sys.argv[1:]), Console(markup=False, emoji=False)
        )
    )

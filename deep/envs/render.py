"""Pictures of an episode, step by step, with no display: MuJoCo by EGL or OSMesa, other tasks as they draw themselves.

MuJoCo takes its renderer from MUJOCO_GL. Where that is not set and no display is there, EGL is asked for, which works
on servers with or without a graphics card.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gymnasium
import numpy as np

from deep.envs import registry
from deep.envs.failures import FAILURES, failing, one_line
from deep.envs.quiet import old_tasks

__all__ = ["Shot", "frame_rate", "shots"]

HEADLESS = {
    "MUJOCO_GL": "egl",
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}
"""What MuJoCo and pygame are told where no display is there, unless they have been told otherwise."""


@dataclass(frozen=True, eq=False)
class Shot:
    """A picture [H, W, 3] uint8 of the state after `steps` steps that returned `total`; `ended` is "" while the episode
    goes on, then "terminated" or "truncated".
    """

    picture: np.ndarray
    steps: int
    total: float
    ended: str


def frame_rate(env_id: str) -> float:
    """Steps a second of simulated time, as the task declares them."""
    env = _make(env_id, 64)
    try:
        return float(env.metadata.get("render_fps") or 30)
    finally:
        with failing(env_id, "close"):
            env.close()


def shots(
    env_id: str, act: Callable[[np.ndarray], np.ndarray], seed: int, every: int, steps: int | None, size: int
) -> Iterator[Shot]:
    """The first state of an episode, every `every`-th one, and the last, at most `steps` steps in.

    `act` maps observations [O] to actions as the environment expects them; equal seeds give equal first states.
    Raises ValueError where the task cannot be drawn, SimulatorFault where it fails otherwise.
    """
    env = _make(env_id, size)
    number = registry.number(env_id, env)
    try:
        with failing(env_id, "reset"):
            obs, _ = env.reset(seed=seed)
        total, done, ended = 0.0, 0, ""
        yield Shot(_draw(env_id, env), done, total, ended)
        while not ended and (steps is None or done < steps):
            action = np.asarray(act(obs), dtype=number)
            with failing(env_id, "step"):
                obs, reward, terminated, truncated, _ = env.step(action)
            total, done = total + float(reward), done + 1
            ended = "terminated" if terminated else "truncated" if truncated else ""
            if ended or done == steps or done % every == 0:
                yield Shot(_draw(env_id, env), done, total, ended)
    finally:
        with failing(env_id, "close"):
            env.close()


def _make(env_id: str, size: int) -> gymnasium.Env:
    name = registry.resolve(env_id)
    native = registry.as_shipped(name)
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        for variable, value in HEADLESS.items():
            os.environ[variable] = os.environ.get(variable) or value
    # Gymnasium looks from a fixed place unless told to follow; a task without that camera is seen from there still.
    sizes = {"width": size, "height": size, "camera_name": "track"} if native else {}
    try:
        if native:
            _try_renderer(os.environ.get("MUJOCO_GL") or "glfw")
        with old_tasks():
            return gymnasium.make(name, render_mode="rgb_array", disable_env_checker=True, **sizes)
    except FAILURES as error:
        raise ValueError(f"{env_id} must draw itself to be watched, but {one_line(error)}") from error


def _try_renderer(name: str) -> None:
    """Open and close a context: Gymnasium's viewer, where it fails to, complains once more when it is forgotten."""
    try:
        importlib.import_module(f"mujoco.{name}").GLContext(64, 64).free()
    except Exception as error:  # whatever a graphics driver or a missing library may raise
        raise RuntimeError(f"MUJOCO_GL={name} fails ({one_line(error)}): try egl, osmesa or glfw") from error


def _draw(env_id: str, env: gymnasium.Env) -> np.ndarray:
    viewer = getattr(getattr(env.unwrapped, "mujoco_renderer", None), "viewer", None)
    try:
        if viewer is not None:
            viewer.make_context_current()  # another episode may be drawn in turn with this one
        picture = env.render()
    except FAILURES as error:
        raise ValueError(f"{env_id} must draw itself to be watched, but {one_line(error)}") from error
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"{env_id} must draw itself to be watched, but render() gives {type(picture).__name__}")
    return picture.astype(np.uint8)

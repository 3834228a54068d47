"""An episode in one picture: the side view of a walking body at equal intervals, as under a stroboscope.

Each limb is a capsule drawn to scale from the simulator's own geometry, so that neither a renderer nor a display is
needed. Limbs are seen along the y axis; nearer ones do not hide the others, because the bodies are planar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deep.envs import Poses

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROUND = np.linspace(0.0, np.pi, 13)


def plot_strobe(poses: Poses, ax: Axes | None = None, *, every: int = 10, cmap: str = "viridis") -> Axes:
    """Every `every`-th pose in the plane of x and z, in metres, coloured by time; `ax` or new axes are returned.

    Raises ValueError for `every` below 1.
    """
    import matplotlib.pyplot as plt
    from matplotlib.collections import PolyCollection

    if every < 1:
        raise ValueError(f"every must be at least 1, but is {every}")
    ax = plt.subplots(figsize=(10, 3), layout="constrained")[1] if ax is None else ax
    ends, time = poses.ends[::every][..., [0, 2]], poses.time[::every]
    outlines = [capsule(*limb, radius) for pose in ends for limb, radius in zip(pose, poses.radii, strict=True)]
    shades = np.repeat(time, len(poses.radii))
    bodies = PolyCollection(outlines, array=shades, cmap=cmap, edgecolors="white", linewidths=0.6, alpha=0.9)
    ax.axhline(0.0, color="0.5", lw=1.0, zorder=0)
    ax.add_collection(bodies)
    corners, edge = np.concatenate(outlines), 0.1
    ax.set(
        aspect="equal",
        xlim=(corners[:, 0].min() - edge, corners[:, 0].max() + edge),
        ylim=(min(corners[:, 1].min(), 0.0) - edge, corners[:, 1].max() + edge),
        xlabel="x in metres",
        ylabel="height in metres",
    )
    ax.figure.colorbar(bodies, ax=ax, label="time in seconds", fraction=0.03)
    return ax


def capsule(start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """The outline [26, 2] of a capsule from its two end points [2] and its radius: two half circles."""
    dx, dz = end - start
    facing = np.arctan2(dz, dx)
    far, near = facing - np.pi / 2 + ROUND, facing + np.pi / 2 + ROUND
    caps = [(end, far), (start, near)]
    return np.concatenate([at + radius * np.column_stack([np.cos(t), np.sin(t)]) for at, t in caps])

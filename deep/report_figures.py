"""The report's pictures: Figure 1 of the paper, and learning curves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deep.files import write_figure
from deep.report_cells import Result, published
from deep.result import normalised
from deep.sweep_grid import METHODS
from deep.sweep_lines import Line

STYLES = {
    "gail": ("GAIL", "C0", "o"),
    "bc": ("behavioural cloning", "C1", "s"),
    "fem": ("FEM", "C2", "^"),
    "gtal": ("GTAL", "C3", "v"),
}
LOWEST, HIGHEST = -0.3, 1.3  # of the score axis; FEM and GTAL reach -1.5 on Ant, where a whole axis would hide the rest
SPREAD = 0.018  # of the axis, between methods at the same number of trajectories, so that intervals do not overlap
COLUMNS = 3


def _panels(envs: list[str], draw: Callable[[Any, str], None], label: str, path: Path) -> None:
    """One panel a task, the score on a common axis, one legend for all panels that have none of their own."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(envs))
    rows = -(-len(envs) // columns)
    figure = Figure(figsize=(1.2 + 3.4 * columns, 0.9 + 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axis, env in zip(axes, envs, strict=False):
        for level in (0.0, 1.0):
            axis.axhline(level, color="0.8", lw=0.8, zorder=0)
        draw(axis, env)
        axis.set_title(env, fontsize="medium")
        axis.set_ylim(LOWEST, HIGHEST)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(envs) :]:
        axis.set_visible(False)
    figure.supxlabel(label, fontsize="medium")
    figure.supylabel("score (0 random, 1 expert)", fontsize="medium")
    shared = [axis for axis in axes if axis.get_legend() is None]
    known = {text: handle for axis in shared for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    if known:
        figure.legend(known.values(), known.keys(), loc="outside upper center", ncols=len(known), frameon=False)
    write_figure(path, figure, 130)


def figure_1(found: list[Result], path: Path) -> None:
    """Score against trajectories for each task and method, with intervals over seeds; the paper's GAIL as thin line."""

    def draw(axis: Any, env: str) -> None:
        mine = [r for r in found if r.key[0] == env and r.key[1] in STYLES]
        sizes = sorted({r.key[2] for r in mine})
        span = max(sizes) - min(sizes) or 1
        theirs = [(n, max(p.score, LOWEST)) for n in sizes if (p := published((env, "gail", n))) is not None]
        if theirs:
            axis.plot(*zip(*theirs, strict=True), color="k", lw=0.8, ls=":", marker="x", ms=4, label="GAIL, paper")
        for k, method in enumerate(METHODS):
            cells = sorted((r for r in mine if r.key[1] == method), key=lambda r: r.key[2])
            if not cells:
                continue
            name, color, marker = STYLES[method]
            at = np.array([r.key[2] for r in cells]) + SPREAD * span * (k - (len(METHODS) - 1) / 2)
            points, low, high = np.clip(
                np.array([(r.interval.point, r.interval.low, r.interval.high) for r in cells]).T, LOWEST, HIGHEST
            )
            axis.errorbar(
                at,
                points,
                [points - low, high - points],
                color=color,
                marker=marker,
                ms=4,
                lw=1.4,
                elinewidth=1,
                label=name,
                zorder=3 if method == "gail" else 2,
                clip_on=False,
            )
        axis.set_xticks(sizes)

    envs = list(dict.fromkeys(r.key[0] for r in found if r.key[1] in STYLES))
    if envs:
        _panels(envs, draw, "trajectories in the data set", path)


def curve(lines: tuple[Line, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps [points] and scores [runs, points] of the stochastic policy during training."""
    found = [np.array(x["evaluations"], dtype=float).reshape(-1, 3) for x in lines if x.get("evaluations")]
    if not found:
        return np.zeros(0), np.zeros((0, 0))
    steps = found[0][:, 0]
    values = [np.interp(steps, points[:, 0], points[:, 1]) for points in found]
    ends = [(x["random_return"], x["expert_return"]) for x in lines if x.get("evaluations")]
    return steps, np.array([[normalised(v, *end) for v in row] for row, end in zip(values, ends, strict=True)])


def learning_curves(found: list[Result], path: Path) -> None:
    """GAIL's score against environment steps for each task and size: median and range over seeds."""
    from matplotlib import colormaps

    trained = [r for r in found if r.key[1] == "gail" and len(curve(r.lines)[0])]

    def draw(axis: Any, env: str) -> None:
        mine = [r for r in trained if r.key[0] == env]
        for k, r in enumerate(mine):
            steps, scores = curve(r.lines)
            color = colormaps["viridis"](0.85 * k / max(1, len(mine) - 1))
            low, middle, high = np.clip(np.quantile(scores, [0, 0.5, 1], axis=0), LOWEST, HIGHEST)
            axis.fill_between(steps, low, high, color=color, alpha=0.15, lw=0)
            axis.plot(steps, middle, color=color, lw=1.4, marker=".", ms=4, label=str(r.key[2]))
        axis.legend(title="trajectories", ncols=2, fontsize="small", title_fontsize="small", loc="lower right")
        axis.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k")

    envs = list(dict.fromkeys(r.key[0] for r in trained))
    if envs:
        _panels(envs, draw, "environment steps", path)

"""Two runs that differ in two settings, one healthy and one sick, for docs/reading_a_run.md.

    python benchmarks/healthy_and_sick.py

Both imitate the HalfCheetah for 200,000 steps; the sick one has no gradient penalty and no cloning. Writes their
diagnostics side by side into the page's table and draws docs/reading_a_run.png. Run folders are kept under --runs, and
what is there is not run again. Two minutes on two quiet cores.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deep import files, gail
from deep.cli import main_guard
from deep.diagnostics import Finding, read
from deep.files import write_figure
from deep.run import Metrics, Run

DOCS = Path(__file__).parent.parent / "docs"
COMMON = "--env HalfCheetah-v4 --steps 200000 --eval-every 0 --final-episodes 4 --bc.epochs 400"
RUNS = {"healthy": "", "sick": "--cost.gradient-penalty 0 --no-bc-init --bc-weight 0"}
COLOURS = {"healthy": "C0", "sick": "C3"}
SHARE = 0.05  # of the iterations, over which curves are averaged
PANELS = {
    "train_return": "return of the training episodes",
    "accuracy_expert": "accuracy on each side\n(full: expert, dashed: learner)",
    "margin_gap": "gap of the mean margins",
    "risk": "risk (dotted: 2 log 2)",
    "explained_variance": "explained variance of the value net",
    "cg_residual": "residual of the conjugate gradients",
}


@dataclass(frozen=True)
class Request:
    """What to do."""

    runs: Path = Path("runs")
    """Where the run folders healthy and sick are, or are made."""


def metrics(request: Request, name: str) -> list[Metrics]:
    """The metrics of a run, which is made if it is not there."""
    folder = request.runs / name
    if not (folder / "result.json").exists():
        gail.main([*COMMON.split(), *RUNS[name].split(), "--out", str(folder)])
    return Run(folder).metrics()


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Means over windows of `width`, shorter ones at the beginning."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(total))
    first = np.maximum(last - width, 0)
    return (total[last] - total[first]) / (last - first)


def curve(axes: Axes, lines: list[Metrics], key: str, **style: str) -> None:
    steps, values = np.array([(m["env_steps"], m[key]) for m in lines if key in m]).T
    axes.plot(steps / 1000, smooth(values, max(1, round(SHARE * len(values)))), **style)


def draw(found: dict[str, list[Metrics]], path: Path) -> None:
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(2, 3).flat, PANELS.items(), strict=True):
        for name, lines in found.items():
            curve(axes, lines, key, color=COLOURS[name], label=name)
            if key == "accuracy_expert":
                curve(axes, lines, "accuracy_learner", color=COLOURS[name], ls="--")
        if key == "risk":
            axes.axhline(2 * np.log(2), color="k", ls=":", lw=1)
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("thousand environment steps")
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    write_figure(path, figure, 110)


def table(found: dict[str, list[Metrics]]) -> str:
    """The first and the last fifth of each run, and the verdict, in Markdown."""
    words = {True: "well", False: "ill", None: "-"}
    judged: dict[str, dict[str, Finding]] = {name: {f.name: f for f in read(m)} for name, m in found.items()}
    out = ["| number | healthy: first fifth | last fifth | | sick: first fifth | last fifth | |", "|---" * 7 + "|"]
    for key in judged["healthy"]:
        cells = [f"`{key}`"]
        for name in RUNS:
            f = judged[name][key]
            cells += [f"{f.before:.3g}", f"{f.value:.3g}", words[f.well]]
        out.append(f"| {' | '.join(cells)} |")
    for key in ("risk", "kl", "train_return"):
        cells = [f"`{key}`"]
        for m in found.values():
            values = [line[key] for line in m if key in line]
            size = max(1, len(values) // 5)
            form = "{:,.0f}" if key == "train_return" else "{:.3g}"
            cells += [form.format(np.mean(values[:size])), form.format(np.mean(values[-size:])), ""]
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out)


def main(request: Request) -> None:
    found = {name: metrics(request, name) for name in RUNS}
    draw(found, DOCS / "reading_a_run.png")
    page = DOCS / "reading_a_run.md"
    marked = r"(<!-- made by benchmarks/healthy_and_sick.py -->\n).*?(\n<!-- end -->)"
    rows = table(found)
    text, number = re.subn(marked, lambda m: m[1] + "\n" + rows + "\n" + m[2], page.read_text(), flags=re.DOTALL)
    if number != 1:
        raise ValueError(f"{page} must hold the marks of one table, but holds {number}")
    files.write_atomic(page, text.encode())
    print(rows)


if __name__ == "__main__":
    main_guard(lambda: main(tyro.cli(Request)))

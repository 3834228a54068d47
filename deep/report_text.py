"""The report as a page: results/README.md, a function of the raw lines and of nothing else."""

from collections import Counter

import numpy as np

from deep.report_cells import REPS, Key, Result, expected, generator, unscored
from deep.report_settings import unlike
from deep.report_short import differences, fallen, falls_short
from deep.report_words import NAMES, described, header, name, number, row, scores
from deep.stats import iqm, probability_of_improvement, stratified_bootstrap
from deep.sweep_grid import METHODS, TASKS
from deep.sweep_lines import Line

SEEDS = {"gail": 5}  # training seeds that a cell should have at least
OTHERWISE = 3
TENTH = 0.1  # of the paper's environment steps

HEAD = """# Results

Written by `python -m deep.report` from {count} raw lines in this folder; `python -m deep.report --check` recomputes
this page and `table.csv` and fails on any difference. Do not edit.

## Protocol

- The nine tasks, dataset sizes and thinning of the paper's Section 6 and Appendix B, in Gymnasium (MuJoCo tasks at v4,
  which keep the original rewards). The demonstrations are those of our own experts that were bundled when a run was
  made; a task's table gives the return of that expert, or of each where one has been replaced. Each seed draws its
  trajectories from them.
- **Final policies of all seeds**: nothing is selected, neither the best point of training nor the better seeds. For
  GAIL, FEM and GTAL the final policy is the running average of the policy's weights over the last iterations, as
  `config.average` of each line says.
- GAIL, FEM and GTAL share one loop, with the same environment steps; cloning is maximum likelihood with early stopping
  on held-out pairs.
- Return of the **stochastic** policy, mean over {n} episodes a run; the deterministic one (mean or likeliest action) is
  beside it.
- **Score**: 0 for uniformly random actions, 1 for the expert, ours by our expert, the paper's by its own. A cell's
  score is the mean over training seeds, with its 95 % percentile bootstrap interval over seeds; with so few seeds such
  an interval is rather too short. The median is given as well.
- Acrobot-v1 ends after 500 steps and the paper's Acrobot after 200, so that random actions return -500 here and -200
  there: a step that is lost costs less than a third of what it does in the paper's scores, which flatters ours. So what
  falls short is told on the paper's scale as well.
- ± is the standard deviation over all episodes of all seeds, as in the paper's table.
- The paper's numbers (`deep/data/paper.csv`) come from the evaluation episodes that its authors published with their
  code: seven training runs on classic control and Reacher, a single one elsewhere. They are of **deterministic**
  policies (`deterministic=True` in `scripts/im_pipeline.py` of github.com/openai/imitation), their experts' returns of
  stochastic ones. So each comparison is made twice: of our stochastic policies, which is stricter where noise costs
  return, and of our deterministic ones, like with like.
"""

REPRODUCE = """## Where the numbers come from

Each raw line names its configuration, seed, commit, versions, and digests of the code and of the demonstrations.
`python -m deep.sweep --envs TASK --methods METHOD --trajectories N` runs one cell (`--first-seed`, `--seeds`, and
settings after `--`); what the files hold already is not run again. Steps in the tables are environment steps of
training; evaluation is not counted.
"""


def episodes(found: list[Result], setting: str, usual: int) -> str:
    """How many, as a setting of the runs says: one number, or the least and the most; `usual` where no run says so."""
    counts = {n for r in found for x in r.lines if type(n := x["config"].get(setting)) is int} or {usual}
    return " to ".join(str(n) for n in sorted({min(counts), max(counts)}))


def page(found: list[Result], lines: list[Line]) -> str:
    """README.md."""
    along, closing = episodes(found, "eval_episodes", 10), episodes(found, "final_episodes", 50)
    figures = [
        *["## Figure 1", "", "![Score against trajectories, by task](figure1.png)", ""],
        "Mean score over seeds with its interval; scores below the axis are drawn at its edge. Thin line: the paper's",
        *["GAIL (deterministic policies), normalised by its own expert.", ""],
    ]
    curves = ["## Learning curves", "", "![Score against environment steps, by task](learning_curves.png)", ""]
    curves += [
        f"GAIL: median over seeds of {along} evaluation episodes (stochastic policy), and the range of the seeds.",
        "",
    ]
    parts = [
        [HEAD.format(count=len(lines), n=closing)],
        in_short(found),
        figures,
        falls_short(found),
        missing(found),
        *[["## All cells", ""], *(task(env, found) for env in dict.fromkeys(r.key[0] for r in found))],
        curves,
        [REPRODUCE],
        sources(found, lines),
    ]
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def in_short(found: list[Result]) -> list[str]:
    """Aggregates by method over all cells, and GAIL against each other method where both have been run."""
    out = ["## In short", ""]
    out += header(
        *("method", "cells run", "runs", "IQM score [95 %]", "P(GAIL better) [95 %]"),
        *("stochastic >= paper's", "deterministic >= paper's"),
    )
    gail = {(r.key[0], r.key[2]): r.scores for r in found if r.key[1] == "gail"}
    for method in METHODS:
        mine = {(r.key[0], r.key[2]): r for r in found if r.key[1] == method and r.key in set(expected())}
        of = sum(key[1] == method for key in expected())
        if not mine:
            out.append(row(NAMES[method], f"0 of {of}", 0, "", "", "", ""))
            continue
        pool = stratified_bootstrap(pooled_iqm, [r.scores for r in mine.values()], generator("iqm", method), REPS)
        compared = [r for r in mine.values() if r.paper is not None]
        common = [k for k in mine if k in gail and method != "gail"]
        better = ""
        if common:
            args = [gail[k] for k in common], [mine[k].scores for k in common]
            p = probability_of_improvement(*args, generator("better", method), REPS)
            better = f"{p.point:.2f} [{p.low:.2f}, {p.high:.2f}] in {len(common)} cells"
        iqm_score = f"{pool.point:.3f} [{pool.low:.3f}, {pool.high:.3f}]"
        reached = [f"{len(compared) - count} of {len(compared)}" for count in fallen(compared)]
        runs = sum(len(r.lines) for r in mine.values())
        out.append(row(NAMES[method], f"{len(mine)} of {of}", runs, iqm_score, better, *reached))
    last = (
        "IQM: interquartile mean over all runs of all cells, stratified by cell; it and P are of stochastic policies."
    )
    return [*out, "", last, ""]


def pooled_iqm(tasks: list[np.ndarray]) -> float:
    """Interquartile mean over all runs of all cells."""
    return iqm(np.concatenate(tasks))


def missing(found: list[Result]) -> list[str]:
    """Cells not run, cells with too few seeds, and cells that took more than a tenth of the paper's steps."""
    have = {r.key: r for r in found}
    out = ["## What is missing", ""]
    rows = [row(env, *cells) for env in TASKS if any(cells := [_gap(env, m, have) for m in METHODS])]
    if rows:
        out += [*header("task", *(NAMES[m] for m in METHODS)), *rows, ""]
        enough = f"{SEEDS['gail']} for GAIL, {OTHERWISE} for the others"
        out += [f"Numbers of trajectories that were not run, or with fewer seeds ({enough}), in brackets how many.", ""]
    shares: dict[str, float] = {}
    for r in found:
        if (share := r.share_of_steps or 0.0) > TENTH:
            shares[r.key[0]] = max(share, shares.get(r.key[0], 0.0))
    over = [f"- {env}: {share:.2%}" for env, share in shares.items()]
    if over:
        out += ["More than a tenth of the paper's environment steps:", "", *over, ""]
    return out if rows or over else [*out, "Nothing.", ""]


def _gap(env: str, method: str, have: dict[Key, Result]) -> str:
    parts = []
    for key in expected():
        if key[:2] == (env, method):
            count = len(have[key].lines) if key in have else 0
            if count < SEEDS.get(method, OTHERWISE):
                parts.append(f"{key[2]} ({count})" if count else str(key[2]))
    return ", ".join(parts)


def task(env: str, found: list[Result]) -> list[str]:
    """The table of one task."""
    mine = [r for r in found if r.key[0] == env]
    experts = sorted({x["expert_return"] for r in mine for x in r.lines})
    random = [x["random_return"] for r in mine for x in r.lines]
    said = " or ".join(number(v) for v in experts)
    out = [f"### {env}", "", f"Expert {said}, random {number(sum(random) / len(random))}.", ""]
    out += header(
        *("trajectories", "method", "seeds", "steps", "return", "score [95 %]", "median"),
        *("deterministic return", "deterministic score", "paper's return", "paper's score"),
        *("difference", "deterministic difference"),
    )
    for r in mine:
        paper = ["", "", "", ""]
        if r.paper is not None:
            theirs = f"{number(r.paper.mean)} ± {number(r.paper.std)}"
            paper = [theirs, f"{r.paper.score:.3f}", *differences(r)]
        own = [f"{number(r.returns.mean())} ± {number(r.std)}", scores(r), f"{float(np.median(r.scores)):.3f}"]
        own += [number(r.mean("return_deterministic_mean")), f"{r.deterministic_score:.3f}"]
        steps = f"{r.env_steps:,}" if r.env_steps else ""
        out.append(row(r.key[2], name(r.key[1]), len(r.lines), steps, *own, *paper))
    return [*out, ""]


def sources(found: list[Result], lines: list[Line]) -> list[str]:
    """Which commits, code and versions the used lines name."""
    used = [x for r in found for x in r.lines]
    out = []
    for title, names in (
        ("commit", [str(x["commit"]) for x in used]),
        ("code", [x["code"] for x in used]),
        ("versions", [", ".join(f"{k} {v}" for k, v in x["versions"].items()) for x in used]),
    ):
        out += [f"- {title} {value}: {count} runs" for value, count in sorted(Counter(names).items())]
    mixed = [described(r.key) for r in found if len({x["code"] for x in r.lines}) > 1]
    if mixed:
        out.append(f"- more than one state of the code: {'; '.join(mixed)}")
    out += [f"- {text}" for text in unlike(found)]
    without = sum(map(unscored, lines))
    if len(lines) > len(used) + without:
        rest = len(lines) - len(used) - without
        out.append(f"- {rest} lines belong to earlier setups or repeat a seed and are not used")
    if without:
        out.append(f"- {without} lines have no score, because no expert better than random is known, and are not used")
    return out

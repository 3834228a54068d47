"""The report as data: results/table.csv, a function of the raw lines and of nothing else."""

import csv
import io

import numpy as np

from deep.report_cells import Result

COLUMNS = (
    *("task", "method", "trajectories", "seeds", "env_steps", "share_of_paper_steps"),
    *("return_mean", "return_std", "return_median", "length", "deterministic_mean", "random", "expert"),
    *("score_mean", "score_low", "score_high", "score_median", "deterministic_score"),
    *("paper_return", "paper_std", "paper_runs", "paper_score", "difference", "deterministic_difference"),
    *("commits", "code"),
)


def table(found: list[Result]) -> str:
    """table.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for r in found:
        p, i = r.paper, r.interval
        theirs = [""] * 6
        if p is not None:
            both = (p.score, r.difference, r.deterministic_difference)
            theirs = [p.mean, p.std, p.runs, *(f"{v:.4f}" for v in both)]
        own = [r.returns.mean(), r.std, np.median(r.returns), r.mean("return_length")]
        own += [r.mean(k) for k in ("return_deterministic_mean", "random_return", "expert_return")]
        writer.writerow(
            [
                *r.key,
                " ".join(str(x["seed"]) for x in r.lines),
                r.env_steps,
                "" if r.share_of_steps is None else f"{r.share_of_steps:.4f}",
                *(f"{v:.2f}" for v in own),
                *(f"{v:.4f}" for v in (i.point, i.low, i.high, float(np.median(r.scores)), r.deterministic_score)),
                *theirs,
                " ".join(sorted({str(x["commit"]) for x in r.lines})),
                " ".join(sorted({x["code"] for x in r.lines})),
            ]
        )
    return text.getvalue()

"""What falls short of the paper's numbers, said plainly."""

from deep.report_cells import Result
from deep.report_words import header, name, row, scores, signed

ROUNDING = 0.0005  # half of the last digit printed: a cell falls short where its difference prints as negative
OTHER_CLOCKS = ("Acrobot-v1",)  # 500 steps, where the paper's ended after 200


def below(difference: float | None) -> bool:
    """Whether a mean score is below the paper's."""
    return difference is not None and difference < -ROUNDING


def short(result: Result) -> bool:
    """Whether a cell's mean score is below the paper's, with either kind of policy."""
    return below(result.difference) or below(result.deterministic_difference)


def fallen(compared: list[Result]) -> tuple[int, int]:
    """How many cells are below the paper's, with the stochastic and with the deterministic policy."""
    return sum(below(r.difference) for r in compared), sum(below(r.deterministic_difference) for r in compared)


def falls_short(found: list[Result]) -> list[str]:
    """The cells below the paper's, GAIL's first, said plainly."""
    out = ["## What falls short of the paper", ""]
    compared = [r for r in found if r.key[1] == "gail" and r.paper is not None]
    stochastic, deterministic = fallen(compared)
    mine = [r for r in compared if short(r)]
    if not compared:
        out += ["No cell of GAIL has been run.", ""]
    elif not mine:
        out += [f"GAIL is at least the paper's in each of the {len(compared)} cells run.", ""]
    else:
        counts = f"in {stochastic} with the stochastic policy, in {deterministic} with the deterministic one"
        out += [f"Of the {len(compared)} cells run, GAIL falls short of the paper's score {counts}:", ""]
        out += [*_short_table(mine), ""]
    others = [r for r in found if r.key[1] != "gail" and short(r)]
    if others:
        out += ["The other methods are below the paper's runs of them in:", "", *_short_table(others), ""]
    return out + _with_the_papers_zero(found)


def _with_the_papers_zero(found: list[Result]) -> list[str]:
    """Cells of tasks on another clock than the paper's that are below it on the paper's scale."""
    out = []
    for env in OTHER_CLOCKS:
        own = [(r, r.paper) for r in found if r.key[0] == env and r.paper is not None]
        low = [
            f"{name(r.key[1])} with {r.key[2]} ({r.score_with_the_papers_zero:.3f} against {paper.score:.3f})"
            for r, paper in own
            if below(r.score_with_the_papers_zero - paper.score)
        ]
        if own:
            zero = f"{env} with the paper's zero, {own[0][1].random:,.0f}, stochastic policies: "
            out += [zero + (f"below it are {', '.join(low)}." if low else "none is below it."), ""]
    return out


def _short_table(results: list[Result]) -> list[str]:
    out = header(
        *("task", "method", "trajectories", "paper's score"),
        *("stochastic [95 %]", "difference", "deterministic", "difference"),
    )
    for r in results:
        if r.paper is not None:
            env, method, n = r.key
            stochastic, deterministic = differences(r)
            own = (scores(r), stochastic, f"{r.deterministic_score:.3f}", deterministic)
            out.append(row(env, name(method), n, f"{r.paper.score:.3f}", *own))
    return out


def differences(r: Result) -> list[str]:
    """From the paper's score, of the stochastic and of the deterministic policy; bold where below it."""
    marks = [("**" if below(d) else "", d) for d in (r.difference, r.deterministic_difference) if d is not None]
    return [f"{mark}{signed(d)}{mark}" for mark, d in marks]

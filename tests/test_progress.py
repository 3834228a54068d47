"""Long work tells how far it is, stops when asked to, and goes on from what it had."""

import io
import sys
from itertools import pairwise

import numpy as np
import pytest

import occmatch as om
from occmatch import examples, progress


@pytest.fixture
def problem():
    mdp = examples.gridworld(12, gamma=0.99)
    return mdp, examples.gridworld_cost(mdp)


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_each_report_holds_an_answer_within_its_error(problem, lam):
    mdp, cost = problem
    reports = []
    solved = om.rl(mdp, cost, lam, progress=reports.append)
    assert [r.iteration for r in reports] == list(range(len(reports))) and len(reports) == solved.iterations + 1
    for report in reports:
        assert np.abs(report.V - solved.V).max() <= report.error + solved.error + 1e-12
        assert report.method == solved.method
    assert all(a.seconds <= b.seconds for a, b in pairwise(reports))


def test_an_interruption_leaves_the_best_answer_and_a_run_goes_on_from_it(problem):
    mdp, cost = problem
    kept = []

    def stop(report):
        kept.append(report)
        if report.iteration == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        om.rl(mdp, cost, 0.1, progress=stop)
    cold, warm = om.rl(mdp, cost, 0.1), om.rl(mdp, cost, 0.1, V0=kept[-1].V)
    assert warm.iterations < cold.iterations
    assert np.abs(warm.V - cold.V).max() <= warm.error + cold.error


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_on_terminals_only_after_a_while_and_never_when_off(problem, monkeypatch):
    mdp, cost = problem
    for stream, seconds, argument, speaks in (
        (Terminal(), -1.0, None, True),
        (Terminal(), 1e9, None, False),
        (Terminal(), -1.0, False, False),
        (io.StringIO(), -1.0, None, False),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(progress, "_SECONDS", seconds)
        om.rl(mdp, cost, 0.1, progress=argument)
        assert bool(stream.getvalue()) is speaks
        assert not speaks or "RL on 144 states" in stream.getvalue()


def test_the_line_is_taken_away_when_the_work_is_interrupted(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress, "_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt), progress.reporting(None, "work") as say:
        say("method", 1, 0.5, lambda: np.zeros(1))
        raise KeyboardInterrupt
    assert sys.stderr.getvalue().endswith("\x1b[?25h") or "\x1b[2K" in sys.stderr.getvalue()

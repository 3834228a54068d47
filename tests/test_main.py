"""`python -m occmatch`: the table is complete, the search is repeatable, and planted errors turn it red."""

import importlib
from collections.abc import Iterator
from itertools import count, pairwise

import numpy as np
import pytest

import occmatch as om
from occmatch.__main__ import main
from occmatch.statements import STATEMENTS, Row, Statement, Tolerance, check
from occmatch.statements import plain as second

ARGV = ["--seconds", "1", "--mdps", "2"]
TIGHT = Tolerance(1e-3, "a test")

# A few of each kind that need no convex program: milliseconds each.
CHEAP = {"Eq 2", "Prop 3.1", "Lemma 3.1", "Lemma 3.2", "Eq 10", "Eq 12", "Eq 13", "Eq 14", "Eq 15", "Eq 17", "Eq 18"}
CHEAP |= {"Lemma A.1", "Eq 29", "Cor A.1.1", "Eq 8", "Eq 16"}


def cheap() -> list[Statement]:
    return [s for s in STATEMENTS if s.id in CHEAP]


def last(work: Iterator[tuple[float, Row, list[Row]]]) -> list[Row]:
    *_, (_, _, rows) = work
    return rows


def test_every_statement_of_the_paper_has_a_row() -> None:
    ids = {s.id for s in STATEMENTS}
    equations = {f"Eq {n}" for n in (1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 29)}
    others = {"Prop 3.1", "Prop 3.2", "Cor 3.2.1", "Lemma 3.1", "Lemma 3.2", "Prop A.1", "Cor A.1.1", "Lemma A.1"}
    assert ids == equations | others | {"Section 3", "Section 4"}
    for name, expected in (("Prop 3.2", om.regularisers.REGISTERED), ("Prop A.1", om.LOSSES), ("Eq 29", om.LOSSES)):
        assert {s.case for s in STATEMENTS if s.id == name} - {""} == set(expected)


def test_each_row_says_something_else_and_why_it_tolerates_what_it_does() -> None:
    assert len({(s.id, s.says, s.case) for s in STATEMENTS}) == len(STATEMENTS)
    for s in STATEMENTS:
        assert 0 < s.tolerance.value <= 1e-4 and len(s.tolerance.because) > 20
        assert s.deviation.__doc__ and len(s.says) < 75


def test_the_statements_hold_where_they_are_cheap() -> None:
    rows = last(check(cheap(), seed=7, mdps=6, seconds=20))
    assert [(r.statement.id, r.deviation) for r in rows if not r.holds] == []
    assert {r.mdps for r in rows} == {6}


def test_the_same_seed_gives_the_same_deviations_whatever_the_clock() -> None:
    def slow() -> float:
        return 0.01 * next(ticks)

    ticks = count()
    first = last(check(cheap(), seed=3, mdps=2))
    again = last(check(cheap(), seed=3, mdps=2, clock=slow))
    other = last(check(cheap(), seed=4, mdps=2))
    assert [r.deviation for r in first] == [r.deviation for r in again] != [r.deviation for r in other]


def test_time_is_shared_and_each_statement_tried_once() -> None:
    """Statements that take 1 and 10 seconds of a clock of their own, for 100 seconds."""
    now = 0.0

    def lasting(seconds: float) -> Statement:
        def deviation(mdp: om.MDP, rng: np.random.Generator) -> float:
            nonlocal now
            now += seconds
            return 0.0

        return Statement("x", f"takes {seconds}", deviation, TIGHT)

    work = [
        (share, [r.mdps for r in rows])
        for share, _, rows in check([lasting(1.0), lasting(10.0)], 0, 1000, 100, lambda: now)
    ]
    assert work[-1][1] == [50, 5]
    assert all(0 < a <= b <= 1.1 for a, b in pairwise(share for share, _ in work))
    now = 0.0
    assert last(check([lasting(10.0)] * 3, 0, 9, 0.1, lambda: now))[-1].mdps == 1


@pytest.mark.parametrize("deviations", [[0.0, 2e-3, 0.0], [0.0, float("nan"), 0.0], [float("inf")]])
def test_the_largest_deviation_is_kept_and_fails(deviations: list[float]) -> None:
    source = iter(deviations)
    rows = last(check([Statement("x", "", lambda mdp, rng: next(source), TIGHT)], mdps=len(deviations)))
    assert not rows[0].holds and rows[0].worst == len(deviations) // 2
    assert rows[0].mdps == len(deviations)


def test_an_exception_is_a_failure_that_says_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(mdp: om.MDP, rng: np.random.Generator) -> float:
        raise ArithmeticError("no [answer]")

    assert main(ARGV, [Statement("Eq 0", "breaks", broken, TIGHT), *cheap()[:1]]) == 1
    printed = capsys.readouterr().out
    assert "FAILS on MDP 0" in printed and "Eq 0, MDP 0: ArithmeticError: no [answer]" in printed
    assert "1 of 2 statements FAIL" in printed


def test_ctrl_c_prints_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(mdp: om.MDP, rng: np.random.Generator) -> float:
        raise KeyboardInterrupt

    assert main(ARGV, [*cheap()[:1], Statement("Eq 0", "never ends", interrupt, TIGHT)]) == 130
    out, err = capsys.readouterr()
    assert "not tried" in out and "1 of 2 statements hold" in out and err == "interrupted\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--mdps", "0"], "mdps must be an integer of at least 1, but is 0"),
        (["--seed", "-1"], "seed must be an integer of at least 0, but is -1"),
        (["--seconds", "0"], "seconds must be positive, but is 0"),
        (["--seconds", "nan"], "seconds must be finite, but is nan"),
    ],
)
def test_arguments_that_cannot_be_used_end_in_one_line(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv, cheap()[:1]) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


PLANTED = [
    # file, attribute, what it is replaced by, the statement that notices
    ("measures", "causal_entropy", lambda f: lambda rho: -f(rho), "Lemma 3.1"),
    ("measures", "policy", lambda f: lambda rho: f(rho**2), "Prop 3.1"),
    ("measures", "rl", lambda f: lambda mdp, cost: f(mdp, -cost), "Eq 2"),
    ("apprenticeship", "matching_gradient", lambda f: lambda *a: 2 * f(*a), "Eq 12"),
    ("adversarial", "saddle_gradient", lambda f: lambda mdp, theta, cost, lam: f(mdp, theta, cost, -lam), "Eq 18"),
    ("adversarial", "entropy_gradient", lambda f: lambda mdp, theta: f(mdp, 1.1 * theta), "Lemma A.1"),
    ("adversarial", "match", lambda f: lambda mdp, rho_E, psi, lam: f(mdp, rho_E, psi, 2 * lam), "Eq 16"),
    ("duality", "match", lambda f: lambda mdp, rho_E, psi: f(mdp, rho_E, psi, 2.0), "Eq 8"),
]


@pytest.mark.parametrize(("file", "name", "wrong", "statement"), PLANTED, ids=[p[3] for p in PLANTED])
def test_a_planted_error_turns_its_row_red(file, name, wrong, statement, monkeypatch, capsys) -> None:
    module = importlib.import_module(f"occmatch.statements.{file}")
    monkeypatch.setattr(module, name, wrong(getattr(module, name)))
    rows = [s for s in cheap() if s.id == statement]
    assert rows and main(["--mdps", "3"], rows) == 1
    assert "FAILS" in capsys.readouterr().out


def test_a_wrong_sign_in_a_loss_turns_the_conjugate_red(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = type(om.LOSSES["logistic"])
    monkeypatch.setattr(loss, "best_margin", lambda self, p, q: np.log(q) - np.log(p))
    rows = last(check([s for s in cheap() if s.id in ("Eq 29", "Cor A.1.1") and s.case in ("", "logistic")], mdps=1))
    assert len(rows) == 2 and not any(r.holds for r in rows)


def test_what_the_table_once_found_is_mended() -> None:
    """Many short steps of the interior point were taken for none: 1 % of the value was missing on this MDP."""
    assert last(check([s for s in STATEMENTS if s.id == "Eq 11"], seed=5, mdps=1))[0].holds


def test_second_opinions_are_what_they_say() -> None:
    rng = np.random.default_rng(5)
    mdp = om.examples.two_state_chain(fail=0.25, gamma=0.9)
    pi = np.array([[0.4, 0.6], [1.0, 0.0]])
    d0 = 1.0 / (1.0 - 0.9 * (1.0 - 0.6 * 0.75))  # by hand, see the example
    np.testing.assert_allclose(second.measure(mdp, pi).sum(axis=1), [d0, 10.0 - d0], rtol=1e-14)
    np.testing.assert_allclose(second.least(lambda m: (m - 3.0) ** 2 + np.ones((2, 2)), (2, 2)), 1.0, rtol=1e-14)
    theta, direction = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    exact = float((np.cos(theta) * direction).sum())
    assert second.slope(lambda x: np.sin(x).sum(), theta, direction) == pytest.approx(exact, rel=1e-14)
    assert np.isnan(second.furthest(1.0, np.array([np.nan, 2.0])))

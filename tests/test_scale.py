"""The table of exact solvers at scale: rows made in processes of their own, kept, and put on a page."""

import json
import sys

import pytest


@pytest.fixture
def scale(benchmark):
    yield benchmark("scale")
    for name in ("scale", "scale_rows", "scale_matching"):
        sys.modules.pop(name, None)


def test_rows_are_made_once_kept_and_shown(scale, tmp_path):
    request = scale.Request(quick=True, only="rl, garnet, 0.9999", out=tmp_path, time_limit=120.0)
    scale.main(request)
    rows = [json.loads(line) for line in (tmp_path / "scale.jsonl").read_text().splitlines()]
    assert [row["work"] for row in rows] == ["rl, garnet, 0.9999"]
    assert all(0 <= row["error"] <= 1e-9 and row["seconds"] > 0 and row["peak_mb"] > 20 for row in rows)
    before = (tmp_path / "scale.jsonl").read_text()
    scale.main(request)
    assert (tmp_path / "scale.jsonl").read_text() == before, "what is known is not measured again"
    page = (tmp_path / "scale.md").read_text()
    assert "| rl, garnet, 0.9999 | garnet | 10,000 x 4, gamma 0.9999 |" in page
    assert "soft policy iteration" in page


def test_exponents_are_slopes_of_logarithms(scale):
    rows = [
        {"work": f"growth in S, grid, {S}", "problem": "grid", "S": S, "cpu": 1e-6 * S**1.5, "peak_mb": 2.0 * S}
        for S in (10, 100, 1000)
    ]
    assert scale.exponents(rows) == ["| S | grid | 1.50 | 1.00 | 3 |"]
    gammas = [
        {"work": "growth in 1/(1-gamma), grid", "problem": "grid", "gamma": g, "cpu": 1 / (1 - g), "peak_mb": 5.0}
        for g in (0.9, 0.99)
    ]
    assert scale.exponents(gammas) == ["| 1/(1-gamma) | grid | 1.00 | 0.00 | 2 |"]


def test_a_row_that_fails_or_takes_too_long_says_so(scale, tmp_path):
    request = scale.Request(quick=True, out=tmp_path, time_limit=0.01)
    assert scale.measured("rl, garnet, 0.99", request)["method"] == "over 0.01 s"
    failed = scale.measured("no such row", scale.Request(quick=True, out=tmp_path, time_limit=60.0))
    assert failed["method"].startswith("exit 1: KeyError") and "| no such row |" in scale.show(failed)


def test_value_iteration_and_the_share_of_products_are_measured(scale):
    table = scale.cases(scale.Request(quick=True, baseline_limit=0.0))
    for name, bound in (("value iteration", "one-sweep bounds"), ("value iteration, as in textbooks", "contraction")):
        row = table[name]()
        assert row["method"] == f"soft value iteration, {bound}, over 0 s" and row["error"] > 1e-6
    assert "sparse products" in scale.scale_rows.share("garnet", 400, 0.9)["method"]
    occupancy = scale.scale_rows.solve("gridworld", 900, 0.9, 1e-9, work="occupancy")
    assert occupancy["error"] <= 1e-9 and occupancy["method"] == "transposed system"

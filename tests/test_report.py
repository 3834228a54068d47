"""The report: cells from raw lines, the paper's numbers, texts that depend on nothing else, and the check."""

import csv
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deep import (
    report,
    report_cells,
    report_csv,
    report_figures,
    report_settings,
    report_short,
    report_text,
    report_words,
)
from deep.config import GailConfig
from deep.config_values import as_dict, from_dict
from deep.report_cells import expected, published, results
from deep.sweep_grid import METHODS, TASKS, cell, identity

LAST_DIGIT = 5e-4  # half of the last digit that the table prints
SUM = 1e-12  # of a few numbers below 10^4 in float64, relative


def line(method: str, env: str, trajectories: int, seed: int, value: float, **more: Any) -> dict[str, Any]:
    """A raw line as a run with that return would give it: random 0, expert 1000."""
    made = cell(method, env, trajectories, seed)
    steps = made.steps
    found = {
        "identity": identity(method, made.settings(), "digest"),
        "method": method,
        "env": env,
        "trajectories": trajectories,
        "seed": seed,
        "env_steps": steps,
        "return_mean": value,
        "return_std": 30.0,
        "return_length": 900.0,
        "return_deterministic_mean": value + 10,
        "random_return": 0.0,
        "expert_return": 1000.0,
        "episodes": 50,
        "evaluations": [[steps // 2, value / 2, 0.0], [steps, value, 0.0]] if steps else [],
        "config": made.settings(),
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "commit": "c0ffee",
        "code": "c0de",
        "demos_sha256": "digest",
        "finished": "2026-01-01T00:00:00Z",
    }
    return found | more


def few() -> list[dict[str, Any]]:
    """Two methods on Hopper: GAIL below the paper's 1.012 with four trajectories, above it with eleven."""
    lines = [line("gail", "Hopper-v4", 4, s, 900.0 + 10 * s) for s in range(5)]
    lines += [line("gail", "Hopper-v4", 11, s, 1100.0 + s) for s in range(5)]
    return lines + [line("bc", "Hopper-v4", 4, s, 100.0 * (s + 1)) for s in range(3)]


def write(folder: Path, lines: list[dict[str, Any]], name: str = "raw.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(x) + "\n" for x in lines))
    return folder


def test_a_cell_averages_its_seeds_and_keeps_its_interval_around_the_mean() -> None:
    found = {r.key: r for r in results(few())}
    r = found["Hopper-v4", "gail", 4]
    values = [900.0, 910.0, 920.0, 930.0, 940.0]
    assert r.returns.tolist() == values and [x["seed"] for x in r.lines] == list(range(5))
    assert r.interval.point == pytest.approx(statistics.mean(values) / 1000, rel=SUM)
    assert 0.9 <= r.interval.low < r.interval.point < r.interval.high <= 0.94
    # All episodes of all seeds: the variance within runs and that between them.
    assert r.std == pytest.approx(np.sqrt(30.0**2 + statistics.pvariance(values)), rel=SUM)
    assert r.mean("return_deterministic_mean") == pytest.approx(930.0, rel=SUM)
    assert r.paper is not None and r.difference == pytest.approx(0.92 - r.paper.score, rel=1e-9)
    assert r.deterministic_score == pytest.approx(0.93, rel=SUM)
    assert r.deterministic_difference == pytest.approx(0.93 - r.paper.score, rel=1e-9)
    assert r.env_steps == 1_000_000 and r.share_of_steps == pytest.approx(0.04, rel=SUM)
    assert found["Hopper-v4", "bc", 4].env_steps == 0
    (own,) = results([line("gail", "Pendulum-v1", 4, 0, -200.0, env_steps=3_000_000)])
    assert own.share_of_steps is None and "More than a tenth" not in report_text.page([own], own.lines)


def test_the_papers_numbers_are_normalised_by_its_own_random_and_expert() -> None:
    hopper = published(("Hopper-v4", "gail", 4))
    assert hopper is not None and (hopper.mean, hopper.runs) == (3614.22, 1)
    assert hopper.score == pytest.approx((3614.22 - 14.47) / (3571.38 - 14.47), rel=SUM)
    acrobot = published(("Acrobot-v1", "gail", 1))  # published as Acrobot-v0
    assert acrobot is not None and acrobot.score == pytest.approx((200 - 77.26) / (200 - 75.25), rel=SUM)
    lam = published(("Reacher-v4", "gail_lambda_1e-3", 18))
    assert lam is not None and lam.mean == -5.66
    assert published(("Hopper-v5", "gail", 4)) is None and published(("Hopper-v4", "gail", 5)) is None
    have = [key for key in expected() if published(key)]
    assert len(expected()) == (7 * 4 + 2 * 3) * 4 and len(have) == len(expected()) - 2 * 3  # no FEM, GTAL on Reacher
    assert {key[0] for key in expected()} == set(TASKS)


def test_the_setup_of_the_latest_line_counts_and_a_seed_counts_once() -> None:
    lines = few()
    config = as_dict(dataclasses.replace(from_dict(GailConfig, lines[0]["config"]), steps=77))
    older = [line("gail", "Hopper-v4", 4, s, 5.0, config=config, finished="2025-12-31T00:00:00Z") for s in range(5)]
    again = line("gail", "Hopper-v4", 4, 0, 950.0, finished="2026-01-02T00:00:00Z")
    r = next(r for r in results([again, *older, *lines]) if r.key == ("Hopper-v4", "gail", 4))
    assert r.returns.tolist() == [950.0, 910.0, 920.0, 930.0, 940.0] and r.left_out == 6
    text = report_text.page(results([again, *older, *lines]), [again, *older, *lines])
    assert "6 lines belong to earlier setups or repeat a seed and are not used" in text
    newer = [line("gail", "Hopper-v4", 4, 0, 5.0, config=config, finished="2026-01-03T00:00:00Z")]
    assert next(r for r in results([*lines, *newer]) if r.key == ("Hopper-v4", "gail", 4)).returns.tolist() == [5.0]


def test_lambda_makes_a_method_of_its_own() -> None:
    config = cell("gail", "Reacher-v4", 4, 0, flags=("--entropy", "0.001")).settings()
    found = results([line("gail", "Reacher-v4", 4, 0, 900.0, config=config), line("gail", "Reacher-v4", 4, 0, 800.0)])
    assert [r.key[1] for r in found] == ["gail", "gail_lambda_1e-3"]
    assert found[1].paper is not None and found[1].paper.mean == -32.37
    assert report_words.name("gail_lambda_1e-3") == "GAIL, lambda 1e-3"


def test_two_lambdas_are_two_methods_and_need_no_figure_1(tmp_path: Path) -> None:
    lines = []
    for lam in ("0.0015", "0.002"):
        config = cell("gail", "Reacher-v4", 4, 0, flags=("--entropy", lam)).settings()
        lines.append(line("gail", "Reacher-v4", 4, 0, 900.0, config=config))
    found = results(lines)
    assert [r.key[1] for r in found] == ["gail_lambda_1.5e-3", "gail_lambda_2e-3"]
    report_figures.figure_1(found, tmp_path / "figure1.png")
    assert not (tmp_path / "figure1.png").exists()


@pytest.mark.parametrize("value", [float("nan"), "1", 10**400, 1e300], ids=["nan", "text", "huge", "square"])
def test_a_line_without_its_numbers_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"lines\[1\] .*: expert_return must be finite, but is (nan|'?1)"):
        results([few()[0], few()[1] | {"expert_return": value}])


def test_lines_without_a_score_are_counted_and_left_out() -> None:
    """Demonstrations of one's own, of whose expert nothing is known, or one no better than random actions."""
    own, poor = few()[0] | {"expert_return": None}, few()[0]
    bad = [poor | {"expert_return": poor["random_return"] - worse} for worse in (0.0, 5.0)]
    lines = [own, *bad, *few()]
    assert [r.key for r in results(lines)] == [r.key for r in results(few())]
    text = report_text.page(results(lines), lines)
    assert "3 lines have no score" in text and "repeat a seed" not in text


def test_the_page_says_plainly_what_falls_short_and_what_is_missing() -> None:
    lines = few()
    text = report_text.page(results(lines), lines)
    assert "Of the 2 cells run, GAIL falls short of the paper's score in 1 with the stochastic policy, in 1 " in text
    below = text.split("## What falls short")[1].split("##")[0]
    theirs = published(("Hopper-v4", "gail", 4))
    assert theirs is not None and f"| Hopper-v4 | GAIL | 4 | {theirs.score:.3f} | 0.920 [" in below
    assert f"] | **{0.92 - theirs.score:.3f}** | 0.930 | **{0.93 - theirs.score:.3f}** |" in below
    assert "| 11 |" not in below
    noisy = [x | {"return_deterministic_mean": 1100.0} for x in lines]
    text = report_text.page(results(noisy), noisy)
    assert "in 1 with the stochastic policy, in 0 with the deterministic one:" in text
    assert f"| 1.100 | {1.1 - theirs.score:+.3f} |" in text.split("## What falls short")[1].split("##")[0]
    text = report_text.page(results(lines), lines)
    gaps = text.split("## What is missing")[1].split("##")[0]
    assert "| Hopper-v4 | 18, 25 | 11, 18, 25 | 4, 11, 18, 25 | 4, 11, 18, 25 |" in gaps
    assert "| CartPole-v0 | 1, 4, 7, 10 |" in gaps
    fewer = [x for x in lines if x["seed"] < 2]
    assert "| Hopper-v4 | 4 (2), 11 (2), 18, 25 | 4 (2), 11," in report_text.page(results(fewer), fewer)
    slow = [x | {"env_steps": 2_500_001} for x in lines]
    over = report_text.page(results(slow), slow)
    assert "More than a tenth" not in text and "More than a tenth" in over and "- Hopper-v4: 10.00%" in over
    assert "commit c0ffee: 13 runs" in text and "code c0de: 13 runs" in text and "torch 2.13.0: 13 runs" in text
    mixed = [*lines[:-1], lines[-1] | {"code": "other"}]
    assert "more than one state of the code: cloning on Hopper-v4 with 4 traj" in report_text.page(
        results(mixed), mixed
    )


def test_the_page_counts_episodes_as_the_runs_did() -> None:
    lines = few()
    text = report_text.page(results(lines), lines)
    assert "mean over 50 episodes a run" in text and "of 10 evaluation episodes" in text
    for x in lines:
        x["config"]["final_episodes"] = 3
        if x["method"] == "gail":
            x["config"]["eval_episodes"] = 2 if x["trajectories"] == 4 else 10
    text = report_text.page(results(lines), lines)
    assert "mean over 3 episodes a run" in text and "of 2 to 10 evaluation episodes" in text


def test_settings_in_which_the_methods_of_a_task_differ_are_named() -> None:
    """Those of the loop: a cost of its own, and its place in the grid, are what makes a method or a cell."""
    lines = [line(m, "Hopper-v4", n, s, 900.0) for m in ("gail", "fem", "bc") for n in (4, 11) for s in range(2)]
    lines[0]["config"]["cost"]["gradient_penalty"] = 7.0
    assert report_settings.unlike(results(lines)) == []
    preset = lines[0]["config"]["learner"]["trpo"]["fisher_fraction"]
    for x in lines[4:8]:
        x["config"]["learner"]["trpo"]["fisher_fraction"] = 0.9
    expected = f"Hopper-v4: learner.trpo.fisher_fraction is {preset} for GAIL, 0.9 for FEM"
    assert report_settings.unlike(results(lines)) == [expected]
    assert f"- {expected}" in report_text.page(results(lines), lines)


def test_the_page_is_pleased_where_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (report_cells, report_text):
        monkeypatch.setattr(module, "REPS", 20)  # every run is the same here, and so is every draw
    lines = [
        line(m, env, n, s, 3000.0, env_steps=1)
        for env, m, n in expected()
        for s in range(report_text.SEEDS.get(m, report_text.OTHERWISE))
    ]
    found = results(lines)
    assert [r.key for r in found] == expected()
    text = "\n".join([*report_text.in_short(found), *report_short.falls_short(found), *report_text.missing(found)])
    assert "GAIL is at least the paper's in each of the 34 cells run." in text and "Nothing." in text
    assert f"| GAIL | 34 of 34 | {5 * 34} | 3.000 [3.000, 3.000] |  | 34 of 34 | 34 of 34 |" in text
    assert (
        "| FEM | 34 of 34 | 102 | 3.000 [3.000, 3.000] | 0.50 [0.50, 0.50] in 34 cells | 31 of 31 | 31 of 31 |" in text
    )


def test_the_csv_says_what_the_page_says(tmp_path: Path) -> None:
    lines = few()
    found = results(lines)
    rows = list(csv.DictReader(report_csv.table(found).splitlines()))
    page = report_text.page(found, lines)
    assert [(r["task"], r["method"], int(r["trajectories"])) for r in rows] == [r.key for r in found]
    for r in rows:
        assert f"| {float(r['score_mean']):.3f} [{float(r['score_low']):.3f}, {float(r['score_high']):.3f}] |" in page
        assert float(r["difference"]) == pytest.approx(float(r["score_mean"]) - float(r["paper_score"]), abs=LAST_DIGIT)
        own, theirs = float(r["deterministic_score"]), float(r["paper_score"])
        assert float(r["deterministic_difference"]) == pytest.approx(own - theirs, abs=LAST_DIGIT)
        assert f"| {own:.3f} |" in page
        assert (r["commits"], r["code"]) == ("c0ffee", "c0de")
    assert rows[0]["seeds"] == "0 1 2 3 4" and rows[0]["return_median"] == "920.00"


def test_a_new_cell_moves_no_number_of_the_others() -> None:
    before = {r.key: r.interval for r in results(few())}
    after = {r.key: r.interval for r in results([line("gtal", "Hopper-v4", 4, 0, 1.0), *few()])}
    assert {k: after[k] for k in before} == before


def test_the_command_writes_and_checks_and_finds_any_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "results", few()[:6])
    write(folder, few()[6:], "more.jsonl")
    flags = ["--folder", str(folder)]
    report.main(flags)
    for picture in ("figure1.png", "learning_curves.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    page = (folder / "README.md").read_bytes()
    report.main([*flags, "--check"])
    report.main(flags)
    assert (folder / "README.md").read_bytes() == page
    capsys.readouterr()
    for name in ("README.md", "table.csv"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("0.92", "0.93", 1))
        with pytest.raises(SystemExit) as stop:
            report.main([*flags, "--check"])
        assert stop.value.code == 1 and f"{name} from the raw lines" in capsys.readouterr().err
        (folder / name).write_text(text)
    report.main([*flags, "--check"])
    write(folder, [few()[6] | {"return_mean": 1099.0}, *few()[7:]], "more.jsonl")
    with pytest.raises(SystemExit):
        report.main([*flags, "--check"])


def test_a_folder_without_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder must hold raw lines in \*\.jsonl files, but .* has none"):
        report.main(["--folder", str(tmp_path)])


def test_curves_are_normalised_and_put_on_one_axis() -> None:
    lines = (
        line("gail", "Hopper-v4", 4, 0, 900.0, evaluations=[[100, 100.0, 0], [200, 300.0, 0]]),
        line("gail", "Hopper-v4", 4, 1, 900.0, evaluations=[[100, 0.0, 0], [300, 400.0, 0]], random_return=-1000.0),
        line("bc", "Hopper-v4", 4, 2, 900.0),
    )
    steps, scores = report_figures.curve(lines)
    assert steps.tolist() == [100, 200]
    np.testing.assert_allclose(scores, [[0.1, 0.3], [0.5, 0.6]], rtol=SUM)
    assert report_figures.curve(lines[2:])[0].shape == (0,)


def test_every_method_has_a_style_and_a_name() -> None:
    assert set(report_figures.STYLES) == set(report_words.NAMES) == set(METHODS)
    assert report_cells.place(("Other-v0", "gail", 1)) > report_cells.place(("Humanoid-v4", "gtal", 240))

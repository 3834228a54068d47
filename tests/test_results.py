"""The committed results are what their raw lines say, and the lines say where they come from."""

import csv
from pathlib import Path

from deep.config import GailConfig, task_name
from deep.config_values import from_dict
from deep.report import collect, differences, texts
from deep.report_cells import PAPER, results
from deep.report_short import OTHER_CLOCKS
from deep.sweep_grid import TASKS

RESULTS = Path(__file__).parents[1] / "results"


def test_the_committed_report_is_what_the_raw_lines_say() -> None:
    lines = collect(RESULTS)
    assert differences(RESULTS, texts(lines, results(lines))) == []


def test_the_page_names_the_tasks_whose_scores_have_another_scale_than_the_paper_s() -> None:
    """Where the expert is half as far or twice as far from random actions, in whatever the task counts."""
    with open(PAPER, newline="") as file:
        ends = {(task_name(r["task"]), r["method"]): float(r["return_mean"]) for r in csv.DictReader(file)}
    protocol = (RESULTS / "README.md").read_text().partition("## In short")[0]
    apart, lines = set(), collect(RESULTS)
    for env in TASKS:
        line = next(x for x in lines if x["env"] == env)
        ours = line["expert_return"] - line["random_return"]
        if not 0.5 < ours / (ends[task_name(env), "expert"] - ends[task_name(env), "random"]) < 2:
            apart.add(env)
    assert apart == set(OTHER_CLOCKS) == {env for env in TASKS if env in protocol}


def test_scores_on_the_paper_s_scale_take_its_zero() -> None:
    (cell,) = (r for r in results(collect(RESULTS)) if r.key == ("Acrobot-v1", "gail", 1))
    expert = cell.lines[0]["expert_return"]  # that of each line: no expert was replaced
    assert cell.paper is not None and cell.paper.random == -200
    assert abs(cell.score_with_the_papers_zero - (cell.returns.mean() + 200) / (expert + 200)) < 1e-12


def test_every_raw_line_names_its_configuration_and_where_it_comes_from() -> None:
    lines = collect(RESULTS)
    assert len({line["identity"] for line in lines}) == len(lines)
    for line in lines:
        assert len(line["commit"]) == 40 and line["versions"]["torch"] and line["demos_sha256"]
        if line["method"] == "gail":
            config = from_dict(GailConfig, line["config"])
            assert (config.env, config.seed, config.trajectories) == (line["env"], line["seed"], line["trajectories"])
            assert line["env_steps"] >= config.steps  # the final policy, not an earlier one

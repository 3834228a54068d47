"""The committed results are what their raw lines say, and the lines say where they come from."""

from pathlib import Path

from deep.config import GailConfig
from deep.config_values import from_dict
from deep.report import collect, differences, texts
from deep.report_cells import results

RESULTS = Path(__file__).parents[1] / "results"


def test_the_committed_report_is_what_the_raw_lines_say() -> None:
    lines = collect(RESULTS)
    assert differences(RESULTS, texts(lines, results(lines))) == []


def test_every_raw_line_names_its_configuration_and_where_it_comes_from() -> None:
    lines = collect(RESULTS)
    assert len({line["identity"] for line in lines}) == len(lines)
    for line in lines:
        assert len(line["commit"]) == 40 and line["versions"]["torch"] and line["demos_sha256"]
        if line["method"] == "gail":
            config = from_dict(GailConfig, line["config"])
            assert (config.env, config.seed, config.trajectories) == (line["env"], line["seed"], line["trajectories"])
            assert line["env_steps"] >= config.steps  # the final policy, not an earlier one

"""Numbers that say whether training converges: what they are, where they are logged, and how they are judged."""

import contextlib
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deep import diagnostics, gail
from deep.cli import main_guard
from deep.config import gail_defaults
from deep.diagnostics import Request, Rule, measures, read
from deep.imitator import Imitator

TASK = "CartPole-v0"
ROUNDING = 1e-6  # of a mean of a few hundred numbers in float32
WELL = {
    "accuracy_learner": 0.6, "accuracy_expert": 0.7, "margin_gap": 1.0, "cg_residual": 0.01, "step_accepted": 1.0,
    "explained_variance": 0.8,
}  # fmt: skip


def test_rewards_by_outcome() -> None:
    rewards = np.array([[1.0, 2.0], [3.0, 10.0]])
    terminated = np.array([[False, True], [False, True]])
    found = measures({"margin_learner": 0.5, "margin_expert": -2.0}, rewards, terminated)
    assert found == {"margin_gap": 2.5, "reward_at_end": 6.0, "reward_elsewhere": 2.0}
    assert measures({"margin_learner": 0.5, "margin_expert": -2.0}, rewards, None) == {"margin_gap": 2.5}
    none = measures({"margin_learner": 0.0, "margin_expert": 0.0}, rewards, np.zeros((2, 2), bool))
    assert none == {"margin_gap": 0.0, "reward_elsewhere": 4.0}


def test_what_ending_is_paid_by_an_absorbing_state_is_not_told_from_steps() -> None:
    config = gail_defaults(TASK)
    learner = dataclasses.replace(config.learner, simulators=8, batch=400)
    imitator = Imitator(dataclasses.replace(config, absorbing=True, learner=learner, bc_init=False, threads=1))
    m = imitator.iterate()
    imitator.close()
    assert "margin_gap" in m and not {"reward_at_end", "reward_elsewhere"} & m.keys()


@pytest.mark.parametrize("method", ["gail", "fem"])
def test_an_iteration_reports_them(method: str) -> None:
    config = gail_defaults(TASK)
    learner = dataclasses.replace(config.learner, simulators=8, batch=400)
    imitator = Imitator(dataclasses.replace(config, method=method, learner=learner, bc_init=False, threads=1))
    kept = []
    inner = imitator.learner.improve
    imitator.learner.improve = lambda batch, rewards, *rest: (
        kept.append((batch, rewards)) or inner(batch, rewards, *rest)
    )
    m = imitator.iterate()
    imitator.close()
    ((batch, rewards),) = kept
    assert batch.terminated.any() and not batch.terminated.all()
    ended = [rewards[t, e] for t, e in np.ndindex(rewards.shape) if batch.terminated[t, e]]
    others = [rewards[t, e] for t, e in np.ndindex(rewards.shape) if not batch.terminated[t, e]]
    assert abs(m["reward_at_end"] - sum(ended) / len(ended)) <= ROUNDING * abs(m["reward_at_end"])
    assert abs(m["reward_elsewhere"] - sum(others) / len(others)) <= ROUNDING * max(1, abs(m["reward_elsewhere"]))
    assert m["margin_gap"] == m["margin_learner"] - m["margin_expert"]
    assert {"kl", "cg_residual", "explained_variance", "risk"} <= m.keys()
    assert ("accuracy_learner" in m) == (method == "gail")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    small = ["--learner.simulators", "8", "--learner.batch", "200", "--threads", "1", "--eval-every", "0"]
    quick = ["--no-bc-init", "--bc.epochs", "5", "--final-episodes", "1", "--out", str(out)]
    gail.main(["--env", TASK, "--steps", "2400", *small, *quick])
    return out


def test_they_are_in_the_metrics_and_on_the_board(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    board = EventAccumulator(str(folder))
    board.Reload()
    for name in ("margin_gap", "reward_at_end", "reward_elsewhere", "accuracy_expert", "explained_variance", "kl"):
        expected = [(m["env_steps"], m[name]) for m in lines if name in m]
        found = [(e.step, e.value) for e in board.Scalars(name)]
        assert found and [s for s, _ in found] == [s for s, _ in expected]
        np.testing.assert_allclose([v for _, v in found], [v for _, v in expected], rtol=ROUNDING, atol=ROUNDING)


def test_the_command_prints_what_it_found(folder: Path) -> None:
    printed = io.StringIO()
    findings = diagnostics.main(Request(folder), Console(file=printed, width=200))
    names = {f.name for f in findings}
    assert {"accuracy_learner", "margin_gap", "refused", "explained_variance", "reward_at_end"} <= names
    assert all(name in printed.getvalue() for name in names)


@pytest.mark.parametrize("content", [None, "[]", '{"command": "gail"}'])
def test_a_folder_without_enough_metrics_is_one_line(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    err = io.StringIO()
    with contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main_guard(lambda: diagnostics.main(Request(tmp_path), Console()))
    assert stop.value.code == 2 and err.getvalue().count("\n") == 1
    words = (
        "expected a JSON file" if content is None else "a run must have at least 10 iterations to be read, but has 0"
    )
    assert words in err.getvalue()


@pytest.mark.parametrize(
    ("name", "well", "between", "ill"),
    [
        ("accuracy_learner", 0.9, 0.97, 1.0),
        ("accuracy_expert", 0.9, 0.97, 0.99),
        ("margin_gap", -1.0, 5.0, 20.0),
        ("cg_residual", 0.7, 0.95, 1.0),
        ("explained_variance", 0.9, 0.2, -3.0),
    ],
)
def test_each_number_is_judged_by_its_rule(name: str, well: float, between: float, ill: float) -> None:
    for value, expected in ((well, True), (between, None), (ill, False)):
        found = {f.name: f for f in read([WELL | {name: value}] * 12)}
        assert found[name].well is expected and found[name].value == pytest.approx(value)
        assert all(f.well for other, f in found.items() if other != name)


def test_only_the_last_part_counts() -> None:
    ill = WELL | {"margin_gap": 50.0, "step_accepted": 0.0}
    assert all(f.well for f in read([ill] * 80 + [WELL] * 20))
    late = {f.name: f for f in read([WELL] * 85 + [ill] * 15)}
    assert late["margin_gap"].well is False and late["refused"].value == 0.75
    assert late["margin_gap"].before == 1.0 and late["refused"].before == 0.0


def test_what_ending_pays() -> None:
    for end, words in ((5.0, "ending pays more"), (-5.0, "going on pays more")):
        last = read([WELL | {"reward_at_end": end, "reward_elsewhere": 1.0}] * 12)[-1]
        assert last.name == "reward_at_end" and last.well is None and words in last.says
    assert "reward_at_end" not in {f.name for f in read([WELL | {"reward_elsewhere": 1.0}] * 12)}


def test_a_number_that_a_method_lacks_is_left_out() -> None:
    linear = {k: v for k, v in WELL.items() if not k.startswith("accuracy")}
    assert {f.name for f in read([linear] * 12)} == {"margin_gap", "cg_residual", "refused", "explained_variance"}
    assert "margin_gap" not in {f.name for f in read([linear] * 12, logistic=False)}
    assert Rule("x", 1.0, 2.0, "", "").judge(1.0).well and Rule("x", 1.0, 2.0, "", "").judge(2.0).well is False


PAGE = (Path(__file__).parent.parent / "docs" / "reading_a_run.md").read_text()


def test_the_page_names_what_is_there() -> None:
    """Every flag that it recommends exists."""
    known = flags(gail_defaults("HalfCheetah-v4"))
    named = {flag for flag in re.findall(r"--[a-z][a-z.-]+", PAGE) if flag not in ("--logdir",)}
    assert len(named) > 12 and not {f for f in named if f.replace("--no-", "--") not in known}


def flags(config: object, prefix: str = "--") -> set[str]:
    """Every flag of a configuration."""
    found: set[str] = set()
    for f in dataclasses.fields(config):
        name, value = prefix + f.name.replace("_", "-"), getattr(config, f.name)
        found |= flags(value, name + ".") if dataclasses.is_dataclass(value) else {name}
    return found


def test_the_table_on_the_page_is_that_of_two_runs_judged() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert {*WELL, "refused", "risk", "kl", "train_return"} - {"step_accepted"} == rows.keys()
    gap = [cell.strip() for cell in rows["margin_gap"].split("|")]
    assert float(gap[1]) < float(gap[0]) and gap[2] == "well" and float(gap[4]) > float(gap[3]) and gap[5] == "ill"


def test_a_short_run_says_how_many_iterations_its_parts_have() -> None:
    shown = io.StringIO()
    Console(file=shown, width=200).print(diagnostics.table("run", read([WELL] * 12), 12))
    assert "the first 2 and the last 10 of 12 iterations" in shown.getvalue()
    assert diagnostics.parts(1000) == (200, 200)
    assert all(f.before is None for f in read([WELL] * 10))  # its last part is all of it


@pytest.mark.parametrize(
    "entry", ["x", None, [1.0], 10**400, float("nan")], ids=["text", "null", "list", "huge", "nan"]
)
def test_a_line_that_holds_no_number_is_named(entry: object) -> None:
    with pytest.raises(ValueError, match=r"line 3: margin_gap must be a number that floats hold, but is"):
        read([WELL] * 2 + [WELL | {"margin_gap": entry}] + [WELL] * 9)


def test_lines_without_the_line_search_are_read() -> None:
    found = {f.name for f in read([{k: v for k, v in WELL.items() if k != "step_accepted"}] * 12)}
    assert "refused" not in found and "margin_gap" in found

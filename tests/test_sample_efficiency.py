"""benchmarks/sample_efficiency.py: when the mark counts as reached, what plain means, and the table."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from deep.config import gail_defaults
from deep.config_values import as_dict
from deep.evaluate import Returns


@pytest.fixture
def program(benchmark):
    return benchmark("sample_efficiency")


def watch(program, means, screens=None):
    """A mark of 90 that meets these means at 10, 20, ... steps; also the numbers of episodes it asked for."""
    mark, asked = program.Mark("stochastic", 90.0), []
    for k, mean in enumerate(means):

        def returns(_, episodes, seed, k=k, mean=mean):
            asked.append(episodes)
            first = screens[k] if screens and episodes == program.SCREEN else mean
            return Returns(np.full(episodes, first), np.ones(episodes, dtype=int))

        mark.returns = returns
        mark.check(SimpleNamespace(env_steps=10 * (k + 1)), 1.0 * k, np.random.SeedSequence(k))
    return mark, asked


def test_the_mark_takes_two_evaluations_in_a_row(program):
    assert watch(program, [50, 95, 80, 91, 90, 20])[0].reached == (40, 3.0)
    assert watch(program, [95, 89.9] * 5)[0].reached is None
    assert watch(program, [95])[0].reached is None


def test_after_the_mark_nothing_is_evaluated(program):
    _, asked = watch(program, [95, 95, 95, 95])
    assert asked == [program.SCREEN, program.EPISODES] * 2


def test_a_poor_screen_ends_an_evaluation(program):
    mark, asked = watch(program, [95, 95, 95], screens=[62, 64, 64])
    assert asked == [5, 5, 50, 5, 50] and mark.reached == (20, 1.0)


def test_the_steps_of_a_run_do_not_change_how_far_the_kl_bound_falls(program):
    for env in ("Hopper-v4", "Walker2d-v4"):
        preset = gail_defaults(env)
        found = program.configuration(program.Request(steps=500_000), env, 3)
        rounds = {c: c.steps / c.learner.batch for c in (preset, found)}
        ends = [c.learner.kl_decay**n for c, n in rounds.items()]
        assert found.steps == 500_000 and ends[0] == pytest.approx(ends[1], rel=1e-9)


def test_plain_has_no_cloning_anywhere(program):
    found = program.configuration(program.Request(plain=True), "Hopper-v4", 3)
    assert not found.bc_init and found.bc_weight == 0 and found.seed == 3


def test_the_table_shows_median_range_and_what_never_arrived(program, tmp_path, monkeypatch):
    lines = [
        {
            "env": "Hopper-v4",
            "plain": False,
            "expert": 1000.0,
            "deterministic_steps": steps,
            "stochastic_steps": steps,
            "deterministic_seconds": seconds,
            "stochastic_seconds": seconds,
            "deterministic_final": final,
            "stochastic_final": final - 10,
            "config": {"steps": 1_000_000},
        }
        for steps, seconds, final in ((200_000, 20.0, 990.0), (None, None, 700.0), (300_000, 31.0, 1000.0))
    ]
    raw = tmp_path / "raw.jsonl"
    longer = lines[0] | {"config": {"steps": 2_000_000}}
    others = [lines[0] | {"plain": True}, lines[0] | {"expert": 900.0}, longer]  # the second by an earlier expert
    raw.write_text("".join(json.dumps(x) + "\n" for x in [*lines, *others]))
    monkeypatch.setattr(program, "RAW", raw)
    monkeypatch.setattr(program, "recorded", lambda env: {"stochastic": {"mean": 1000.0}})
    monkeypatch.setattr(program, "of_today", lambda line: True)
    row, apart = program.table(program.Request()).splitlines()[2:]
    assert apart.startswith("| Hopper-v4 | 2,000,000 | 1 | 200k (200k to 200k) |")
    expected = ["Hopper-v4", "1,000,000", "3", *["300k (200k to never)"] * 2, *["31 (20 to never)"] * 2]
    assert [c.strip() for c in row.strip("|").split("|")] == [*expected, "99% (70% to 100%)", "98% (69% to 99%)"]
    page = program.page(program.Request())
    assert row in page and page.index("## The fast preset") < page.index(row) < page.index("## Plain GAIL")
    assert program.page(program.Request(envs=("Walker2d-v4",))) == page  # a run of one task loses none of the others


def test_a_run_with_earlier_settings_is_done_again_and_leaves_the_table(program, tmp_path, monkeypatch):
    now = as_dict(program.configuration(program.Request(plain=True), "Hopper-v4", 101))
    before = now | {"learner": now["learner"] | {"gae_lambda": 0.5}}
    line = {"env": "Hopper-v4", "seed": 101, "plain": True, "expert": 1000.0}
    line |= {f"{kind}_{unit}": 1000.0 for kind in program.KINDS for unit in ("steps", "seconds", "final")}
    old, new = line | {"config": before}, line | {"config": now, "seed": 102}
    assert program.of_today(new) and not program.of_today(old)
    raw = tmp_path / "raw.jsonl"
    raw.write_text("".join(json.dumps(x) + "\n" for x in (old, old | {"seed": 102}, new)))
    monkeypatch.setattr(program, "RAW", raw)
    monkeypatch.setattr(program, "recorded", lambda env: {"stochastic": {"mean": 1000.0}})
    (row,) = program.table(program.Request(plain=True)).splitlines()[2:]
    assert row.startswith("| Hopper-v4 | 1,000,000 | 1 |")
    older = line | {"config": now | {"learner": now["learner"] | {"gae_lambda": 0.25}}}
    raw.write_text(json.dumps(older) + "\n" + json.dumps(old) + "\n")  # the last of them
    (row,) = program.table(program.Request(plain=True)).splitlines()[2:]
    assert row.startswith("| Hopper-v4, earlier settings | 1,000,000 | 1 |")


def test_the_committed_page_is_what_the_raw_lines_say_of_todays_settings(program):
    """A preset that changes makes rows of it earlier ones, which the page must say."""
    assert program.PAGE.read_text() == program.page(program.Request())

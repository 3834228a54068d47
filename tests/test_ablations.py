"""benchmarks/ablations.py: one setting changed at a time, and a table of what it was worth."""

import pytest

from deep import demos, sweep_lines
from deep.config_values import as_dict
from deep.sweep_grid import digest


@pytest.fixture
def ablations(benchmark):
    return benchmark("ablations")


@pytest.mark.parametrize(("env", "plain"), [("CartPole-v0", True), ("Walker2d-v4", False), ("Hopper-v4", True)])
def test_every_setting_changes_one_thing(ablations, env, plain):
    request = ablations.Request(envs=(env,), seeds=2, plain=plain)
    cells = ablations.cells(request)
    assert len(cells) == len(set(cells)) and {c.config.seed for c in cells} == {0, 1}
    settings = [c for name, study in ablations.STUDIES.items() for c in study.values() if name != "warm-start"]
    if not plain:
        settings += ablations.STUDIES["warm-start"].values()
    if env == "CartPole-v0":  # whose actions have no deviation
        settings = [c for c in settings if "std" not in c]
    base = ablations.base(env, ablations.least(env), 0, None, plain)
    expected = {base} | {ablations.change(base, c) for c in settings}
    assert {c.config for c in cells if c.config.seed == 0} == expected and len(expected) > 10
    if plain:
        assert all(c.config.bc_weight == 0 and not c.config.bc_init for c in cells)


def test_settings_of_a_part_are_named_with_a_dot(ablations):
    base = ablations.base("Hopper-v4", 4, 0, None, False)
    found = ablations.change(base, {"learner.reuse": 5, "std": ()})
    assert found.learner.reuse == 5 and found.std == () and base.learner.reuse != 5
    assert ablations.change(found, {"learner.reuse": base.learner.reuse, "std": base.std}) == base
    found = ablations.change(base, {"learner.trpo.max_kl": 0.5})
    assert found.learner.trpo.max_kl == 0.5 and found.learner.reuse == base.learner.reuse
    assert ablations.change(found, {"learner.trpo.max_kl": base.learner.trpo.max_kl}) == base


def test_runs_become_a_table_and_are_not_repeated(ablations, tmp_path, capsys):
    request = ablations.Request(
        studies=("lambda",), steps=200, seeds=1, plain=True, jobs=1, out=tmp_path / "a.jsonl", runs=tmp_path / "runs"
    )
    ablations.main(request)
    lines = sweep_lines.read(request.out)
    assert [x["config"]["entropy"] for x in lines] == [0.0, 1e-3, 1e-2]
    page = (tmp_path / "a.md").read_text()
    assert "## CartPole-v0, 1 trajectory, 200 steps, without cloning" in page
    for name, line in zip(("base", "lambda 0.001", "lambda 0.01"), lines, strict=True):
        assert f"| {name} | {ablations.score(line):.3f} |  |  |  | 1 |" in page
    capsys.readouterr()
    ablations.main(request)
    assert sweep_lines.read(request.out) == lines and not capsys.readouterr().out


def test_a_table_of_several_seeds_has_intervals_and_tests(ablations):
    lines = []
    for seed in range(4):
        base = ablations.base("CartPole-v0", 1, seed, 200, True)
        for name, config in (("base", base), ("more", ablations.change(base, {"cost.steps": 20}))):
            score = 100.0 + seed + 50 * (name == "more")
            ends = {"return_mean": score, "random_return": 20.0, "expert_return": 200.0}
            lines.append({"config": as_dict(config)} | ends)
    text = ablations.tables(lines)
    (row,) = [x for x in text.splitlines() if x.startswith("| discriminator steps: 20 |")]
    # Every one of four runs beats every one of the base: 1 of the 70 orders of eight.
    assert "| 1.00 (1.00 to 1.00) | 0.014 | 4 |" in row
    # Settings that the preset of the task has anyway are the base itself, and no rows.
    assert [x.split(" | ")[0] for x in text.splitlines() if x.startswith("| ")] == [
        "| setting",
        "| ---",
        "| base",
        "| discriminator steps: 20",
    ]


def test_an_earlier_preset_is_a_base_that_says_so(ablations):
    now = ablations.base("CartPole-v0", 1, 0, 200, True)
    old = ablations.change(now, {"learner.kl_decay": 0.5})
    changed = [{}, {"cost.steps": 20}, {"entropy": 1e-3}, {"cost.lr": 1e-3}]
    ends = {"return_mean": 100.0, "random_return": 20.0, "expert_return": 200.0}
    lines = [{"config": as_dict(ablations.change(old, c))} | ends for c in changed]
    text = ablations.tables(lines)
    assert "200 steps, without cloning, earlier settings\n" in text and text.count("| 1 |") == len(changed)
    assert ablations.tables([*lines, {"config": as_dict(now)} | ends]) == ""  # today's base, and nothing against it
    assert ablations.tables(lines[:2]) == ""  # which of the two is the base cannot be told


def test_an_earlier_preset_stays_until_todays_has_three_seeds(ablations):
    ends = {"random_return": 20.0, "expert_return": 200.0}
    changed = [{}, {"cost.steps": 20}, {"entropy": 1e-3}]

    def runs(changes, seeds, value):
        bases = [ablations.change(ablations.base("CartPole-v0", 1, seed, 200, True), changes) for seed in range(seeds)]
        configs = [ablations.change(base, c) for base in bases for c in changed]
        return [{"config": as_dict(config), "return_mean": value} | ends for config in configs]

    before = runs({"learner.kl_decay": 0.5}, 3, 110.0)
    for seeds, shown in ((1, "| base | 0.500 |"), (2, "| base | 0.500 |"), (3, "| base | 0.800 |")):
        text = ablations.tables([*before, *runs({}, seeds, 164.0)])
        assert shown in text and ("earlier settings" in text) == (seeds < 3)


def test_runs_on_demonstrations_that_were_replaced_leave_the_page(ablations):
    base = ablations.base("CartPole-v0", 1, 0, 200, True)
    bundled = digest(demos.bundled("CartPole-v0"))
    changed = [ablations.change(base, c) for c in ({}, {"entropy": 1e-3}, {"entropy": 1e-2})]
    ends = {"env": "CartPole-v0", "return_mean": 100.0, "random_return": 20.0, "expert_return": 200.0}
    old, *mine = ({"config": as_dict(c), "demos_sha256": bundled} | ends for c in reversed(changed))
    page = ablations.document([old | {"demos_sha256": "another's"}, *mine])
    assert "| lambda 0.001 |" in page and "| lambda 0.01 |" not in page


def test_an_unknown_study_is_named(ablations):
    with pytest.raises(ValueError, match=r"studies must be of warm-start, .* but has colour"):
        ablations.main(ablations.Request(studies=("colour",)))

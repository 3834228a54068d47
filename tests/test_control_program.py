"""benchmarks/control.py: its table, which runs count, and that what is there is not run again."""

import pytest

from deep.config_values import as_dict


@pytest.fixture
def program(benchmark):
    return benchmark("control")


def line(program, seed, returned, **other):
    config = as_dict(program.configuration("CartPole-v0", 500, "none", "airl", seed)) | other
    return {
        "env": "CartPole-v0",
        "kind": "none",
        "seed": seed,
        "episodes": 2,
        "return_mean": returned,
        "config": config,
    }


def test_the_table_shows_median_and_range(program):
    found = [line(program, seed, returned) for seed, returned in enumerate((30.0, 10.0, 20.0))]
    head, *_, none = program.table(found).splitlines()[2:]
    assert head.startswith("| CartPole-v0, 500 steps | expert |")
    assert [c.strip() for c in none.strip("|").split("|")] == ["", "none", "", "20 (10 to 30)", "", "3"]


def test_runs_of_earlier_settings_leave_the_table_for_those_of_today_and_say_so_where_alone(program):
    old, new = line(program, 0, 10.0, bc_decay=0.5), line(program, 0, 30.0)
    assert program.of_today(new) and not program.of_today(old)
    both = program.table([old, new])
    assert "30 (30 to 30)" in both and "earlier settings" not in both
    alone = program.table([line(program, 0, 50.0, bc_decay=0.25), old])  # the last of them
    assert "| CartPole-v0 with earlier settings, 500 steps |" in alone and "10 (10 to 10)" in alone


def test_the_committed_pages_are_what_the_raw_lines_say_of_todays_settings(program):
    """A preset that changes makes rows of it earlier ones, which the pages must say."""
    found = program.sweep_lines.read(program.Request.out)
    assert program.Request.out.with_suffix(".md").read_text() == program.document(found)
    page = program.PAGE.read_text()
    assert program.embedded(page, program.table(found)) == page


def test_runs_on_demonstrations_that_were_replaced_are_run_again(program, tmp_path, monkeypatch):
    request = program.Request(
        steps=500, seeds=(0,), kinds=("expert",), forms=("airl",), episodes=2, out=tmp_path / "control.jsonl"
    )
    ran, bundled = [], program.digest(program.demos.bundled("CartPole-v0"))
    for sha in ("another's", bundled, bundled):
        monkeypatch.setattr(
            program,
            "perform",
            lambda *_, sha=sha: ran.append(sha) or {"return_mean": 9.0, "demos_sha256": sha},
        )
        program.main(request)
        assert ("earlier settings" in (tmp_path / "control.md").read_text()) == (len(ran) == 1)
    assert ran == ["another's", bundled]


def test_what_is_there_is_not_run_again(program, tmp_path, monkeypatch, capsys):
    request = program.Request(
        steps=500, seeds=(0, 1), kinds=("none",), forms=("airl",), episodes=2, out=tmp_path / "control.jsonl"
    )
    ran = []
    monkeypatch.setattr(
        program,
        "perform",
        lambda config, kind, episodes: ran.append(config.seed) or {"return_mean": 9.0, "demos_sha256": None},
    )
    program.main(request)
    program.main(request)
    assert ran == [0, 1]
    assert program.table(program.sweep_lines.read(request.out)) in (tmp_path / "control.md").read_text()

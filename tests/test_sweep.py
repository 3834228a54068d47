"""The parts of a sweep that need no cluster: the grid, identities, the results file, and a cell run in this process."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deep import demos, gail, sweep, sweep_display, sweep_grid, sweep_lines, sweep_run
from deep.bc import BcConfig
from deep.cli import parse
from deep.config import GailConfig, gail_defaults, protocol
from deep.costs import CostConfig
from deep.imitator import Imitator
from deep.run import Run, iterations
from deep.sweep_grid import METHODS, TASKS, Cell, cell, grid

SMALL = ("--bc.epochs", "20", "--final-episodes", "4", "--eval-episodes", "2", "--learner.simulators", "8")
TIMES = ("seconds", "finished", "attempts")  # what two runs of a cell may differ in


def small(method: str = "gail", seed: int = 1) -> Cell:
    flags = SMALL[:4] if method == "bc" else SMALL
    return cell(method, "CartPole-v0", 1, seed, steps=4000, flags=flags)


def line(seed: int, **more: object) -> dict:
    made = small(seed=seed)
    fields = {"identity": made.identity(), "method": "gail", "env": "CartPole-v0", "trajectories": 1, "seed": seed}
    source = dict.fromkeys(("commit", "code", "finished"), "x") | {"versions": {}}
    known = {"config": made.settings(), "demos_sha256": sweep_grid.digest(made.demonstrations())}
    return fields | source | known | more


def test_the_grid_has_every_cell_at_the_papers_sizes() -> None:
    cells = grid(("CartPole-v0", "Hopper-v4"), METHODS, "protocol", (101, 102))
    keys = {(c.method, c.config.env, c.config.trajectories, c.config.seed) for c in cells}
    assert len(cells) == len(keys) == 4 * 2 * (4 + 4)
    assert {k[2] for k in keys if k[1] == "Hopper-v4"} == set(protocol("Hopper-v4").trajectories)
    assert [c.method for c in cells] == sorted((c.method for c in cells), key=METHODS.index)
    first = [(c.config.env, c.config.seed) for c in cells[:8]]
    assert {s for _, s in first} == {101} and {e for e, _ in first} == {"CartPole-v0", "Hopper-v4"}  # seeds in turn
    assert len(TASKS) == 9


def test_a_cell_is_the_defaults_of_its_task_and_then_what_is_asked() -> None:
    found = cell("fem", "CartPole-v0", 7, 3, steps=30_000, flags=("--entropy", "0.01")).config
    assert isinstance(found, GailConfig)
    wanted = dataclasses.replace(
        gail_defaults("CartPole-v0"), method="fem", trajectories=7, seed=3, steps=30_000, threads=1, entropy=0.01
    )
    assert dataclasses.replace(found, eval_every=wanted.eval_every) == wanted and found.eval_every == 3_000
    assert cell("gail", "Hopper-v4", 4, 0, preset="paper").config.preset == "paper"


def test_a_task_without_demonstrations_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match=r"envs\[1\] must have bundled demonstrations.*CartPole-v0.*is CartPol-v0"):
        grid(("CartPole-v0", "CartPol-v0"), METHODS, (1,), (0,))


def test_identities_differ_just_where_the_numbers_may(tmp_path: Path) -> None:
    base = small()
    same = dataclasses.replace(base.config, threads=2, checkpoint_every=7)
    assert Cell("gail", same).identity() == base.identity()
    assert Cell("gail", dataclasses.replace(base.config, wandb="project")).identity() == base.identity()
    linear = dataclasses.replace(base.config, method="fem")
    assert Cell("fem", dataclasses.replace(linear, loss="exponential")).identity() == Cell("fem", linear).identity()
    others = [small(seed=2), small("bc"), small("fem")]
    others += [Cell("gail", dataclasses.replace(base.config, **{k: 0.5})) for k in ("entropy", "bc_weight")]
    copy = tmp_path / "copy.npz"
    copy.write_bytes(base.demonstrations().read_bytes())
    assert Cell("gail", dataclasses.replace(base.config, demos=copy)).identity() == base.identity()
    other = tmp_path / "other.npz"
    other.write_bytes(b"other demonstrations")
    others.append(Cell("gail", dataclasses.replace(base.config, demos=other)))
    assert len({c.identity() for c in [base, *others]}) == 1 + len(others)


@pytest.mark.parametrize("method", ["fem", "gtal"])
def test_settings_of_a_margin_net_do_not_count_where_there_is_none(method: str) -> None:
    other = CostConfig(
        hidden=(8,), lr=0.01, steps=1, minibatch=16, gradient_penalty=0.0, entropy_bonus=0.1, linear_rate=0.0
    )

    def iterated(made: Cell) -> list[dict[str, Any]]:
        imitator = Imitator(dataclasses.replace(made.config, bc=BcConfig(epochs=2)))
        found = [imitator.iterate() for _ in range(2)]
        imitator.close()
        return found

    for kind in (method, "gail"):
        base = small(kind)
        changed = Cell(base.method, dataclasses.replace(base.config, cost=other))
        assert (changed.identity() == base.identity()) == (kind != "gail")
        assert (iterated(changed) == iterated(base)) == (kind != "gail")
    led = dataclasses.replace(small(method).config, cost=CostConfig(linear_rate=0.1))
    assert Cell(method, led).identity() != small(method).identity()


@pytest.mark.parametrize("method", METHODS)
def test_cells_travel_as_text_and_their_commands_mean_them(method: str) -> None:
    made = small(method)
    assert Cell.from_json(made.to_json()) == made
    words = sweep.command(made).split()
    assert words[:3] == ["python", "-m", "deep.bc" if method == "bc" else "deep.gail"]
    defaults = sweep.cloning_defaults if method == "bc" else gail_defaults
    request = parse(type(made.config), words[2][5:], lambda given: defaults(**given), words[3:])
    assert request.config == made.config


def test_finished_cells_are_skipped_and_a_newer_setting_counts_with_its_default(tmp_path: Path) -> None:
    out = tmp_path / "raw.jsonl"
    cells = [small(seed=s) for s in (1, 2, 3)]
    older = line(2)
    del older["config"]["average"], older["config"]["cost"]["entropy_bonus"]
    out.write_text(json.dumps(line(1)) + "\n" + json.dumps(older) + "\n")
    changed = cell("gail", "CartPole-v0", 1, 2, steps=4000, flags=(*SMALL, "--average", "0.5"))
    assert isinstance(changed.config, GailConfig) and changed.config.average != GailConfig().average
    # The preset leaves both settings at the default of their class, so that the older line is that of seed 2.
    assert [c.config.seed for c in sweep.missing([*cells, cells[2]], out)] == [3]
    assert sweep.missing([changed], out) == [changed]
    gone = line(3)
    gone["config"]["a_setting_that_is_no_more"] = 1
    out.write_text(json.dumps(gone) + "\n")
    assert len(sweep.missing(cells, out)) == 3


def test_a_torn_last_line_is_dropped_and_then_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "new" / "raw.jsonl"
    assert sweep_lines.read(path) == []
    with sweep_lines.Writer(path) as writer:
        writer.append(line(1))
        writer.append(line(2))
    whole = path.read_bytes()
    for cut in (1, 40, len(whole) // 2 - 5):
        path.write_bytes(whole[:-cut])
        assert [x["seed"] for x in sweep_lines.read(path)] == [1]
        with sweep_lines.Writer(path) as writer:
            writer.append(line(3))
        assert [x["seed"] for x in sweep_lines.read(path)] == [1, 3]


def test_a_results_file_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    with sweep_lines.Writer(path), pytest.raises(ValueError, match=r"no other sweep.*raw\.jsonl is in use"):
        sweep_lines.Writer(path).__enter__()
    with sweep_lines.Writer(path) as writer:
        writer.append(line(1))
    with pytest.raises(RuntimeError, match="not open"):
        writer.append(line(2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"torn": 1\n', r"raw\.jsonl:2 must be a line of JSON"),
        ("[1]\n", r"raw\.jsonl:2 must name identity, .* but lacks identity, method"),
        (json.dumps({k: v for k, v in line(1).items() if k != "commit"}) + "\n", r":2 must name .* but lacks commit"),
        (json.dumps(line(1) | {"config": []}) + "\n", r":2: config must be an object, but is \[\]"),
        (json.dumps(line(1) | {"commit": 3}) + "\n", ":2: commit must be text or null, but is 3"),
        (json.dumps(line(1) | {"seed": True}) + "\n", ":2: seed must be an integer, but is True"),
        (json.dumps(line(1) | {"config": {"entropy": "x"}}) + "\n", ":2: config.entropy must be a number, but is 'x'"),
        (json.dumps(line(1) | {"env_steps": None}) + "\n", ":2: env_steps must be an integer, but is None"),
        (
            json.dumps(line(1) | {"config": {"entropy": 10**400}}) + "\n",
            ":2: config.entropy must be a number, but is 1000",
        ),
        (json.dumps(line(1) | {"env_steps": 10**400}) + "\n", ":2: env_steps must be an integer, but is 1000"),
        (json.dumps(line(1) | {"evaluations": [[1, 2]]}) + "\n", r":2: evaluations must be rows of three numbers, but"),
    ],
)
def test_any_other_damage_is_an_error_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_text(json.dumps(line(1)) + "\n" + text + json.dumps(line(2)) + "\n")
    with pytest.raises(ValueError, match=message):
        sweep_lines.read(path)


def numbers(found: dict) -> dict:
    return {k: v for k, v in found.items() if k not in TIMES}


def test_a_cell_gives_the_line_of_its_run_and_one_that_was_cut_off_gives_the_same(tmp_path: Path) -> None:
    made = small()
    assert isinstance(made.config, GailConfig)
    whole = sweep_run.perform(made, tmp_path / "a")
    assert list((tmp_path / "a").iterdir()) == [] and len(json.dumps(whole)) < 6_000
    assert whole["identity"] == made.identity() and whole["config"] == made.settings() and whole["attempts"] == 1
    assert set(sweep_lines.NAMED) <= set(whole) and whole["episodes"] == 4 and whole["env_steps"] >= 4000
    assert [x[0] for x in whole["evaluations"]] == sorted(x[0] for x in whole["evaluations"])
    assert len(whole["evaluations"]) == -(-4000 // 1000) and all(len(x) == 3 for x in whole["evaluations"])
    assert sweep_run.evaluations([{"env_steps": 1}]) == []

    record = Run.create(sweep_run.folder(made, tmp_path / "b"), "gail", made.settings())
    imitator = Imitator(made.config)
    for _ in iterations(record, gail.Evaluated(imitator), 2000, 1):
        pass
    imitator.close()
    record.close()
    assert sweep_run.progress(made, tmp_path / "b") == imitator.env_steps
    assert numbers(sweep_run.perform(made, tmp_path / "b")) == numbers(whole)


def test_cloning_is_a_cell_like_the_others(tmp_path: Path) -> None:
    text = sweep_run.perform_json(small("bc").to_json(), str(tmp_path))
    found = json.loads(text)
    assert found["method"] == "bc" and found["evaluations"] == [] and set(sweep_lines.NAMED) <= set(found)
    assert found["episodes"] == 4 and found["identity"] == small("bc").identity()
    assert sweep_run.progress(small("bc"), tmp_path) == 0


def test_the_display_counts_runs_and_says_what_failed(tmp_path: Path) -> None:
    cells = [small(seed=s) for s in (1, 2)]
    with open(tmp_path / "log", "w") as file:
        with sweep_display.Display(cells, tmp_path, Console(file=file, width=300)) as display:
            display.finished(cells[0], {"return_mean": 150.0, "normalised_return": 0.75, "seconds": 61.0})
            display.failed(cells[1], "ValueError: no [such] thing")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first.startswith("1/2  gail CartPole-v0 1 trajectory seed 1: 150.0 (score 75%) in 1 min; ")
    assert second == "2/2  gail CartPole-v0 1 trajectory seed 2 failed: ValueError: no [such] thing"
    assert display.failures == 1 and display.done() == display.total
    assert [sweep_display.clock(s) for s in (40, 700, 11_100)] == ["40 s", "12 min", "3 h 05 min"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seeds", "0"], "seeds must be at least 1, but is 0"),
        (["--address", "x:1", "--jobs", "2"], "jobs must be left out with address"),
        (["--methods", "gail", "--", "--preset", "paper"], "preset must be given before --, .*, but is paper after it"),
        (["--methods", "gail", "--", "--method", "fem"], "method must be given before --"),
        (["--", "--env", "Hopper-v4"], "env must be given before --"),
        (["--methods", "gail", "--", "--steps", "1000"], "steps must be given before --"),
        (["--trajectories", "0"], "trajectories must be in 1..10, as .*, but is 0"),
        (["--trajectories", "4", "-3"], "trajectories must be in 1..10, as .*, but is -3"),
        (["--trajectories", "11"], "trajectories must be in 1..10, as .*, but is 11"),
        (["--trajectories"], "trajectories must have at least one entry, but is empty"),
        (["--methods"], "methods must have at least one entry, but is empty"),
        (["--trajectories", "4", "1", "4"], r"trajectories\[2\] must differ from .* before it, but is 4 again"),
        (["--methods", "bc", "bc"], r"methods\[1\] must differ from the entries before it, but is bc again"),
        (["--methods", "gail", "--dry-run", "--", "--std", "0.1"], r"std must be two numbers or none, but is \(0.1,\)"),
    ],
)
def test_wrong_requests_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep.main(["--envs", "CartPole-v0", *flags])


def test_demonstrations_of_ones_own_may_be_a_folder_and_any_task(tmp_path: Path) -> None:
    folder = tmp_path / "mine-v0"
    demos.save(folder, demos.load(demos.bundled("CartPole-v0")), "minari")
    flags = (f"--demos={folder}",)
    (found,) = grid(("CartPole-v1",), ("bc",), (1,), (0,), flags=flags)
    assert found.demonstrations() == folder and len(found.identity()) == 16
    before = sweep_grid.digest(folder)
    (folder / "data" / "metadata.json").write_text("{}")
    sweep_grid.digest.cache_clear()
    assert sweep_grid.digest(folder) != before
    with pytest.raises(ValueError, match=r"envs\[0\] must have bundled demonstrations"):
        grid(("CartPole-v1",), ("bc",), (1,), (0,))


def test_workers_find_demonstrations_that_were_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demos.save(tmp_path / "mine.npz", demos.load(demos.bundled("CartPole-v0")))
    monkeypatch.chdir(tmp_path)
    (found,) = grid(("CartPole-v0",), ("bc",), (1,), (0,), flags=("--demos", "mine.npz"))
    assert json.loads(found.to_json())["config"]["demos"] == str(tmp_path.resolve() / "mine.npz")


def test_a_dry_run_lists_the_commands_that_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "raw.jsonl"
    out.write_text(json.dumps(line(1)) + "\n")
    request = ["--envs", "CartPole-v0", "--methods", "gail", "--trajectories", "1", "--seeds", "2", "--first-seed", "1"]
    sweep.main([*request, "--steps", "4000", "--out", str(out), "--dry-run", "--", *SMALL])
    assert capsys.readouterr().out.splitlines() == [sweep.command(small(seed=2))]

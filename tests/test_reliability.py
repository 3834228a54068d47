"""The program behind docs/reliability.md: a short version of each measurement, and tables in step with their rows."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
SHORT = """
import sys, json, tempfile, warnings
from pathlib import Path
import numpy as np
import reliability_faults as faults, reliability_kills as kills, reliability_runs as runs
import reliability_threads as threads
runs.STEPS = 1200
warnings.filterwarnings("ignore", category=DeprecationWarning)
def say(name, row): print(json.dumps({"name": name} | row), flush=True)
with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    whole = kills.reference("CartPole-v0", folder)
    rng = np.random.default_rng(0)
    say("random", kills._killed("CartPole-v0", folder / "killed", whole, rng, 2))
    done = [{}] * 24
    for row in kills.kills_at_calls(folder, 13, done): say("call", row)
    for name, make, number in (("flipped", faults.flipped, 0), ("limit", faults.file_limit, 2),
                               ("all", faults.all_flipped, 0), ("file", faults.below_a_file, 0),
                               ("clock", faults.clock, 0), ("ctrl-c", faults.ctrl_c, 0),
                               ("simulator: raises in step", faults.simulator, 0)):
        say(name, make(folder / name.replace(" ", "-"), whole, rng, name, number))
    threads.THREADS = (1, 3)
    say("threads", threads.compare("Hopper-v4", 0, folder))
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, list[dict]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(BENCHMARKS)])}
    done = subprocess.run([sys.executable, "-c", SHORT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[dict]] = {}
    for line in done.stdout.splitlines():
        row = json.loads(line)
        found.setdefault(row.pop("name"), []).append(row)
    return found


def test_killed_runs_end_in_the_same_bits(measured) -> None:
    rows = measured["random"] + measured["call"]
    assert len(measured["call"]) == 2 and all(row["killed"] for row in measured["call"])
    assert {row["call"].split()[0] for row in measured["call"]} <= {"before", "within"}
    assert all(row["broken"] == [] and row["different"] == [] for row in rows)


@pytest.mark.parametrize(
    ("name", "words", "resumed"),
    [
        ("limit", "File too large: 'RUN/", True),
        ("all", "no checkpoint can be read", None),
        ("file", "Not a directory", None),
        ("simulator: raises in step", "step raised RuntimeError: the motor has stalled", None),
    ],
)
def test_a_fault_is_one_line_and_loses_nothing(measured, name: str, words: str, resumed: bool | None) -> None:
    (row,) = measured[name]
    assert row["status"] == 2 and row["clear"] and row["broken"] == [] and row["resumed"] is resumed
    assert words in row["message"]


def test_what_can_be_passed_over_is(measured) -> None:
    for name in ("flipped", "clock"):
        (row,) = measured[name]
        assert row["status"] == 0 and row["resumed"]
    assert measured["flipped"][0]["message"].startswith("warning: ")
    (row,) = measured["ctrl-c"]
    assert row["resumed"] and (row["status"] == 0 or (row["status"] == 130 and row["clear"]))


def test_threads_change_nothing(measured) -> None:
    assert measured["threads"] == [{"different": []}]


def test_ctrl_c_during_the_imports_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise KeyboardInterrupt")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-m", "deep.gail"], env=environment, capture_output=True, text=True)
    assert done.stderr == "interrupted\n" and done.returncode == -signal.SIGINT


@pytest.fixture
def program(benchmark):
    return benchmark("reliability"), benchmark("reliability_tables")


def test_the_page_shows_the_rows_and_nothing_broke(program) -> None:
    main, tables = program
    rows, page = main.read(main.ROWS), main.PAGE.read_text()
    assert {row["part"] for row in rows} == set(main.PARTS)
    assert tables.render(page, rows) == page
    assert [row for row in rows if tables.bad(row)] == []


def test_a_broken_row_is_told_from_a_good_one(program) -> None:
    _, tables = program
    row = {"part": "threads", "task": "X", "path": "p", "seed": 0, "threads": [1, 2], "different": []}
    assert not tables.bad(row) and tables.bad(row | {"different": ["metrics.jsonl"]})
    fault = {"part": "faults", "status": 2, "clear": True, "broken": [], "resumed": True}
    assert not tables.bad(fault) and tables.bad(fault | {"clear": False}) and tables.bad(fault | {"resumed": False})
    page = "a\n<!-- threads -->\nold\n<!-- /threads -->\nb"
    shown = tables.render(page, [row])
    assert "| X | p | 0 | 1, 2 | yes |" in shown and "old" not in shown and tables.render(shown, [row]) == shown


def test_memory_and_files_are_flat(benchmark) -> None:
    memory = benchmark("reliability_memory")
    for task in memory.MADE:
        row = memory.come_and_go(task, 20)
        assert row["files"] == row["threads"] == 0
        assert row["rss_last"] - row["rss_first"] < 16  # MiB: one leaked MuJoCo model a round would be more

"""Does `pytest theory/` notice? Plants one error at a time in a copy of the tree and requires the tests to go red.

    python benchmarks/mutations.py [--jobs N] [--only NAME ...]

Each mutant is a textual replacement in `occmatch/` that must match exactly once. The files of theory/ that it names are
tried first, so that most mutants end in seconds; one that they let pass gets the whole of theory/. Before that the same
files must be green on a copy without an error, and a mutant counts as killed only where a test fails, not where nothing
can be imported. Prints the table and exits 1 if any mutant survives; a full run writes docs/benchmarks/mutations.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "benchmarks" / "mutations.md"

# Hypothesis would spend minutes on the smallest example of a failure; that it fails is all that counts here.
PLUGIN = """
import pytest
from hypothesis import Phase, settings


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    settings.register_profile("mutation", settings.default, phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutation")
"""

# Tests of the frame itself state nothing that a mutant could break.
STATEMENTS = ("theory/", "--ignore=theory/test_ledger.py", "--ignore=theory/test_strategies.py")

TABLE = "| mutant | file | killed by | seconds |\n| --- | --- | --- | --- |"
HEAD = f"""# Mutations: does `pytest theory/` notice a wrong sign?

One error at a time, and the first test of theory/ that went red, by `python benchmarks/mutations.py`.

{TABLE}
"""


@dataclass(frozen=True)
class Request:
    """What to run."""

    jobs: int = 2
    """Mutants at a time."""
    only: tuple[str, ...] = field(default=())
    """Names of mutants; all of them by default."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: `killed_by` names the first red test, `trouble` says why no test could judge it."""

    mutant: Mutant
    killed_by: str
    seconds: float
    trouble: str = ""

    def row(self) -> str:
        by = f"`{self.killed_by}`" if self.killed_by else f"**{self.trouble or 'survived'}**"
        return f"| {self.mutant.name} | `{self.mutant.file}` | {by} | {self.seconds:.0f} |"


def misfit(mutant: Mutant) -> str:
    """What is wrong with the description of a mutant, "" if nothing: its text must be there exactly once."""
    count = (ROOT / "occmatch" / mutant.file).read_text(encoding="utf-8").count(mutant.old)
    if count != 1:
        return f"{mutant.name!r} must match exactly once in {mutant.file}, but {mutant.old!r} matches {count} times"
    missing = [name for name in mutant.first if not (ROOT / "theory" / name.partition("::")[0]).exists()]
    return f"{mutant.name!r} must name files of theory/, but {missing[0]!r} is none" if missing else ""


def copy_tree(source: Path, where: Path) -> Path:
    """A copy of what the tests need."""
    for folder in ("occmatch", "theory"):
        shutil.copytree(source / folder, where / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "pyproject.toml", where)
    (where / "mutation_profile.py").write_text(PLUGIN)
    return where


def plant(mutant: Mutant, tree: Path) -> None:
    path = tree / "occmatch" / mutant.file
    path.write_text(path.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8")


def first_red_test(tree: Path, targets: tuple[str, ...]) -> str:
    """The first test that fails, "" where all pass. Raises RuntimeError where pytest itself fails."""
    command = [sys.executable, "-m", "pytest", *targets, "-x", "-q", "-p", "no:cacheprovider", "-p", "mutation_profile"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    failed = re.search(r"^FAILED theory/(\S+)", done.stdout, flags=re.MULTILINE)
    if done.returncode == 1 and failed:
        return failed[1]
    if done.returncode != 0:
        last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        raise RuntimeError(f"pytest ended with {done.returncode} and no red test: {last}")
    return ""


def judge(mutant: Mutant, original: Path) -> Verdict:
    """Plant it in a copy, try its files, then everything."""
    start, killed_by, trouble = time.perf_counter(), "", ""
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(original, Path(folder))
        plant(mutant, tree)
        targets = tuple(f"theory/{name}" for name in mutant.first)
        try:
            killed_by = first_red_test(tree, targets) if targets else ""
            if not killed_by:
                killed_by = first_red_test(tree, STATEMENTS)
                file = killed_by.partition("::")[0]
                if killed_by and first_red_test(original, (f"theory/{file}",)):
                    killed_by, trouble = "", f"{file} is red without any error"
        except RuntimeError as error:
            trouble = str(error)
    return Verdict(mutant, killed_by, time.perf_counter() - start, trouble)


def red_without_an_error(mutants: tuple[Mutant, ...], original: Path, pool: ThreadPoolExecutor) -> list[str]:
    """The tests that fail on the untouched copy, at most one of each file that the mutants try first."""
    files = sorted({name for mutant in mutants for name in mutant.first})
    return [red for red in pool.map(lambda name: first_red_test(original, (f"theory/{name}",)), files) if red]


def main(request: Request) -> int:
    unknown = set(request.only) - {mutant.name for mutant in MUTANTS}
    if unknown:
        print(f"--only must name mutants, but {sorted(unknown)[0]!r} is none; they are:")
        print("\n".join(mutant.name for mutant in MUTANTS))
        return 2
    mutants = tuple(mutant for mutant in MUTANTS if not request.only or mutant.name in request.only)
    misfits = [text for text in map(misfit, mutants) if text]
    if misfits:
        print("\n".join(misfits))
        return 2
    # One copy for the whole run: what is edited meanwhile does not count.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(request.jobs) as pool:
        original = copy_tree(ROOT, Path(folder))
        red = red_without_an_error(mutants, original, pool)
        if red:
            print(f"theory/ is red without any error: {', '.join(red)}")
            return 2
        print(TABLE, flush=True)
        verdicts = []
        for verdict in pool.map(lambda mutant: judge(mutant, original), mutants):
            print(verdict.row(), flush=True)
            verdicts.append(verdict)
    survivors = [verdict.mutant.name for verdict in verdicts if not verdict.killed_by]
    summary = f"{len(verdicts) - len(survivors)} of {len(verdicts)} killed."
    print(f"\n{summary}")
    if not request.only:
        OUT.write_text(HEAD + "\n".join(v.row() for v in verdicts) + f"\n\n{summary}\n", encoding="utf-8")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Request, description=__doc__)))

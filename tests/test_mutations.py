"""The errors that benchmarks/mutations.py plants still fit the source, and it refuses what does not."""

import re
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def mutations(benchmark):
    return benchmark("mutations")


def test_every_mutant_fits_exactly_once_and_names_files_of_theory(mutations) -> None:
    assert len(mutations.MUTANTS) >= 25
    assert [text for text in map(mutations.misfit, mutations.MUTANTS) if text] == []
    names = [mutant.name for mutant in mutations.MUTANTS]
    assert len(set(names)) == len(names)


def test_every_mutant_changes_what_python_reads(mutations) -> None:
    """Each still parses, and to another program."""
    for mutant in mutations.MUTANTS:
        text = (BENCHMARKS.parent / "occmatch" / mutant.file).read_text(encoding="utf-8")
        planted = text.replace(mutant.old, mutant.new)
        assert planted != text
        compile(planted, mutant.file, "exec")


@pytest.mark.parametrize(
    ("old", "first", "message"),
    [
        ("return", (), r"'x' must match exactly once in mdp.py, but 'return' matches \d+ times"),
        ("no such text", (), "'x' must match exactly once in mdp.py, but 'no such text' matches 0 times"),
        ("def flow(", ("test_0.py",), "'x' must name files of theory/, but 'test_0.py' is none"),
    ],
)
def test_what_does_not_fit_is_said(mutations, old: str, first: tuple[str, ...], message: str) -> None:
    assert re.fullmatch(message, mutations.misfit(mutations.Mutant("x", "mdp.py", old, "", first)))


def test_an_unknown_name_is_refused(mutations, capsys) -> None:
    assert mutations.main(mutations.Request(only=("no such mutant",))) == 2
    assert "'no such mutant' is none" in capsys.readouterr().out

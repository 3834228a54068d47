"""The ledger records the largest deviation, fails where it must, and STATEMENTS.md is complete."""

import re
from pathlib import Path

import pytest

from theory.ledger import STATEMENTS, Ledger, Row, catalogue, sections

TERMS = {"statement": "Eq 0", "compared": "two sides", "tolerance": 1e-3, "because": "rounding"}


@pytest.mark.parametrize("deviation", [2e-3, float("nan"), float("inf")])
def test_a_deviation_beyond_the_tolerance_fails_in_one_line(deviation: float) -> None:
    ledger = Ledger()
    with pytest.raises(AssertionError, match=r"^Eq 0: two sides: deviation \S+ exceeds 0.001 \(rounding\)$"):
        ledger(**TERMS, deviation=deviation)
    assert len(ledger.rows) == 1


def test_the_largest_deviation_is_kept_and_the_draws_counted() -> None:
    ledger = Ledger()
    for deviation in (-1.0, 5e-4, 1e-4):
        ledger(**TERMS, deviation=deviation)
    (row,) = ledger.rows.values()
    assert (row.deviation, row.count) == (5e-4, 3)


def test_a_nan_is_the_largest_deviation() -> None:
    nan, number = (Row("f", "t", "s", "c", 1.0, "b", d) for d in (float("nan"), 2.0))
    assert str(nan.merge(number).deviation) == str(number.merge(nan).deviation) == "nan"


def test_one_comparison_has_one_tolerance() -> None:
    ledger = Ledger()
    ledger(**TERMS, deviation=0.0)
    with pytest.raises(ValueError, match="must keep one statement, tolerance and reason"):
        ledger(**{**TERMS, "tolerance": 1.0}, deviation=0.0)


def test_rows_of_two_processes_merge() -> None:
    here, there = Ledger(), Ledger()
    here(**TERMS, deviation=1e-5)
    there(**TERMS, deviation=2e-5)
    here.load(there.dump())
    (row,) = here.rows.values()
    assert (row.deviation, row.count) == (2e-5, 2)
    assert "2.0e-05" in here.table()


def test_the_catalogue_reads_tests_from_the_source(tmp_path: Path) -> None:
    (tmp_path / "test_1_x.py").write_text(
        '"""X."""\ndef test_a(check): ...\ndef test_b(): ...\ndef helper(check): ...\n'
    )
    (tmp_path / "strategies.py").write_text("")
    assert catalogue(tmp_path) == {"test_1_x.py": ("X.", ["test_a"])}


def test_every_statement_file_states_and_checks() -> None:
    for file, (doc, tests) in catalogue().items():
        assert doc, f"{file}: the docstring must be the statement"
        assert tests, f"{file}: no test takes `check`"


def test_the_table_of_statements_is_complete() -> None:
    held, expected = sections(STATEMENTS.read_text(encoding="utf-8")), catalogue()
    assert held.keys() == expected.keys(), "write it anew: pytest theory/ --statements"
    for file, (doc, tests) in expected.items():
        rows = set(re.findall(r"^\| `(test_\w+)` \|", held[file], flags=re.MULTILINE))
        assert rows == set(tests), f"{file}: write it anew: pytest theory/{file} --statements"
        assert doc.partition("\n")[2].strip("\n") in held[file], f"{file}: its statement has changed"


def test_a_run_of_one_file_keeps_the_other_sections() -> None:
    before = STATEMENTS.read_text(encoding="utf-8")
    file, (doc, tests) = next(iter(catalogue().items()))
    ledger = Ledger()
    for test in tests:
        ledger.at = file, test
        ledger(**TERMS, deviation=-7.25)
    after = ledger.markdown(before)
    assert "-7.2e+00" in sections(after)[file] and doc.splitlines()[-1] in sections(after)[file]
    for other, part in sections(before).items():
        assert other == file or sections(after)[other] == part
    assert Ledger().markdown(after) == after

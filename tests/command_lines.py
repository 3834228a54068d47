"""Running a command as a shell would."""

import contextlib
import io

import pytest

from deep.cli import main_guard


def fails(program: object, argv: list[str]) -> str:
    """Run a command that must end with status 2; returns its one line on stderr."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main_guard(lambda: program(argv))
    assert stop.value.code == 2
    lines = err.getvalue().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]

"""Writing so that the target is the old one or the new one, whatever happens in between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deep.demos.format import DemoError

__all__ = ["new_folder", "replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file name beside `path` to write to; its content is `path` afterwards, or nothing is where writing fails."""
    temporary = _beside(path)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to write to, which becomes `path`; DemoError where there is something."""
    if path.exists():
        raise DemoError("must be a folder that is not there yet, but there is something of that name")
    temporary = _beside(path)
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb") as opened:
                    os.fsync(opened.fileno())
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    if not path.name:
        raise ValueError(f"out must be named, but is {path}")
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")

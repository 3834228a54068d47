"""Writing so that the target is the old one or the new one, whatever happens in between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deep.demos.format import DemoError

__all__ = ["check_absent", "check_file", "check_parent", "new_folder", "replacing"]


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
    check_absent(path)
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


def check_absent(path: Path) -> None:
    """DemoError where there is something."""
    if path.exists():
        raise DemoError("must be a folder that is not there yet, but there is something of that name")


def check_file(path: Path) -> None:
    """DemoError where there is a folder."""
    if path.is_dir():
        raise DemoError("must be a file, but is a folder")


def check_parent(path: Path) -> None:
    """DemoError where no folder can be made for it, or nothing be written into the one that is there."""
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise DemoError(f"must lie in a folder that can be written to, but {there} is none")


def _beside(path: Path) -> Path:
    if not path.name:
        raise ValueError(f"out must be named, but is {path}")
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")

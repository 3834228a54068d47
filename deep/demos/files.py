"""Every format behind one `load` and one `save`.

    npz        the project's own file; also imitation's older npz           read here
    hdf5       D4RL's layout: observations, actions, terminals, timeouts    read in a child process
    trajs      the layout of the GAIL authors' code: obs_B_T_Do, len_B      "
    minari     a Minari data set: its folder, or its id                     "
    imitation  a folder that HumanCompatibleAI/imitation saved              "

What a path holds is told by its content, never by its name. `FORMATS` are those that can be written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from deep.demos import npz, quarantine
from deep.demos.format import DemoError, Demos, check
from deep.demos.limits import missing
from deep.demos.minari_path import dataset_folder
from deep.demos.writing import check_absent, check_file, check_parent

if TYPE_CHECKING:
    from deep.envs import EnvSpec

__all__ = ["FORMATS", "Format", "check_target", "load", "save"]

Format = Literal["npz", "hdf5", "trajs", "minari", "imitation"]
FORMATS: tuple[Format, ...] = get_args(Format)


def load(path: str | os.PathLike[str], spec: EnvSpec | None = None, format: Format | None = None) -> Demos:
    """Read demonstrations from a file, a folder or the id of a local Minari data set; `format` overrides its content.

    With `spec` they are checked against that task. Raises DemoError with one line that names the file, the key, what
    was expected and what was found, for anything that does not hold demonstrations.
    """
    path = Path(path)
    try:
        _check_format(format)
        found = dataset_folder(path)
        kind = format or _kind(found)
        demos = npz.read(found) if kind == "npz" else quarantine.read(found, kind)
        if spec is not None:
            check(demos, spec)
    except FileNotFoundError:
        raise DemoError(
            f"{path}: must be a file, a folder or the id of a local Minari data set, but there is none of that name"
        ) from None
    except IsADirectoryError:
        raise DemoError(f"{path}: must be an npz file, but is a folder") from None
    except DemoError as error:
        raise DemoError(f"{path}: {error}") from None
    return demos


def check_target(path: str | os.PathLike[str], format: Format = "npz") -> None:
    """Raise DemoError for what `save` would not write whatever the demonstrations: before these are worked for."""
    path = Path(path)
    with _writing(path, format):
        if format == "minari":
            from deep.demos import minari_write

            minari_write.check_name(path)
        _writer(format)
        (check_absent if format in ("minari", "imitation") else check_file)(path)
        check_parent(path)


def save(path: str | os.PathLike[str], demos: Demos, format: Format = "npz") -> None:
    """Write demonstrations, atomically: what is at `path` is the old thing or the new one, whatever happens.

    Files are replaced; a folder (minari, imitation) must not be there yet. Raises DemoError for what the format cannot
    hold or where the package it needs is not installed, OSError as usual.
    """
    path = Path(path)
    with _writing(path, format):
        _writer(format)(path, demos)


@contextmanager
def _writing(path: Path, format: str | None) -> Iterator[None]:
    """Errors name the path; a package that a format needs is asked for."""
    try:
        _check_format(format)
        yield
    except ImportError as error:
        raise DemoError(f"{path}: {missing(error)}") from None
    except DemoError as error:
        raise DemoError(f"{path}: {error}") from None
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error  # a failed write does not know its file


def _writer(format: Format) -> Callable[[Path, Demos], None]:
    # Imported late: each needs its own optional package.
    match format:
        case "npz":
            return npz.write
        case "hdf5":
            from deep.demos import d4rl

            return d4rl.write
        case "trajs":
            from deep.demos import trajs

            return trajs.write
        case "minari":
            from deep.demos import minari_write

            return minari_write.write
        case "imitation":
            from deep.demos import imitation_write

            return imitation_write.write


def _check_format(format: str | None) -> None:
    if format is not None and format not in FORMATS:
        raise DemoError(f"format must be one of {', '.join(FORMATS)}, but is {ascii(format)[:60]}")


def _kind(path: Path) -> str:
    """What a path holds, by its content; HDF5 is told apart further by those who can open it."""
    if path.is_dir():
        if (path / "dataset_dict.json").exists():
            raise DemoError("must be one split of a dict of data sets, but holds the dict: name the split's folder")
        if (path / "state.json").exists():
            return "imitation"
        if (path / "metadata.json").exists() or (path / "data").is_dir():
            return "minari"
        raise DemoError("must be a folder with metadata.json (Minari) or state.json (imitation), but has neither")
    with open(path, "rb") as file:
        return "any hdf5" if file.read(4) == b"\x89HDF" else "npz"

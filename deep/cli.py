"""What every `python -m deep.X` shares: settings from presets and flags, errors on one line, a definite exit status."""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import torch
import tyro

from deep.config_values import check_names, differences, from_dict
from deep.demos.minari_path import dataset_folder
from deep.envs import SimulatorFault
from deep.run import Interrupted, Run

C = TypeVar("C")
MAY_CHANGE = ("steps", "threads")  # on resuming: neither changes what is computed up to the checkpoint


@dataclasses.dataclass(frozen=True)
class Request(Generic[C]):
    """A parsed command line: the configuration, and where it runs (at most one of the two)."""

    config: C
    out: Path | None
    resume: Run | None


def parse(
    kind: type[C], command: str, defaults: Callable[[dict[str, str]], C], argv: list[str], resumes: bool = True
) -> Request[C]:
    """Read a command line whose defaults depend on --env and --preset, or, with --resume, on the run's config.json.

    `defaults` maps the flags among env, preset that were given to a configuration. Raises ValueError where --resume
    meets a setting that differs from the run's, or a command that does not resume.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("env", "preset", "resume"):
        first.add_argument(f"--{name}", default=argparse.SUPPRESS)
    given = vars(first.parse_known_args(argv)[0])
    wanted = given.pop("resume", None)
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    run, base = None, defaults({name: text for name, text in given.items() if name in known})
    if wanted is not None and not resumes:
        raise ValueError(f"resume must be left out: {command} takes seconds and is never resumed")
    if wanted is not None:
        run, stored = Run.open(Path(wanted), command)
        base = from_dict(kind, stored)
        check_names(base)
        _refuse_import(getattr(base, "env", ""), given.get("env"), wanted)
        _refuse_read_only(run.folder)

    def program(
        config: Annotated[Any, tyro.conf.arg(name="")], out: Path | None = None, resume: Path | None = None
    ) -> tuple[Any, Path | None]:
        return config, out

    program.__doc__ = f"""{kind.__doc__}

    Args:
        out: The run folder, which must not hold a run yet; runs/<name> where left out.
        resume: Continue the run in this folder; its settings hold, and only --steps and --threads may be given anew.
            A task of a package, package:Task-v0, must be given again with --env.
    """
    program.__annotations__["config"] = Annotated[kind, tyro.conf.arg(name="")]
    if not resumes:
        program.__annotations__["resume"] = Annotated[Path | None, tyro.conf.Suppress]
    program.__defaults__ = (base, None, None)
    config, out = tyro.cli(program, prog=f"python -m deep.{command}", args=argv)
    if run is None:
        return Request(absolute(config), out, None)
    _refuse_changes(absolute(config), absolute(base), out)
    changed = {name: getattr(config, name) for name in MAY_CHANGE if hasattr(config, name)}
    return Request(dataclasses.replace(base, **changed), None, run)  # paths as stored: they may mean others here


def absolute(config: Any) -> Any:
    """Files, folders and ids of local data sets by their whole paths, so that a run can be resumed from elsewhere."""
    paths = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    paths = {name: dataset_folder(path) for name, path in paths.items() if isinstance(path, Path)}
    return dataclasses.replace(config, **{name: path.resolve() for name, path in paths.items() if path.exists()})


def _refuse_import(env: str, given: str | None, folder: str) -> None:
    """A run folder is data: the package that its task names ("package:Task-v0") is imported only if asked for anew."""
    if ":" in env and given != env:
        raise ValueError(f"env must be given anew, --env {env}, because {folder} asks to import a package for its task")


def _refuse_changes(config: Any, stored: Any, out: Path | None) -> None:
    if out is not None:
        raise ValueError("out must be left out with --resume, which continues in the run's own folder")
    for name, new, old in differences(config, stored):
        if name not in MAY_CHANGE:
            raise ValueError(f"{name} must stay {old} as in the resumed run, but is {new}")


def _refuse_read_only(folder: Path) -> None:
    """A folder that cannot be written to would otherwise be found out an iteration later."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"resume must be a folder that can be written to, but {folder}: {error.strerror}") from None


def at_least(request: Any, **least: float) -> None:
    """Raise ValueError for the first of these numbers of a request that is below its least; None is left out."""
    for name, low in least.items():
        value = getattr(request, name)
        if value is not None and not value >= low:  # nan is not
            raise ValueError(f"{name} must be at least {low}, but is {value}")


def main_guard(program: Callable[[], object]) -> None:
    """Run a program; input it cannot use ends it with one line on stderr and status 2, Ctrl-C with status 130.

    The networks are small: on one thread torch is faster than on several, and leaves the others to the simulators.
    """
    torch.set_num_threads(1)
    try:
        program()
    except (ValueError, OSError, SimulatorFault) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(130)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)

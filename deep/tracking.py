"""Metrics to Weights & Biases, where it is installed and a project is named; WANDB_MODE=offline needs no network.

A resumed run goes on in the same record there, whose id lies in the run folder as wandb.json. Lines that were logged
before a kill come again with the same numbers at the same steps, and are kept once.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deep import files
from deep.run import Metrics


def check(project: str | None) -> None:
    """ValueError where a project is named that cannot be logged to."""
    if project is None:
        return
    if not project.strip():
        raise ValueError(f"wandb must be the name of a project, but is {project!r}")
    library()


def library() -> Any:
    """The wandb package."""
    try:
        import wandb
    except ImportError:
        raise ValueError("wandb needs the wandb package: pip install wandb, or leave the setting out") from None
    return wandb


def follow(metrics: Iterable[Metrics], project: str | None, folder: Path, config: dict[str, Any]) -> Iterator[Metrics]:
    """Pass metrics through, and log their numbers against environment steps if a project is named."""
    if project is None:
        yield from metrics
        return
    path = folder / "wandb.json"
    known = _known(path) if path.exists() else None
    try:
        session = library().init(
            project=project, name=folder.name, id=known, resume="allow", dir=str(folder), config=config
        )
    except Exception as error:  # no network, no account, a project that is not ours: whatever the service says
        reason = " ".join(str(error).split())
        raise ValueError(
            f"wandb must be able to log to {project!r} (WANDB_MODE=offline needs no network): {reason}"
        ) from error
    try:
        files.write_json(path, {"id": session.id, "project": project})
        for m in metrics:
            numbers = {k: v for k, v in m.items() if isinstance(v, int | float)}
            session.log(numbers, step=m["env_steps"])
            yield m
    finally:
        session.finish()


def _known(path: Path) -> str:
    """The id of the record that a run goes on in."""
    found = files.read_json(path)
    name = found.get("id") if isinstance(found, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"{path}: expected the record's id under id, but found {ascii(name)[:60]}")
    return name

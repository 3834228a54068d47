"""How good an imitation a run is: returns over whole episodes, and the distance to the expert's occupancy measure."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from deep import files, provenance, trained
from deep.assess import Assessment, assess
from deep.cli import at_least, main_guard
from deep.result import table

NAMES = {"learner": "this run", "expert": "expert, other episodes", "random": "random"}


@dataclass(frozen=True)
class Request:
    """Evaluate the policy of a run folder; writes evaluation.json there."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder of deep.gail, deep.bc or deep.expert."""
    episodes: int = 50
    """Episodes of each policy (Section 6 of the paper)."""
    seed: int = 0
    """Seed of the episodes and of the distances."""
    threads: int = 0
    """Threads of the simulators; 0 uses every core. Results do not depend on it."""
    trust: bool = False
    """Import the package that the run's task names (package:Task-v0)."""


def distances(found: Assessment, env: str) -> Table:
    """The distances, for people."""
    out = Table(title=f"{env}: distance to the expert's occupancy measure")
    for name in ("policy", "JS, bits", "95 % interval", "MMD²", "p"):
        out.add_column(name, justify="left" if name == "policy" else "right")
    for key, d in found.distances.items():
        interval = f"{d.js.low:z.3f} to {d.js.high:z.3f}"
        out.add_row(NAMES[key], f">= {d.js.point:z.3f}", interval, f"{d.mmd.squared:z.4f}", f"{d.mmd.p_value:.3f}")
    return out


def main(argv: list[str]) -> None:
    """Entry point of `python -m deep.evaluate RUN`."""
    request = tyro.cli(Request, prog="python -m deep.evaluate", args=argv, description=__doc__)
    console = Console(markup=False, emoji=False)
    at_least(request, seed=0, threads=0)
    policy = trained.load(request.run, request.trust)
    env = policy.config.env
    found = assess(policy, request.episodes, request.seed, request.threads)
    result = {"env": env, "command": policy.command, "seed": request.seed, "episodes": request.episodes}
    result |= found.to_json() | {"versions": provenance.versions(), "commit": provenance.commit()}
    console.print(table(env, list(found.rows.values()), found.random, found.reference))
    if found.distances:
        console.print(distances(found, env))
    if found.without:
        console.print(found.without, soft_wrap=True)
    files.write_json(request.run / "evaluation.json", result)  # last: what was seen is not lost where it cannot be
    console.print(f"written: {request.run / 'evaluation.json'}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main_guard(lambda: main(sys.argv[1:]))

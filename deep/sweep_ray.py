"""Runs on a Ray cluster: one process a run, lost ones repeated, results in the order in which they end.

Only the calling process writes anything down; workers return text. A process serves one run and ends, so that nothing
is left over from the run before. One that dies, with its machine or alone, is replaced up to RETRIES times.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deep.sweep_grid import Cell
from deep.sweep_run import ROOT, perform_json

RETRIES = 5  # of a lost process; a run that raises is not repeated, since it would raise again
POLL = 1.0  # seconds between looks at the display
GRACE = 120.0  # seconds that runs may take to end an iteration and write a checkpoint
STARTS = 4  # tries to start Ray here: it allows its own processes 30 seconds, which a busy machine may exceed
STORE = 100_000_000  # bytes of shared memory: results are a few thousand each, and Ray's default a third of the memory
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports to its makers otherwise
    "RAY_worker_niceness": "0",  # Ray's 15 would starve the runs on a machine that does anything else
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # leave CUDA_VISIBLE_DEVICES alone
}


@dataclass(frozen=True)
class Ended:
    """A run that is over: the text that it returned, or why there is none."""

    cell: Cell
    text: str | None
    error: str | None


class Cluster:
    """A connection to Ray, closed at the end of a `with` block.

    `address` is that of a running cluster, whose nodes need this package; None starts `jobs` processes at a time here.
    Raises ValueError where Ray is missing or the cluster does not answer.
    """

    def __init__(self, address: str | None, jobs: int) -> None:
        self.address, self.jobs = address, jobs

    def __enter__(self) -> "Cluster":
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # Workers inherit the environment, and must find this package where it is not installed.
        paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(p for p in paths if p))
        try:
            import ray
        except ImportError:
            raise ValueError("ray must be installed for a sweep: pip install 'occmatch[sweep]'") from None
        quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
        if self.address is None:
            for left in reversed(range(STARTS)):
                try:
                    ray.init(address="local", num_cpus=self.jobs, object_store_memory=STORE, **quiet)
                    break
                except Exception as error:  # Ray has no type of its own for a node that did not start in time
                    ray.shutdown()
                    if not left:
                        reason = str(error).splitlines()[0]
                        raise ValueError(
                            f"ray must start on this machine, but did not in {STARTS} tries ({reason})"
                        ) from None
        else:
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level="error")
            except (ConnectionError, ValueError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise ValueError(f"address must be that of a Ray cluster, but is {self.address} ({reason})") from None
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()

    def run(self, cells: list[Cell], runs: Path) -> Iterator[Ended | None]:
        """Run every cell; yields each as it ends, and None whenever POLL seconds have passed.

        Where the caller stops early, Ctrl-C included, runs in progress write a checkpoint before they end.
        """
        import ray

        task = ray.remote(num_cpus=1, max_calls=1, max_retries=RETRIES)(perform_json)
        pending = {task.remote(cell.to_json(), str(runs.resolve())): cell for cell in cells}
        try:
            while pending:
                ready, _ = ray.wait(list(pending), timeout=POLL)
                for reference in ready:
                    yield self._ended(pending.pop(reference), reference)
                yield None
        finally:
            for reference in pending:
                ray.cancel(reference)
            if pending:
                ray.wait(list(pending), num_returns=len(pending), timeout=GRACE)

    def _ended(self, cell: Cell, reference: Any) -> Ended:
        import ray

        try:
            return Ended(cell, ray.get(reference), None)
        except ray.exceptions.RayTaskError as error:
            return Ended(cell, None, f"{type(error.cause).__name__}: {error.cause}")
        except ray.exceptions.RayError as error:
            return Ended(cell, None, f"{type(error).__name__}: {str(error).splitlines()[0]}")

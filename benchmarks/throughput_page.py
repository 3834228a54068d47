"""The page that throughput.py prints: steps a second side by side, and where training's clock goes."""

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from deep import demos, provenance
from deep.config import Preset

PARTS = ("simulate", "policy", "cost fit", "values and GAE", "TRPO step", "waiting for the value fit")
BESIDE = "value fit"
INSTALL = """python3.11 -m venv PEER
PEER/bin/pip install torch==2.13.0
PEER/bin/pip install imitation==1.0.1 sb3-contrib==2.2.1 mujoco==3.2.7 imageio 'numpy<2' 'setuptools<81'"""


@dataclass(frozen=True)
class Round:
    """Environment steps a second, and seconds of each part of training as shares of its clock."""

    ceiling: float
    collection: float
    training: float
    peer: float | str
    shares: dict[str, float]


def cell(values: list[float], form: Callable[[float], str]) -> str:
    """Median and range."""
    return f"{form(statistics.median(values))} ({form(min(values))} to {form(max(values))})"


def speeds(results: dict[tuple[str, Preset], list[Round]]) -> list[str]:
    """The table of steps a second."""
    rows = [
        "| task | preset | ceiling | collection | training | training / ceiling | peer | training / peer |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (env, preset), found in results.items():
        cells = [env if demos.bundled(env) else f"{env} (*)", preset]
        cells += [
            cell([getattr(r, name) for r in found], "{:,.0f}".format) for name in ("ceiling", "collection", "training")
        ]
        cells.append(cell([r.training / r.ceiling for r in found], "{:.2f}".format))
        missing = next((r.peer for r in found if isinstance(r.peer, str)), None)
        if missing:
            cells += [missing, "-"]
        else:
            cells.append(cell([r.peer for r in found], "{:,.0f}".format))
            cells.append(cell([r.training / r.peer for r in found], "{:.1f}".format))
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def parts(results: dict[tuple[str, Preset], list[Round]]) -> list[str]:
    """The table of shares, and how much of the value fit the collection hid."""
    names = (*PARTS, "rest", BESIDE)
    rows = ["| task | preset | " + " | ".join(names) + " | of it hidden |", "| --- " * (len(names) + 3) + "|"]
    for (env, preset), found in results.items():
        median = {name: statistics.median(r.shares[name] for r in found) for name in names}
        hidden = statistics.median(1 - r.shares[PARTS[-1]] / r.shares[BESIDE] for r in found)
        rows.append(
            f"| {env} | {preset} | " + " | ".join(f"{median[name]:.2f}" for name in names) + f" | {hidden:.2f} |"
        )
    return rows


def report(results: dict[tuple[str, Preset], list[Round]], rounds: int, versions: dict[str, str], load: float) -> str:
    """The whole page; `versions` are the peer's."""
    used = {"commit": provenance.commit(), **provenance.versions(), "load before": round(load, 1)}
    blocks = [
        "# Throughput",
        "Printed by `python benchmarks/throughput.py`; its first lines say what each column is. Environment steps a\n"
        f"second, median over {rounds} rounds (least to most), on {os.cpu_count()} cores.",
        "\n".join(speeds(results)),
        "(*) No bundled demonstrations: imitates a random policy."
        if not all(demos.bundled(env) for env, _ in results)
        else "",
        "Shares of training's clock. The value fit runs in a thread beside the rest.",
        "\n".join(parts(results)),
        ", ".join(f"{name} {found}" for name, found in used.items()) + ".",
        "Peer: " + ", ".join(f"{name} {found}" for name, found in versions.items()) + "." if versions else "",
        "The peer's environment:",
        f"```\n{INSTALL}\n```",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"

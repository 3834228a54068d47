"""Whether the methods that share a loop ran with the same settings: what a comparison of them must say."""

from collections import defaultdict
from typing import Any

from deep.report_cells import Result
from deep.sweep_grid import OF_THE_GRID, WITHOUT_EFFECT, completed

APART = ("eval_every", "loss", "device", "wandb", "entropy")  # without effect, of the cost, or in the method's label


def unlike(found: list[Result]) -> list[str]:
    """Settings of the loop in which GAIL, FEM and GTAL differ on a task, a line each."""
    values: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for r in found:
        for x in (x for x in r.lines if x["method"] != "bc"):
            for key, value in settings(completed(x["method"], x["config"])).items():
                values[r.key[0], key][str(value)].add(x["method"].upper())
    return [
        f"{env}: {key} is " + ", ".join(f"{value} for {' and '.join(sorted(of[value]))}" for value in sorted(of))
        for (env, key), of in sorted(values.items())
        if len(of) > 1
    ]


def settings(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """What runs of one loop share, by dotted name: no place in the grid, and nothing of the cost."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            out |= settings(value, f"{prefix}{key}.") if key != "cost" else {}
        elif key not in (*OF_THE_GRID, *WITHOUT_EFFECT, *APART):
            out[prefix + key] = value
    return out

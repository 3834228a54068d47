"""How the page of results writes numbers, methods, cells and rows of tables."""

from deep.report_cells import Key, Result

NAMES = {"gail": "GAIL", "bc": "cloning", "fem": "FEM", "gtal": "GTAL"}


def number(value: float) -> str:
    return f"{value:z,.1f}"


def signed(value: float) -> str:
    return f"{value:+z.3f}"


def row(*cells: object) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def header(*names: str) -> list[str]:
    return [row(*names), row(*["---"] * len(names))]


def name(method: str) -> str:
    """How a method is called in tables."""
    base, _, lam = method.partition("_lambda_")
    return NAMES.get(base, base) + (f", lambda {lam}" if lam else "")


def described(key: Key) -> str:
    return f"{name(key[1])} on {key[0]} with {key[2]} " + ("trajectory" if key[2] == 1 else "trajectories")


def scores(r: Result) -> str:
    i = r.interval
    return f"{i.point:.3f} [{i.low:.3f}, {i.high:.3f}]"

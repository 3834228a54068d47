"""The rooms of the project and the arrows between them, as data, held against every import in the source.

A room is a module or package of occmatch or deep; `matching_newton` belongs to the room `matching`, `envs.native` to
`envs`. An arrow says what a room may import. Imports inside functions and for type hints count as well.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ARROWS = {
    "occmatch": {
        # the exact side, in reading order: objects
        "checks": "",
        "products": "",
        "mdp": "checks products",
        "matrix_free": "checks mdp",
        "linear": "checks products mdp matrix_free",
        "graph": "checks mdp",
        "horizon": "checks mdp",
        "gym_tables": "checks mdp graph",
        "examples": "checks mdp matrix_free horizon gym_tables",
        "columns": "checks linear",
        "occupancy": "checks mdp matrix_free linear",
        "sampling": "checks mdp",
        "normal_equations": "checks",
        "least_squares": "checks normal_equations",
        "projection": "checks mdp graph linear occupancy normal_equations least_squares",
        "rational": "checks mdp occupancy",
        "progress": "",
        "bellman": "checks products mdp matrix_free linear occupancy progress",
        "gradients": "checks mdp linear occupancy bellman",
        # statements
        "losses": "",
        "candidate": "",
        "saved": "checks mdp matrix_free bellman candidate",
        "regularisers": "checks mdp losses candidate",
        "cvx": "mdp losses regularisers",
        # solvers
        "lp": "checks mdp graph occupancy bellman regularisers candidate cvx",
        "irl": "checks mdp linear columns graph occupancy progress bellman losses regularisers candidate cvx",
        "matching": "checks mdp linear columns graph occupancy progress bellman losses regularisers candidate cvx",
        # the judge: never a solver, never cvx
        "certificate": "checks mdp linear occupancy bellman losses regularisers candidate",
        "plots": "checks mdp graph occupancy regularisers candidate",
        # the paper checked on random MDPs: may ask anyone for an answer, and is asked by nobody
        "statements": "checks mdp examples occupancy bellman gradients losses candidate regularisers irl matching "
        "certificate",
        "__main__": "statements",
    },
    "deep": {
        "envs": "",
        "demos": "envs",
        "backprop": "",
        "nets": "envs backprop",
        "rollout": "envs nets",
        "advantage": "",
        "costs": "occmatch.losses envs nets backprop",
        "value": "nets backprop",
        "trpo": "nets backprop",
        "reuse": "nets rollout",
        "learner": "envs nets rollout reuse advantage value trpo",
        "presets": "costs",
        "config": "occmatch.losses costs learner trpo value presets",
        "files": "",
        "provenance": "",
        "run": "files provenance",
        "progress": "run",
        "tracking": "files run",
        "cli": "config envs demos run",
        "diagnostics": "files run cli",
        "evaluate": "envs",
        "stats": "",
        "distance": "occmatch.losses envs demos nets costs stats",
        "strobe": "envs",
        "result": "envs nets learner evaluate files run",
        "averaging": "nets",
        "expert": "config envs nets averaging learner files run progress tracking cli",
        "trained": "config envs nets learner files run expert",
        "exported": "envs nets trained",
        "watch": "envs files expert trained exported cli",
        "export": "config envs nets files provenance expert exported cli",
        "assess": "config envs demos learner evaluate stats distance result expert trained",
        "evaluate.__main__": "files provenance result trained assess cli",
        "bundle": "config envs demos learner files provenance run evaluate result expert trained cli",
        "tabular": "envs demos nets",
        "pairs": "envs demos",
        "bc": "config envs demos pairs nets learner files provenance run evaluate result expert cli",
        "imitator": "occmatch.losses config envs demos pairs nets averaging rollout costs learner run diagnostics bc",
        "gail": "config imitator expert files provenance run progress tracking result cli",
        "sweep": "config envs demos files run bc gail cli",
        "report": "config files result stats sweep cli",
        "demos.sb3": "demos envs",
        "demos.record": "demos demos.sb3 envs learner provenance expert trained",
        "demos.__main__": "demos demos.record cli",
    },
}

ONLY_IN = {
    # Simulators stay behind deep.envs, programs behind cvx and those that state one, and the exact side without torch.
    "gymnasium": ["deep.envs"],
    "mujoco": ["deep.envs"],
    "cvxpy": [f"occmatch.{room}" for room in ("cvx", "lp", "irl", "matching", "regularisers")],
    "torch": [f"deep.{room}" for room in ARROWS["deep"] if room not in ("envs", "demos")],
    "h5py": ["deep.demos"],
    "pyarrow": ["deep.demos"],
    "stable_baselines3": ["deep.demos.sb3"],
    "flint": ["occmatch.rational", "occmatch.certificate"],
    "ray": ["deep.sweep"],
}

UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ARROWS
    for path in sorted((ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(), str(path)) for name, path in FILES.items()}


def room(module: str) -> str:
    """The room that a module belongs to, "deep.envs" of "deep.envs.native"; the package itself where it is the map."""
    package, _, inner = module.partition(".")
    if not inner or inner in ARROWS[package]:
        return module
    first = inner.partition(".")[0]
    prefix = first.partition("_")[0]
    return f"{package}.{first if first in ARROWS[package] or prefix not in ARROWS[package] else prefix}"


def imports(module: str) -> Iterator[str]:
    """Every module that it imports, anywhere in the file."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in FILES else str(node.module)


def inside(module: str) -> bool:
    return module.partition(".")[0] in ARROWS


def allowed(module: str) -> set[str]:
    """The rooms that a module may import, its own among them."""
    package, _, name = room(module).partition(".")
    targets = ARROWS[package][name].split()
    return {room(module)} | {t if inside(t) else f"{package}.{t}" for t in targets}


@pytest.mark.parametrize("module", [m for m in FILES if m not in ARROWS])
def test_modules_import_what_their_room_may(module: str) -> None:
    package, _, name = room(module).partition(".")
    assert name in ARROWS[package], f"{module} has no room in the table"
    wrong = {i for i in imports(module) if inside(i) and room(i) not in allowed(module)}
    assert not wrong, f"{module} may import {sorted(allowed(module))}, but imports {sorted(wrong)}"


def test_the_table_has_no_cycles_and_reads_downwards() -> None:
    """Each package's table names every room before it is used, and so the two together have no cycle."""
    table = {f"{package}.{name}" for package, names in ARROWS.items() for name in names}
    order = list(TopologicalSorter({r: allowed(r) - {r} for r in table}).static_order())
    for package, names in ARROWS.items():
        seen: set[str] = set()
        for name in names:
            below = {r for r in allowed(f"{package}.{name}") if r.startswith(f"{package}.")} - {f"{package}.{name}"}
            assert below <= seen, f"{package}.{name} stands before {sorted(below - seen)}"
            seen.add(f"{package}.{name}")
    assert set(order) == table


def test_modules_have_no_cycles() -> None:
    graph = {module: {i for i in imports(module) if i in FILES and i != module} for module in FILES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(FILES)


def test_deep_reaches_the_exact_side_through_the_losses_only() -> None:
    reached = {i for module in FILES if module.startswith("deep") for i in imports(module) if i.startswith("occmatch")}
    assert reached == {"occmatch.losses"}
    assert not {i for module in FILES if module.startswith("occmatch") for i in imports(module) if i.startswith("deep")}


@pytest.mark.parametrize("library", ONLY_IN)
def test_libraries_stay_in_their_rooms(library: str) -> None:
    users = {room(module) for module in FILES if any(i.partition(".")[0] == library for i in imports(module))}
    assert users and users <= set(ONLY_IN[library])


def calls(module: str) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("module", FILES)
def test_files_from_outside_are_data_and_never_code(module: str) -> None:
    assert not {i for i in imports(module) if i.partition(".")[0] in UNPICKLERS}
    for name, call in calls(module):
        where = f"{module}:{call.lineno}"
        assert name not in ("eval", "exec", "torch.save"), f"{where} calls {name}"
        words = {k.arg: ast.unparse(k.value) for k in call.keywords}
        assert words.get("allow_pickle", "False") == "False", f"{where} unpickles"
        if name == "torch.load":
            assert words.get("weights_only") == "True", f"{where} must say weights_only=True"
        if name in ("np.load", "numpy.load") or name.endswith(".read_array"):
            assert "allow_pickle" in words, f"{where} must say allow_pickle=False"


@pytest.mark.parametrize("module", [m for m in FILES if m.startswith("deep")])
def test_consoles_print_ids_and_paths_as_they_are(module: str) -> None:
    for name, call in calls(module):
        if name == "Console":
            words = {k.arg: ast.unparse(k.value) for k in call.keywords}
            where = f"{module}:{call.lineno} must say markup=False, emoji=False"
            assert words.get("markup") == words.get("emoji") == "False", where


@pytest.mark.parametrize("module", FILES)
def test_random_numbers_come_from_passed_generators(module: str) -> None:
    assert "random" not in set(imports(module))
    for name, call in calls(module):
        assert name not in ("torch.manual_seed", "np.random.seed"), f"{module}:{call.lineno} seeds the whole process"
        assert not (name == "np.random.default_rng" and not call.args), f"{module}:{call.lineno} has no seed"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("occmatch", "cvxpy torch matplotlib networkx gymnasium mujoco"),
        ("occmatch.certificate", "cvxpy torch matplotlib networkx occmatch.irl occmatch.matching occmatch.cvx"),
        ("occmatch.losses", "cvxpy torch"),
        ("deep.demos", "torch gymnasium mujoco h5py pyarrow"),
    ],
)
def test_importing_stays_light(module: str, unwanted: str) -> None:
    """In a fresh interpreter, so that what this process has loaded does not matter."""
    code = f"import sys, {module}; print(*sorted(set({unwanted.split()!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_the_search_finds_imports_wherever_they_are() -> None:
    """The tests above can fail: late imports, imports for type hints and names of submodules are all seen."""
    assert {"deep.envs", "numpy"} <= set(imports("deep.demos.format"))  # under TYPE_CHECKING
    assert "torch.utils.tensorboard" in set(imports("deep.run"))  # inside a method
    assert "deep.demos.summary" in set(imports("deep.demos.__main__"))  # from a package import a module
    assert room("deep.envs.native") == "deep.envs" and room("deep.demos.__main__") == "deep.demos.__main__"
    assert room("occmatch.matching_newton") == "occmatch.matching" and room("occmatch.gym_tables").endswith(
        "gym_tables"
    )

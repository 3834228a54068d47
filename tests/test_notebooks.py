"""Notebooks run in fresh kernels, say what they are committed to say, and hold no code of their own."""

import ast
import importlib.util
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
ABSOLUTE_PATH = r"(?<![\w.:/<])/(?:[\w.-]+/)+[\w.-]+"
LARGEST = 1_000_000  # bytes of a file that a code host still shows
PICTURE = 200_000  # bytes of the picture in the README

specification = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
execute = importlib.util.module_from_spec(specification)
specification.loader.exec_module(execute)


@cache
def committed(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


@cache
def fresh(name: str) -> NotebookNode:
    """Executed here and now: the expensive part, shared by the tests."""
    return execute.execute(FOLDER / name)


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tree(cell: NotebookNode) -> ast.Module:
    return ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith("%")))


def printed(notebook: NotebookNode) -> str:
    return "".join(output.get("text", "") for cell in code(notebook) for output in cell.outputs)


def pictures(notebook: NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for cell in code(notebook) for output in cell.outputs)


def test_the_course_is_complete() -> None:
    topics = ["occupancy_measures", "proposition_3_2", "irl_is_a_dual", "apprenticeship_fails"]
    topics += ["gail_and_f_divergences", "from_tables_to_mujoco"]
    assert NAMES == [f"{number:02d}_{topic}.ipynb" for number, topic in enumerate(topics, start=1)]


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_prose_and_calls_but_no_definitions(name: str) -> None:
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
    for cell in code(committed(name)):
        for node in ast.walk(tree(cell)):
            assert not isinstance(node, definitions), f"line {node.lineno} of\n{cell.source}"
            private = isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__")
            assert not private, f"{node.attr} in\n{cell.source}"
    words = sum(len(cell.source.split()) for cell in committed(name).cells if cell.cell_type == "markdown")
    assert words > 250


@pytest.mark.parametrize("name", NAMES)
def test_it_is_committed_as_it_ran(name: str) -> None:
    notebook = committed(name)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert pictures(notebook) >= 2
    kinds = {(output.output_type, output.get("name")) for cell in code(notebook) for output in cell.outputs}
    assert kinds == {("display_data", None), ("stream", "stdout")}
    assert (FOLDER / name).stat().st_size < LARGEST
    assert execute.clean(nbformat.from_dict(notebook)) == notebook
    nbformat.validate(notebook)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_nothing_of_the_machine(name: str) -> None:
    text = printed(committed(name)) + "".join(cell.source for cell in committed(name).cells)
    assert not re.findall(ABSOLUTE_PATH, text)
    assert str(ROOT) not in (FOLDER / name).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_its_links_lead_somewhere(name: str) -> None:
    prose = "".join(cell.source for cell in committed(name).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#]+)", prose):
        assert (FOLDER / target).exists(), target


def masked(notebook: NotebookNode) -> list[str]:
    """What each cell printed, numbers and alignment aside: these may differ between machines."""
    texts = ["".join(output.get("text", "") for output in cell.outputs) for cell in code(notebook)]
    return [re.sub(r"\s+", " ", re.sub(NUMBER, "#", text)) for text in texts]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_says_the_same_again(name: str) -> None:
    again = fresh(name)
    assert masked(again) == masked(committed(name))
    assert pictures(again) == pictures(committed(name))
    errors = [output for cell in code(again) for output in cell.outputs if output.get("name") == "stderr"]
    assert not errors  # no warnings, not even of others


def below(bound: float) -> Callable[..., bool]:
    return lambda *values: all(value <= bound for value in values)


# Certified gaps: solvers end at rounding, about 1e-14 of a gap's scale; conic solvers at 1e-10.
CERTIFIED = ("certified relative gap #", below(1e-9))
CLAIMS: dict[str, list[tuple[str, Callable[..., bool]]]] = {
    # Solves of condition 1/(1 - gamma) = 10 or 20: a few hundred units in the last place.
    "01": [
        ("solve against sum over time: largest difference #", below(1e-12)),
        ("solve against sampling: largest difference #", below(0.5)),
        ("flow equations: largest residual over 600 policies #", below(1e-12)),
        ("policy -> measure -> policy: largest difference #", below(1e-12)),
        ("measure -> policy -> measure: largest difference #", below(1e-12)),
        ("policies differ by #, their measures by #", lambda pi, rho: pi == 1 and rho == 0),
        ("least height above the chord, ends left out: #", lambda height: height > 0.01),
        ("largest second derivative #: below zero", lambda curvature: curvature < -1),
        ("H(pi) against Hbar(rho_pi): difference #", below(1e-12)),
        ("the violation falls with the power #", lambda power: -0.65 < power < -0.35),
        ("flow residual after projection #", below(1e-10)),
    ],
    # Policies of a conic solver differ by the root of its gap.
    "02": [
        CERTIFIED,
        ("policies, long way against short way: largest difference #", below(1e-6)),
        ("measures: share of the mass that differs #", below(1e-6)),
        ("policies, short way against the expert: largest difference #", lambda d: d > 0.01),
        ("largest difference of policies #; largest certified", below(1e-3)),
        ("objective -lam H + psi*: with entropy #, without #", lambda soft, hard: hard - soft > 1),
        ("elsewhere than the expert's: without entropy #, with #", lambda hard, soft: hard > 2 * soft),
    ],
    # The gradient's methods stop where the dual is flat to rounding, at the root of that in the policy.
    "03": [
        CERTIFIED,
        ("policy of the cost differs from the expert's by #", below(1e-5)),
        ("four costs, one policy: largest difference from the expert's #", below(1e-6)),
        ("the cost found against the formula below: largest difference #", below(1e-6)),
        ("S * A = #, rank #, flat directions # = S = #", lambda pairs, rank, flat, S: (pairs, rank, flat) == (8, 4, S)),
        ("attained: False; policy returned differs from the expert's by #", below(1e-12)),
        ("the dual gap falls from # to #", lambda first, last: last < 1e-3 * first),
        ("slope of the dual along the ray #; violation of the flow equations #", lambda *both: min(both) > 1e-3),
    ],
    "04": [
        CERTIFIED,
        ("rows feature gap #; pays #, the expert #", lambda gap, pays, expert: gap < 1e-6 and pays > 2 * expert),
        ("columns feature gap #; pays #, the expert #", lambda gap, pays, expert: gap < 1e-6 and pays < 1.02 * expert),
        ("feature gap #, and yet it pays # against #", lambda gap, pays, e: gap < 1e-6 and pays > 4 * e),
        ("rows (5 features) at radius 10: regret #, mass elsewhere #", lambda regret, share: min(regret, share) > 0.1),
        ("columns (5) at radius 10: regret #, mass elsewhere #", lambda regret, share: abs(regret) < 0.05 < share),
        ("every state and action (100) at radius 10: regret #, mass elsewhere #", below(0.01)),
        ("GAIL: regret #", below(0.1)),
    ],
    "05": [
        ("psi* of GAIL, normalised # 2 JS - 2 log 2 #", lambda found, known: abs(found - known) < 1e-10),
        ("logistic # # Jensen-Shannon", lambda found, known: abs(found - known) < 1e-9),
        ("exponential # # Hellinger", lambda found, known: abs(found - known) < 1e-9),
        ("exponential_linear # # Jeffreys", lambda found, known: abs(found - known) < 1e-9),
        ("hinge, tau = 0.02 # # total variation", lambda found, known: abs(found - known) < 0.05),
        ("against rho / (rho + rho_E): largest difference #", below(1e-12)),
        ("problems, largest certified relative gap #", below(1e-9)),
        ("one trajectory: regret of cloning #, of GAIL's psi #", lambda clone, gail: gail < clone),
        ("trajectories of 12 steps: regret of cloning #, of GAIL's psi #", lambda clone, gail: clone < gail),
    ],
    # Sampling: 4,000 pairs a batch leave a share of 1/sqrt(4,000) = 0.016 of the mass to chance, some iterations over.
    "06": [
        CERTIFIED,
        ("learner against optimum #, learner against expert #", lambda optimum, expert: optimum < 0.1 and expert < 0.3),
        (
            "cloning return #, # steps (deterministic policy, mean of 20 episodes) GAIL, 150,000 steps return #",
            lambda cloning, length, gail: gail > 1.2 * cloning,
        ),
        ("expert return #", lambda value: value > 3000),
    ],
}


@pytest.mark.parametrize("made", [committed, fresh])
@pytest.mark.parametrize("name", NAMES)
def test_its_claims_hold(name: str, made: Callable[[str], NotebookNode]) -> None:
    text = re.sub(r"\s+", " ", printed(made(name)))
    for claim, holds in CLAIMS[name[:2]]:
        pattern = re.escape(claim).replace(r"\ ", " ").replace(r"\#", f"({NUMBER})")
        found = [tuple(float(x.replace(",", "")) for x in match.groups()) for match in re.finditer(pattern, text)]
        assert found, f"{claim!r} is not printed"
        for values in found:
            assert holds(*values), f"{claim!r} with {values}"


def test_the_picture_of_the_readme_is_the_one_that_the_notebook_draws() -> None:
    found = {path: picture for name in NAMES for path, picture in execute.tagged(committed(name)).items()}
    assert set(found) == {"docs/proposition_3_2.png"}
    for path, picture in found.items():
        assert (ROOT / path).read_bytes() == picture and len(picture) < PICTURE


def test_a_failing_cell_fails_and_what_a_machine_adds_is_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "some.ipynb"
    cells = [new_markdown_cell("words"), new_code_cell("1 / 0")]
    nbformat.write(new_notebook(cells=cells), path)
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute.execute(path)
    cell = new_code_cell("x", metadata={"tags": ["a.png"], "execution": {"started": "now"}}, execution_count=1)
    cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": "aGk=", "text/plain": "<Figure>"})]
    made = execute.clean(new_notebook(cells=[cell], metadata={"language_info": {"name": "python", "version": "3.11"}}))
    assert "version" not in made.metadata.language_info and "execution" not in made.cells[0].metadata
    assert made.cells[0].outputs[0].data == {"image/png": "aGk="}
    assert execute.tagged(made) == {"a.png": b"hi"}

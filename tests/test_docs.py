"""The site builds without a warning, is whole and needs no network; its code runs; the map of equations is complete."""

import ast
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import yaml

import occmatch as om
from occmatch.statements import STATEMENTS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WRITTEN = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"}
BLOCK = re.compile(r"(^<!-- not run.*-->\n+)?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, DOCS / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


docstrings, pages = load("docstrings"), load("pages")
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as CI builds it; a warning ends the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    run = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


def leaves(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [leaf for part in (nav.values() if isinstance(nav, dict) else nav) for leaf in leaves(part)]


def test_every_page_is_in_the_navigation_and_nothing_else() -> None:
    found = leaves(pages.navigation(CONFIG["nav"]))
    assert len(found) == len(set(found))
    elsewhere = {page for page in pages.sources().values() if page.endswith(".md")}
    elsewhere |= {f"api/{name}.md" for package, names in pages.modules().items() for name in (package, *names)}
    assert set(found) == set(WRITTEN) | elsewhere


def test_the_site_is_whole(site: Path) -> None:
    for page in leaves(pages.navigation(CONFIG["nav"])):
        assert (site / page).with_suffix(".html").stat().st_size > 5_000, page
    home = (site / "index.html").read_text()
    assert "Imitate an expert" in home and 'src="walker2d.png"' in home
    assert not list(site.rglob("*.py")) and not list(site.rglob("*.jsonl"))


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Of what a page loads by itself; links that a reader follows may lead anywhere."""
    for path in site.rglob("*.html"):
        text = path.read_text()
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=[\"']?([^\"'> ]+)", text)
        loaded += re.findall(r"<link\b(?![^>]*rel=[\"']?canonical)[^>]*?\bhref=[\"']?([^\"'> ]+)", text)
        assert loaded and not [link for link in loaded if re.match(r"(?:https?:)?//", link)], path.name


def test_the_reference_describes_every_public_name(site: Path) -> None:
    lines = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    described = {line.split(" ")[0] for line in lines}
    for label, link, says in pages.exported():
        assert says, f"{label} has no docstring"
        assert link.startswith("(") or link.strip("[]") in described, label
    for name in ("deep.imitator.Imitator", "deep.config.GailConfig", "occmatch.regularisers.Surrogate"):
        assert name in described


def test_formulas_survive(site: Path) -> None:
    """< and * of docstrings are letters, and no LaTeX is left in the notebooks."""
    text = (site / "api" / "occmatch.occupancy.html").read_text()
    assert "E_pi[c] = &lt;rho_pi, c&gt;" in text
    assert "psi*(rho_pi - rho_E)" in (site / "api" / "occmatch.html").read_text()
    for path in (site / "notebooks").glob("*.html"):
        page = path.read_text()
        assert not re.findall(r">[^<]*\\[a-zA-Z]+[^<]*</m", page), path.name
        assert "$" not in re.sub(r"<(script|pre|code)\b.*?</\1>", "", page, flags=re.DOTALL), path.name


def blocks(page: str) -> list[str]:
    return [code for mark, code in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")) if not mark]


@pytest.mark.parametrize("page", [page for page in WRITTEN if blocks(page)])
def test_code_on_a_page_runs(page: str, tmp_path: Path) -> None:
    """All blocks of a page, one after another, in a fresh interpreter and an empty folder."""
    command = [sys.executable, "-W", "error", "-c", "\n".join(blocks(page))]
    run = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_readme_solves_what_it_says(tmp_path: Path) -> None:
    """Its first block stands alone; the others go on from data of the reader's."""
    code = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0][1]
    again = "\nassert om.certify(mdp, rho_E, psi, found).relative_gap < 1e-7"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + again], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert run.returncode == 0 and run.stdout.startswith("certificate of program"), run.stderr


@cache
def rows() -> list[list[str]]:
    text = (DOCS / "equations.md").read_text(encoding="utf-8")
    table = [
        line
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| statement", "| of"))
    ]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def named(dotted: str) -> object:
    """What a dotted name leads to, through modules that a function of the same name may hide."""
    first, *rest = dotted.split(".")
    found: object = importlib.import_module(first)
    for n, part in enumerate(rest, start=1):
        found = getattr(found, part, None) or importlib.import_module(".".join([first, *rest[:n]]))
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}: {row[2]}")
def test_a_row_of_the_map_names_what_exists(row: list[str]) -> None:
    statement, says, functions, files, tests = row
    assert statement and says and code(functions)
    found = {
        Path(inspect.getsourcefile(inspect.unwrap(named(name)))).relative_to(ROOT).as_posix()
        for name in code(functions)
    }
    assert set(code(files)) <= found
    for test in code(tests):
        assert (ROOT / test if "/" in test else ROOT / "theory" / test).exists()


def words(path: Path) -> set[str]:
    """The names, attributes and texts in a program."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return texts | attributes | {node.id for node in nodes if isinstance(node, ast.Name)}


@pytest.mark.parametrize("row", [row for row in rows() if "`test_" in row[4]], ids=lambda row: f"{row[0]}: {row[2]}")
def test_the_theory_test_of_a_row_uses_its_functions(row: list[str]) -> None:
    """A function called solve stands behind an option of its module's name: the test asks for it by that word."""
    used = set().union(*(words(ROOT / "theory" / test) for test in code(row[4])))
    for name in code(row[2]):
        *_, module, function = name.split(".")
        assert {module if function == "solve" else function} <= used, f"{name} is not in {row[4]}"


def test_the_map_is_complete() -> None:
    mapped = {
        name.strip() for row in rows() for part in row[0].split(",") for name in re.split(r"[()]", part) if name.strip()
    }
    assert {s.id for s in STATEMENTS} <= mapped
    of_the_paper = {p.name for p in (ROOT / "theory").glob("test_*.py")}
    of_the_paper = {name for name in of_the_paper if re.match(r"test_(\d|a_)", name)}
    assert of_the_paper == {test for row in rows() for test in code(row[4]) if "/" not in test}


def test_links_lead_to_pages_or_become_text() -> None:
    text = (
        "[a](docs/own_psi.md#x) [`b`](theory/STATEMENTS.md) [c](deep/trpo.py) [d](https://e) `[e](f)` ![g](docs/h.png)"
    )
    expected = "[a](own_psi.md#x) [`b`](statements.md) c [d](https://e) `[e](f)` ![g](h.png)"
    assert pages.relink(text, "README.md", "index.md") == expected
    assert pages.relink("[a](../../README.md)", "docs/benchmarks/x.md", "benchmarks/x.md") == "[a](../index.md)"
    assert pages.relink("```\n[a](deep/trpo.py)\n```", "README.md", "index.md") == "```\n[a](deep/trpo.py)\n```"


def test_docstrings_become_markdown() -> None:
    text = "Solves <rho, c> = psi*(x) for `a*b` [S, A].\n\n    x  =  y\n\nname   what\nother  it\n"
    prose, formula, table = docstrings.markdown(text).split("\n\n")
    assert prose == "Solves &lt;rho, c> = psi\\*(x) for `a*b` \\[S, A\\]."
    assert (formula, table) == ("```text\nx  =  y\n```", "```text\nname   what\nother  it\n```")


def test_latex_becomes_mathml() -> None:
    found = pages.mathml(r"cost $\psi^*(\rho_E)$, 5 \$ and $$\arg\min_\pi H$$")
    assert found.count("<math") == 2 and "$$" not in found and "*" not in found and "argmin" in found
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        for cell in cells:
            if cell.cell_type == "markdown":
                assert "\\" not in "".join(re.findall(r"<math.*?</math>", pages.mathml(cell.source), re.DOTALL))


def test_the_hooks_import_nothing_but_what_they_need() -> None:
    """Building the site loads neither torch nor a simulator."""
    tree = ast.parse((DOCS / "hooks" / "pages.py").read_text())
    imported = {node.names[0].name for node in ast.walk(tree) if isinstance(node, ast.Import)}
    assert "deep" not in imported and om.__name__ in imported

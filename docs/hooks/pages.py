"""Pages of the site that live elsewhere in the repository, so that nothing is written twice.

    README.md, CHANGELOG.md, CONTRIBUTING.md, theory/STATEMENTS.md, results/README.md    as they are
    notebooks/*.ipynb                       prose, code and the committed outputs; nothing is executed
    occmatch and deep                       a page of the API reference for each module with a public name
    docs/*.md, docs/benchmarks/*.md         guides and tables, in the navigation by their own headings

Links between them are written for a reader of the repository; `relink` turns each into one of the site, or into its
plain text where it leads to a file that the site does not show.
"""

from __future__ import annotations

import ast
import base64
import inspect
import os
import re
import sys
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from types import ModuleType
from typing import Any

import nbformat
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from docstrings import prose  # noqa: E402

import occmatch  # noqa: E402

SHOWN = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "theory/STATEMENTS.md": "statements.md",
    "results/README.md": "results/index.md",
}
"""Source in the repository -> page of the site, where the source exists."""

GUIDES = ("demonstrations", "own_psi", "rewards", "reading_a_run", "equations", "reliability")
"""The order of docs/*.md; any other comes after."""

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
OUTSIDE = re.compile(r"^(?:[a-z]+:|#)")
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def sources() -> dict[str, str]:
    """Source -> page or picture for everything that is shown and does not lie in docs/."""
    found = {source: page for source, page in SHOWN.items() if (ROOT / source).exists()}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        found[f"notebooks/{path.name}"] = f"notebooks/{path.stem}.md"
    for path in sorted((ROOT / "results").glob("*.png")):
        found[f"results/{path.name}"] = f"results/{path.name}"
    return found


def title(path: Path) -> str:
    """The first heading of a Markdown file or notebook."""
    if path.suffix == ".ipynb":
        text = nbformat.read(path, as_version=4).cells[0].source
    else:
        text = path.read_text(encoding="utf-8")
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1].replace("`", "")


def modules() -> dict[str, list[str]]:
    """Package -> its modules and subpackages that define or export a public name, in alphabetical order."""
    return {
        package: [
            f"{package}.{path.stem}"
            for path in sorted((ROOT / package).iterdir())
            if (path.suffix == ".py" or (path / "__init__.py").exists()) and not path.stem.startswith("_")
            if any(defines(node) for node in tree(f"{package}.{path.stem}").body)
        ]
        for package in ("occmatch", "deep")
    }


def tree(module: str) -> ast.Module:
    """The source of a module or package, parsed: nothing is imported."""
    path = ROOT.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(source.read_text(encoding="utf-8"))


def defines(node: ast.stmt) -> bool:
    """Whether a statement defines a public name, or says which are exported."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return not node.name.startswith("_")
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def navigation(nav: list[Any]) -> list[Any]:
    """`nav` of mkdocs.yml with guides, notebooks, benchmarks and api replaced by what there is."""
    missing = set(SHOWN.values()) - set(sources().values())
    guides = sorted((ROOT / "docs").glob("*.md"), key=lambda p: ((*GUIDES, p.stem).index(p.stem), p.stem))
    made = {
        "guides": [{title(path): path.name} for path in guides],
        "notebooks": [
            {title(ROOT / source): page} for source, page in sources().items() if source.startswith("notebooks/")
        ],
        "benchmarks": [
            {title(path): f"benchmarks/{path.name}"} for path in sorted((ROOT / "docs/benchmarks").glob("*.md"))
        ],
        "api": [
            {
                package: [
                    {"the map": f"api/{package}.md"},
                    *({name.partition(".")[2]: f"api/{name}.md"} for name in names),
                ]
            }
            for package, names in modules().items()
        ],
    }
    return [{name: made.get(page, page)} for entry in nav for name, page in entry.items() if page not in missing]


def notebook(path: Path, config: MkDocsConfig) -> tuple[str, list[File]]:
    """A notebook as Markdown, and its pictures."""
    parts, pictures = [], []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(mathml(cell.source))
            continue
        source = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        parts.append(f"```python\n{source.strip()}\n```")
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                parts.append(f"```text\n{output.text.rstrip()}\n```")
            elif "image/png" in output.get("data", {}):
                name = f"{path.stem}_{len(pictures)}.png"
                content = base64.b64decode(output.data["image/png"])
                pictures.append(File.generated(config, f"notebooks/{name}", content=content))
                parts.append(f"![Figure {len(pictures)}]({name})")
    return "\n\n".join(parts), pictures


def mathml(text: str) -> str:
    """LaTeX between dollars as MathML, which browsers draw themselves: no script, no network."""

    def drawn(display: str) -> Any:
        def replace(match: re.Match[str]) -> str:
            found = convert(match[1].strip().replace(r"\arg\min", r"\operatorname{argmin}"), display=display)
            found = found.replace(r"\{", "{").replace(r"\}", "}")  # what the converter makes of \bigl\{
            found = found.replace("*", "&#42;").replace("_", "&#95;")  # or Markdown would read emphasis
            return f"\n<div>{found}</div>\n" if display == "block" else found

        return replace

    text = re.sub(r"\$\$(.+?)\$\$", drawn("block"), text, flags=re.DOTALL)
    return re.sub(r"(?<![\\$])\$([^$\n]+?)\$", drawn("inline"), text)


def reference(name: str) -> str:
    """The page of a module. That of a package is its map, and a table of what can be reached from there."""
    if "." in name:
        return f"# {name}\n\n::: {name}\n"
    rows = (
        exported()
        if name == "occmatch"
        else [(m, f"({m}.md)", summary(ast.get_docstring(tree(m)))) for m in modules()[name]]
    )
    lines = [f"| [`{label}`]{goal} | {says} |" for label, goal, says in rows]
    return "\n".join(
        [f"# {name}", "", f"::: {name}", "    options:", "      members: false", "", "| | |", "| --- | --- |", *lines]
    )


def exported() -> list[tuple[str, str, str]]:
    """Name, link to its description, and what it says, of everything that `import occmatch` gives, in its order."""
    found = []
    for name in occmatch.__all__:
        value = getattr(occmatch, name)
        if isinstance(value, ModuleType):
            goal = f"({value.__name__}.md)"
        elif isinstance(value, dict):
            goal = f"[occmatch.losses.{name}]"
        else:
            goal = f"[{value.__module__}.{value.__qualname__}]"
        found.append(
            (
                f"occmatch.{name}",
                goal,
                "every registered loss by name" if isinstance(value, dict) else summary(inspect.getdoc(value)),
            )
        )
    return found


def summary(docstring: str | None) -> str:
    """The first paragraph of a docstring, for a cell of a table."""
    return prose((docstring or "").partition("\n\n")[0].replace("\n", " ")).replace("|", "\\|")


def relink(text: str, source: str, page: str) -> str:
    """Markdown of `source` (from the root) with links for `page` of the site; code is left alone."""
    shown = sources()

    def replace(match: re.Match[str]) -> str:
        bang, label, link = match.groups()
        if OUTSIDE.match(link):
            return match[0]
        path, _, anchor = link.partition("#")
        inside = normpath(join(dirname(source), path))
        goal = inside[len("docs/") :] if inside.startswith("docs/") else shown.get(inside)
        if goal is None:
            return match[0] if bang else label
        return f"{bang}[{label}]({relpath(goal, dirname(page) or '.')}{'#' + anchor if anchor else ''})"

    code: list[str] = []

    def hide(match: re.Match[str]) -> str:
        code.append(match[0])
        return f"\0{len(code) - 1}\0"

    return re.sub(r"\0(\d+)\0", lambda match: code[int(match[1])], LINK.sub(replace, CODE.sub(hide, text)))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    os.chdir(ROOT)
    config.nav = navigation(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in sources().items():
        path = ROOT / source
        if path.suffix == ".png":
            files.append(File.generated(config, page, abs_src_path=str(path)))
            continue
        pictures: list[File] = []
        if path.suffix == ".ipynb":
            text, pictures = notebook(path, config)
        else:
            text = path.read_text(encoding="utf-8")
        for file in (File.generated(config, page, content=text), *pictures):
            files.append(file)
    for package, names in modules().items():
        for name in (package, *names):
            files.append(File.generated(config, f"api/{name}.md", content=reference(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    where = page.file.src_uri
    back = {to: source for source, to in sources().items()}
    return markdown if where.startswith("api/") else relink(markdown, back.get(where, f"docs/{where}"), where)

"""The frame: what is declared, pinned, packaged and run is one and the same."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
MODULES = {"flint": "python-flint", "PIL": "pillow"}  # where a package's module has another name


def pins() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    found = {}
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), f"{line!r} must be name==version"
        name, _, version = line.partition("==")
        assert canonicalize_name(name) not in found, f"{name} is pinned twice"
        found[canonicalize_name(name)] = Version(version)
    return found


def declared() -> list[Requirement]:
    """Of the project and its extras, the packages of others."""
    found = [Requirement(r) for r in [*PROJECT["dependencies"], *(r for extra in EXTRAS.values() for r in extra)]]
    return [r for r in found if r.name != PROJECT["name"]]


def test_every_pin_meets_what_is_declared() -> None:
    for requirement in declared():
        pin = pins()[canonicalize_name(requirement.name)]
        assert pin in requirement.specifier, f"{requirement} against {pin}"
    assert pins()["torch"] == Version("2.13.0")


def test_everything_that_is_installed_for_the_project_is_pinned_to_the_version_found() -> None:
    """Follows the requirements of the installed packages; those of extras that are not installed are passed over."""
    todo, seen = [(r.name, r.extras) for r in declared()], set()
    checked = 0
    while todo:
        name, extras = todo.pop()
        if (canonicalize_name(name), frozenset(extras)) in seen:
            continue
        seen.add((canonicalize_name(name), frozenset(extras)))
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        assert canonicalize_name(name) in pins(), f"{name} {found.version} must be pinned in constraints.txt"
        assert Version(found.version).public == str(pins()[canonicalize_name(name)]), name
        checked += 1
        for text in found.requires or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                todo.append((requirement.name, requirement.extras))
    assert checked > 50  # the walk went beyond the packages that are declared


def test_every_package_that_is_imported_is_declared() -> None:
    names = {canonicalize_name(r.name) for r in declared()}
    for path in [*(ROOT / "occmatch").rglob("*.py"), *(ROOT / "deep").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [str(node.module)]
            for top in {m.partition(".")[0] for m in modules} - {"occmatch", "deep", *sys.stdlib_module_names}:
                assert canonicalize_name(MODULES.get(top, top)) in names, f"{path.name}:{node.lineno} imports {top}"


def test_the_changelog_follows_its_format() -> None:
    headings = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0][0] == "Unreleased"
    for version, date in headings[1:]:
        assert Version(version) <= Version(PROJECT["version"]) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", date)
    kinds = re.findall(r"^### (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert kinds and set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def run_ci(*args: str, readme: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """The CI program in a folder whose README is `readme`."""
    (folder / ".ci").mkdir()
    (folder / ".ci" / "run").write_bytes((ROOT / ".ci" / "run").read_bytes())
    (folder / "README.md").write_text(readme)
    command = ["bash", str(folder / ".ci" / "run"), *args]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=60)


MAIN = "pip install -c constraints.txt -e . && python -m deep.gail --env Walker2d-v4"
TEST = "pip install -c constraints.txt -e '.[test]' && pytest"


def test_ci_takes_the_commands_that_the_readme_prints(tmp_path: Path) -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    shown = run_ci("--show", readme=(ROOT / "README.md").read_text(), folder=tmp_path)
    assert shown.stdout.splitlines() == [MAIN, TEST] and shown.returncode == 0


UNFIT = {
    "empty": "",
    "not in a block": f"{MAIN}\n{TEST}\n",
    "one missing": f"```bash\n{MAIN}\n```\n",
    "no bash block": f"```text\n{MAIN}\n{TEST}\n```\n",
    "one twice": f"```bash\n{MAIN}\n{MAIN}\n{TEST}\n```\n",
}


@pytest.mark.parametrize("readme", UNFIT.values(), ids=UNFIT)
def test_ci_fails_where_the_readme_does_not_print_both_commands_once(readme: str, tmp_path: Path) -> None:
    shown = run_ci("--show", readme=readme, folder=tmp_path)
    assert shown.returncode == 1
    assert "README.md must print exactly one command with" in shown.stderr
    assert "virtual environment" not in shown.stdout


def test_a_failing_stage_stops_ci(tmp_path: Path) -> None:
    """Nothing after the stage that fails is run, and the status says so."""
    readme = "```bash\nfalse && python -m deep.gail\ntrue && pytest\n```\n"
    python = tmp_path / "python"  # a real environment takes seconds to make
    python.write_text('#!/bin/bash\nmkdir -p "$3/bin" && touch "$3/bin/activate"\n')
    python.chmod(0o755)
    run = run_ci(readme=readme, folder=tmp_path, PYTHON=str(python))
    assert run.returncode != 0
    assert "== main job" in run.stdout and "== test environment" not in run.stdout


def test_packages_are_typed_and_data_is_packaged() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package in ("occmatch", "deep"):
        assert (ROOT / package / "py.typed").exists() and "py.typed" in tool["package-data"][package]
    data = [path for path in (ROOT / "deep" / "data").rglob("*") if path.is_file()]
    assert {path.suffix for path in data} >= {".npz", ".safetensors", ".json"}
    assert not [path for path in data if path.suffix in (".pkl", ".pickle", ".pt", ".py")]
    covered = {path for glob in tool["package-data"]["deep"] for path in (ROOT / "deep").glob(glob)}
    assert set(data) <= covered

"""What a result says of where it comes from: the commit of its own source tree, and of no other."""

import subprocess
from pathlib import Path

import pytest

from deep import provenance


def repository(folder: Path, *files: str) -> str:
    """A repository with one commit, whose name it returns."""
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = repository(tmp_path, "deep/provenance.py", "occmatch/mdp.py", "README.md")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "deep" / "provenance.py"))
    assert provenance.commit() == head
    (tmp_path / "README.md").write_text("2\n")  # changes no number
    assert provenance.commit() == head
    (tmp_path / "occmatch" / "mdp.py").write_text("2\n")
    assert provenance.commit() == f"{head}+changes"


def test_a_package_below_the_repository_of_something_else_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path, "theirs.py")
    packages = tmp_path / ".venv" / "lib" / "site-packages"
    (packages / "deep").mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(packages / "deep" / "provenance.py"))
    assert provenance.commit() is None

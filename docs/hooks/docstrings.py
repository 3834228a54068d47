"""Docstrings are plain text with formulas; the site reads Markdown. This makes the one into the other.

Indented lines and columns aligned by spaces become blocks of text as they stand; in prose <, * and [ are letters, so
that <rho, c>, psi* and pi [S, A] come out as written. Names in `backticks` stay code.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

MARKUP = re.compile(r"([*\[\]])")

ALIGNED = re.compile(r"[^\s.:;,)]  +\S|\S   +\S")
"""Two spaces inside a line, but for those after the end of a sentence; or three anywhere."""


def markdown(text: str) -> str:
    """The docstring `text` as Markdown."""
    out: list[str] = []
    for paragraph in re.split(r"\n[ \t]*\n", text.strip("\n")):
        lines = paragraph.split("\n")
        columns = sum(bool(ALIGNED.search(line.strip())) for line in lines)
        table = columns >= max(2, len(lines) / 2)
        blocks: list[tuple[bool, list[str]]] = []
        for line in lines:
            verbatim = table or line.startswith("  ")
            if not blocks or blocks[-1][0] != verbatim:
                blocks.append((verbatim, []))
            blocks[-1][1].append(line)
        out += [block("\n".join(part)) if verbatim else prose("\n".join(part)) for verbatim, part in blocks]
    return "\n\n".join(out)


def block(text: str) -> str:
    """Text as it stands, without its common indentation."""
    lines = text.split("\n")
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(["```text", *(line[margin:].rstrip() for line in lines), "```"])


def prose(text: str) -> str:
    """Text whose letters <, * and [ mean themselves, but not in `code`."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(p if p.startswith("`") else MARKUP.sub(r"\\\1", p).replace("<", "&lt;") for p in parts)


class PlainText(griffe.Extension):
    """Rewrites every docstring that is collected."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)

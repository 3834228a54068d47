"""The rows of reliability.jsonl as the tables of docs/reliability.md, between its markers."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

Row = dict[str, Any]


def bad(row: Row) -> bool:
    """Whether something broke that must not."""
    unclear = row.get("status") == 2 and row.get("clear") is False
    return bool(row.get("broken") or row.get("different") or row.get("wrong") or unclear or row.get("resumed") is False)


def render(page: str, rows: list[Row]) -> str:
    """The page with every <!-- NAME --> ... <!-- /NAME --> filled anew."""
    for name, table in TABLES.items():
        mine = [row for row in rows if row["part"] == name.split(":")[0]]
        if mine:
            block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
            text = table(mine)
            page = block.sub(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)
    return page


def grid(head: str, lines: list[tuple[Any, ...]]) -> str:
    """A Markdown table."""
    columns = head.count("|") + 1
    return "\n".join([f"| {head} |", "| --- " * columns + "|", *(f"| {' | '.join(map(str, x))} |" for x in lines)])


def kills(rows: list[Row]) -> str:
    random = [row for row in rows if row["kind"] == "random"]
    lines = []
    for task in sorted({row["task"] for row in random}):
        mine = [row for row in random if row["task"] == task]
        phases = Counter(kill["phase"] for row in mine for kill in row["kills"])
        lines.append(
            (
                task,
                len(mine),
                sum(phases.values()),
                *(phases[name] for name in ("checking", "start-up", "training", "closing")),
                sum(bool(row["broken"]) for row in mine),
                sum(bool(row["different"]) for row in mine),
            )
        )
    head = "task | runs | kills | checking | start-up | training | closing | half-written files | other bits at the end"
    total = tuple(sum(line[i] for line in lines) for i in range(1, 9))
    text = grid(head, [*lines, ("all", *total)])
    calls = [row for row in rows if row["kind"] == "call" and row["killed"]]
    if not calls:
        return text
    count = Counter(row["call"] for row in calls)
    head = "killed | runs | half-written files | other bits at the end"
    lines = [
        (
            name,
            number,
            *(sum(bool(row[key]) for row in calls if row["call"] == name) for key in ("broken", "different")),
        )
        for name, number in sorted(count.items())
    ]
    return text + "\n\n" + grid(head, lines)


def faults(rows: list[Row]) -> str:
    lines = []
    for name in dict.fromkeys(row["case"] for row in rows):
        mine = [row for row in rows if row["case"] == name]
        stopped = [row for row in mine if row["status"]]
        states = ", ".join(f"{n} of status {s}" for s, n in sorted(Counter(row["status"] for row in mine).items()))
        example = next((row["message"] for row in stopped), next((row["message"] for row in mine), ""))
        resumed = [row for row in mine if row["resumed"] is not None]
        lines.append(
            (
                name,
                len(mine),
                states,
                f"{sum(row['clear'] for row in stopped)} of {len(stopped)}" if stopped else "",
                sum(bool(row["broken"]) for row in mine),
                f"{sum(row['resumed'] for row in resumed)} of {len(resumed)}" if resumed else "",
                f"`{example}`" if example else "",
            )
        )
    head = "fault | runs | ended with | one line | half-written | same bits once resumed | for example"
    return grid(head, lines)


def numbers(rows: list[Row]) -> str:
    lines = [
        (
            row["case"],
            row["method"],
            row["iterations"],
            "none" if row["finite"] else "NaN",
            "; ".join(f"{event} ({n})" for event, n in row["events"].items()) or "",
        )
        for row in rows
    ]
    return grid("task | method | iterations | weights that are not finite | events logged (iterations)", lines)


def memory(rows: list[Row]) -> str:
    runs = [
        (
            row["case"],
            f"{row['steps']:,}",
            f"{row['iterations']:,}",
            f"{row['rss_first']:.1f}",
            f"{row['rss_last']:.1f}",
            f"{row['files_first']} / {row['files_last']}",
            f"{row['threads_first']} / {row['threads_last']}",
            f"{row['metrics_bytes']:.0f}",
            f"{row['events_bytes']:.0f}",
        )
        for row in rows
        if row["kind"] == "run"
    ]
    head = "run | steps | iterations | MiB after a tenth | MiB at the end | open files then / at the end | "
    head += "threads then / at the end | metrics.jsonl, bytes an iteration | TensorBoard, bytes an iteration"
    made = [
        (row["case"], row["times"], f"{row['rss_first']:.1f}", f"{row['rss_last']:.1f}", row["files"], row["threads"])
        for row in rows
        if row["kind"] == "made"
    ]
    text = grid(head, runs)
    if made:
        head = "simulators made and closed | times | MiB after a tenth | MiB at the end | more files | more threads"
        text += "\n\n" + grid(head, made)
    return text


def threads(rows: list[Row]) -> str:
    lines = [
        (
            row["task"],
            row["path"],
            row["seed"],
            ", ".join(map(str, row["threads"])),
            "no" if row["different"] else "yes",
        )
        for row in rows
    ]
    return grid("task | path | seed | threads of the simulators | same bits", lines)


TABLES = {"kills": kills, "faults": faults, "numbers": numbers, "memory": memory, "threads": threads}

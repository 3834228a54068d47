"""The table of bundled experts, from the records that `python -m deep.bundle` wrote.

python benchmarks/experts.py
"""

import json

from deep.expert import DATA


def main() -> None:
    print("| task | stochastic | deterministic | length | random | trajectories |")
    print("| --- | --- | --- | --- | --- | --- |")
    for path in sorted(DATA.glob("*/expert.json")):
        record = json.loads(path.read_text())
        kinds = [record[k] for k in ("stochastic", "deterministic", "random")]
        cells = [f"{k['mean']:,.1f} ± {k['std']:,.1f}" for k in kinds]
        demonstrations = record["demonstrations"]
        every = "" if demonstrations["subsample"] == 1 else f"{demonstrations['subsample']}th "
        size = f"{demonstrations['trajectories']}, every {every}pair"
        print(f"| {record['env']} | {cells[0]} | {cells[1]} | {kinds[0]['length']:.0f} | {cells[2]} | {size} |")


if __name__ == "__main__":
    main()

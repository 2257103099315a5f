#!/usr/bin/env python3
"""Draws the plots of docs/src/results/evidence.md from the figures in docs/results/: `pip install matplotlib`, then
`scripts/evidence_plots.py`. The newest file of each name is drawn; the same figures give the same bytes.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

try:
    import matplotlib
except ImportError:
    sys.exit("matplotlib is missing: pip install matplotlib")
matplotlib.use("svg")
from matplotlib import pyplot as plt  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs/src/images"

# Text stays text, and nothing in a file depends on the day.
plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "aaren", "font.family": "sans-serif", "font.size": 9, "figure.dpi": 100})
OURS = "#c1272d"
COLOURS = [c for index, c in enumerate(plt.get_cmap("tab10").colors) if index != 3]  # without the red that is near ours


def figures(name: str) -> tuple[list[str], list[list[str]]]:
    newest = sorted((ROOT / "docs/results").glob(f"*/{name}.json"))[-1]
    found = json.loads(newest.read_text())["figures"]
    return found["columns"], found["rows"]


def number(text: str) -> float | None:
    found = re.match(r"-?[\d,]+(\.\d+)?", text)
    return float(found[0].replace(",", "")) if found else None


def style(name: str, index: int) -> dict:
    ours = name == "aaren"
    shape = "oX"[index // len(COLOURS) % 2]
    return {"label": name, "color": OURS if ours else COLOURS[index % len(COLOURS)], "marker": shape, "linewidth": 2.2 if ours else 1.2}


def save(figure, name: str, alt: str) -> None:
    figure.tight_layout()
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None, "Title": alt}, facecolor="white")
    # Lines without an end of their own would be changed by editors.
    path = IMAGES / f"{name}.svg"
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))
    print(path.relative_to(ROOT))


def tmaze() -> None:
    """Success and cost over corridors that were never trained on."""
    columns, rows = figures("evidence-tmaze")
    lengths = [number(column.removeprefix("corridor ")) for column in columns[2:]]
    figure, (success, cost) = plt.subplots(1, 2, figsize=(8.6, 3.4))
    for index, row in enumerate(rows):
        cells = [(length, cell) for length, cell in zip(lengths, row[2:]) if number(cell) is not None]
        # Lines that lie on each other are moved apart by a little.
        success.plot([length for length, _ in cells], [number(cell) + 0.006 * (index - 4) for _, cell in cells], markersize=3.5, **style(row[0], index))
        micros = [float(re.search(r"; (\d+) µs", cell)[1]) for _, cell in cells]
        cost.plot([length for length, _ in cells], micros, markersize=3.5, **style(row[0], index))
    success.axvspan(min(lengths) * 0.8, 200, color="#eeeeee", zorder=0)
    success.set(xscale="log", xlabel="corridor, steps (trained on at most 200)", ylabel="share of right turns", ylim=(0.2, 1.05))
    success.axhline(0.5, color="#888888", linewidth=0.8, linestyle=":")
    cost.set(xscale="log", yscale="log", xlabel="corridor, steps", ylabel="µs a step")
    cost.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False)
    save(figure, "evidence-tmaze", "Success and cost of a step over the length of the corridor")


def recall() -> None:
    """Accuracy over the bytes of the state."""
    columns, rows = figures("evidence-recall")
    figure, axes = plt.subplots(1, len(columns) - 2, figsize=(8.6, 3.2), sharey=True)
    for at, (axis, column) in enumerate(zip(axes, columns[2:])):
        for index, row in enumerate(rows):
            accuracy = number(row[2 + at])
            if accuracy is None:
                continue
            size = number(row[1])
            # The state of attention grows with the tokens.
            if row[0] == "attention":
                size *= 2**at
            axis.plot([size], [accuracy], markersize=5, linestyle="none", **style(row[0], index))
        axis.set(xscale="log", title=column, xlabel="bytes of state", xlim=(8e2, 3e5))
        axis.axhline(1 / [4, 8, 16][at], color="#888888", linewidth=0.8, linestyle=":")
    axes[0].set_ylabel("accuracy")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False)
    save(figure, "evidence-recall", "Accuracy of recall over the bytes of the state")


def d4rl() -> None:
    """Normalized scores by dataset."""
    columns, rows = figures("evidence-d4rl")
    rows = [row for row in rows if not row[0].startswith("**")]
    figure, axis = plt.subplots(figsize=(8.6, 3.2))
    width = 0.8 / (len(columns) - 1)
    for index, agent in enumerate(columns[1:]):
        scores = [number(row[1 + index]) or 0 for row in rows]
        shade = OURS if agent.startswith("aaren") else COLOURS[index]
        places = [at + (index - (len(columns) - 2) / 2) * width for at in range(len(rows))]
        axis.bar(places, scores, width * 0.95, label=agent, color=shade, alpha=0.55 if "streaming" in agent else 1.0)
    axis.set_xticks(range(len(rows)), [row[0].replace("-", "\n", 1) for row in rows])
    axis.set_ylabel("normalized score")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    save(figure, "evidence-d4rl", "Normalized scores by dataset")


def main() -> None:
    for draw, name in [(tmaze, "evidence-tmaze"), (recall, "evidence-recall"), (d4rl, "evidence-d4rl")]:
        if list((ROOT / "docs/results").glob(f"*/{name}.json")):
            draw()


if __name__ == "__main__":
    main()

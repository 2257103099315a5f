#!/usr/bin/env python3
"""Makes the sections of docs/src/results/evidence.md: trains what a manifest of configs/evidence/ or configs/tables/ says, plays it, and
writes the figures with what they were measured with, and prints them as the page has them.

    scripts/evidence.py tmaze|recall|tasks|online|velocities|robots|recipe|d4rl [--folder docs/results/DATE-MACHINE] [--runs runs/evidence]

$AAREN is the binary, a release build (`cargo build --release`, with `--features mujoco` for robots). What is finished is not done again.
`--finished` trains nothing and publishes what there is. `--earlier FILE` adds the runs of a file that was published before and that are
not here: tables may be run in parts, on several machines. Every run in a file has its commit and processor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AAREN = os.environ.get("AAREN", str(ROOT / "target/release/aaren"))


def aaren(*arguments: object) -> str:
    """What the program prints; an error ends the script."""
    command = [AAREN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def trained(manifest: str, asked: argparse.Namespace) -> list[Path]:
    """Trains a table; the folders of the runs that are finished."""
    chosen = [word for flag, value in [("--agents", asked.agents), ("--seeds", asked.seeds)] if value for word in (flag, value)]
    if not asked.finished:
        aaren("table", manifest, "--runs", asked.runs, "--jobs", 1, *chosen)
    listed = aaren("table", manifest, "--runs", asked.runs, "--list", *chosen)
    runs = [Path(json.loads(line)["run"]) for line in listed.splitlines()]
    return [run for run in runs if (run / "evaluation.json").is_file()]


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1]
            return "AMD EPYC" if "EPYC" in name else "Intel Xeon" if "Xeon" in name else name.strip()
    return platform.processor()


def build() -> tuple[str, str]:
    """Commit and profile of the binary, which says `aaren 0.1.0 (7c566d8..., mujoco, release build)`."""
    commit, kind = aaren("--version").split("(", 1)[1].split(",", 1)
    return commit[:7], "release" if "release" in kind else "dev"


def measured(manifest: str, rows: list[str], read: Callable[[Path], dict], asked: argparse.Namespace) -> list[dict]:
    """What `read` says of every run of a table, `ROW-AGENT-seedN`, and the earlier runs that are not among them. Without rows, names are
    `AGENT-seedN`.
    """
    made = {"commit": build()[0], "processor": processor()}
    found = []
    for run in trained(manifest, asked):
        name, seed = run.name.rsplit("-seed", 1)
        row = max((row for row in rows if name.startswith(f"{row}-")), key=len, default="")
        found.append({"row": row, "agent": name.removeprefix(f"{row}-"), "seed": int(seed), **read(run), **made})
    here = {key_of(run) for run in found}
    if asked.earlier:
        found += [run for run in json.loads(asked.earlier.read_text())["runs"] if key_of(run) not in here]
    if not found:
        sys.exit(f"error: no run of {manifest} is finished in {asked.runs}; leave out --finished to train, or name published ones: --earlier FILE")
    return found


def key_of(run: dict) -> tuple[str, str, int]:
    return run["row"], run["agent"], run["seed"]


def of(runs: list[dict], figure: str, **which: object) -> list[float]:
    """A figure of the runs that are of this row or agent, by seed."""
    chosen = [run for run in runs if figure in run and all(run[key] == value for key, value in which.items())]
    return [run[figure] for run in sorted(chosen, key=lambda run: run["seed"])]


def names(runs: list[dict], kind: str) -> list[str]:
    """Rows or agents, in their order."""
    return list(dict.fromkeys(run[kind] for run in runs))


def publish(asked: argparse.Namespace, name: str, runs: list[dict], figures: dict) -> None:
    """Writes figures as every result is written, and prints them as the page has them."""
    columns, rows = figures["figures"]["columns"], figures["figures"]["rows"]
    whole = {
        "title": figures["title"],
        "command": [f"scripts/evidence.py {asked.section}"],
        "commit": ", ".join(sorted({run["commit"] for run in runs})),
        "machine": {
            "processor": ", ".join(sorted({run["processor"] for run in runs})),
            "cores": os.cpu_count(),
            "system": system(),
            "rust": subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()[1].removesuffix(".0"),
            "load": "busy with other work",
        },
        "profile": build()[1],
        "seeds": sorted({run["seed"] for run in runs}),
        "spread": figures["spread"],
        "figures": figures["figures"],
        "notes": figures["notes"],
        "runs": sorted(runs, key=key_of),
    }
    asked.folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**whole, "runs": None}, indent=2, ensure_ascii=False)
    # A run is a line.
    lines = ",\n".join(f"    {json.dumps(run, ensure_ascii=False)}" for run in whole["runs"])
    (asked.folder / f"{name}.json").write_text(text.replace('"runs": null', f'"runs": [\n{lines}\n  ]') + "\n")
    for line in [columns, ["---"] * len(columns), *rows]:
        print("| " + " | ".join(line) + " |")


def system() -> str:
    facts = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return " ".join(facts[key].strip('"') for key in ("NAME", "VERSION_ID") if key in facts).replace(" GNU/Linux", "")


LENGTHS = {200: 20, 2_000: 20, 20_000: 10, 100_000: 4}
"""Corridors that are played, and in how many episodes."""

CACHED = {200: 20, 2_000: 20, 20_000: 2}
"""The same with a KV cache, whose cost grows with the square of the corridor."""


def tmaze(asked: argparse.Namespace) -> None:
    """E1: trained on corridors of 20 to 200, played in longer ones."""

    def read(run: Path) -> dict:
        found: dict[str, object] = {}
        for length, episodes in (CACHED if run.name.startswith("transformer") else LENGTHS).items():
            report = in_corridor(run, length, episodes)
            latency = report["latency"]
            found[f"right-{length}"] = report["targets"][0]["return_mean"]
            found[f"us-{length}"] = 1e6 * report["wall_seconds"] / report["env_steps"]
            found.setdefault("state", f"{latency['state_bytes_first']:,} B, {latency['state_bytes_last']:,} B")
        return found

    runs = measured("configs/evidence/tmaze.toml", [], read, asked)
    rows = []
    for agent in names(runs, "agent"):
        row = [agent, next(run["state"] for run in runs if run["agent"] == agent)]
        for length in LENGTHS:
            returns, costs = of(runs, f"right-{length}", agent=agent), sorted(of(runs, f"us-{length}", agent=agent))
            row.append(f"{seeds_of(returns, '{:.2f}')}; {costs[len(costs) // 2]:.0f} µs" if returns else "not run")
        rows.append(row)
    publish(asked, "evidence-tmaze", runs, {
        "title": "Trained on corridors of 20 to 200 steps, played in longer ones",
        "spread": "interquartile mean over seeds of the share of right turns, in brackets every seed; microseconds of a step, median over seeds",
        "figures": {"columns": ["policy", "state, first and last step measured"] + [f"corridor {length:,}" for length in LENGTHS], "rows": rows},
        "notes": ["States are measured in the first 1,000 steps at most. A KV cache is played in 2 episodes of 20,000 steps, all others in 10."],
    })  # fmt: skip


def in_corridor(run: Path, length: int, episodes: int) -> dict:
    """The report of a policy in corridors of one length, which is made where it is missing."""
    steps = json.loads((run / "evaluation.json").read_text())["checkpoint_step"]
    name = f"step-{steps}-corridor-{length}-shortest-0-episodes-{episodes}"
    path = run / f"evaluations/{name}.json"
    if not path.is_file():
        options = ["--env-option", f"corridor={length}", "--env-option", "shortest=0", "--episodes", episodes]
        aaren("evaluate", run, *options, "--actors", 1, "--envs-per-actor", 1, "-q")
        made = run / f"evaluations/{name}-envs-per-actor-1.json"
        if made.is_file():
            made.rename(path)
    return json.loads(path.read_text())


def recipe(asked: argparse.Namespace) -> None:
    """What each part of the D4RL jobs' recipe does, alone and together."""
    runs = measured("configs/tables/d4rl-recipe.toml", [], lambda run: in_training(run, "normalised_score"), asked)
    rows = []
    for agent in names(runs, "agent"):
        cells = [of(runs, kind, agent=agent) for kind in ("last", "recent", "best")]
        rows.append([agent, str(len(cells[0])), *map(spread, cells)])
    publish(asked, "d4rl-recipe", runs, {
        "title": "Hopper medium-expert: parts of the recipe, alone and together",
        "spread": "normalized scores, mean and population standard deviation over seeds, in brackets every seed; 20 episodes, in training 5",
        "figures": {"columns": ["jobs", "seeds", "last", "mean of the last 5 evaluations", "best"], "rows": rows},
        "notes": ["Trainings and evaluations one at a time, on a window of 20 timesteps; datasets of Minari."],
    })  # fmt: skip


def recall(asked: argparse.Namespace) -> None:
    """E5: what can be looked up, against the state that is carried."""
    pairs = ["4-pairs", "8-pairs", "16-pairs"]
    states: dict[str, int] = {}

    def read(run: Path) -> dict:
        scores = json.loads((run / "evaluation.json").read_text())["sequences"]["test"]
        accuracy = next(score["value"] for score in scores if score["name"] == "accuracy" and "condition" not in score)
        if not run.name.startswith(pairs[0]):
            return {"accuracy": accuracy}
        agent = run.name.rsplit("-seed", 1)[0]
        if agent not in states:
            states[agent] = json.loads(aaren("inspect", run / "config.json", "--json", "-q"))["state_bytes"][1]
        return {"accuracy": accuracy, "state": states[agent]}

    runs = measured("configs/evidence/recall.toml", pairs, read, asked)
    state = {run["agent"]: run["state"] for run in runs if "state" in run}
    rows = [
        [agent, f"{state[agent]:,} B", *(seeds_of(of(runs, "accuracy", agent=agent, row=row), "{:.3f}") for row in pairs)]
        for agent in sorted(state, key=lambda agent: state[agent])
    ]
    publish(asked, "evidence-recall", runs, {
        "title": "Multi-query associative recall against the state that is carried",
        "spread": "interquartile mean over seeds of the accuracy on 1,000 other examples, in brackets every seed",
        "figures": {"columns": ["over a short convolution", "state after 32 tokens", "4 pairs in 32", "8 pairs in 64", "16 pairs in 128"], "rows": rows},
        "notes": ["The state of attention grows with the tokens: with 16 pairs it is four times as large."],
    })  # fmt: skip


def tasks(asked: argparse.Namespace) -> None:
    """E3 and E4: clones of players that remember, on tasks that ask for different things."""
    returns(
        asked,
        "tasks",
        ["repeat-first", "count-recall", "bandit", "higher-lower", "repeat-previous", "last-cue"],
        title="Clones of players that remember, task by task",
        spread="return of 100 episodes",
        note="The last weights, streaming; policies see observations alone, neither their last action nor a timestep.",
    )


def online(asked: argparse.Namespace) -> None:
    """E2: a T-maze without a step to spare, learned online."""
    returns(
        asked,
        "online",
        ["corridor-50", "corridor-200"],
        title="A T-maze without a step to spare, by PPO",
        spread="return of 200 episodes",
        note="300,000 environment steps of a corridor of 50, 600,000 of one of 200.",
    )


def velocities(asked: argparse.Namespace) -> None:
    """E7: positions without velocities, learned online."""
    returns(
        asked,
        "velocities",
        ["cartpole", "hopper", "halfcheetah"],
        title="Positions without velocities, by PPO",
        spread="return of 100 episodes with the likeliest actions",
        note="300,000 environment steps of each.",
        form="{:,.0f}",
    )


def returns(asked: argparse.Namespace, name: str, rows: list[str], title: str, spread: str, note: str, form: str = "{:.2f}") -> None:
    """A table of returns: a line for each agent, a column for each task."""
    runs = measured(f"configs/evidence/{name}.toml", rows, lambda run: {"return": last(run)["return_mean"]}, asked)
    publish(asked, f"evidence-{name}", runs, {
        "title": title,
        "spread": f"interquartile mean over seeds of the {spread}, in brackets every seed",
        "figures": {
            "columns": ["policy", *rows],
            "rows": [[agent, *(seeds_of(of(runs, "return", agent=agent, row=row), form) for row in rows)] for agent in names(runs, "agent")],
        },
        "notes": [note],
    })  # fmt: skip


def robots(asked: argparse.Namespace) -> None:
    """What helps PPO on the robots."""
    runs = measured(
        "configs/evidence/robots.toml", ["hopper", "walker2d", "halfcheetah"], lambda run: in_training(run, "return_mean"), asked
    )
    cells = []
    for row in names(runs, "row"):
        for agent in names([run for run in runs if run["row"] == row], "agent"):
            figures = [of(runs, kind, row=row, agent=agent) for kind in ("last", "recent", "best")]
            cells.append([row, agent, *(seeds_of(values, "{:,.0f}") for values in figures)])
    publish(asked, "ppo-robots-options", runs, {
        "title": "PPO on robots: the first deviation of the noise, and RPO",
        "spread": "interquartile mean over seeds, in brackets every seed: return of 100 episodes at the end, and of 10 in training",
        "figures": {"columns": ["robot", "job", "last, 100 episodes", "mean of the last 5 evaluations", "best evaluation"], "rows": cells},
        "notes": ["Most likely actions. Hopper 1,000,000 environment steps, the others 2,000,000."],
    })  # fmt: skip


def d4rl(asked: argparse.Namespace) -> None:
    """E8: the D4RL table, with the sequence models executed on a window and streaming."""
    kinds = [f"{robot}-{data}" for robot in ("hopper", "halfcheetah", "walker2d", "ant") for data in ("medium", "medium-replay", "medium-expert")]

    def read(run: Path) -> dict:
        figures = in_training(run, "normalised_score")
        if run.name.rsplit("-seed", 1)[0].endswith(("-aaren", "-transformer")):
            steps = json.loads((run / "evaluation.json").read_text())["checkpoint_step"]
            path = run / f"evaluations/step-{steps}-streaming.json"
            if not path.is_file():
                aaren("evaluate", run, "--execution", "streaming", "--actors", 1, "-q")
            figures["streaming"] = json.loads(path.read_text())["targets"][0]["normalised_score"]
        return figures

    runs = measured("configs/tables/d4rl.toml", kinds, read, asked)
    cells = [(agent, "last") for agent in ("bc", "bc10", "transformer", "aaren")]
    cells += [("transformer", "streaming"), ("aaren", "streaming"), ("aaren-episodes", "last")]
    cells = [(agent, kind) for agent, kind in cells if of(runs, kind, agent=agent)]
    columns = [f"{agent} streaming" if kind == "streaming" else agent for agent, kind in cells]
    rows = []
    for row in kinds:
        figures = [(of(runs, kind, row=row, agent=agent), of(runs, "best", row=row, agent=agent)) for agent, kind in cells]
        shown = [score(values, best if kind == "last" else []) for (values, best), (_, kind) in zip(figures, cells)]
        if any(values for values, _ in figures):
            rows.append([row, *shown])
    # Means are over what every column has.
    seeds = {(run["row"], run["seed"]) for run in runs}
    whole = [
        {(run["agent"], kind): run[kind] for run in runs for kind in ("last", "streaming") if (run["row"], run["seed"]) == at and kind in run}
        for at in sorted(seeds)
    ]
    whole = [found for found in whole if all(cell in found for cell in cells)]
    for title, over in [("mean", lambda values: sum(values) / len(values)), ("interquartile mean", lambda values: float(interquartile(values)))]:
        rows.append([f"**{title} of {len(whole)} runs each**", *(f"{over([found[cell] for found in whole]):.1f}" for cell in cells)])
    publish(asked, "evidence-d4rl", runs, {
        "title": "Robots and datasets: cloning of the best tenth, the Transformer and Aaren",
        "spread": "normalized score of 20 episodes with the last weights, mean over seeds, in brackets every seed; behind the slash the best of the evaluations in training",
        "figures": {"columns": ["dataset", *columns], "rows": rows},
        "notes": [
            "Datasets of 200,000 steps by the policies in policies/; 3,000 optimizer steps; asked for the best return of the data.",
            "Window: 20 timesteps, as trained on. Streaming: the same weights, whole episodes. aaren-episodes: trained on whole episodes, streaming.",
        ],
    })  # fmt: skip


def last(run: Path) -> dict:
    """What the last weights got, of the first return that was asked for."""
    return json.loads((run / "evaluation.json").read_text())["targets"][0]


def in_training(run: Path, figure: str) -> dict:
    """A figure of the last weights, the best of the evaluations, and the mean of the last five of those in training."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    made = [line[f"evaluation/{figure}"] for line in lines if f"evaluation/{figure}" in line] or [last(run)[figure]]
    return {"last": last(run)[figure], "best": max(made), "recent": sum(made[-5:]) / len(made[-5:])}


def score(values: list[float], best: list[float]) -> str:
    if not values:
        return "not run"
    behind = f" / {sum(best) / len(best):.1f}" if best else ""
    return f"{sum(values) / len(values):.1f}{behind}" + (f" ({', '.join(f'{value:.0f}' for value in values)})" if len(values) > 1 else "")


def seeds_of(values: list[float], form: str) -> str:
    if not values:
        return "not run"
    if len(values) == 1:
        return form.format(values[0])
    return f"{interquartile(values, form)} ({', '.join(form.format(value) for value in sorted(values))})"


def spread(values: list[float]) -> str:
    if not values:
        return "-"
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.1f}"
    deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    return f"{mean:.1f} ± {deviation:.1f} ({', '.join(f'{value:.0f}' for value in values)})"


def interquartile(values: list[float], form: str = "{:.2f}") -> str:
    """The mean without the lowest and the highest quarter, parts of values counted as parts, as in `aaren compare`."""
    cut = len(values) / 4
    weights = [max(0.0, min(at + 1, len(values) - cut) - max(at, cut)) for at in range(len(values))]
    return form.format(sum(weight * value for weight, value in zip(weights, sorted(values))) / sum(weights))


SECTIONS = {
    "tmaze": tmaze,
    "recall": recall,
    "tasks": tasks,
    "online": online,
    "velocities": velocities,
    "robots": robots,
    "recipe": recipe,
    "d4rl": d4rl,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="where runs are: SECTION below it")
    machine = f"{processor().split()[-1].lower()}-{os.cpu_count()}-cores"
    parser.add_argument("--folder", type=Path, default=ROOT / f"docs/results/{date.today()}-{machine}", help="where figures go")
    parser.add_argument("--agents", help="of the table, with commas between")
    parser.add_argument("--seeds", help="of the table, such as 1..3")
    parser.add_argument("--finished", action="store_true", help="train nothing")
    parser.add_argument("--earlier", type=Path, metavar="FILE", help="figures whose runs are added")
    asked = parser.parse_args()
    asked.runs = asked.runs / asked.section
    SECTIONS[asked.section](asked)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Makes the sections of docs/src/results/evidence.md: trains what a manifest of configs/evidence/ or configs/tables/ says, plays it, and
writes the figures with what they were measured with, and prints them as the page has them.

    scripts/evidence.py tmaze|recall|tasks|online|velocities|robots|recipe|d4rl [--folder docs/results/DATE-MACHINE] [--runs runs/evidence]

$AAREN is the binary, a release build (`cargo build --release`, with `--features mujoco` for robots). What is finished is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
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


def trained(manifest: str, runs: Path, *more: object) -> list[Path]:
    """Trains a table; the run folders."""
    aaren("table", manifest, "--runs", runs, "--jobs", 1, *more)
    listed = aaren("table", manifest, "--runs", runs, "--list", *more)
    return [Path(json.loads(line)["run"]) for line in listed.splitlines()]


def compared(runs: list[Path], *more: object) -> dict:
    """What `aaren compare` says of runs."""
    folder = runs[0].parent / ".compare"
    aaren("compare", *runs, "--output", folder, "--table", "-q", *more)
    return json.loads((folder / "compare.json").read_text())


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1]
            return "AMD EPYC" if "EPYC" in name else "Intel Xeon" if "Xeon" in name else name.strip()
    return platform.processor()


def publish(folder: Path, name: str, figures: dict) -> None:
    """Writes figures as every result is written, and prints them as the page has them."""
    # `aaren 0.1.0 (7c566d8..., mujoco, release build)`
    commit, build = aaren("--version").split("(", 1)[1].split(",", 1)
    columns, rows = figures["figures"]["columns"], figures["figures"]["rows"]
    whole = {
        "title": figures["title"],
        "command": figures["command"],
        "commit": commit[:7],
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": system(),
            "rust": subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()[1].removesuffix(".0"),
            "load": "busy with other work",
        },
        "profile": "release" if "release" in build else "dev",
        "seeds": figures["seeds"],
        "spread": figures["spread"],
        "figures": figures["figures"],
        "notes": figures["notes"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    for line in [columns, ["---"] * len(columns), *rows]:
        print("| " + " | ".join(line) + " |")


def system() -> str:
    facts = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return " ".join(facts[key].strip('"') for key in ("NAME", "VERSION_ID") if key in facts).replace(" GNU/Linux", "")


LENGTHS = {200: 20, 2_000: 20, 20_000: 10, 100_000: 4}
"""Corridors that are played, and in how many episodes."""

CACHED = {200: 20, 2_000: 20, 20_000: 2}
"""The same with a KV cache, whose cost grows with the square of the corridor."""


def tmaze(runs: Path, folder: Path, agents: str | None, seeds: str | None) -> None:
    """E1: trained on corridors of 20 to 200, played in longer ones."""
    manifest = "configs/evidence/tmaze.toml"
    all_runs = trained(manifest, runs, *chosen(agents, seeds))
    rows: dict[str, list[str]] = {}
    for length in LENGTHS:
        played = []
        for run in all_runs:
            episodes = (CACHED if run.name.startswith("transformer") else LENGTHS).get(length)
            if episodes is None:
                continue
            steps = json.loads((run / "evaluation.json").read_text())["checkpoint_step"]
            name = f"step-{steps}-corridor-{length}-shortest-0-episodes-{episodes}"
            if not (run / f"evaluations/{name}.json").is_file():
                options = ["--env-option", f"corridor={length}", "--env-option", "shortest=0", "--episodes", episodes]
                aaren("evaluate", run, *options, "--actors", 1, "--envs-per-actor", 1, "-q")
                made = run / f"evaluations/{name}-envs-per-actor-1.json"
                if made.is_file():
                    made.rename(run / f"evaluations/{name}.json")
            played.append((run, json.loads((run / f"evaluations/{name}.json").read_text())))
        by_agent: dict[str, list[tuple[Path, dict]]] = {}
        for run, report in played:
            by_agent.setdefault(run.name.rsplit("-seed", 1)[0], []).append((run, report))
        for agent, members in by_agent.items():
            returns = sorted(report["targets"][0]["return_mean"] for _, report in members)
            cost = sorted(1e6 * report["wall_seconds"] / report["env_steps"] for _, report in members)[len(members) // 2]
            row = rows.setdefault(agent, [agent, state(members[0][1])])
            row.append(f"{interquartile(returns)} ({', '.join(f'{value:.2f}' for value in returns)}); {cost:.0f} µs")
    columns = ["policy", "state, first and last step measured"] + [f"corridor {length:,}" for length in LENGTHS]
    for row in rows.values():
        row += ["not run"] * (len(columns) - len(row))
    publish(folder, "evidence-tmaze", {
        "title": "Trained on corridors of 20 to 200 steps, played in longer ones",
        "command": ["scripts/evidence.py tmaze"],
        "seeds": [1, 2, 3, 4, 5],
        "spread": "interquartile mean over seeds of the share of right turns, in brackets every seed; microseconds of a step, median over seeds",
        "figures": {"columns": columns, "rows": list(rows.values())},
        "notes": ["States are measured in the first 1,000 steps at most. A KV cache is played in 2 episodes of 20,000 steps, all others in 10."],
    })  # fmt: skip


def recipe(runs: Path, folder: Path, agents: str | None, seeds: str | None) -> None:
    """What each part of the D4RL jobs' recipe does, alone and together."""
    manifest = "configs/tables/d4rl-recipe.toml"
    all_runs = trained(manifest, runs, *chosen(agents, seeds))
    comparison = compared(all_runs)
    rows, seen = [], set()
    for cell in comparison["cells"]:
        target = cell["targets"][0]
        names = [comparison["runs"][at]["run"].rsplit("-seed", 1)[0] for at in cell["runs"]]
        seen.update(cell["seeds"])
        rows.append([names[0], str(len(cell["seeds"]))] + [spread(target[kind]) for kind in ("last", "recent", "best")])
    publish(folder, "d4rl-recipe", {
        "title": "Hopper medium-expert: parts of the recipe, alone and together",
        "command": ["scripts/evidence.py recipe"],
        "seeds": sorted(seen),
        "spread": "normalized scores, mean and population standard deviation over seeds, in brackets every seed; 20 episodes, in training 5",
        "notes": ["Trainings and evaluations one at a time, on a window of 20 timesteps; datasets of Minari."],
        "figures": {"columns": ["jobs", "seeds", "last", "mean of the last 5 evaluations", "best"], "rows": rows},
    })  # fmt: skip


def recall(runs: Path, folder: Path, agents: str | None, seeds: str | None) -> None:
    """E5: what can be looked up, against the state that is carried."""
    manifest = "configs/evidence/recall.toml"
    all_runs = trained(manifest, runs, *chosen(agents, seeds))
    accuracies: dict[str, dict[str, list[float]]] = {}
    bytes_of: dict[str, int] = {}
    seen = set()
    pairs = ["4-pairs", "8-pairs", "16-pairs"]
    for run in all_runs:
        row, agent, seed = named(run, pairs)
        scores = json.loads((run / "evaluation.json").read_text())["sequences"]["test"]
        accuracy = next(score["value"] for score in scores if score["name"] == "accuracy" and "condition" not in score)
        accuracies.setdefault(agent, {}).setdefault(row, []).append(accuracy)
        seen.add(seed)
        if row == pairs[0] and agent not in bytes_of:
            bytes_of[agent] = json.loads(aaren("inspect", run / "config.json", "--json", "-q"))["state_bytes"][1]
    rows = [
        [agent, f"{bytes_of[agent]:,} B", *(seeds_of(accuracies[agent].get(row), "{:.3f}") for row in pairs)]
        for agent in sorted(accuracies, key=lambda agent: bytes_of[agent])
    ]
    publish(folder, "evidence-recall", {
        "title": "Multi-query associative recall against the state that is carried",
        "command": ["scripts/evidence.py recall"],
        "seeds": sorted(seen),
        "spread": "interquartile mean over seeds of the accuracy on 1,000 other examples, in brackets every seed",
        "figures": {"columns": ["over a short convolution", "state after 32 tokens", "4 pairs in 32", "8 pairs in 64", "16 pairs in 128"], "rows": rows},
        "notes": ["The state of attention grows with the tokens: with 16 pairs it is four times as large."],
    })  # fmt: skip


def tasks(runs: Path, folder: Path, agents: str | None, seeds: str | None) -> None:
    """E3 and E4: clones of players that remember, on tasks that ask for different things."""
    manifest = "configs/evidence/tasks.toml"
    all_runs = trained(manifest, runs, *chosen(agents, seeds))
    kinds = ["repeat-first", "count-recall", "bandit", "higher-lower", "repeat-previous", "last-cue"]
    returns: dict[str, dict[str, list[float]]] = {}
    seen = set()
    for run in all_runs:
        row, agent, seed = named(run, kinds)
        report = json.loads((run / "evaluation.json").read_text())
        returns.setdefault(agent, {}).setdefault(row, []).append(report["targets"][0]["return_mean"])
        seen.add(seed)
    rows = [[agent, *(seeds_of(of.get(kind), "{:.2f}") for kind in kinds)] for agent, of in returns.items()]
    publish(folder, "evidence-tasks", {
        "title": "Clones of players that remember, task by task",
        "command": ["scripts/evidence.py tasks"],
        "seeds": sorted(seen),
        "spread": "interquartile mean over seeds of the return of 100 episodes, in brackets every seed",
        "figures": {"columns": ["policy", *kinds], "rows": rows},
        "notes": ["The last weights, streaming; policies see observations alone, neither their last action nor a timestep."],
    })  # fmt: skip


def online(runs: Path, folder: Path, agents: str | None, seeds: str | None) -> None:
    """E2: a T-maze without a step to spare, learned online."""
    played(
        "online",
        trained("configs/evidence/online.toml", runs, *chosen(agents, seeds)),
        ["corridor-50", "corridor-200"],
        folder,
        title="A T-maze without a step to spare, by PPO",
        spread_of="return of 200 episodes",
        note="300,000 environment steps of a corridor of 50, 600,000 of one of 200.",
    )


def velocities(runs: Path, folder: Path, agents: str | None, seeds: str | None) -> None:
    """E7: positions without velocities, learned online."""
    played(
        "velocities",
        trained("configs/evidence/velocities.toml", runs, *chosen(agents, seeds)),
        ["cartpole", "hopper", "halfcheetah"],
        folder,
        title="Positions without velocities, by PPO",
        spread_of="return of 100 episodes with the likeliest actions",
        note="300,000 environment steps of each.",
        form="{:,.0f}",
    )


def played(name: str, runs: list[Path], rows: list[str], folder: Path, title: str, spread_of: str, note: str, form: str = "{:.2f}") -> None:
    """A table of returns: a line for each agent, a column for each task."""
    returns: dict[str, dict[str, list[float]]] = {}
    seen = set()
    for run in runs:
        row, agent, seed = named(run, rows)
        report = json.loads((run / "evaluation.json").read_text())
        returns.setdefault(agent, {}).setdefault(row, []).append(report["targets"][0]["return_mean"])
        seen.add(seed)
    publish(folder, f"evidence-{name}", {
        "title": title,
        "command": [f"scripts/evidence.py {name}"],
        "seeds": sorted(seen),
        "spread": f"interquartile mean over seeds of the {spread_of}, in brackets every seed",
        "figures": {
            "columns": ["policy", *rows],
            "rows": [[agent, *(seeds_of(of.get(row), form) for row in rows)] for agent, of in returns.items()],
        },
        "notes": [note],
    })  # fmt: skip


def robots(runs: Path, folder: Path, agents: str | None, seeds: str | None) -> None:
    """What helps PPO on the robots."""
    rows = ["hopper", "walker2d", "halfcheetah"]
    found: dict[tuple[str, str], list[dict]] = {}
    seen = set()
    for run in trained("configs/evidence/robots.toml", runs, *chosen(agents, seeds)):
        row, agent, seed = named(run, rows)
        returns = [line["evaluation/return_mean"] for line in metrics(run) if "evaluation/return_mean" in line]
        last = json.loads((run / "evaluation.json").read_text())["targets"][0]["return_mean"]
        found.setdefault((row, agent), []).append({"last": last, "best": max(returns), "recent": sum(returns[-5:]) / len(returns[-5:])})
        seen.add(seed)
    cells = [
        [row, agent, *(seeds_of([run[kind] for run in of], "{:,.0f}") for kind in ("last", "recent", "best"))]
        for (row, agent), of in found.items()
    ]
    publish(folder, "ppo-robots-options", {
        "title": "PPO on robots: the first deviation of the noise, and RPO",
        "command": ["scripts/evidence.py robots"],
        "seeds": sorted(seen),
        "spread": "interquartile mean over seeds, in brackets every seed: return of 100 episodes at the end, and of 10 in training",
        "figures": {"columns": ["robot", "job", "last, 100 episodes", "mean of the last 5 evaluations", "best evaluation"], "rows": cells},
        "notes": ["Most likely actions. Hopper 1,000,000 environment steps, the others 2,000,000."],
    })  # fmt: skip


AGENTS = ("bc10", "bc", "transformer", "aaren-episodes", "aaren")
"""Of the D4RL table; a name that others end with comes behind them."""


def d4rl(runs: Path, folder: Path, agents: str | None, seeds: str | None) -> None:
    """E8: the D4RL table, with the sequence models executed on a window and streaming."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    seen = set()
    for run in trained("configs/tables/d4rl.toml", runs, *chosen(agents, seeds)):
        name, seed = run.name.rsplit("-seed", 1)
        row, agent = next((name[: -len(agent) - 1], agent) for agent in AGENTS if name.endswith(f"-{agent}"))
        cell = found.setdefault(row, {}).setdefault(agent, {})
        seen.add(int(seed))
        report = json.loads((run / "evaluation.json").read_text())
        cell.setdefault("last", []).append(report["targets"][0]["normalised_score"])
        cell.setdefault("best", []).append(max(scores_in_training(run)))
        if agent in ("aaren", "transformer"):
            path = run / f"evaluations/step-{report['checkpoint_step']}-streaming.json"
            if not path.is_file():
                aaren("evaluate", run, "--execution", "streaming", "--actors", 1, "-q")
            streaming = json.loads(path.read_text())["targets"][0]["normalised_score"]
            found[row].setdefault(f"{agent} streaming", {}).setdefault("last", []).append(streaming)
    columns = ["bc10", "transformer", "aaren", "transformer streaming", "aaren streaming", "aaren-episodes"]
    columns = [agent for agent in columns if any(agent in of for of in found.values())]
    rows = [[row, *(shown(of.get(agent)) for agent in columns)] for row, of in found.items()]
    whole = [of for of in found.values() if all(agent in of for agent in columns)]
    for title, over in [("mean of all", lambda values: sum(values) / len(values)), ("interquartile mean of all", lambda values: float(interquartile(values)))]:
        last = [f"{over([value for of in whole for value in of[agent]['last']]):.1f}" for agent in columns]
        rows.append([f"**{title}**", *last])
    publish(folder, "evidence-d4rl", {
        "title": "Robots and datasets: cloning of the best tenth, the Transformer and Aaren",
        "command": ["scripts/evidence.py d4rl"],
        "seeds": sorted(seen),
        "spread": "normalized score of 20 episodes with the last weights, mean over seeds, in brackets every seed; behind the slash the best of the evaluations in training",
        "figures": {"columns": ["dataset", *columns], "rows": rows},
        "notes": [
            "Datasets of 200,000 steps by the policies in policies/; 3,000 optimizer steps; asked for the best return of the data.",
            "Window: 20 timesteps, as trained on. Streaming: the same weights, whole episodes. aaren-episodes: trained on whole episodes, streaming.",
        ],
    })  # fmt: skip


def metrics(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def scores_in_training(run: Path) -> list[float]:
    """Normalized scores of the evaluations in a training, of the first return that was asked for."""
    found = [line["evaluation/normalised_score"] for line in metrics(run) if "evaluation/normalised_score" in line]
    return found or [json.loads((run / "evaluation.json").read_text())["targets"][0]["normalised_score"]]


def shown(cell: dict[str, list[float]] | None) -> str:
    if cell is None:
        return "not run"
    best = f" / {sum(cell['best']) / len(cell['best']):.1f}" if "best" in cell else ""
    values = cell["last"]
    return f"{sum(values) / len(values):.1f}{best}" + (f" ({', '.join(f'{value:.0f}' for value in values)})" if len(values) > 1 else "")


def named(run: Path, rows: list[str]) -> tuple[str, str, int]:
    """Row, agent and seed of a run, `ROW-AGENT-seedN`."""
    name, seed = run.name.rsplit("-seed", 1)
    row = next(row for row in rows if name.startswith(f"{row}-"))
    return row, name.removeprefix(f"{row}-"), int(seed)


def seeds_of(values: list[float] | None, form: str) -> str:
    if not values:
        return "not run"
    if len(values) == 1:
        return form.format(values[0])
    return f"{interquartile(values, form)} ({', '.join(form.format(value) for value in sorted(values))})"


def spread(found: dict | None) -> str:
    if found is None:
        return "-"
    if len(found["values"]) == 1:
        return f"{found['mean']:.1f}"
    values = ", ".join(f"{value:.0f}" for value in found["values"])
    return f"{found['mean']:.1f} ± {found['std']:.1f} ({values})"


def chosen(agents: str | None, seeds: str | None) -> list[str]:
    return [word for flag, value in [("--agents", agents), ("--seeds", seeds)] if value for word in (flag, value)]


def interquartile(values: list[float], form: str = "{:.2f}") -> str:
    """The mean without the lowest and the highest quarter, parts of values counted as parts, as in `aaren compare`."""
    cut = len(values) / 4
    weights = [max(0.0, min(at + 1, len(values) - cut) - max(at, cut)) for at in range(len(values))]
    return form.format(sum(weight * value for weight, value in zip(weights, sorted(values))) / sum(weights))


def state(report: dict) -> str:
    first, last = report["latency"]["state_bytes_first"], report["latency"]["state_bytes_last"]
    return f"{first:,} B, {last:,} B"


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
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"))
    machine = f"{processor().split()[-1].lower()}-{os.cpu_count()}-cores"
    parser.add_argument("--folder", type=Path, default=ROOT / f"docs/results/{date.today()}-{machine}")
    parser.add_argument("--agents", help="of the table, with commas between")
    parser.add_argument("--seeds", help="of the table, such as 1..3")
    asked = parser.parse_args()
    SECTIONS[asked.section](asked.runs / asked.section, asked.folder, asked.agents, asked.seeds)


if __name__ == "__main__":
    main()

"""Environment steps a second: our vector environments beside Gymnasium's own, with the same actions on the same machine.

    python python/bench/vectors.py [--envs 64] [--steps 2000] [--repeat 5] [TASK ...]

Prints a table as Markdown: the median over the repetitions, and their range. A step of a vector counts as many steps as it has
environments. Gymnasium's AsyncVectorEnv runs a process an environment; ours runs threads, and so does EnvPool, which is measured where
it is installed and has the task.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import gymnasium as gym
import numpy as np

import aaren


def steps_per_second(make: Callable[[], gym.vector.VectorEnv], steps: int, repeat: int) -> list[float]:
    envs = make()
    try:
        envs.reset()
        # EnvPool's `action_space` is that of one environment.
        space = gym.vector.utils.batch_space(getattr(envs, "single_action_space", envs.action_space), envs.num_envs)
        space.seed(1)
        actions = [space.sample() for _ in range(64)]
        for step in range(max(steps // 10, 1)):
            envs.step(actions[step % len(actions)])
        figures = []
        for _ in range(repeat):
            started = time.perf_counter()
            for step in range(steps):
                envs.step(actions[step % len(actions)])
            figures.append(envs.num_envs * steps / (time.perf_counter() - started))
        return figures
    finally:
        envs.close()


def env_pool(task: str, n: int, cores: int) -> list[tuple[str, Callable[[], gym.vector.VectorEnv]]]:
    try:
        import envpool
    except ImportError:
        return []
    if task not in envpool.list_all_envs():
        return []

    def make(threads: int) -> gym.vector.VectorEnv:
        return envpool.make_gymnasium(task, num_envs=n, num_threads=threads, seed=1)

    return [
        (f"EnvPool {envpool.__version__}, {threads} thread{'s' if threads > 1 else ''}", lambda threads=threads: make(threads))
        for threads in sorted({1, cores})
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=["Hopper-v5", "CartPole-v1"], metavar="TASK")
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=500, help="of the vector, a repetition")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    cores, n = os.cpu_count() or 1, arguments.envs
    print(f"{n} environments, {cores} cores, gymnasium {gym.__version__}, numpy {np.__version__}, {aaren._aaren.build}\n")
    print("| task | vector | steps/s, median | range |\n|---|---|---:|---:|")
    for task in arguments.tasks:
        rows: list[tuple[str, Callable[[], gym.vector.VectorEnv]]] = [
            (f"aaren, {threads} thread{'s' if threads > 1 else ''}", lambda threads=threads: aaren.VectorEnv(task, n, threads=threads))
            for threads in sorted({1, cores})
        ]
        rows += [
            ("Gymnasium, AsyncVectorEnv", lambda: gym.make_vec(task, n, vectorization_mode="async")),
            ("Gymnasium, SyncVectorEnv", lambda: gym.make_vec(task, n, vectorization_mode="sync")),
            *env_pool(task, n, cores),
        ]
        for name, make in rows:
            # The slow ones take a tenth of the steps.
            steps = max(arguments.steps // 10, 1) if name.startswith("Gymnasium") else arguments.steps
            figures = steps_per_second(make, steps, arguments.repeat)
            median, low, high = statistics.median(figures), min(figures), max(figures)
            print(f"| {task} | {name} | {median:,.0f} | {low:,.0f} to {high:,.0f} |", flush=True)


if __name__ == "__main__":
    main()

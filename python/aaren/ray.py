"""Evaluations, collections and tables on a cluster of `Ray <https://docs.ray.io>`_: ``python -m aaren.ray evaluate|collect|table ...``.

The work is cut into pieces that any machine can make, and make again: episodes by their numbers, and runs of a table. A piece whose
worker is killed, or whose machine is lost, is made once more elsewhere (``retries`` times), and nothing else is: the returns of an
evaluation and the bytes of a dataset are those of one process, on one kind of processor. Evaluations and collections need no disk that
the machines share: policies are sent to the workers, and episodes come back. A table needs one, for its run folders.

Every machine needs this package, of one version. Without an ``address`` a cluster that runs on this machine is used, or one is started on
it for as long as the job takes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from . import _aaren
from ._show import Show, Silent, show, translated, typed
from .jobs import _EVALUATE_FLAGS, Path, Report, _asked, _chosen, _episodes, _numbers, _settings

try:
    import ray
except ImportError as error:
    raise ImportError("aaren.ray needs the package ray: pip install 'aaren[ray]'") from error

#: A path below any folder, and what is in the file.
_Files = list[tuple[str, bytes]]


# What runs on the workers.


def _begin(build: str, threads: int) -> None:
    """Has this worker compute with so many threads, if it has not computed yet.

    Raises:
        Error: if it has another build of the package than who asked, which might compute something else.
    """
    if build != _aaren.build:
        raise _aaren.Error(f"{platform.node()} has aaren {_aaren.build}, and the work was given out by {build}; install one build on all machines")
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))


@contextmanager
def _unpacked(files: _Files) -> Iterator[FilePath]:
    with tempfile.TemporaryDirectory(prefix="aaren-") as folder:
        for path, content in files:
            place = FilePath(folder) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        yield FilePath(folder)


#: The evaluation that this worker played of last, by its name.
_loaded: dict[str, _aaren.Evaluation] = {}


def _play(
    build: str, threads: int, sent: tuple[str, str, _Files, dict[str, Any]], first: int, count: int
) -> list[tuple[float, int, bool, bool]]:
    """Plays episodes of an evaluation, by their numbers."""
    name, policy, files, asked = sent
    _begin(build, threads)
    if name not in _loaded:
        _loaded.clear()
        with _unpacked(files) as folder:
            _loaded[name] = _aaren.Evaluation({**asked, "policy": str(folder / policy), "checkpoint": None, "actors": threads})
    return _loaded[name].play(first, count)


def _collect(build: str, threads: int, sent: tuple[str, str, _Files], first: int, count: int) -> bytes:
    """Plays episodes of a part of a collection, by their numbers."""
    job, part, files = sent
    _begin(build, threads)
    with _unpacked(files) as folder:
        return _aaren.collect_part(job, part, str(folder) if files else None, first, count)


def _train(build: str, threads: int, folder: str, manifest: str, chosen: dict[str, Any]) -> str:
    """Makes a run of a table, or goes on with it; waits while another process is at it."""
    _begin(build, threads)
    try:
        os.chdir(folder)
    except OSError as error:
        raise _aaren.Error(f"{platform.node()} has no folder {folder}, which the machines of a table share ({error.strerror})") from None
    wait = 1.0
    while (how := _aaren.table_run(Silent(), manifest, chosen, 0)) == "busy":
        # The worker that a lost piece was on may not have ended yet.
        time.sleep(wait)
        wait = min(2.0 * wait, 15.0)
    return how


# What runs here.


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """The cluster that this process is connected to, or one for as long as this lasts."""
    if ray.is_initialized():
        yield
        return
    try:
        host, _, port = (address or "").rpartition(":")
        if port.isdecimal() and "/" not in host:
            # Ray itself would wait for a long time.
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        what = " ".join(str(error).split())
        raise _aaren.Error(f"address: no cluster of Ray can be reached at {address or 'this machine'}: {what}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _task(function: Callable[..., Any], cpus: int, gpus: float, retries: int) -> Any:
    return ray.remote(function).options(num_cpus=cpus, num_gpus=gpus, max_retries=retries)


def _share(pieces: Iterable[Any], submit: Callable[[Any], Any], take: Callable[[Any, Any], bool], cpus: int) -> None:
    """Has the cluster make pieces, about twice as many at a time as it has room for.

    Args:
        submit: begins a piece.
        take: gets a piece, and a function that gives what came of it or raises; says whether that is enough.
    """
    left, is_enough = iter(pieces), False
    flight: dict[Any, Any] = {}
    resources: Any = ray.cluster_resources  # Ray does not say its type
    try:
        while not is_enough:
            most = 2 * max(1, int(resources().get("CPU", 1)) // cpus)
            while len(flight) < most and (piece := next(left, None)) is not None:
                flight[submit(piece)] = piece
            if not flight:
                return
            done, _ = ray.wait(list(flight), num_returns=1)
            for ref in done:
                is_enough = take(flight.pop(ref), partial(_made, ref)) or is_enough
    finally:
        for ref in flight:
            ray.cancel(ref)


def _made(ref: Any) -> Any:
    """What came of a task; what went wrong in it as it was raised there.

    Raises:
        Error: if the task was lost more often than it may be.
    """
    try:
        return ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, Exception) else _aaren.Error(str(error)) from None
    except ray.exceptions.RayError as error:
        what = " ".join(str(error).split())
        raise _aaren.Error(f"a piece of the work was lost more often than it is tried again (retries): {what}") from None


def _moved(shown: Show, label: str, done: int, of: int) -> None:
    shown(([], {label: (min(done, of), of, f"{of - min(done, of)} left")}, [label] if done >= of else []))


def _counts(**counts: int) -> None:
    for name, value in counts.items():
        typed(name, value, int, "an integer")
        if value < 1:
            raise ValueError(f"{name}: found {value}, expected at least 1")


def evaluate(
    policy: Path,
    *,
    checkpoint: str | int | None = None,
    env: str | None = None,
    env_options: Mapping[str, Any] | None = None,
    episodes: int | None = None,
    target_return: float | Sequence[float] | None = None,
    envs_per_actor: int | None = None,
    execution: str | None = None,
    cache: str | None = None,
    stochastic: bool = False,
    seed: int | None = None,
    progress: bool = True,
    address: str | None = None,
    episodes_per_task: int = 16,
    cpus_per_task: int = 1,
    retries: int = 3,
) -> Report:
    """Evaluates a policy as `aaren.evaluate` does, with the same arguments and returns, on a cluster.

    Args:
        address: of the cluster; ``"auto"`` for the one of this machine.
        episodes_per_task: how many episodes a worker plays at a time.
        cpus_per_task: processors of a worker.
        retries: how often a piece is made again whose worker or machine is lost; -1 for as often as it takes.

    Raises:
        Error: what is wrong with the policy or the request, or with the cluster.
    """
    _counts(episodes_per_task=episodes_per_task, cpus_per_task=cpus_per_task)
    asked = _asked(
        policy,
        checkpoint,
        target_return,
        progress,
        env=env,
        env_options=env_options,
        episodes=episodes,
        actors=None,
        envs_per_actor=envs_per_actor,
        execution=execution,
        cache=cache,
        stochastic=stochastic,
        seed=seed,
    )
    with translated("evaluate", **_EVALUATE_FLAGS):
        evaluation = _aaren.Evaluation(asked)
        place, files = evaluation.files()
        count = evaluation.count()
        results: list[tuple[float, int, bool, bool] | None] = [None] * count
        with _cluster(address):
            name = hashlib.sha256(repr((asked, place, files)).encode()).hexdigest()
            sent = ray.put((name, place, files, asked))
            task = _task(_play, cpus_per_task, 0, retries)
            shown, began, done = show(progress), time.perf_counter(), 0

            def submit(first: int) -> Any:
                return task.remote(_aaren.build, cpus_per_task, sent, first, min(episodes_per_task, count - first))

            def take(first: int, made: Callable[[], Any]) -> bool:
                nonlocal done
                played = made()
                results[first : first + len(played)] = played
                done += len(played)
                _moved(shown, "evaluating", done, count)
                return False

            _share(range(0, count, episodes_per_task), submit, take, cpus_per_task)
            seconds = time.perf_counter() - began
        result, text = evaluation.report([one for one in results if one is not None], seconds)
    report = _numbers(json.loads(result))
    return Report(report, text, _episodes(report))


def collect(
    config: Path | Sequence[Path],
    *,
    output: Path | None = None,
    format: str | None = None,
    env: str | None = None,
    seed: int | None = None,
    set: Sequence[str] = (),
    progress: bool = True,
    address: str | None = None,
    episodes_per_task: int = 16,
    cpus_per_task: int = 1,
    retries: int = 3,
    **overrides: Any,
) -> Report:
    """Collects a dataset as ``aaren collect`` does, with the same bytes, on a cluster.

    The behaviour policies of a job with ``collect.train`` are trained in this process first, and the episodes of a training (a dataset of the
    kind ``medium-replay``) are not played again. What was collected before a break is kept in the output folder, as by the program.

    Args:
        config: a job with the key ``collect``, or several files laid over each other.
        output: where the dataset goes. Default: ``datasets/`` and its id.
        format: ``"minari"``, ``"d4rl"`` or ``"both"``. Default: as in the job.
        env: sets ``env.id``.
        seed: root of every random number.
        set: keys of the job as the program takes them, ``"collect.steps=1e5"``.
        overrides: any other keys of the job, nested or dotted.

    The other arguments are those of `evaluate`.

    Returns:
        What ``aaren collect --json`` prints. Its data frame has a row a part.

    Raises:
        Error: what is wrong with the job, its policies or the output folder, or with the cluster.
    """
    _counts(episodes_per_task=episodes_per_task, cpus_per_task=cpus_per_task)
    files = [os.fspath(config)] if isinstance(config, (str, os.PathLike)) else [os.fspath(file) for file in config]
    place = None if output is None else os.fspath(output)
    with translated("collect", output="output", env="env", seed="seed", format="format"):
        collection = _aaren.Collection(show(progress), files, [*set, *_settings(overrides)], env, seed, place, format)
        try:
            job = json.loads(collection.job())
            job["collect"]["actors"] = cpus_per_task
            job["collect"]["train"] = None
            missing = [(part, wanted) for part, steps, wanted in collection.parts() if steps < wanted]
            if missing:
                with _cluster(address):
                    for part, wanted in missing:
                        _collect_part(collection, job, part, wanted, show(progress), (episodes_per_task, cpus_per_task, retries))
            result, text = collection.finish(show(progress))
        finally:
            collection.close()
    values: dict[str, Any] = json.loads(result)
    rows = [{key: value for key, value in part.items() if not isinstance(value, (dict, list))} for part in values["parts"]]
    return Report(values, text, rows)


def _collect_part(
    collection: _aaren.Collection, job: dict[str, Any], part: str, wanted: int, shown: Show, how: tuple[int, int, int]
) -> None:
    """Has the cluster play a part's episodes, some of them at a time; ``how``: episodes, processors and retries of a task."""
    episodes, cpus, retries = how
    files = collection.policy(part)
    sent = ray.put((json.dumps(job), part, files))
    task = _task(_collect, cpus, 0, retries)

    def firsts() -> Iterator[int]:
        # How many episodes have enough steps shows when they are there.
        first = 0
        while True:
            if not collection.has(part, first, episodes):
                yield first
            first += episodes

    def take(_: int, made: Callable[[], Any]) -> bool:
        is_enough = collection.take(part, made())
        steps = {name: steps for name, steps, _ in collection.parts()}[part]
        _moved(shown, f"collecting {part}", steps, wanted)
        return is_enough

    _share(firsts(), lambda first: task.remote(_aaren.build, cpus, sent, first, episodes), take, cpus)


def table(
    manifest: Path,
    *,
    rows: Sequence[str] = (),
    agents: Sequence[str] = (),
    seeds: str | Sequence[int] = (),
    runs: Path | None = None,
    set: Sequence[str] = (),
    progress: bool = True,
    address: str | None = None,
    cpus_per_task: int = 1,
    gpus_per_task: float = 0,
    retries: int = 3,
    **overrides: Any,
) -> Report:
    """Makes a table as `aaren.table` does, with the same runs, on a cluster whose machines share a disk.

    A run whose worker or machine is lost goes on elsewhere from its newest checkpoint. Finished runs are left as they are.

    Args:
        gpus_per_task: graphics cards of a worker, whole or a share of one.

    The other arguments are those of `aaren.table` and of `evaluate`.

    Raises:
        Error: what is wrong with the manifest; or, when all other runs have ended, which runs did not finish, and why.
    """
    _counts(cpus_per_task=cpus_per_task)
    manifest = os.path.abspath(manifest)
    chosen = _chosen(rows, agents, seeds, runs, [*set, *_settings(overrides)])
    failed: dict[str, str] = {}
    shown = show(progress)
    with translated("table", rows="rows", agents="agents", seeds="seeds", runs="runs"):
        listed = [json.loads(line) for line in _aaren.table_list(manifest, chosen)]
        missing = [piece for piece in listed if piece["state"] != "finished"]
        if missing:
            with _cluster(address):
                task, folder = _task(_train, cpus_per_task, gpus_per_task, retries), os.getcwd()

                def submit(piece: dict[str, Any]) -> Any:
                    of = {"rows": [piece["row"]] if piece["row"] else [], "agents": [piece["agent"]] if piece["agent"] else []}
                    return task.remote(_aaren.build, cpus_per_task, folder, manifest, {**chosen, **of, "seeds": [piece["seed"]]})

                def take(piece: dict[str, Any], made: Callable[[], Any]) -> bool:
                    try:
                        how = "finished" if made() == "finished" else "finished before"
                    except Exception as error:
                        failed[piece["name"]] = how = f"failed: {error}"
                    shown(([("line", f"{piece['name']}: {how}")], {}, []))
                    return False

                _share(missing, submit, take, cpus_per_task)
        result, text, wrong = _aaren.table(Silent(), manifest, chosen, jobs=0)
    if wrong is not None:
        said = [f"{name}: {how}" for name, how in failed.items()]
        more = [f"and {len(said) - 5} more"] if len(said) > 5 else []
        raise _aaren.Error("; ".join(said[:5] + more) or wrong)
    values: dict[str, Any] = json.loads(result)
    return Report(values, text, values["runs"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aaren.ray", description="Evaluations, collections and tables on a cluster of Ray.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="evaluate|collect|table")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--address", help="of the cluster; auto for the one of this machine [default: that, or a new one]")
    shared.add_argument("--cpus-per-task", type=int, default=1, metavar="N", help="processors of a worker [default: 1]")
    shared.add_argument("--retries", type=int, default=3, metavar="N", help="how often a piece is made again that was lost [default: 3]")
    shared.add_argument("--json", action="store_true", help="print the results as JSON in place of a table")
    shared.add_argument("-q", "--quiet", action="store_true", help="say nothing on stderr but errors and warnings")
    episodes = argparse.ArgumentParser(add_help=False)
    episodes.add_argument("--episodes-per-task", type=int, default=16, metavar="N", help="episodes of a piece [default: 16]")
    settings = argparse.ArgumentParser(add_help=False)
    settings.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="set any key of the job")

    one = commands.add_parser("evaluate", parents=[shared, episodes], help="evaluate a trained policy, as `aaren evaluate` does")
    one.add_argument("policy", help="a run, a checkpoint or a saved policy, or the name of one in policies/")
    one.add_argument("--checkpoint", metavar="STEP|latest|best")
    one.add_argument("--env", metavar="ID")
    one.add_argument("--episodes", type=int, metavar="N")
    one.add_argument("--target-return", type=float, action="append", metavar="R")
    one.add_argument("--envs-per-actor", type=int, metavar="N")
    one.add_argument("--execution")
    one.add_argument("--cache")
    one.add_argument("--stochastic", action="store_true")
    one.add_argument("--seed", type=int, metavar="N")

    one = commands.add_parser("collect", parents=[shared, episodes, settings], help="collect a dataset, as `aaren collect` does")
    one.add_argument("config", nargs="+", metavar="JOB")
    one.add_argument("--output", metavar="PATH")
    one.add_argument("--format", metavar="minari|d4rl|both")
    one.add_argument("--env", metavar="ID")
    one.add_argument("--seed", type=int, metavar="N")

    one = commands.add_parser("table", parents=[shared, settings], help="make the runs of a manifest, as `aaren table` does")
    one.add_argument("manifest")
    one.add_argument("--gpus-per-task", type=float, default=0, metavar="N", help="graphics cards of a worker [default: 0]")
    for name in ("rows", "agents"):
        one.add_argument(f"--{name}", default=[], type=lambda text: text.split(","), metavar="NAME,...")
    one.add_argument("--seeds", default=[], metavar="A..B|A,B,C")
    one.add_argument("--runs", metavar="DIR")

    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program ``python -m aaren.ray``; gives its exit code."""
    given = vars(_parser().parse_args(arguments))
    command, as_json, given["progress"] = given.pop("command"), given.pop("json"), not given.pop("quiet")
    try:
        functions: dict[str, Callable[..., Report]] = {"evaluate": evaluate, "collect": collect, "table": table}
        report = functions[command](**given)
    except (_aaren.Error, ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"error: {error or 'interrupted'}", file=sys.stderr)
        return 130
    print(json.dumps(report, indent=2) if as_json else report)
    return 0


if __name__ == "__main__":
    # By the name under which workers import it.
    from aaren.ray import main as _main

    sys.exit(_main())

"""Whole jobs: train, table, evaluate, record, compare. What they do and leave behind is what the program ``aaren`` does and leaves behind."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from . import _aaren
from ._convert import array, job_json, plain
from ._frames import pandas as _pandas
from ._show import show, translated, typed

if TYPE_CHECKING:
    import pandas

Path = str | os.PathLike[str]


class Report(dict[str, Any]):
    """Results of a job: a dict as in the JSON that the program writes, whose text is the table that it prints."""

    def __init__(self, values: dict[str, Any], text: str, rows: list[dict[str, Any]]) -> None:
        super().__init__(values)
        self._text = text
        self._rows = rows

    def __str__(self) -> str:
        return self._text

    def frame(self) -> pandas.DataFrame:
        """A data frame: of an evaluation a row an episode, of a training the lines of its log, of a comparison a row a run.

        Raises:
            ImportError: without the package pandas.
        """
        return cast("pandas.DataFrame", _pandas().DataFrame(self._rows))

    def __reduce__(self) -> tuple[Any, ...]:
        return Report, (dict(self), self._text, self._rows)


def _numbers(report: dict[str, Any]) -> dict[str, Any]:
    """Seeds are text in JSON, since many readers keep 53 of their 64 bits; here they are numbers."""
    report["seed"] = int(report["seed"])
    report["episode_seeds"] = [int(seed) for seed in report["episode_seeds"]]
    return report


def _episodes(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"target_return": target["target_return"], "seed": seed, "return": total, "length": length}
        for target in report["targets"]
        for seed, total, length in zip(report["episode_seeds"], target["returns"], target["lengths"])
    ]


def _settings(overrides: Mapping[str, Any], above: str = "") -> list[str]:
    """Overrides as ``key.path=value``."""
    settings = []
    for key, value in overrides.items():
        path = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            settings += _settings(value, f"{path}.")
        else:
            settings.append(f"{path}={job_json(path, value)}")
    return settings


def train(
    config: Path | Mapping[str, Any] | Sequence[Path] | None = None,
    *,
    run: Path | None = None,
    resume: bool = False,
    from_policy: Path | None = None,
    mixer: str | None = None,
    env: str | Mapping[str, Any] | None = None,
    data: Path | Sequence[Path] | Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    strict: bool = False,
    progress: bool = True,
    **overrides: Any,
) -> Report:
    """Trains a policy, on trajectories or online, and evaluates it.

    Ctrl-C ends it at the next step, saves the run, and raises ``KeyboardInterrupt`` with how to go on.

    Args:
        config: a job: a file, several laid over each other, or a dict. Default: the built-in quickstart.
        run: run folder. Default: ``runs/`` and the config's name, numbered if taken.
        resume: go on with the run from its newest checkpoint; without a config, with the job in its folder.
        from_policy: begin with the weights of a run, a checkpoint or a saved policy.
        mixer: sets ``policy.mixer``.
        env: sets ``env.id``; a dict sets the keys of ``env``.
        data: sets ``data.source``, one or several; a dict sets the keys of ``data``.
        max_episode_steps: sets ``data.max_episode_steps``.
        seed: root of every random number.
        device: ``"cpu"``, the only one in the wheel.
        strict: refuse what looks wrong with the job or its data, in place of a warning.
        progress: whether progress is shown on stderr.
        overrides: any other keys of the job, nested or dotted: ``train={"steps": 500}`` or ``**{"train.steps": 500}``.

    Returns:
        ``run`` (the folder), ``train`` and ``evaluation``, as in ``train.json`` and ``evaluation.json``. Its data frame is the log.

    Raises:
        Error: all that is wrong with the job, or what went wrong in it.
    """
    seed = plain(seed)
    typed("seed", seed, int, "an integer")
    typed("mixer", mixer, str, "a name")
    sources: list[str] = []
    if isinstance(env, Mapping):
        overrides, env = {"env": env, **overrides}, None
    if isinstance(data, Mapping):
        overrides = {"data": data, **overrides}
    elif isinstance(data, (str, os.PathLike)):
        sources = [os.fspath(data)]
    elif data is not None:
        sources = [os.fspath(source) for source in data]
    with tempfile.TemporaryDirectory(prefix="aaren-") as folder:
        written = FilePath(folder) / "config.json"
        if config is None:
            files = []
        elif isinstance(config, Mapping):
            written.write_text(job_json("", config))
            files = [str(written)]
        elif isinstance(config, (str, os.PathLike)):
            files = [os.fspath(config)]
        else:
            files = [os.fspath(file) for file in config]
        names = ("run", "resume", "mixer", "env", "data", "max_episode_steps", "seed", "device", "strict")
        try:
            with translated("train", **{"from": "from_policy"}, **{name: name for name in names}):
                result, text = _aaren.train(
                    show(progress),
                    files=files,
                    set=_settings(overrides),
                    mixer=mixer,
                    env=env,
                    data=sources,
                    max_episode_steps=max_episode_steps,
                    seed=seed,
                    device=device,
                    strict=strict,
                    run=None if run is None else os.fspath(run),
                    resume=resume,
                    from_policy=None if from_policy is None else os.fspath(from_policy),
                )
        except _aaren.Error as error:
            # A dict has no file, so far as the caller knows.
            raise _aaren.Error(str(error).replace(str(written), "the config")) from None
    values: dict[str, Any] = json.loads(result)
    _numbers(values["evaluation"])
    return Report(values, text, _log(values["run"]))


def _chosen(
    rows: Sequence[str], agents: Sequence[str], seeds: str | Sequence[int], runs: Path | None, settings: list[str]
) -> dict[str, Any]:
    """Which runs of a table, as a request."""
    words = {name: [given] if isinstance(given, str) else list(given) for name, given in (("rows", rows), ("agents", agents))}
    numbers = _aaren.parse_seeds(seeds) if isinstance(seeds, str) else np.atleast_1d(np.asarray(seeds, dtype=np.uint64)).tolist()
    return {**words, "seeds": numbers, "runs": None if runs is None else os.fspath(runs), "set": settings}


def table(
    manifest: Path,
    *,
    rows: Sequence[str] = (),
    agents: Sequence[str] = (),
    seeds: str | Sequence[int] = (),
    runs: Path | None = None,
    jobs: int | None = None,
    set: Sequence[str] = (),
    progress: bool = True,
    **overrides: Any,
) -> Report:
    """Trains a run for every row, agent and seed of a manifest, in processes of their own, and compares them.

    Finished runs are left as they are and broken ones go on, so the same call makes what is missing. Ctrl-C has all runs saved, and raises
    ``KeyboardInterrupt``.

    Args:
        manifest: a file, TOML or JSON: rows, agents and seeds.
        rows: names of rows, in which ``*`` stands for anything. Default: all.
        agents: names of agents, in the same way.
        seeds: in place of those of the manifest: numbers, or words such as ``"1..5"``.
        runs: folder for the run folders. Default: as in the manifest, or ``runs/`` and its name.
        jobs: processes at a time; 0 trains nothing and compares what has finished. Default: the number of processors.
        set: keys of all jobs as the program takes them, ``"train.steps=1e5"``.
        progress: whether a line is said on stderr as a run ends.
        overrides: any other keys of all jobs, nested or dotted.

    Returns:
        ``runs``, how each ended, and ``comparison``, as in ``compare.json``. Its data frame has a row a run.

    Raises:
        Error: what is wrong with the manifest; or, when all other runs have ended, which runs did not finish, and why.
    """
    names = ("rows", "agents", "seeds", "runs", "jobs")
    with translated("table", **{name: name for name in names}):
        chosen = _chosen(rows, agents, seeds, runs, [*set, *_settings(overrides)])
        result, text, wrong = _aaren.table(show(progress), os.fspath(manifest), chosen, jobs=jobs)
        if wrong is not None:
            raise _aaren.Error(wrong)
    values: dict[str, Any] = json.loads(result)
    return Report(values, text, values["runs"])


def _log(run: str) -> list[dict[str, Any]]:
    """The lines of a run's log that are of one step, joined."""
    rows: dict[int, dict[str, Any]] = {}
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as lines:
        for line in lines:
            values = json.loads(line)
            rows.setdefault(values["step"], {}).update(values)
    return list(rows.values())


def _asked(policy: Path, checkpoint: str | int | None, target_return: Any, progress: bool, **values: Any) -> dict[str, Any]:
    """The arguments of `evaluate`, all of them, as a request."""
    targets = [] if target_return is None else np.atleast_1d(np.asarray(target_return, dtype=np.float64)).tolist()
    return {
        "policy": os.fspath(policy),
        "target_returns": targets,
        "checkpoint": None if checkpoint is None else str(checkpoint),
        **values,
        "env_options": [f"{name}={json.dumps(value)}" for name, value in (values.get("env_options") or {}).items()],
    }


_EVALUATE_FLAGS = {
    name: name for name in ("checkpoint", "env", "episodes", "actors", "envs_per_actor", "execution", "cache", "seed")
} | {"target_return": "target_return", "env_option": "env_options"}


def evaluate(
    policy: Path,
    *,
    checkpoint: str | int | None = None,
    env: str | None = None,
    env_options: Mapping[str, Any] | None = None,
    episodes: int | None = None,
    target_return: float | Sequence[float] | None = None,
    actors: int | None = None,
    envs_per_actor: int | None = None,
    execution: str | None = None,
    cache: str | None = None,
    stochastic: bool = False,
    seed: int | None = None,
    progress: bool = True,
) -> Report:
    """Evaluates a policy in its task, with actor threads.

    For an environment that is not one of aaren's, see `aaren.play`.

    Args:
        policy: folder of a run, of a checkpoint or of a saved policy, or the name of one in ``policies/``.
        checkpoint: of a run: a step, ``"latest"`` (the default) or ``"best"``.
        env: task. Default: the one that it was trained in.
        env_options: options of the task that are other than in training, such as ``{"corridor": 2000}``.
        episodes: for each target return. Default here and below: as in the run's config, at the end.
        target_return: one or several returns to ask for, in units of reward.
        actors: threads; results do not depend on it.
        envs_per_actor: environments that each steps together; the shape of a batch, so rounding may differ.
        execution: ``"streaming"`` or ``"window"``.
        cache: what the KV caches of a Transformer keep, as in `Policy.initial_state`.
        stochastic: whether an actor-critic draws its actions.
        seed: root of the episodes' seeds.
        progress: whether progress is shown on stderr.

    Returns:
        A report as ``aaren evaluate --json`` prints it. Its data frame has a row an episode.

    Raises:
        Error: what is wrong with the policy or the request.
    """
    asked = _asked(**locals())
    with translated("evaluate", **_EVALUATE_FLAGS):
        result, text = _aaren.evaluate(show(progress), asked)
    report = _numbers(json.loads(result))
    return Report(report, text, _episodes(report))


def record(
    policy: Path,
    *,
    checkpoint: str | int | None = None,
    env: str | None = None,
    env_options: Mapping[str, Any] | None = None,
    episodes: int | None = None,
    target_return: float | Sequence[float] | None = None,
    actors: int | None = None,
    envs_per_actor: int | None = None,
    execution: str | None = None,
    cache: str | None = None,
    stochastic: bool = False,
    seed: int | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Plays the episodes that `aaren.evaluate` would play, with the same arguments, and gives all of each.

    Returns:
        A dict an episode: ``observations`` ``[length + 1, observation width]`` (float64), ``actions`` ``[length, action width]`` (float32)
        or ``[length]`` (int64), ``rewards`` ``[length]``, ``target_return``, ``seed``, ``return``, ``length``, ``terminated``,
        ``truncated``, ``diverged``.

    Raises:
        Error: what is wrong with the policy or the request.
    """
    asked = _asked(**locals())
    with translated("record", **_EVALUATE_FLAGS):
        recorded = _aaren.record(show(progress), asked)
    for episode in recorded:
        length = episode["length"]
        episode["observations"] = array(episode["observations"], np.float64).reshape(length + 1, -1)
        episode["rewards"] = array(episode["rewards"], np.float64)
        if episode.pop("is_discrete"):
            episode["actions"] = array(episode["actions"], np.int64)
        else:
            episode["actions"] = array(episode["actions"], np.float32).reshape(length, -1)
    return recorded


def compare(
    runs: Sequence[Path],
    *,
    output: Path | None = None,
    table: bool = False,
    force: bool = False,
    evaluation: str | None = None,
    sort: str | None = None,
    columns: Sequence[str] = (),
    progress: bool = True,
) -> Report:
    """Puts the results of several runs side by side, and writes ``compare.md``, ``compare.json`` and ``compare.html``.

    Args:
        runs: run folders, at least two, or one that was evaluated with several caches.
        output: folder of what is written. Default: ``compare`` beside the runs.
        table: make a table with a row for each task; only runs of one row are compared with each other.
        force: compare even runs on different tasks or data.
        evaluation: name of the evaluation to take of every run. Default: that of the training.
        sort: a column of the table of runs, or a key of their jobs, that orders them.
        columns: of the table of runs, or keys of the jobs.
        progress: whether progress is shown on stderr.

    Returns:
        As in ``compare.json``, and ``folder``, where it was written. Its data frame has a row a run.

    Raises:
        Error: what is missing, and why runs cannot be compared.
    """
    if isinstance(runs, (str, os.PathLike)):
        runs = [runs]
    names = ("output", "table", "force", "evaluation", "sort", "columns")
    with translated("compare", **{name: name for name in names}):
        result, text, folder = _aaren.compare(
            show(progress),
            [os.fspath(run) for run in runs],
            output=None if output is None else os.fspath(output),
            table=table,
            force=force,
            evaluation=evaluation,
            sort=sort,
            columns=list(columns),
        )
    values: dict[str, Any] = json.loads(result)
    rows = [{key: value for key, value in run.items() if not isinstance(value, (dict, list))} for run in values["runs"]]
    return Report({**values, "folder": str(folder)}, text, rows)

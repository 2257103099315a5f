"""Policies that act: step by step, with states that are values, or over whole episodes of any Gymnasium environment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from . import _aaren
from ._convert import array, numbers
from ._show import say_what_waits, translated, typed

if TYPE_CHECKING:
    import pandas

Path = str | os.PathLike[str]


class State:
    """What a policy carries along in a batch of episodes: a value.

    `Policy.initial_state` makes the first, `Policy.step` the next one from each. A state never changes, so it can be kept to go back to,
    copied and pickled; a pickled one goes on under the same policy, in this process or another.
    """

    __slots__ = ("_rows", "_state")

    def __init__(self, state: _aaren.State, rows: int) -> None:
        self._state = state
        self._rows = rows

    @property
    def rows(self) -> int:
        """Number of episodes."""
        return self._rows

    @property
    def nbytes(self) -> int | None:
        """Bytes that the policy's mixers hold for all rows together; None for a state that was unpickled and not used since."""
        return self._state.nbytes()

    def __copy__(self) -> State:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._state.store(), self._rows)

    def __repr__(self) -> str:
        return f"<aaren.State of {self._rows} episodes>"


def _restored(data: bytes, rows: int) -> State:
    return State(_aaren.State(data), rows)


class Policy:
    """A trained policy, to act with on the CPU. `load` makes one.

    Attributes:
        name: of the run, or of the folder.
        folder: where its weights are.
        run: the run folder that it is of, or None.
        step_trained: steps of training behind it, 0 where nobody knows.
        mixer: name of the mixer, or ``"mlp"``.
        parameters: trained numbers.
        observation_width: numbers in an observation.
        is_told_return: whether it is told which return to reach, as a Decision Transformer is.
        description: all that acting needs besides the weights, as in ``policy.json``.
    """

    def __init__(self, policy: _aaren.Policy) -> None:
        self._policy = policy
        known: dict[str, Any] = json.loads(policy.description())
        self.name: str = known["name"]
        self.folder: str = known["folder"]
        self.run: str | None = known["run"]
        self.step_trained: int = known["step"]
        self.mixer: str = known["mixer"]
        self.parameters: int = known["parameters"]
        self.observation_width: int = known["observation_width"]
        self.is_told_return: bool = known["is_told_return"]
        self.description: dict[str, Any] = known["description"]
        self._action: dict[str, Any] = known["action"]

    @property
    def action_space(self) -> gym.spaces.Box | gym.spaces.Discrete:
        """The space of its actions."""
        if self._action["type"] == "discrete":
            return gym.spaces.Discrete(self._action["n"], start=self._action["start"])
        low, high = (np.array(self._action[name], dtype=np.float32) for name in ("low", "high"))
        return gym.spaces.Box(low, high, dtype=np.float32)

    def initial_state(
        self, n: int = 1, *, window: int | None = None, cache: str | None = None, stochastic: bool = False
    ) -> State:
        """The state of episodes that have not begun.

        Args:
            n: number of episodes, the rows of a batch.
            window: timesteps that are computed anew at every step, as published for the Decision Transformer; None carries the mixers'
                state along.
            cache: what the KV caches of a Transformer keep: ``"full"``, ``"window:64"``, ``"sink:4+64"``, ``"h2o:64"`` or ``"tova:64"``.
            stochastic: whether an actor-critic draws its actions; else it takes the likeliest.

        Raises:
            ValueError: for a policy that cannot be executed so.
        """
        return State(self._policy.initial_state(n, window, cache, stochastic), n)

    def step(
        self,
        observation: npt.ArrayLike,
        state: State,
        reset: npt.ArrayLike | None = None,
        previous_action: npt.ArrayLike | None = None,
        return_to_go: npt.ArrayLike | None = None,
        *,
        reward: npt.ArrayLike | None = None,
        seed: npt.ArrayLike | None = None,
        active: npt.ArrayLike | None = None,
    ) -> tuple[npt.NDArray[Any], State]:
        """Chooses the next action of every episode.

        The result of a row depends on no other row. It does depend on the number of rows, by rounding: matrix products of few rows sum in
        another order than those of many.

        Args:
            observation: as the environment shows it, ``[n, observation width]``; of one episode also ``[observation width]``.
            state: of the step before, or the initial one.
            reset: ``[n]`` or one bool: whether an episode begins in the row, so that all before is forgotten. The first step of a state is
                one without that.
            previous_action: ``[n, action width]`` or ``[n]`` integers: what was executed in place of the actions that the policy chose.
                Default: those. Not looked at in rows where an episode begins.
            return_to_go: ``[n]`` or one number, in units of reward: what the rest of the episode shall bring, for a policy that is told.
                Needed where an episode begins; NaN, and None, leave a row at what it was.
            reward: ``[n]`` or one number: what the last action was rewarded with. So much less is asked for from here on; a policy whose
                inputs have the reward needs it.
            seed: ``[n]`` integers: of the noise of episodes that begin, for a stochastic state. Default: the noise goes on.
            active: ``[n]`` bool: rows in which there is an episode. The others' actions mean nothing, and their state stays.

        Returns:
            Actions within the bounds, ``[n, action width]`` float32 or ``[n]`` int64 (without the first axis if the observation has none),
            and the next state.

        Raises:
            TypeError: for an argument of another kind.
            ValueError: for an argument of another shape, a state of another policy, or a missing return to go.
            Error: if an action is not a number.
        """
        if not isinstance(state, State):
            raise TypeError(f"state: found {type(state).__name__}, expected an aaren.State")
        n = state.rows
        observations = np.asarray(observation)
        is_one = observations.ndim == 1 and n == 1
        if is_one:
            observations = observations[np.newaxis]
        discrete = self._action["type"] == "discrete"
        width = self._action["n"] if discrete else len(self._action["low"])
        previous = None
        if previous_action is not None:
            actions = np.asarray(previous_action)
            if is_one and actions.ndim == (0 if discrete else 1):
                actions = actions[np.newaxis]
            shape = (n,) if discrete else (n, width)
            previous = numbers(actions, np.int64 if discrete else np.float32, shape, "previous_action")
            if discrete:
                self._check_indices(actions)
        seeds = None
        if seed is not None:
            given = np.broadcast_to(np.asarray(seed), (n,))
            if given.dtype.kind not in "iu":
                raise TypeError(f"seed: found {given.dtype}, expected integers [{n}]")
            seeds = [int(one) for one in given]

        def argument(name: str, value: npt.ArrayLike | None, dtype: npt.DTypeLike) -> bytes | None:
            return None if value is None else numbers(value, dtype, (n,), name)

        chosen, following = self._policy.step(
            numbers(observations, np.float64, (n, self.observation_width), "observation"),
            state._state,
            reset=argument("reset", reset, np.bool_),
            previous_action=previous,
            return_to_go=argument("return_to_go", return_to_go, np.float64),
            reward=argument("reward", reward, np.float64),
            seeds=seeds,
            active=argument("active", active, np.bool_),
        )
        result = array(chosen, np.int64) if discrete else array(chosen, np.float32, (n, width))
        return (result[0] if is_one else result), State(following, n)

    def _check_indices(self, actions: npt.NDArray[Any]) -> None:
        start, n = self._action["start"], self._action["n"]
        wrong = (actions < start) | (actions >= start + n)
        if wrong.any():
            raise ValueError(
                f"previous_action: {actions[wrong][0]}, expected an integer from {start} to {start + n - 1}"
            )

    def __repr__(self) -> str:
        return f"<aaren.Policy {self.name}: {self.mixer}, {self.parameters} parameters, step {self.step_trained}>"


def load(path: Path, checkpoint: str | int | None = None) -> Policy:
    """Loads a policy.

    Args:
        path: folder of a run, of a checkpoint, or of an exported policy; or the name of one in ``policies/``.
        checkpoint: of a run: a step, ``"latest"`` or ``"best"``. Default: the newest.

    Raises:
        Error: if there is none, or it is damaged.
    """
    with translated("load", checkpoint="checkpoint"):
        policy = Policy(_aaren.Policy(os.fspath(path), None if checkpoint is None else str(checkpoint)))
    say_what_waits()
    return policy


@dataclass(frozen=True)
class Played:
    """Episodes that a policy played, in order.

    Attributes:
        returns: undiscounted sums of rewards, ``[episodes]``.
        lengths: environment steps, ``[episodes]``.
        terminated: whether the task itself ended the episode, ``[episodes]``.
        target_returns: what was asked for, ``[episodes]``; NaN for a policy that is not told.
        seeds: that the environments were reset with.
        actions: of every episode ``[length, action width]`` or ``[length]``, where they were asked for.
    """

    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    terminated: npt.NDArray[np.bool_]
    target_returns: npt.NDArray[np.float64]
    seeds: list[int]
    actions: list[npt.NDArray[Any]] | None = field(default=None, repr=False)

    @property
    def return_mean(self) -> float:
        """Mean of the returns."""
        return float(self.returns.mean())

    def frame(self) -> pandas.DataFrame:
        """A row an episode.

        Raises:
            ImportError: without the package pandas.
        """
        from ._frames import pandas

        return pandas().DataFrame(
            {
                "target_return": self.target_returns,
                "seed": np.array(self.seeds, dtype=np.uint64),
                "return": self.returns,
                "length": self.lengths,
                "terminated": self.terminated,
            }
        )


@dataclass
class _Row:
    """An environment, and the episode in it."""

    env: gym.Env[Any, Any]
    episode: int | None = None
    observation: Any = None
    begins: bool = False
    reward: float = 0.0
    total: float = 0.0
    length: int = 0
    actions: list[Any] = field(default_factory=list)


def play(
    policy: Policy,
    env: str | gym.Env[Any, Any] | Callable[[], gym.Env[Any, Any]],
    episodes: int | None = None,
    *,
    target_return: float | Sequence[float] | None = None,
    seed: int | None = None,
    execution: str | None = None,
    cache: str | None = None,
    stochastic: bool = False,
    rows: int | None = None,
    record_actions: bool = False,
) -> Played:
    """Plays episodes of any Gymnasium environment.

    The arithmetic is that of `aaren.evaluate`: with the same seed and the same number of rows, in an environment that gives the same
    observations, the actions are the same bits.

    Args:
        policy: who plays.
        env: a registered name, something that makes an environment (it is called for every row), or one environment, in which the episodes
            are played one after another. Environments that are made here are closed here.
        episodes: for each target return. Default: as in the policy's job.
        target_return: one or several returns to ask for, in units of reward. Default: as in the policy's job.
        seed: root of the episodes' seeds. Default: as in the policy's job.
        execution: ``"streaming"`` or ``"window"``. Default: as in the policy's job.
        cache: as in `Policy.initial_state`.
        stochastic: whether an actor-critic draws its actions.
        rows: of the batch in which the policy computes. Default: as in the policy's job; 1 is quickest for one environment.
        record_actions: whether the actions are kept.

    Raises:
        ValueError: for spaces that are not the policy's.
        Error: for what the policy cannot do.
    """
    typed("policy", policy, Policy, "what aaren.load gives")
    targets = [] if target_return is None else np.atleast_1d(np.asarray(target_return, dtype=np.float64)).tolist()
    with translated("play", target_return="target_return"):
        plan = json.loads(
            policy._policy.plan(
                episodes=episodes,
                target_returns=targets,
                seed=seed,
                execution=execution,
                cache=cache,
                stochastic=stochastic,
            )
        )
    starts = [(target, *seeds) for target in plan["target_returns"] for seeds in plan["seeds"]]
    count = plan["rows"] if rows is None else rows
    if count < 1:
        raise ValueError(f"rows: {count}, expected at least 1")
    is_given = isinstance(env, gym.Env)
    made: list[gym.Env[Any, Any]] = []
    try:
        if isinstance(env, gym.Env):
            made = [env]
        elif not (isinstance(env, str) or callable(env)):
            raise TypeError(f"env: found {type(env).__name__}, expected a name, a gymnasium.Env, or what makes one")
        else:
            for _ in range(min(count, len(starts))):
                one = gym.make(env) if isinstance(env, str) else env()
                if not isinstance(one, gym.Env):
                    raise TypeError(f"env: it makes {type(one).__name__}, expected a gymnasium.Env")
                made.append(one)
        for one in made:
            _check_spaces(policy, one)
        state = policy.initial_state(count, window=plan["window"], cache=cache, stochastic=stochastic)
        return _play(policy, state, [_Row(one) for one in made], starts, record_actions)
    finally:
        if not is_given:
            for one in made:
                one.close()
        say_what_waits()


def _check_spaces(policy: Policy, env: gym.Env[Any, Any]) -> None:
    width = policy.observation_width
    shape = env.observation_space.shape
    if not isinstance(env.observation_space, gym.spaces.Box) or shape != (width,):
        hint = ""
        if shape is not None and int(np.prod(shape)) == width or isinstance(env.observation_space, gym.spaces.Dict):
            hint = "; wrap it in gymnasium.wrappers.FlattenObservation"
        raise ValueError(f"env: it shows {env.observation_space}, the policy takes a Box of shape ({width},){hint}")
    ours, theirs = policy.action_space, env.action_space
    if isinstance(ours, gym.spaces.Discrete):
        fits = isinstance(theirs, gym.spaces.Discrete) and theirs.n == ours.n and theirs.start == ours.start
    else:
        fits = (
            isinstance(theirs, gym.spaces.Box)
            and theirs.shape == ours.shape
            and bool(np.array_equal(theirs.low, ours.low) and np.array_equal(theirs.high, ours.high))
        )
    if not fits:
        raise ValueError(f"env: it takes {theirs}, the policy's actions are {ours}")


def _play(
    policy: Policy,
    state: State,
    rows: list[_Row],
    starts: list[tuple[float | None, int, int]],
    record_actions: bool,
) -> Played:
    """Episodes are begun in order wherever a row is free. Rows of the batch without an environment stay empty."""
    n, next_episode = state.rows, 0
    returns = np.zeros(len(starts))
    lengths = np.zeros(len(starts), dtype=np.int64)
    ends = np.zeros(len(starts), dtype=np.bool_)
    actions: list[npt.NDArray[Any]] = [np.zeros(0)] * len(starts)
    observations = np.zeros((n, policy.observation_width))
    while True:
        reset, active = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
        asked, reward, seeds = np.full(n, np.nan), np.zeros(n), [0] * n
        for index, row in enumerate(rows):
            if row.episode is None and next_episode < len(starts):
                target, env_seed, action_seed = starts[next_episode]
                row.episode, row.begins, row.total, row.length, row.actions = next_episode, True, 0.0, 0, []
                row.observation, _ = row.env.reset(seed=env_seed)
                # A policy that is not told a return is shown one that its tokens leave out.
                asked[index], seeds[index] = target or 0.0, action_seed
                next_episode += 1
            if row.episode is not None:
                observations[index] = row.observation
                reset[index], reward[index], active[index] = row.begins, row.reward, True
        if not active.any():
            break
        chosen, state = policy.step(
            observations,
            state,
            reset,
            return_to_go=asked,
            reward=reward,
            seed=np.array(seeds, dtype=np.uint64),
            active=active,
        )
        for index, row in enumerate(rows):
            if row.episode is None:
                continue
            action = chosen[index]
            row.observation, given, terminated, truncated, _ = row.env.step(action)
            row.reward, row.begins = float(given), False
            if not np.isfinite(row.reward):
                raise ValueError(f"env: it gave the reward {row.reward} at step {row.length + 1} of an episode, expected a finite number")
            row.total += row.reward
            row.length += 1
            if record_actions:
                row.actions.append(action)
            if terminated or truncated:
                returns[row.episode], lengths[row.episode], ends[row.episode] = row.total, row.length, terminated
                if record_actions:
                    actions[row.episode] = np.array(row.actions)
                row.episode = None
    return Played(
        returns=returns,
        lengths=lengths,
        terminated=ends,
        target_returns=np.array([np.nan if target is None else target for target, _, _ in starts]),
        seeds=[env_seed for _, env_seed, _ in starts],
        actions=actions if record_actions else None,
    )

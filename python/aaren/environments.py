"""The environments as Gymnasium knows them: one, and many that are stepped together."""

from __future__ import annotations

import json
import operator
from typing import Any, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from . import _aaren
from ._convert import array, to_json

NAMESPACE = "aaren"

#: Frames a second of a task without a clock.
_FRAMES = 4

#: Tasks whose time limit is one of their options, or follows from them. Gymnasium is told none, so that theirs holds.
_LIMITED_BY_OPTIONS = frozenset(
    {
        "CountRecall-v0",
        "HigherLower-v0",
        "LastCue-v0",
        "Maze2D-v1",
        "MultiarmedBandit-v0",
        "PassiveTMaze-v0",
        "PointMaze-v0",
        "RepeatFirst-v0",
        "RepeatPrevious-v0",
        "TMaze-v0",
    }
)

Info = dict[str, Any]


def _bounds(bounds: list[float | str]) -> npt.NDArray[np.float64]:
    return np.array([float(bound) for bound in bounds], dtype=np.float64)


def _space(spec: dict[str, Any]) -> gym.spaces.Box | gym.spaces.Discrete:
    if spec["type"] == "Discrete":
        return gym.spaces.Discrete(spec["n"], start=spec["start"])
    dtype = np.dtype(spec["dtype"])
    low, high = _bounds(spec["low"]).astype(dtype), _bounds(spec["high"]).astype(dtype)
    return gym.spaces.Box(low, high, dtype=dtype.type)


def _options(max_episode_steps: int | None, options: dict[str, Any]) -> dict[str, Any]:
    """Options as the compiled half takes them; -1 is no limit, as in Gymnasium."""
    if max_episode_steps is None:
        return options
    limit = operator.index(max_episode_steps)
    return {**options, "max_episode_steps": None if limit == -1 else limit}


def _action_bytes(space: gym.Space[Any], actions: Any, shape: tuple[int, ...]) -> tuple[str, bytes]:
    """Actions as bytes, and the kind of number: the width of floats decides how a control cost is computed, as in NumPy.

    Raises:
        TypeError: for actions of another kind.
        ValueError: for actions of another shape.
    """
    given = np.asarray(actions)
    is_discrete = isinstance(space, gym.spaces.Discrete)
    if given.dtype.kind not in ("biu" if is_discrete else "biuf"):
        expected = "integers" if is_discrete else "floats"
        raise TypeError(f"action: found {given.dtype}, expected {expected} of shape {list(shape)}")
    if given.shape != shape:
        raise ValueError(f"action: shape {list(given.shape)}, expected {list(shape)}")
    if is_discrete:
        return "index", np.ascontiguousarray(given, dtype=np.int64).tobytes()
    kind = "f32" if given.dtype == np.float32 else "f64"
    return kind, np.ascontiguousarray(given, dtype=np.float32 if kind == "f32" else np.float64).tobytes()


class Env(gym.Env[npt.NDArray[Any], Any]):
    """One environment.

    Made by ``gymnasium.make("aaren/Hopper-v5")``, or directly by its task's name. Gymnasium's wrapper limits the time where the task has
    one limit for all options; mazes and memory tasks keep the one that follows from theirs.

    Args:
        task: name of the task, for example ``"Hopper-v5"``; `aaren.tasks` lists them.
        render_mode: ``"rgb_array"``, or None for no images.
        max_episode_steps: environment steps after which an episode is truncated; -1 for no limit. Default: the task's.
        width: of images, in pixels.
        height: of images, in pixels.
        options: of the task, as `aaren.tasks` names them; also ``reward_delay``, a number of steps or ``"episode"``.

    Raises:
        ValueError: for an unknown task, or an option that it does not have.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": _FRAMES}

    def __init__(
        self,
        task: str,
        *,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        width: int = 480,
        height: int = 480,
        **options: Any,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f'render_mode: {render_mode!r}, expected "rgb_array" or None')
        self.task = task
        self.render_mode = render_mode
        self._spec: EnvSpec | None = None
        self._given = _options(max_episode_steps, options)
        self._size = (operator.index(width), operator.index(height))
        self._renderer: _aaren.Renderer | None = None
        self._make(self._given)
        self.observation_space = cast("gym.Space[npt.NDArray[Any]]", _space(self._task["observation_space"]))
        self.action_space = _space(self._task["action_space"])
        self._dtype = np.dtype(self._task["observation_space"]["dtype"])
        if render_mode is not None:
            # Says at once where there is nothing to draw with.
            self._renderer = _aaren.Renderer(task, to_json(self._given), *self._size)
            seconds = self._renderer.seconds_per_step()
            self.metadata = {**self.metadata, "render_fps": round(1 / seconds) if seconds else _FRAMES}

    def _make(self, options: dict[str, Any]) -> None:
        self._env = _aaren.Env(self.task, to_json(options))
        self._task: dict[str, Any] = json.loads(self._env.spec())

    @property
    def spec(self) -> EnvSpec | None:
        """What Gymnasium made it from; None where it was made directly."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        # Gymnasium's own wrapper limits the time, also to more than the task does. Delayed rewards have to know the end, so there the
        # task's limit stays.
        keeps_limit = self.task in _LIMITED_BY_OPTIONS or not self._given.keys().isdisjoint({"max_episode_steps", "reward_delay"})
        if spec is not None and not keeps_limit:
            self._make({**self._given, "max_episode_steps": None})
        self._spec = spec

    @property
    def max_episode_steps(self) -> int | None:
        """Environment steps after which this environment itself truncates an episode; None where a wrapper does."""
        return cast("int | None", self._task["max_episode_steps"])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], Info]:
        """Starts an episode.

        Args:
            seed: replaces the random numbers; start states are Gymnasium's for the same seed. None lets them go on.
            options: none are known; they are ignored, as by Gymnasium's own tasks.

        Returns:
            The first observation, a fresh array, ``[observation width]``; and the task's diagnostics.
        """
        super().reset(seed=seed)
        observation, info = self._env.reset(_seed(seed))
        return array(observation, self._dtype), info

    def step(self, action: Any) -> tuple[npt.NDArray[Any], float, bool, bool, Info]:
        """Takes a step.

        A simulation that diverges ends its episode as truncated, with a reward of 0 and ``info["diverged"]``.

        Args:
            action: ``[action width]``, finite floats, or an integer of a discrete space. Control costs are computed in ``float32`` for an
                array of ``float32``, else in ``float64``.

        Returns:
            Observation (a fresh array), reward, terminated, truncated, and the task's diagnostics.

        Raises:
            TypeError: for an action of another kind.
            ValueError: for an action of another shape or out of range.
            gymnasium.error.ResetNeeded: before the first reset and after the end of an episode.
        """
        if isinstance(self.action_space, gym.spaces.Discrete):
            if isinstance(action, np.ndarray) and (action.shape != () or action.dtype.kind not in "iu"):
                _action_bytes(self.action_space, action, ())
            try:
                index = operator.index(action)
            except TypeError:
                raise TypeError(f"action: found {type(action).__name__}, expected an integer") from None
            observation, reward, terminated, truncated, info = self._env.step_index(_int64(index))
        else:
            kind, data = _action_bytes(self.action_space, action, self.action_space.shape or ())
            step = self._env.step_f32 if kind == "f32" else self._env.step_f64
            observation, reward, terminated, truncated, info = step(data)
        return array(observation, self._dtype), reward, terminated, truncated, info

    def state(self) -> npt.NDArray[np.float64]:
        """The simulator's state (MuJoCo: ``qpos``, then ``qvel``), ``[state width]``.

        Raises:
            ValueError: if the task has none.
        """
        return array(self._env.state(), np.float64)

    def set_state(self, state: npt.ArrayLike) -> npt.NDArray[Any]:
        """Starts an episode in a state and gives its observation. No random number is drawn.

        Raises:
            ValueError: for a state that the task cannot be in, or if it has none.
        """
        return array(self._env.set_state(np.ascontiguousarray(state, dtype=np.float64).tobytes()), self._dtype)

    def render(self) -> npt.NDArray[np.uint8] | None:
        """The present moment, ``[height, width, 3]``; None without a render mode."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            raise gym.error.Error("render: the environment is closed")
        width, height = self._size
        return array(self._renderer.render(self._env), np.uint8, (height, width, 3))

    def close(self) -> None:
        """Frees what images are drawn with."""
        self._renderer = None

    def __repr__(self) -> str:
        return f"<aaren.Env {self.task}>"


def _seed(seed: Any) -> int | None:
    if seed is None:
        return None
    number = operator.index(seed)
    if not 0 <= number < 2**64:
        raise ValueError(f"seed: {number}, expected an integer from 0 to 2**64 - 1")
    return number


def _int64(index: int) -> int:
    if not -(2**63) <= index < 2**63:
        raise ValueError(f"action: {index} is out of range")
    return index


class VectorEnv(gym.vector.VectorEnv[npt.NDArray[Any], Any, npt.NDArray[Any]]):
    """Copies of one task that are stepped together, without Python in between.

    Made by ``gymnasium.make_vec("aaren/Hopper-v5", num_envs=64)``, or directly by its task's name. Equal to Gymnasium's
    ``SyncVectorEnv`` of the same copies, bit for bit.

    Args:
        task: name of the task.
        num_envs: number of copies.
        autoreset_mode: when a copy whose episode ended begins the next one: ``"NextStep"``, ``"SameStep"`` or ``"Disabled"``.
        threads: that step the copies; results do not depend on it. More than one pays for robots.
        max_episode_steps: environment steps after which an episode is truncated; -1 for no limit. Default: the task's.
        options: of the task.

    Raises:
        ValueError: for an unknown task, an option that it does not have, or a number that makes no sense.
    """

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        threads: int = 1,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **options: Any,
    ) -> None:
        if render_mode is not None:
            raise ValueError(
                f"render_mode: {render_mode!r}; copies that are stepped together draw no images, one environment does"
            )
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError:
            modes = ", ".join(mode.value for mode in AutoresetMode)
            raise ValueError(f"autoreset_mode: {autoreset_mode!r}, expected one of {modes}") from None
        counts = {"num_envs": operator.index(num_envs), "threads": operator.index(threads)}
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name}: {count}, expected at least 1")
        self.task = task
        self.num_envs = counts["num_envs"]
        self._envs = _aaren.VectorEnv(
            task,
            to_json(_options(max_episode_steps, options)),
            self.num_envs,
            counts["threads"],
            self.autoreset_mode.value,
        )
        self._task = json.loads(self._envs.spec())
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": []}
        self.render_mode = None
        self.single_observation_space = _space(self._task["observation_space"])
        self.single_action_space = _space(self._task["action_space"])
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._dtype = np.dtype(self._task["observation_space"]["dtype"])
        self._shape = (self.num_envs, self._width(self.single_observation_space))
        is_discrete = isinstance(self.single_action_space, gym.spaces.Discrete)
        self._action_shape = (self.num_envs,) if is_discrete else (self.num_envs, self._width(self.single_action_space))

    @staticmethod
    def _width(space: gym.Space[Any]) -> int:
        return int(np.prod(space.shape or ()))

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], Info]:
        """Starts an episode in every copy.

        Args:
            seed: copy ``i`` gets ``seed + i``, or the i-th of a list; None lets the random numbers go on.
            options: ``{"reset_mask": array of bool, [num_envs]}`` starts only those that it marks.

        Returns:
            Observations, a fresh array, ``[num_envs, observation width]``; and diagnostics, with a mask each.
        """
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        elif isinstance(seed, (list, tuple, np.ndarray)):
            seeds = [_seed(one) for one in seed]
            if len(seeds) != self.num_envs:
                raise ValueError(f"seed: {len(seeds)} seeds for num_envs={self.num_envs}")
        else:
            first = cast("int", _seed(seed))
            seeds = [_seed(first + copy) for copy in range(self.num_envs)]
            super().reset(seed=first)
        mask = (options or {}).get("reset_mask")
        if mask is not None:
            if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
                found = getattr(mask, "dtype", type(mask).__name__)
                raise TypeError(f"options['reset_mask']: found {found}, expected an array of bool")
            if mask.shape != (self.num_envs,):
                raise ValueError(f"options['reset_mask']: shape {list(mask.shape)}, expected [{self.num_envs}]")
            if not mask.any():
                raise ValueError("options['reset_mask'] marks no copy")
        observations, infos = self._envs.reset(seeds, None if mask is None else mask.tobytes())
        return array(observations, self._dtype, self._shape), self._infos(infos)

    def step(
        self, actions: Any
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], Info]:
        """Takes a step in every copy.

        Args:
            actions: ``[num_envs, action width]``, finite floats, or ``[num_envs]`` integers.

        Returns:
            Observations ``[num_envs, observation width]``, rewards ``[num_envs]`` (float64), terminated and truncated ``[num_envs]``, and
            diagnostics with a mask each; all fresh arrays. With ``SameStep``, ``infos["final_obs"]`` and ``infos["final_info"]`` have
            the ends of episodes.

        Raises:
            TypeError: for actions of another kind.
            ValueError: for actions of another shape or out of range; then no copy was stepped.
            gymnasium.error.ResetNeeded: before the first reset, and with ``Disabled`` after the end of an episode.
        """
        kind, data = _action_bytes(self.single_action_space, actions, self._action_shape)
        step = {"index": self._envs.step_index, "f32": self._envs.step_f32, "f64": self._envs.step_f64}[kind]
        observations, rewards, terminated, truncated, infos, finals = step(data)
        all_infos = self._infos(infos)
        if finals is not None:
            ended, last, final_infos = finals
            rows = array(last, self._dtype, (len(ended), self._shape[1]))
            final_obs = np.full(self.num_envs, None, dtype=object)
            for row, observation in zip(ended, rows):
                final_obs[row] = observation.copy()
            mask = np.zeros(self.num_envs, dtype=np.bool_)
            mask[ended] = True
            all_infos["final_obs"], all_infos["_final_obs"] = final_obs, mask
            all_infos["final_info"], all_infos["_final_info"] = self._infos(final_infos), mask.copy()
        return (
            array(observations, self._dtype, self._shape),
            array(rewards, np.float64),
            array(terminated, np.bool_),
            array(truncated, np.bool_),
            all_infos,
        )

    @staticmethod
    def _infos(infos: list[tuple[str, bytearray, bytearray]]) -> Info:
        result: Info = {}
        for name, values, mask in infos:
            column = array(values, np.float64)
            result[name] = column.astype(np.bool_) if name == "diverged" else column
            result[f"_{name}"] = array(mask, np.bool_)
        return result

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing is left open."""


def tasks() -> list[dict[str, Any]]:
    """All tasks of the package: ``id``, ``summary``, ``options`` with a sentence each, and ``spec`` with spaces and time limit."""
    return cast("list[dict[str, Any]]", json.loads(_aaren.tasks()))


def register() -> None:
    """Registers all tasks in Gymnasium, ``Hopper-v5`` as ``aaren/Hopper-v5``. Importing the package does it."""
    for task in tasks():
        name = f"{NAMESPACE}/{task['id']}"
        if task["spec"] is None or name in gym.registry:
            continue
        gym.register(
            name,
            entry_point="aaren.environments:Env",
            vector_entry_point="aaren.environments:VectorEnv",
            max_episode_steps=None if task["id"] in _LIMITED_BY_OPTIONS else task["spec"]["max_episode_steps"],
            kwargs={"task": task["id"]},
        )

"""The environments as stable-baselines3 knows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from .environments import NAMESPACE, Env
from .environments import VectorEnv as _VectorEnv

try:
    from stable_baselines3.common.vec_env import VecEnv as _VecEnv
except ImportError:
    raise ImportError("aaren.sb3 needs the package stable-baselines3: pip install stable-baselines3") from None


class VecEnv(_VecEnv):  # type: ignore[misc]
    """Copies of one task as a ``VecEnv`` of stable-baselines3, stepped together without Python in between.

    An ended copy begins its next episode in the same step; ``infos[i]["terminal_observation"]`` is the last observation of the one that
    ended, and ``infos[i]["TimeLimit.truncated"]`` says whether a time limit, and not the task, ended it. ``infos[i]["episode"]`` has its
    return ``r`` and length ``l``, as ``VecMonitor`` gives them.

    Args:
        task: ``"aaren/Hopper-v5"`` or ``"Hopper-v5"``.
        n_envs: number of copies.
        threads: that step the copies; results do not depend on it.
        seed: of the first reset; copy ``i`` gets ``seed + i``.
        options: of the task, and ``max_episode_steps``.

    Raises:
        ValueError: for an unknown task, or an option that it does not have.
    """

    def __init__(
        self, task: str, n_envs: int = 1, *, threads: int = 1, seed: int | None = None, **options: Any
    ) -> None:
        task = task.removeprefix(f"{NAMESPACE}/")
        self._envs = _VectorEnv(task, n_envs, autoreset_mode=AutoresetMode.SAME_STEP, threads=threads, **options)
        # Attributes of one copy, such as its spec, are those of any.
        self._one = Env(task, **options)
        self.render_mode = None
        super().__init__(n_envs, self._envs.single_observation_space, self._envs.single_action_space)
        self.seed(seed)
        self._actions: Any = None
        self._returns = np.zeros(n_envs)
        self._lengths = np.zeros(n_envs, dtype=np.int64)

    def reset(self) -> Any:
        """Starts an episode in every copy: ``[n_envs, observation width]``."""
        seeds = list(self._seeds)
        observations, infos = self._envs.reset(seed=None if all(seed is None for seed in seeds) else seeds)
        self.reset_infos = [self._info(infos, copy) for copy in range(self.num_envs)]
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: Any) -> None:
        """Takes actions for the next `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Observations, rewards (float32), whether an episode ended, and an info a copy."""
        observations, rewards, terminated, truncated, infos = self._envs.step(self._actions)
        dones = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        all_infos = []
        for copy in range(self.num_envs):
            if not dones[copy]:
                all_infos.append(self._info(infos, copy) | {"TimeLimit.truncated": False})
                continue
            info = self._info(infos["final_info"], copy)
            info["terminal_observation"] = infos["final_obs"][copy]
            info["TimeLimit.truncated"] = bool(truncated[copy] and not terminated[copy])
            info["episode"] = {"r": float(self._returns[copy]), "l": int(self._lengths[copy])}
            all_infos.append(info)
        self._returns[dones] = 0.0
        self._lengths[dones] = 0
        return observations, rewards.astype(np.float32), dones, all_infos

    @staticmethod
    def _info(infos: dict[str, Any], copy: int) -> dict[str, Any]:
        columns = (name for name in infos if not name.startswith("_") and not name.startswith("final_"))
        return {name: infos[name][copy].item() for name in columns if infos[f"_{name}"][copy]}

    def close(self) -> None:
        """Nothing is left open."""

    def get_attr(self, attr_name: str, indices: None | int | Iterable[int] = None) -> list[Any]:
        """An attribute of the copies."""
        return [getattr(self._one, attr_name) for _ in self._get_indices(indices)]

    def has_attr(self, attr_name: str) -> bool:
        """Whether the copies have an attribute."""
        return hasattr(self._one, attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: None | int | Iterable[int] = None) -> None:
        """Refused: the copies are not Python's.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"set_attr({attr_name!r}): the copies have no attributes of their own; give options when making them")

    def env_method(
        self, method_name: str, *args: Any, indices: None | int | Iterable[int] = None, **kwargs: Any
    ) -> list[Any]:
        """Refused: the copies are not Python's.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"env_method({method_name!r}): the copies have no methods of their own")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: None | int | Iterable[int] = None) -> list[bool]:
        """Whether the copies are wrapped so: never. They are monitored, though."""
        is_monitor = wrapper_class.__name__ == "Monitor"
        return [is_monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[Any]:
        """No images."""
        return [None] * self.num_envs

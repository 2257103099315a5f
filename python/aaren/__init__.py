"""Reinforcement learning with recurrent attention, compiled from Rust.

Importing the package registers its environments in Gymnasium, under the namespace ``aaren/``:

    >>> import aaren, gymnasium
    >>> env = gymnasium.make("aaren/Hopper-v5")
    >>> envs = gymnasium.make_vec("aaren/Hopper-v5", num_envs=64, threads=2)

A policy is loaded from a run, a checkpoint or an exported folder, and acts step by step, with a state that is a value:

    >>> policy = aaren.load("runs/hopper")
    >>> result = aaren.play(policy, "aaren/Hopper-v5", episodes=10)

Jobs are those of the command line:

    >>> run = aaren.train("configs/ppo/tmaze.toml", seed=2)
    >>> report = aaren.evaluate(run["run"], episodes=100)
    >>> results = aaren.compare(["runs/a", "runs/b"])
    >>> results = aaren.table("configs/tables/tmaze.toml", jobs=2)

On a cluster of Ray, `aaren.ray` does such work.

What goes wrong in a job or a policy is an `aaren.Error`; a value that makes no sense is a `ValueError` or a `TypeError`.
"""

try:
    from . import _aaren
except ImportError as error:
    if "libmujoco" not in str(error):
        raise
    # The library is looked for in the package mujoco beside this one. Where that is installed elsewhere, its own import loads it.
    try:
        import mujoco as _mujoco
    except ImportError:
        raise ImportError(f"aaren needs the package mujoco==3.17.0: pip install mujoco==3.17.0 ({error})") from None
    try:
        from . import _aaren
    except ImportError:
        raise ImportError(
            f"aaren needs the package mujoco==3.17.0, found {_mujoco.__version__}: pip install mujoco==3.17.0 ({error})"
        ) from None

from ._aaren import Error, __version__
from .environments import Env, VectorEnv, register, tasks
from .jobs import Report, compare, evaluate, record, table, train
from .policies import Played, Policy, State, load, play

__all__ = [
    "Env",
    "Error",
    "Played",
    "Policy",
    "Report",
    "State",
    "VectorEnv",
    "__version__",
    "compare",
    "evaluate",
    "load",
    "play",
    "record",
    "register",
    "table",
    "tasks",
    "train",
]

register()

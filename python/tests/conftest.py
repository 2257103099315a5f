"""What the tests share: small runs, trained once."""

from pathlib import Path

import aaren
import pytest

MAZE = {
    "env": {"id": "TMaze-v0", "options": {"corridor": 4}},
    "data": {"scripted": {"collector": "expert", "episodes": 30}},
    "policy": {"width": 16, "heads": 2, "layers": 2, "feed_forward": 32, "max_timesteps": 32, "return_scale": 1.0},
    "train": {"steps": 6, "batch_size": 4, "context_length": 4, "warmup_steps": 0, "log_every": 2},
    "evaluation": {"final_episodes": 6, "target_returns": [1.0, 0.0]},
}


@pytest.fixture(scope="session")
def maze_job() -> dict:
    """A job that learns from trajectories in a second."""
    return MAZE


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small runs: `maze` (aaren), `window` (a Transformer), and the online `cartpole` (MLP) and `gru`."""
    folder = tmp_path_factory.mktemp("runs")
    aaren.train(MAZE, run=folder / "maze", progress=False)
    aaren.train(MAZE, run=folder / "window", mixer="transformer", progress=False)
    online = {"ppo": {"env_steps": 256, "envs": 4, "envs_per_group": 2, "rollout_len": 32}, "evaluation": {"final_episodes": 5}}
    aaren.train({"env": {"id": "CartPole-v1"}, **online}, run=folder / "cartpole", progress=False)
    online["ppo"]["network"] = "recurrent"
    recurrent = {"policy": {"mixer": "gru", "width": 8, "heads": 2, "layers": 1, "feed_forward": 16}}
    aaren.train({"env": {"id": "Pendulum-v1"}, **online, **recurrent}, run=folder / "gru", progress=False)
    return folder

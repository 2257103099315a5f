"""Minari records the environments, and aaren reads what it wrote."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

minari = pytest.importorskip("minari")
pytest.importorskip("h5py")
pytest.importorskip("jax")


@pytest.mark.filterwarnings("default")
def test_a_recorded_dataset_is_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gym.make("aaren/Hopper-v5"))
    generator = np.random.default_rng(1)
    returns = []
    for episode in range(4):
        env.reset(seed=episode)
        total, over = 0.0, False
        while not over:
            action = generator.uniform(-1, 1, 3).astype(np.float32)
            _, reward, terminated, truncated, _ = env.step(action)
            total, over = total + reward, terminated or truncated
        returns.append(total)
    env.create_dataset(dataset_id="aaren/hopper-v0", algorithm_name="random")
    env.close()
    dataset = minari.load_dataset("aaren/hopper-v0")
    recorded = [episode.rewards.sum() for episode in dataset.iterate_episodes()]
    np.testing.assert_allclose(recorded, returns, rtol=1e-12)
    command = [sys.executable, "-m", "aaren", "dataset"]
    folder = str(tmp_path / "aaren" / "hopper-v0")
    verified = subprocess.run([*command, "verify", folder], capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stderr + verified.stdout
    info = subprocess.run([*command, "info", folder, "--json"], capture_output=True, text=True, check=False)
    assert info.returncode == 0, info.stderr
    assert '"episodes": 4' in info.stdout

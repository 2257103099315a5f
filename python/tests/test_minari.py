"""Minari records environments, ours and others, and aaren reads what it wrote, and learns from it."""

import subprocess
import sys

import aaren
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


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("storage", ["hdf5", "arrow"])
def test_a_policy_is_trained_on_a_recorded_environment_that_aaren_does_not_know(tmp_path, monkeypatch, storage: str) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    name = "MountainCarContinuous-v0"
    if storage == "arrow":
        pytest.importorskip("pyarrow")
    env = minari.DataCollector(gym.make(name), data_format=storage)
    for episode in range(6):
        observation, _ = env.reset(seed=episode)
        over = False
        while not over:
            # Pushes the car the way it goes: out of the valley in about 100 steps.
            action = np.array([0.9 if observation[1] >= 0 else -0.9], dtype=np.float32)
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
    env.create_dataset(dataset_id="mountain-car/pumped-v0", algorithm_name="pump")
    env.close()

    job = {
        "data": {"source": str(tmp_path / "datasets" / "mountain-car" / "pumped-v0"), "validation": 0.3},
        "policy": {"width": 32, "heads": 2, "layers": 2, "feed_forward": 64},
        "train": {"steps": 150, "batch_size": 16, "context_length": 8, "learning_rate": 3e-3},
    }
    run = tmp_path / "run"
    report = aaren.train(job, run=run, seed=1, progress=False)
    assert report["train"]["steps"] == 150 and np.isfinite(report["evaluation"]["validation"]["loss"])

    policy = aaren.load(run)
    played = aaren.play(policy, name, episodes=3, target_return=90.0, seed=5)
    theirs = aaren.evaluate(run, env=f"gymnasium:{name}", episodes=3, target_return=90.0, seed=5, progress=False)
    assert played.returns.tolist() == theirs["targets"][0]["returns"]
    assert played.lengths.tolist() == theirs["targets"][0]["lengths"]
    assert played.return_mean > 80, "a policy that learned from episodes of about 90 climbs the hill"

"""stable-baselines3 learns CartPole in our environments, through its own vector environments and through ours.

    python python/bench/sb3.py [--steps 60000] [--seed 1]

Needs stable-baselines3 and torch, so it is run by hand. Both have to reach 475 of 500 over 20 episodes.
"""

from __future__ import annotations

import argparse
import sys
import time

import gymnasium as gym
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

import aaren.sb3

NAME = "aaren/CartPole-v1"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    check_env(gym.make(NAME).unwrapped, warn=True)
    worst = 500.0
    for name, envs in [
        ("aaren.sb3.VecEnv", aaren.sb3.VecEnv(NAME, 8)),
        ("DummyVecEnv", DummyVecEnv([lambda: gym.make(NAME)] * 8)),
    ]:
        model = PPO("MlpPolicy", envs, n_steps=64, batch_size=256, n_epochs=10, learning_rate=1e-3, seed=arguments.seed, device="cpu")
        started = time.perf_counter()
        model.learn(arguments.steps)
        seconds = time.perf_counter() - started
        mean, deviation = evaluate_policy(model, gym.make(NAME), n_eval_episodes=20, warn=False)
        worst = min(worst, mean)
        print(f"{name}: return {mean:.1f} ± {deviation:.1f} after {arguments.steps} steps in {seconds:.1f} s")
    return 0 if worst >= 475 else 1


if __name__ == "__main__":
    sys.exit(main())

"""PPO of stable-baselines3 with a job's settings, until the job's score is reached. Reads a JSON object, prints one.

Input: env_id, seed, threads, target_return, episodes (over which the return is averaged), ppo (the job's section).
Output: version, curve [[env_steps, seconds, mean return of the last episodes]], reached (or null): [env_steps, seconds].
"""

import json
import sys
import time
from collections import deque

import gymnasium
import stable_baselines3
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

job = json.load(sys.stdin)
ppo = job["ppo"]
torch.set_num_threads(job["threads"])


class Curve(BaseCallback):
    """Stops at the score. Time spent in here is not counted."""

    def __init__(self):
        super().__init__()
        self.returns = deque(maxlen=job["episodes"])
        self.points, self.reached = [], None

    def _on_training_start(self):
        self.started = time.perf_counter()

    def _on_step(self):
        for info in self.locals["infos"]:
            if "episode" in info:
                self.returns.append(info["episode"]["r"])
        return self.reached is None

    def _on_rollout_start(self):
        if len(self.returns) < job["episodes"]:
            return
        point = [self.num_timesteps, time.perf_counter() - self.started]
        mean = float(sum(self.returns)) / len(self.returns)
        self.points.append([*point, mean])
        if mean >= job["target_return"] and self.reached is None:
            self.reached = point


envs = DummyVecEnv([lambda: Monitor(gymnasium.make(job["env_id"])) for _ in range(ppo["envs"])])
envs = VecNormalize(envs, norm_obs=ppo["normalise_observations"], norm_reward=ppo["normalise_rewards"], gamma=ppo["gamma"])
rate = ppo["learning_rate"]
activation = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[ppo["activation"]]
model = PPO(
    "MlpPolicy",
    envs,
    seed=job["seed"],
    device="cpu",
    learning_rate=(lambda left: rate * left) if ppo["schedule"] == "linear" else rate,
    n_steps=ppo["rollout_len"],
    batch_size=ppo["envs"] * ppo["rollout_len"] // ppo["minibatches"],
    n_epochs=ppo["epochs"],
    gamma=ppo["gamma"],
    gae_lambda=ppo["gae_lambda"],
    clip_range=ppo["clip"],
    clip_range_vf=ppo["value_clip"],
    normalize_advantage=ppo["normalise_advantages"],
    ent_coef=ppo["entropy_coefficient"],
    vf_coef=ppo["value_coefficient"],
    max_grad_norm=ppo["gradient_clip"],
    target_kl=ppo["target_kl"],
    policy_kwargs={"net_arch": ppo["hidden"], "activation_fn": activation, "log_std_init": ppo["initial_log_std"]},
)
curve = Curve()
model.learn(ppo["env_steps"], callback=curve)
print(json.dumps({"version": stable_baselines3.__version__, "curve": curve.points, "reached": curve.reached}))

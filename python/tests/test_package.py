"""The package as a whole: what it needs, and what it says where that is missing."""

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import aaren
import pytest


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False)


def test_without_mujoco_the_import_says_what_to_install(tmp_path: Path) -> None:
    shutil.copytree(Path(aaren.__file__).parent, tmp_path / "aaren")
    # A copy has no package mujoco beside it, so its own import has to load the library.
    code = "import sys; sys.path.insert(0, '.'); {}; import aaren; print(aaren.__file__)"
    found = run(code.format("pass"), tmp_path)
    assert found.returncode == 0 and str(tmp_path) in found.stdout, found.stderr
    missing = run(code.format("sys.modules['mujoco'] = None"), tmp_path)
    assert missing.returncode == 1
    assert missing.stderr.splitlines()[-1].startswith("ImportError: aaren needs the package mujoco==3.17.0: pip install")


def test_the_wheel_says_what_it_needs() -> None:
    try:
        needed = requires("aaren") or []
    except PackageNotFoundError:
        pytest.skip("the package is not installed")
    always = sorted(need.split(">")[0].split("=")[0] for need in needed if "extra" not in need)
    assert always == ["gymnasium", "mujoco", "numpy"]
    assert "mujoco==3.17.0" in needed


FAKE = '''
class VecEnv:
    """What the class of stable-baselines3 does when it is made, and to seeds."""
    def __init__(self, num_envs, observation_space, action_space):
        self.num_envs, self.observation_space, self.action_space = num_envs, observation_space, action_space
        self.reset_infos = [{} for _ in range(num_envs)]
        self._seeds, self._options = [None] * num_envs, [{}] * num_envs
        self.render_mode = self.get_attr("render_mode")[0]
    def _reset_seeds(self): self._seeds = [None] * self.num_envs
    def _reset_options(self): self._options = [{}] * self.num_envs
    def seed(self, seed=None):
        self._seeds = [7 if seed is None else seed + index for index in range(self.num_envs)]
        return self._seeds
    def _get_indices(self, indices):
        return range(self.num_envs) if indices is None else [indices] if isinstance(indices, int) else indices
    def step(self, actions):
        self.step_async(actions)
        return self.step_wait()
'''

STEPS = """
import numpy as np, gymnasium, aaren.sb3
envs = aaren.sb3.VecEnv("aaren/Hopper-v5", 3, seed=5, max_episode_steps=12)
one = aaren.Env("Hopper-v5", max_episode_steps=12)
ours = envs.reset()
assert (ours[1] == one.reset(seed=6)[0]).all()
generator = np.random.default_rng(1)
ends, limits, total, length = 0, 0, 0.0, 0
for _ in range(60):
    actions = generator.uniform(-1, 1, (3, 3)).astype(np.float32)
    ours, rewards, dones, infos = envs.step(actions)
    assert rewards.dtype == np.float32 and dones.dtype == bool and len(infos) == 3
    last, reward, terminated, truncated, info = one.step(actions[1])
    total, length = total + reward, length + 1
    assert rewards[1] == np.float32(reward) and dones[1] == (terminated or truncated)
    assert infos[1]["x_position"] == info["x_position"]
    if dones[1]:
        assert (infos[1]["terminal_observation"] == last).all()
        assert infos[1]["TimeLimit.truncated"] == (truncated and not terminated)
        assert infos[1]["episode"] == {"r": total, "l": length}
        ends, limits, total, length = ends + 1, limits + infos[1]["TimeLimit.truncated"], 0.0, 0
        last, _ = one.reset()
    else:
        assert "terminal_observation" not in infos[1]
    assert (ours[1] == last).all()
assert ends > 2 and limits > 0, (ends, limits)
assert envs.get_attr("task", [0, 2]) == ["Hopper-v5"] * 2 and envs.env_is_wrapped(int) == [False] * 3
try:
    envs.set_attr("task", 1)
except NotImplementedError as error:
    assert "task" in str(error)
print("done")
"""


def test_the_vector_environment_of_sb3_keeps_its_contract(tmp_path: Path) -> None:
    """Without torch, on a class that does what the original does to those derived from it; bench/sb3.py trains on the original."""
    folder = tmp_path / "stable_baselines3" / "common" / "vec_env"
    folder.mkdir(parents=True)
    for package in (folder.parent.parent, folder.parent):
        (package / "__init__.py").write_text("")
    (folder / "__init__.py").write_text(FAKE)
    path = Path(aaren.__file__).parent.parent
    done = run(f"import sys; sys.path[:0] = ['.', {str(path)!r}]\n{STEPS}", tmp_path)
    assert done.stdout == "done\n", done.stderr


def test_progress_is_drawn_on_a_terminal(maze_job: dict, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    import json
    import os

    (tmp_path / "job.json").write_text(json.dumps(maze_job))
    code = "import aaren; aaren.train('job.json', run='run', train={'steps': 200}, evaluation={'every': 100})"
    main, other = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=other, env={**os.environ, "TERM": "xterm"})
    os.close(other)
    shown = b""
    try:
        while piece := os.read(main, 4096):
            shown += piece
    except OSError:
        pass  # the terminal is gone with the process
    assert process.wait() == 0, shown
    text = shown.decode()
    assert "\rtraining " in text and "step 100: " in text, text
    piped = subprocess.run([sys.executable, "-c", code.replace("'run'", "'next'")], cwd=tmp_path, capture_output=True, text=True)
    assert "training" not in piped.stderr and "step 100: " in piped.stderr, piped.stderr

"""The examples of the book run as they are written, with less training."""

import importlib.util
import re
from pathlib import Path

import aaren
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "src" / "python.md"


def test_the_examples_of_the_book_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    if not PAGE.is_file():
        pytest.skip("there is no checkout around the tests")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    short = {"env_steps": 256, "envs": 4, "envs_per_group": 2, "rollout_len": 32}
    aaren.train({"env": {"id": "Hopper-v5"}, "ppo": short, "evaluation": {}}, run="runs/hopper", progress=False)
    aaren.train("configs/ppo/tmaze.toml", seed=3, ppo={"env_steps": 4_096}, run="runs/other", progress=False)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for block in blocks:
        if "stable_baselines3" in block and importlib.util.find_spec("stable_baselines3") is None:
            print("skipped: stable-baselines3 is not there")
            continue
        exec(compile(block.replace("100_000", "4_096").replace("60_000", "2_048"), str(PAGE), "exec"), names)
    assert "return" in capsys.readouterr().out

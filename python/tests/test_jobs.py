"""Jobs from Python do what the program does."""

import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import aaren
import numpy as np
import pytest


def test_a_training_leaves_and_gives_what_the_program_does(maze_job: dict, tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(json.dumps(maze_job))
    ours = aaren.train(job, run=tmp_path / "ours", seed=3, train={"steps": 4}, **{"train.batch_size": 2}, progress=False)
    flags = ["--seed", "3", "--set", "train.steps=4", "--set", "train.batch_size=2", "--json"]
    command = [sys.executable, "-m", "aaren", "train", str(job), "--run", str(tmp_path / "theirs"), *flags]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert ours["run"] == str(tmp_path / "ours") and ours["train"]["steps"] == theirs["train"]["steps"] == 4
    assert ours["evaluation"]["targets"] == theirs["evaluation"]["targets"]
    assert [str(seed) for seed in ours["evaluation"]["episode_seeds"]] == theirs["evaluation"]["episode_seeds"]
    weights = ["checkpoints/step-00000004/weights.safetensors"]
    found = sorted((tmp_path / "ours").rglob("weights.safetensors"))
    assert found, weights
    for path in found:
        assert path.read_bytes() == (tmp_path / "theirs" / path.relative_to(tmp_path / "ours")).read_bytes()
    assert "return" in str(ours)
    assert pickle.loads(pickle.dumps(ours)) == ours


def test_numbers_of_numpy_are_numbers(maze_job: dict, tmp_path: Path) -> None:
    report = aaren.train(maze_job, run=tmp_path / "run", seed=np.int64(3), train={"steps": np.int32(2)}, progress=False)
    assert report["train"]["steps"] == 2


def test_a_training_goes_on(maze_job: dict, tmp_path: Path) -> None:
    aaren.train(maze_job, run=tmp_path / "run", progress=False)
    longer = aaren.train(run=tmp_path / "run", resume=True, train={"steps": 9}, progress=False)
    assert longer["train"]["steps"] == 9
    other = aaren.train(maze_job, run=tmp_path / "other", from_policy=tmp_path / "run", progress=False)
    assert other["train"]["steps"] == 6


def test_results_are_frames_where_pandas_is(runs: Path) -> None:
    pytest.importorskip("pandas")
    report = aaren.evaluate(runs / "maze", episodes=3, progress=False)
    frame = report.frame()
    assert list(frame.columns) == ["target_return", "seed", "return", "length"] and len(frame) == 6
    assert frame.groupby("target_return")["return"].mean().to_dict() == {
        target["target_return"]: pytest.approx(target["return_mean"]) for target in report["targets"]
    }
    comparison = aaren.compare([runs / "maze", runs / "window"], output=runs / "compared", progress=False)
    assert len(comparison.frame()) == 2 and (runs / "compared" / "compare.html").is_file()
    assert "transformer" in str(comparison)


def test_a_policy_is_judged_in_another_maze_than_it_learnt_in(runs: Path) -> None:
    report = aaren.evaluate(runs / "maze", env_options={"corridor": 9}, episodes=3, progress=False)
    assert report["env_options"]["corridor"] == 9 and len(report["targets"][0]["returns"]) == 3
    with pytest.raises(aaren.Error, match="corridr"):
        aaren.evaluate(runs / "maze", env_options={"corridr": 9}, progress=False)


def test_without_pandas_frames_say_how_to_get_it(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = aaren.evaluate(runs / "maze", episodes=1, progress=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        report.frame()


def test_sb3_is_looked_for_only_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "stable_baselines3" not in sys.modules
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.vec_env", None)
    with pytest.raises(ImportError, match="pip install stable-baselines3"):
        import aaren.sb3  # noqa: F401


def test_what_is_wrong_is_one_clear_exception(runs: Path, maze_job: dict, tmp_path: Path) -> None:
    run = tmp_path / "run"
    wrong = [
        (lambda: aaren.train(maze_job, run=run, train={"stepz": 3}), aaren.Error, "train.stepz.*did you mean"),
        (lambda: aaren.train(maze_job, run=run, **{"train.steps": "many"}), aaren.Error, "train.steps"),
        (lambda: aaren.train({**maze_job, "trian": 1}, run=run), aaren.Error, '^the config: .*did you mean "train"'),
        (lambda: aaren.train(maze_job, run=run, mixer="gruu"), aaren.Error, "mixer gruu.*gru"),
        (lambda: aaren.train(maze_job, run=run, seed="one"), TypeError, "seed: found str, expected an integer"),
        (lambda: aaren.train(maze_job, run=run, train={"learning_rate": np.nan}), ValueError, "^train.learning_rate: found nan"),
        (lambda: aaren.train({**maze_job, "evaluation": {"target_returns": [1.0, float("inf")]}}, run=run), ValueError, "^evaluation.t"),
        (lambda: aaren.train(maze_job, run=run, device="gpu"), ValueError, "device: .*expected"),
        (lambda: aaren.train(maze_job, run=run, device="cuda"), aaren.Error, "cuda"),
        (lambda: aaren.train(maze_job, run=runs / "maze"), aaren.Error, "maze"),
        (lambda: aaren.train(tmp_path / "none.toml", run=run), aaren.Error, "none.toml"),
        (lambda: aaren.train(resume=True), aaren.Error, "resume needs run"),
        (lambda: aaren.train(maze_job, run=run, train={"steps": object()}), TypeError, "no text, number"),
        (lambda: aaren.evaluate(tmp_path), aaren.Error, "expected the folder of a run"),
        (lambda: aaren.evaluate(runs / "maze", episodes=0), aaren.Error, "episodes"),
        (lambda: aaren.evaluate(runs / "maze", episodes="two"), TypeError, "episodes"),
        (lambda: aaren.evaluate(runs / "maze", execution="fast"), ValueError, "streaming"),
        (lambda: aaren.evaluate(runs / "cartpole", target_return=3.0), aaren.Error, "^target_return: .*not told"),
        (lambda: aaren.evaluate(runs / "maze", env="CartPole-v1"), aaren.Error, "CartPole-v1"),
        (lambda: aaren.compare([runs / "maze"]), aaren.Error, "at least two runs"),
        (lambda: aaren.compare([runs / "maze", runs / "cartpole"]), aaren.Error, "cannot be compared.*with table"),
    ]
    for number, (call, kind, text) in enumerate(wrong):
        with pytest.raises(kind, match=text) as caught:
            call()
        assert "\n" not in str(caught.value), (number, str(caught.value))
    assert not run.exists()


def test_warnings_go_to_the_logger(maze_job: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "aaren"):
        aaren.train(maze_job, run=tmp_path / "run", train={"warmup_steps": 6}, progress=False)
    assert any("warmup_steps" in record.message for record in caplog.records), caplog.text


INTERRUPTED = """
import os, signal, sys, threading, time
import aaren
def interrupt():
    while not os.path.exists(os.path.join(sys.argv[2], "metrics.jsonl")):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    aaren.train(sys.argv[1], run=sys.argv[2], train={"steps": 1_000_000}, progress=False)
except KeyboardInterrupt as error:
    print("interrupted:", error)
    # The next job runs.
    print(aaren.train(sys.argv[1], run=sys.argv[2] + "-next", progress=False)["train"]["steps"])
"""


def test_ctrl_c_saves_the_run_and_the_next_job_runs(maze_job: dict, tmp_path: Path) -> None:
    job, run = tmp_path / "job.json", tmp_path / "run"
    job.write_text(json.dumps(maze_job))
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(job), str(run)], capture_output=True, text=True, timeout=120, check=False
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("interrupted:") and "the run is saved" in first, done.stdout + done.stderr
    assert second == "6" and done.returncode == 0
    assert aaren.load(run).step_trained > 0


def test_other_threads_run_while_a_job_does(maze_job: dict, tmp_path: Path) -> None:
    counted, over = [0], threading.Event()

    def count() -> None:
        while not over.is_set():
            counted[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        aaren.train(maze_job, run=tmp_path / "run", train={"steps": 60}, progress=False)
    finally:
        over.set()
        thread.join()
    assert counted[0] > 10


def test_the_program_is_there(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "aaren", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
        )

    assert run("--version").stdout.startswith(f"aaren {aaren.__version__} ")
    wrong = run("train", "--env", "Hoper-v5")
    assert wrong.returncode == 1 and wrong.stderr.count("error:") == 1 and "Hopper-v5" in wrong.stderr
    assert run("trian").returncode == 2


def test_importing_is_quick() -> None:
    code = "import time; t = time.perf_counter(); import gymnasium; u = time.perf_counter(); import aaren; print(time.perf_counter() - u)"
    seconds = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) for _ in range(3)
    )
    print(f"measured: import aaren takes {seconds:.3f} s after gymnasium")
    assert os.environ.get("AAREN_SLOW_IMPORT") or seconds < 0.5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

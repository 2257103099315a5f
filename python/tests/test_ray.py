"""On a cluster of three raylets, a killed worker and a lost machine change no byte.

Skipped without Ray, which is large: ``pip install ray==2.60.0`` into the environment of ``scripts/wheel.sh`` has that run them.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aaren
import pytest

ray = pytest.importorskip("ray")
import aaren.ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

STORE = 80 * 2**20

@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that takes no work, and two machines with one processor each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE})
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def working(task: str) -> list[int]:
    """Processes of workers that are at a task of this name."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(f"ray::{task}".encode()):
            found.append(int(folder.name))
    return found


def worker(task: str, but: int = 0, ready: Callable[[], bool] = lambda: True) -> int:
    """The process of a worker at a task, as soon as there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        at_it = [pid for pid in working(task) if pid != but]
        if at_it and ready():
            return at_it[0]
        time.sleep(0.02)
    raise AssertionError(f"no worker is at {task}: the job was over too soon")


def attacked(cluster: Cluster, job: Callable[[], Any], task: str, ready: Callable[[], bool] = lambda: True) -> Any:
    """What comes of a job in whose middle a worker is killed, and then a machine is removed with what works on it, and replaced."""
    with ThreadPoolExecutor(1) as pool:  # machines are added in the main thread alone
        result = pool.submit(job)
        killed = worker(task, ready=ready)
        os.kill(killed, signal.SIGKILL)
        worker(task, but=killed)
        time.sleep(0.2)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        assert not result.done(), "the job was over too soon"
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
        return result.result(300)


def test_an_evaluation_has_the_returns_of_one_process(cluster: Cluster, runs: Path) -> None:
    whole = aaren.evaluate(runs / "gru", episodes=400, progress=False)
    spread = attacked(
        cluster, lambda: aaren.ray.evaluate(runs / "gru", episodes=400, episodes_per_task=20, progress=False), "_play"
    )
    assert spread["targets"] == whole["targets"] and spread["run"] == "gru"
    assert len(spread.frame()) == 400


def test_a_dataset_has_the_bytes_of_one_process(cluster: Cluster, runs: Path, tmp_path: Path) -> None:
    job = {
        "env": {"id": "Pendulum-v1"},
        "collect": {"dataset": "expert", "steps": 60_000, "policies": {"expert": str(runs / "gru")}, "envs_per_actor": 4},
    }
    config = tmp_path / "job.json"
    config.write_text(json.dumps(job))
    command = [sys.executable, "-m", "aaren", "collect", str(config), "--output", str(tmp_path / "whole"), "--json"]
    whole = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    output = tmp_path / "spread"
    spread = attacked(
        cluster, lambda: aaren.ray.collect(config, output=output, episodes_per_task=20, progress=False), "_collect"
    )
    assert spread["parts"] == whole["parts"] and spread["parts"][0]["steps"] == 60_000
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert len(files) == 3
    for path in files:
        assert (tmp_path / "whole" / path).read_bytes() == (tmp_path / "spread" / path).read_bytes(), path


def test_a_table_has_the_runs_of_one_machine(cluster: Cluster, maze_job: dict, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(maze_job))
    manifest = tmp_path / "mine.json"
    manifest.write_text(json.dumps({"files": ["job.json"], "agents": ["aaren", "gru"], "seeds": [1, 2]}))
    longer = {"train": {"steps": 600, "checkpoint_every": 50}}
    whole = aaren.table(manifest, runs=tmp_path / "whole", progress=False, **longer)
    runs = tmp_path / "spread"
    saved = lambda: any(runs.glob("*/checkpoints/step-*"))  # noqa: E731
    spread = attacked(cluster, lambda: aaren.ray.table(manifest, runs=runs, progress=False, **longer), "_train", saved)
    names = [f"{agent}-seed{seed}" for seed in (1, 2) for agent in ("aaren", "gru")]
    assert [run["name"] for run in spread["runs"]] == names
    for name in names:
        weights = "checkpoints/step-00000600/weights.safetensors"
        assert (runs / name / weights).read_bytes() == (tmp_path / "whole" / name / weights).read_bytes(), name
    scores = [[cell["targets"] for cell in table["comparison"]["cells"]] for table in (whole, spread)]
    assert scores[0] == scores[1] and scores[0]
    # Nothing is made twice, and what is wrong is said.
    again = aaren.ray.table(manifest, runs=runs, progress=False, **longer)
    assert [run["state"] for run in again["runs"]] == ["finished-before"] * 4
    with pytest.raises(aaren.Error, match="aaren-seed1: failed: .*no/such"):
        aaren.ray.table(manifest, runs=tmp_path / "lost", set=["data.scripted=null", 'data.source=["no/such"]'], progress=False)


def test_the_commands_of_the_book_are_commands() -> None:
    from aaren.ray import _parser

    page = Path(__file__).resolve().parents[2] / "docs" / "src" / "many-jobs.md"
    if not page.is_file():
        pytest.skip("there is no checkout around the tests")
    lines = [line.strip() for line in page.read_text().splitlines() if line.startswith("    python -m aaren.ray ")]
    assert {_parser().parse_args(shlex.split(line)[3:]).command for line in lines} == {"evaluate", "collect", "table"}


def test_what_is_wrong_is_one_clear_error(
    cluster: Cluster, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aaren.ray import _begin, _cluster, main

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(aaren.Error, match="no cluster of Ray can be reached at 127.0.0.1:1: .*refused"), _cluster("127.0.0.1:1"):
        pass
    monkeypatch.undo()

    with pytest.raises(aaren.Error, match="and the work was given out by another; install one build"):
        _begin("another", 1)
    assert main(["evaluate", str(runs / "cartpole"), "--episodes", "3", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"][0]["episodes"] == 3
    for arguments, words in [
        (["evaluate", "no/run"], "error: no/run: there is no run folder or policy"),
        (["evaluate", str(runs / "maze"), "--episodes-per-task", "0"], "error: episodes_per_task: found 0"),
        (["collect", str(tmp_path / "none.toml")], "error: cannot read the config"),
        (["table", str(tmp_path / "none.toml")], "error: cannot read the manifest"),
    ]:
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith(words) and said.count("\n") == 1, said

"""Tables from Python are those of the program, and evaluations and collections in parts are those in one piece."""

import json
import subprocess
import sys
from pathlib import Path

import aaren
import pytest
from aaren import _aaren


def manifest(folder: Path, job: dict, agents: list) -> Path:
    """A table of small runs."""
    (folder / "job.json").write_text(json.dumps(job))
    path = folder / "mine.json"
    path.write_text(json.dumps({"files": ["job.json"], "agents": agents, "seeds": [1, 2]}))
    return path


def weights(run: Path) -> bytes:
    (path,) = sorted(run.glob("checkpoints/step-*/weights.safetensors"))[-1:]
    return path.read_bytes()


def test_a_table_is_that_of_the_program(maze_job: dict, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = manifest(tmp_path, maze_job, ["aaren", "gru"])
    ours = aaren.table(path, runs=tmp_path / "ours", jobs=2, train={"steps": 4})
    assert [run["state"] for run in ours["runs"]] == ["finished"] * 4 and len(ours.frame()) == 4
    assert "gru-seed2: return" in capfd.readouterr().err
    assert "4 of 4 runs finished" in str(ours)
    command = [sys.executable, "-m", "aaren", "table", str(path), "--runs", str(tmp_path / "theirs"), "--set", "train.steps=4", "--json"]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    reached = [[(run["run"], run["targets"]) for run in table["comparison"]["runs"]] for table in (ours, theirs)]
    assert reached[0] == reached[1] and len(reached[0]) == 4
    for name in ("aaren-seed1", "gru-seed2"):
        assert weights(tmp_path / "ours" / name) == weights(tmp_path / "theirs" / name)
    again = aaren.table(path, runs=tmp_path / "ours", seeds="2", agents=["g*"], train={"steps": 4}, progress=False)
    assert [(run["name"], run["state"]) for run in again["runs"]] == [("gru-seed2", "finished-before")]
    with pytest.raises(aaren.Error, match="4 of 4 runs did not finish.*train.steps is 4 there, and 5 in the table"):
        aaren.table(path, runs=tmp_path / "ours", train={"steps": 5}, progress=False)
    with pytest.raises(aaren.Error, match='agents: the manifest has no "gruu"; did you mean "gru"'):
        aaren.table(path, agents=["gruu"])
    with pytest.raises(ValueError, match="expected seeds such as"):
        aaren.table(path, seeds="one")


def test_a_run_of_a_table_can_be_made_by_itself(maze_job: dict, tmp_path: Path) -> None:
    path = str(manifest(tmp_path, maze_job, ["aaren"]))
    chosen = {"rows": [], "agents": [], "seeds": [], "runs": str(tmp_path / "runs"), "set": ["train.steps=2"]}
    listed = [json.loads(line) for line in _aaren.table_list(path, chosen)]
    assert [(piece["index"], piece["name"], piece["state"]) for piece in listed] == [(0, "aaren-seed1", "new"), (1, "aaren-seed2", "new")]
    assert [_aaren.table_run(None, path, chosen, 1) for _ in range(2)] == ["finished", "finished-before"]
    with pytest.raises(aaren.Error, match="the numbers 0 to 1"):
        _aaren.table_run(None, path, chosen, 2)


@pytest.mark.parametrize("name", ["maze", "window", "cartpole", "gru"])
def test_an_evaluation_in_parts_is_that_in_one_piece(runs: Path, tmp_path: Path, name: str) -> None:
    whole = aaren.evaluate(runs / name, episodes=7, progress=False)
    asked = aaren.jobs._asked(
        runs / name, None, None, False, env=None, episodes=7, actors=None, envs_per_actor=None, execution=None, cache=None,
        stochastic=False, seed=None,
    )  # fmt: skip
    evaluation = _aaren.Evaluation(asked)
    place, files = evaluation.files()
    for path, content in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    elsewhere = _aaren.Evaluation({**asked, "policy": str(tmp_path / place)})
    count = evaluation.count()
    assert count == elsewhere.count() == 7 * len(whole["targets"])
    results = evaluation.play(0, 3) + elsewhere.play(3, count - 3)
    report = json.loads(evaluation.report(results, 1.0)[0])
    assert report["targets"] == whole["targets"] and report["run"] == whole["run"]
    with pytest.raises(aaren.Error, match="there are no episodes"):
        evaluation.play(count, 1)
    with pytest.raises(aaren.Error, match=f"expected {count}"):
        evaluation.report(results[1:], 1.0)


def test_a_collection_in_parts_is_that_in_one_piece(runs: Path, tmp_path: Path) -> None:
    job = {
        "env": {"id": "Pendulum-v1"},
        "collect": {"dataset": "expert", "steps": 2_500, "policies": {"expert": str(runs / "gru")}, "envs_per_actor": 2},
    }
    config = tmp_path / "job.json"
    config.write_text(json.dumps(job))
    command = [sys.executable, "-m", "aaren", "collect", str(config), "--output", str(tmp_path / "whole"), "--json"]
    whole = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    collection = _aaren.Collection(None, [str(config)], [], None, None, str(tmp_path / "parts"), None)
    assert collection.parts() == [("expert", 0, 2_500)]
    for path, content in collection.policy("expert"):
        (tmp_path / path).write_bytes(content)
    records = {first: _aaren.collect_part(collection.job(), "expert", str(tmp_path), first, 4) for first in (8, 0, 4, 12)}
    assert [collection.take("expert", records[first]) for first in (8, 0)] == [False, False]
    assert collection.has("expert", 0, 4) and not collection.has("expert", 0, 5)
    # A collection that is broken off goes on with what it has.
    collection.close()
    collection = _aaren.Collection(None, [str(config)], [], None, None, str(tmp_path / "parts"), None)
    assert collection.parts() == [("expert", 800, 2_500)]
    with pytest.raises(aaren.Error, match="episodes of the part expert are missing"):
        collection.take("expert", records[8])
        collection.finish(None)
    collection = _aaren.Collection(None, [str(config)], [], None, None, str(tmp_path / "parts"), None)
    with pytest.raises(aaren.Error, match="damaged"):
        collection.take("expert", records[4][:-1])
    assert [collection.take("expert", records[first]) for first in (4, 12, 0)] == [False, True, True]
    summary = json.loads(collection.finish(None)[0])
    assert summary["parts"] == whole["parts"] and summary["parts"][0]["steps"] == 2_600
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert len(files) == 3
    for path in files:
        assert (tmp_path / "whole" / path).read_bytes() == (tmp_path / "parts" / path).read_bytes(), path
    with pytest.raises(aaren.Error, match="the collection has ended already"):
        collection.parts()

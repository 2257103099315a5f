"""A policy that is stepped from Python is the policy that actor threads play."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import aaren
import gymnasium as gym
import numpy as np
import pytest

MAZE = {"corridor": 4}


def stepped(policy: aaren.Policy, episodes: list[dict], rows: int, **execution: object) -> None:
    """Steps recorded episodes `rows` at a time, each row resetting when its episode ends; the actions must be the recorded bits."""
    waiting, current = list(episodes), [None] * rows
    at, compared = [0] * rows, 0
    state = policy.initial_state(rows, **execution)
    observations = np.zeros((rows, policy.observation_width))
    while True:
        reset, active = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
        asked, reward = np.full(rows, np.nan), np.zeros(rows)
        for row in range(rows):
            if current[row] is None and waiting:
                current[row], at[row], reset[row] = waiting.pop(0), 0, True
                asked[row] = current[row]["target_return"] or 0.0
            if current[row] is not None:
                active[row] = True
                observations[row] = current[row]["observations"][at[row]]
                reward[row] = current[row]["rewards"][at[row] - 1] if at[row] else 0.0
        if not active.any():
            break
        before = pickle.dumps(state)
        actions, following = policy.step(observations, state, reset, None, asked, reward=reward, active=active)
        # A state is a value: it gives the same again, also after it was stored.
        again, _ = policy.step(observations, pickle.loads(before), reset, None, asked, reward=reward, active=active)
        assert again[active].tobytes() == actions[active].tobytes()
        state = following
        for row in np.flatnonzero(active):
            expected = current[row]["actions"][at[row]]
            assert actions[row].tobytes() == expected.tobytes(), f"row {row}, step {at[row]}"
            compared += 1
            at[row] += 1
            if at[row] == current[row]["length"]:
                current[row] = None
    assert compared == sum(episode["length"] for episode in episodes)


@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize("name", ["maze", "window", "cartpole", "gru"])
def test_actions_are_those_of_the_actor_threads(runs: Path, name: str, rows: int) -> None:
    episodes = aaren.record(runs / name, episodes=11, actors=2, envs_per_actor=rows, progress=False)
    stepped(aaren.load(runs / name), episodes, rows)


def test_a_window_computes_what_the_actor_threads_compute(runs: Path) -> None:
    for name in ("maze", "window"):
        episodes = aaren.record(runs / name, episodes=5, envs_per_actor=3, execution="window", progress=False)
        stepped(aaren.load(runs / name), episodes, 3, window=4)


def test_a_bounded_cache_is_stored_too(runs: Path) -> None:
    episodes = aaren.record(runs / "window", episodes=5, envs_per_actor=2, cache="sink:2+4", progress=False)
    stepped(aaren.load(runs / "window"), episodes, 2, cache="sink:2+4")


@pytest.mark.parametrize(
    ("name", "env", "options"),
    [("maze", "aaren/TMaze-v0", MAZE), ("cartpole", "aaren/CartPole-v1", {}), ("gru", "aaren/Pendulum-v1", {})],
)
def test_playing_is_evaluating(runs: Path, name: str, env: str, options: dict) -> None:
    policy = aaren.load(runs / name)
    recorded = aaren.record(runs / name, episodes=9, seed=5, progress=False)
    report = aaren.evaluate(runs / name, episodes=9, seed=5, progress=False)
    played = aaren.play(policy, lambda: gym.make(env, **options), episodes=9, seed=5, record_actions=True)
    assert played.returns.tolist() == [total for target in report["targets"] for total in target["returns"]]
    assert played.lengths.tolist() == [length for target in report["targets"] for length in target["lengths"]]
    assert played.seeds == report["episode_seeds"] * len(report["targets"])
    for ours, theirs in zip(played.actions, recorded, strict=True):
        assert ours.tobytes() == theirs["actions"].tobytes()
    # One environment alone, in the same batch, gives the same bits.
    one = gym.make(env, **options)
    alone = aaren.play(policy, one, episodes=9, seed=5)
    assert alone.returns.tolist() == played.returns.tolist()
    one.reset()  # it is still open
    assert (aaren.play(policy, one, episodes=2, rows=1).lengths > 0).all()


def test_drawn_actions_are_the_same_too(runs: Path) -> None:
    policy = aaren.load(runs / "cartpole")
    report = aaren.evaluate(runs / "cartpole", episodes=9, seed=5, stochastic=True, progress=False)
    played = aaren.play(policy, "aaren/CartPole-v1", 9, seed=5, stochastic=True)
    assert played.returns.tolist() == report["targets"][0]["returns"]
    best = aaren.play(policy, "aaren/CartPole-v1", 9, seed=5)
    assert played.returns.tolist() != best.returns.tolist()


def test_gymnasiums_own_environments_are_played(runs: Path) -> None:
    played = aaren.play(aaren.load(runs / "cartpole"), "CartPole-v1", 4, seed=1)
    assert played.returns.tolist() == played.lengths.tolist()
    frame = pytest.importorskip("pandas") and played.frame()
    assert list(frame.columns) == ["target_return", "seed", "return", "length", "terminated"] and len(frame) == 4


def test_a_state_is_a_value(runs: Path) -> None:
    policy = aaren.load(runs / "maze")
    state = policy.initial_state(2)
    observations = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    _, state = policy.step(observations, state, return_to_go=1.0)
    kept = [copy.copy(state), copy.deepcopy(state), pickle.loads(pickle.dumps(state))]
    assert state.nbytes > 0 and [one.rows for one in kept] == [2, 2, 2]
    first = policy.step(observations, state)[0]
    for _ in range(3):
        policy.step(observations, state)
    for one in kept:
        assert policy.step(observations, one)[0].tobytes() == first.tobytes()
    # The same policy, loaded in another process, goes on with it.
    code = (
        "import sys, pickle, aaren, numpy as np; state = pickle.load(sys.stdin.buffer); "
        f"policy = aaren.load({str(runs / 'maze')!r}); "
        "sys.stdout.buffer.write(policy.step(np.array([[1.0, 0, 0], [-1.0, 0, 0]]), state)[0].tobytes())"
    )
    other = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(state), capture_output=True, check=True)
    assert other.stdout == first.tobytes()


def test_one_episode_needs_no_batch(runs: Path) -> None:
    policy = aaren.load(runs / "cartpole")
    action, state = policy.step(np.zeros(4, dtype=np.float32), policy.initial_state())
    assert action.shape == () and action in policy.action_space
    batch, _ = policy.step(np.zeros((1, 4)), policy.initial_state())
    assert batch.shape == (1,) and batch[0] == action
    pendulum = aaren.load(runs / "gru")
    action, _ = pendulum.step(np.zeros(3), pendulum.initial_state())
    assert action.shape == (1,) and action.dtype == np.float32 and action in pendulum.action_space


def test_an_action_that_was_executed_instead_is_seen(runs: Path) -> None:
    policy = aaren.load(runs / "maze")
    observation = np.array([1.0, 0.0, 0.0])
    action, state = policy.step(observation, policy.initial_state(), return_to_go=1.0)
    outputs = {policy.step(observation, state, previous_action=told)[1]._state.store() for told in range(3)}
    assert len(outputs) == 3
    assert policy.step(observation, state)[1]._state.store() == policy.step(observation, state, None, action)[1]._state.store()


class Unrewarding(gym.Wrapper):
    """A CartPole whose rewards are no numbers."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1"))

    def step(self, action: int) -> tuple:
        observation, _, *rest = self.env.step(action)
        return observation, float("nan"), *rest


def test_a_row_that_is_not_active_may_show_anything(runs: Path) -> None:
    policy = aaren.load(runs / "maze")
    observations = np.array([[0.0, 0.0, 0.0], [np.nan, 0.0, 0.0]])
    actions, _ = policy.step(observations, policy.initial_state(2), return_to_go=1.0, active=np.array([True, False]))
    assert actions.shape == (2,)


def test_what_is_wrong_is_one_clear_exception(runs: Path, tmp_path: Path) -> None:
    policy, online = aaren.load(runs / "maze"), aaren.load(runs / "cartpole")
    state = policy.initial_state(2)
    two = np.zeros((2, 3))
    begun = policy.step(two, state, return_to_go=1.0)[1]
    wrong = [
        (lambda: policy.step(np.zeros((3, 3)), state), ValueError, r"observation: shape \[3, 3\], expected \[2, 3\]"),
        (lambda: policy.step(two, state), ValueError, "return_to_go: row 0 begins an episode"),
        (lambda: policy.step(two, state, return_to_go=[1.0]), ValueError, r"return_to_go: shape \[1\], expected \[2\]"),
        (lambda: policy.step(two, state, reset=[0, 1], return_to_go=1.0), TypeError, "reset: found int64, expected bool"),
        (lambda: policy.step(two, "state", return_to_go=1.0), TypeError, "expected an aaren.State"),
        (lambda: policy.step([["a"] * 3] * 2, state, return_to_go=1.0), TypeError, "observation: found"),
        (lambda: policy.step(two, begun, previous_action=[0, 3]), ValueError, "expected an integer from 0 to 2"),
        (lambda: policy.step(two, begun, previous_action=[0.5, 1.0]), TypeError, "previous_action: found float64"),
        (lambda: policy.step(two, online.initial_state(2), return_to_go=1.0), ValueError, "state: .*another"),
        (lambda: policy.step(two + np.nan, state, return_to_go=1.0), ValueError, "observation: row 0 has NaN"),
        (lambda: policy.step(two, begun, reward=[0.0, np.inf]), ValueError, "reward: row 1 has inf"),
        (lambda: policy.initial_state(10**15), ValueError, "rows: found 1000000000000000, which take at least"),
        (lambda: policy.initial_state(0), ValueError, "at least one row"),
        (lambda: policy.initial_state(1, stochastic=True), ValueError, "only actor-critics"),
        (lambda: online.initial_state(1, window=3), ValueError, "only decision policies"),
        (lambda: policy.initial_state(1, cache="window:9"), ValueError, "no KV cache"),
        (lambda: policy.initial_state(1, cache="some"), ValueError, "cache"),
        (lambda: aaren.load(tmp_path / "nothing"), aaren.Error, "there is no run folder or policy"),
        (lambda: aaren.load(runs / "maze", checkpoint=17), aaren.Error, "17"),
        (lambda: aaren.load(runs / "maze", checkpoint="last"), ValueError, "expected a step"),
        (lambda: aaren.play(policy, "aaren/CartPole-v1"), ValueError, r"takes a Box of shape \(3,\)"),
        (lambda: aaren.play(online, "aaren/TMaze-v0"), ValueError, "shape"),
        (lambda: aaren.play(policy, lambda: 3), TypeError, "makes int, expected a gymnasium.Env"),
        (lambda: aaren.play(policy, 3), TypeError, "expected a name"),
        (lambda: aaren.play("maze", "aaren/TMaze-v0"), TypeError, "policy: found str, expected what aaren.load gives"),
        (lambda: aaren.play(online, lambda: Unrewarding()), ValueError, "the reward nan at step 1"),
        (lambda: aaren.play(online, "aaren/CartPole-v1", target_return=3.0), aaren.Error, "^target_return: .*not told a return"),
        (lambda: aaren.play(policy, "aaren/TMaze-v0", rows=0), ValueError, "rows: 0"),
    ]
    for call, kind, text in wrong:
        with pytest.raises(kind, match=text):
            call()


def test_threads_do_not_wait_for_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A measurement, which is printed, of a policy of the size that jobs have; that all threads come to the same actions is asserted."""
    ppo = {"network": "recurrent", "env_steps": 256, "envs": 4, "envs_per_group": 2, "rollout_len": 32}
    aaren.train({"env": {"id": "Pendulum-v1"}, "ppo": ppo, "evaluation": {"final_episodes": 1}}, run=tmp_path / "run", progress=False)
    policies = [aaren.load(tmp_path / "run") for _ in range(4)]
    observations = np.random.default_rng(1).normal(size=(8, 3))
    results: dict[int, bytes] = {}

    def work(number: int) -> None:
        policy, state = policies[number], policies[number].initial_state(8)
        for _ in range(400):
            actions, state = policy.step(observations, state)
        results[number] = actions.tobytes()

    started = time.perf_counter()
    for number in range(4):
        work(number)
    one = time.perf_counter() - started
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    four = time.perf_counter() - started
    assert len(set(results.values())) == 1
    with capsys.disabled():
        print(f"\nmeasured: 4 threads step 4 policies {one / four:.2f} times as fast as one ({os.cpu_count()} cores)")


FORK = """
import os, sys, time, signal
import numpy as np
import aaren
runs = sys.argv[1]
policy = aaren.load(os.path.join(runs, "maze"))
state = policy.initial_state(256)
observations = np.zeros((256, 3))
expected, _ = policy.step(observations, state, return_to_go=1.0)
envs = aaren.VectorEnv("Hopper-v5", 4, threads=2)
envs.reset(seed=1)
before = envs.step(np.zeros((4, 3)))[0]
child = os.fork()
if child == 0:
    signal.alarm(5)
    actions, _ = policy.step(observations, state, return_to_go=1.0)
    assert (actions == expected).all()
    envs.reset(seed=1)
    assert (envs.step(np.zeros((4, 3)))[0] == before).all()
    try:
        aaren.evaluate(os.path.join(runs, "maze"), episodes=2, progress=False)
    except aaren.Error as error:
        assert "spawn" in str(error), error
    else:
        sys.exit("evaluate ran")
    sys.stdout.write("child done")
    sys.stdout.flush()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
envs.step(np.zeros((4, 3)))
policy.step(observations, state, return_to_go=1.0)
print(", parent done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_works_or_says_why_not(runs: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, str(runs)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "child done, parent done\n" and done.returncode == 0, done.stderr
    assert signal.SIGALRM  # what ends a child that hangs

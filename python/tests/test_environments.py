"""The environments keep Gymnasium's contract, and equal Gymnasium's own bit for bit."""

import math
import re
import warnings

import aaren
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import NormalizeObservation, RecordEpisodeStatistics

IDS = sorted(name for name in gym.registry if name.startswith("aaren/"))
#: What Gymnasium's checker says of spaces; those of the tasks are the originals'.
OF_SPACES = ("minimum value is -infinity", "maximum value is infinity", "symmetric and normalized space")


def can_draw(name: str) -> bool:
    try:
        gym.make(name, render_mode="rgb_array").unwrapped.close()
    except aaren.Error as error:
        print(f"skipped: {name} is not drawn: {error}")
        return False
    return True


def test_all_tasks_are_registered() -> None:
    assert [f"aaren/{task['id']}" for task in aaren.tasks()] == [
        name for name in gym.registry if name.startswith("aaren/")
    ]
    assert len(IDS) >= 10


@pytest.mark.parametrize("name", IDS)
def test_the_checker_finds_nothing(name: str) -> None:
    env = gym.make(name).unwrapped
    space = env.action_space
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env, skip_render_check=not can_draw(name))
    said = [str(warning.message) for warning in caught]
    assert [text for text in said if not any(known in text for known in OF_SPACES)] == []
    # The spaces alone decide what is said of them.
    infinite = np.isinf(env.observation_space.low).any()
    assert any("-infinity" in text for text in said) == bool(infinite)
    normalized = not isinstance(space, gym.spaces.Box) or (np.all(space.low >= -1) and np.all(space.high <= 1))
    assert any("normalized space" in text for text in said) == (not normalized)


def same(ours: object, theirs: object, path: str = "infos") -> None:
    """The same arrays, bit for bit, of the same types."""
    assert type(ours) is type(theirs), path
    if isinstance(ours, dict):
        assert set(ours) == set(theirs), path
        for key in ours:
            same(ours[key], theirs[key], f"{path}.{key}")
    elif isinstance(ours, np.ndarray) and ours.dtype == object:
        for one, other in zip(ours, theirs, strict=True):
            same(one, other, path)
    elif isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape, path
        assert ours.tobytes() == theirs.tobytes(), path
    else:
        assert ours == theirs, path


VECTORS = [
    ("aaren/Hopper-v5", 4, 1250, {}),
    ("aaren/HalfCheetah-v5", 2, 300, {"max_episode_steps": 40}),
    ("aaren/Walker2d-v5", 3, 300, {}),
    ("aaren/Ant-v5", 2, 100, {"max_episode_steps": 30}),
    ("aaren/Maze2D-v1", 2, 200, {"max_episode_steps": 40}),
    ("aaren/PointMaze-v0", 3, 300, {"max_episode_steps": 50}),
    ("aaren/Pendulum-v1", 3, 1700, {"max_episode_steps": 60}),
    ("aaren/CartPole-v1", 5, 1000, {}),
    ("aaren/TMaze-v0", 4, 1250, {"corridor": 3}),
    ("aaren/PassiveTMaze-v0", 4, 1250, {"corridor": 3}),
    ("aaren/LastCue-v0", 4, 1250, {"corridor": 3, "cues": 2}),
    ("aaren/RepeatPrevious-v0", 3, 400, {}),
    ("aaren/RepeatFirst-v0", 3, 400, {}),
    ("aaren/CountRecall-v0", 3, 400, {"kind": "suits"}),
    ("aaren/HigherLower-v0", 3, 400, {}),
    ("aaren/MultiarmedBandit-v0", 3, 400, {"pulls": 50, "show_action": True}),
]


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(("name", "copies", "steps", "options"), VECTORS)
def test_a_vector_equals_gymnasiums_of_the_same_tasks(
    name: str, copies: int, steps: int, options: dict, mode: AutoresetMode
) -> None:
    if name not in gym.registry:
        pytest.skip(f"{name} is not registered")
    ours = gym.make_vec(name, copies, autoreset_mode=mode, threads=2, **options)
    assert isinstance(ours, aaren.VectorEnv)
    theirs = SyncVectorEnv([lambda: gym.make(name, **options)] * copies, autoreset_mode=mode)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    observations = [envs.reset(seed=17) for envs in (ours, theirs)]
    same(*(observation for observation, _ in observations))
    same(*(info for _, info in observations))
    ours.action_space.seed(5)
    ends = 0
    for _ in range(steps):
        actions = ours.action_space.sample()
        results = [envs.step(actions) for envs in (ours, theirs)]
        for part in range(5):
            same(results[0][part], results[1][part], f"part {part}")
        over = results[0][2] | results[0][3]
        ends += over.sum()
        if mode == AutoresetMode.DISABLED and over.any():
            again = [envs.reset(options={"reset_mask": over.copy()}) for envs in (ours, theirs)]
            same(again[0][0], again[1][0])
            same(again[0][1], again[1][1])
    assert ends > 0, "no episode ended, so nothing was tried"
    ours.close()
    theirs.close()


def test_vectors_of_any_number_of_threads_are_the_same() -> None:
    results = []
    for threads in (1, 2, 3, 8):
        envs = aaren.VectorEnv("Hopper-v5", 5, threads=threads)
        envs.reset(seed=[3, 1, 4, 1, 5])
        envs.action_space.seed(9)
        results.append(b"".join(envs.step(envs.action_space.sample())[0].tobytes() for _ in range(100)))
    assert len(set(results)) == 1


def test_the_wrappers_of_vectors_run() -> None:
    envs = NormalizeObservation(RecordEpisodeStatistics(gym.make_vec("aaren/Hopper-v5", num_envs=4)))
    envs.reset(seed=1)
    envs.action_space.seed(1)
    episodes = 0
    for _ in range(300):
        observations, _, _, _, infos = envs.step(envs.action_space.sample())
        assert np.isfinite(observations).all()
        if "episode" in infos:
            episodes += infos["_episode"].sum()
            assert (infos["episode"]["l"][infos["_episode"]] > 0).all()
    assert episodes > 3


def gymnasiums(name: str) -> gym.Env:
    pytest.importorskip("mujoco")
    return gym.make(name)


@pytest.mark.parametrize("name", ["Hopper-v5", "HalfCheetah-v5", "Walker2d-v5", "Ant-v5"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_robots_equal_gymnasiums(name: str, dtype: type) -> None:
    ours, theirs = gym.make(f"aaren/{name}"), gymnasiums(name)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    assert ours.spec.max_episode_steps == theirs.spec.max_episode_steps
    generator = np.random.default_rng(3)
    for episode in range(3):
        observation, info = ours.reset(seed=episode)
        expected, expected_info = theirs.reset(seed=episode)
        assert set(expected_info) <= set(info)
        if name in ("Hopper-v5", "Walker2d-v5"):
            assert observation.tobytes() == expected.tobytes()
            assert {key: info[key] for key in expected_info} == expected_info
        else:
            # Their start states are drawn from normals, whose last bit may be another; so both begin in one of them.
            np.testing.assert_allclose(observation, expected, rtol=1e-14)
            data = theirs.unwrapped.data
            ours.unwrapped.set_state(np.concatenate([data.qpos, data.qvel]))
        for _ in range(150):
            action = generator.uniform(ours.action_space.low, ours.action_space.high).astype(dtype)
            ours_step, their_step = ours.step(action), theirs.step(action)
            assert ours_step[0].tobytes() == their_step[0].tobytes()
            assert ours_step[1:4] == (float(their_step[1]), *their_step[2:4])
            assert ours_step[2] is bool(their_step[2])
            if ours_step[2] or ours_step[3]:
                break


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_classic_tasks_equal_gymnasiums(name: str) -> None:
    ours, theirs = gym.make(f"aaren/{name}"), gym.make(name)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    ours.action_space.seed(1)
    for episode in range(3):
        observation, expected = ours.reset(seed=episode)[0], theirs.reset(seed=episode)[0]
        np.testing.assert_array_equal(observation, expected)
        assert observation.dtype == expected.dtype == np.float32
        for _ in range(50):
            action = ours.action_space.sample()
            one, other = ours.step(action), theirs.step(action)
            np.testing.assert_allclose(one[0], other[0], rtol=0, atol=1e-6)
            assert one[2:4] == other[2:4] and math.isclose(one[1], other[1], rel_tol=1e-6)
            if one[2]:
                break


def test_the_time_limit_is_whoever_says_one() -> None:
    def length(env: gym.Env) -> int:
        env.reset(seed=1)
        for step in range(1, 400):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            assert not terminated
            if truncated:
                return step
        return 400

    assert length(gym.make("aaren/Pendulum-v1")) == 200
    assert length(gym.make("aaren/Pendulum-v1", max_episode_steps=300)) == 300
    assert length(gym.make("aaren/Pendulum-v1", max_episode_steps=7)) == 7
    assert length(gym.make("aaren/Pendulum-v1", max_episode_steps=-1)) == 400
    assert length(aaren.Env("Pendulum-v1")) == 200
    assert length(aaren.Env("Pendulum-v1", max_episode_steps=300)) == 300
    envs = gym.make_vec("aaren/Pendulum-v1", num_envs=1, max_episode_steps=3)
    envs.reset(seed=1)
    truncated = [bool(envs.step(envs.action_space.sample())[3][0]) for _ in range(4)]
    assert truncated == [False, False, True, False]


def test_a_limit_that_follows_from_options_is_kept() -> None:
    values = {"corridor": (9, 50), "decks": (1, 2), "pulls": (9, 50), "layout": ("umaze", "medium", "large")}
    following = set()
    for task in aaren.tasks():
        limits = {aaren.Env(task["id"]).max_episode_steps}
        for option in task["options"]:
            for value in values.get(option, ()):
                env, wrapped = aaren.Env(task["id"], **{option: value}), gym.make(f"aaren/{task['id']}", **{option: value})
                limits.add(env.max_episode_steps)
                assert wrapped.unwrapped.max_episode_steps == env.max_episode_steps
        if len(limits) > 1:
            following.add(task["id"])
    assert following == {
        "CountRecall-v0",
        "HigherLower-v0",
        "LastCue-v0",
        "Maze2D-v1",
        "MultiarmedBandit-v0",
        "PassiveTMaze-v0",
        "PointMaze-v0",
        "RepeatFirst-v0",
        "RepeatPrevious-v0",
        "TMaze-v0",
    }


def test_options_are_the_tasks() -> None:
    env = gym.make("aaren/Hopper-v5", forward_reward_weight=2.0, healthy_z_range=(0.7, float("inf")))
    plain = gym.make("aaren/Hopper-v5")
    action = np.array([0.5, -0.5, 0.25], dtype=np.float32)
    for one in (env, plain):
        one.reset(seed=1)
    info, plain_info = env.step(action)[4], plain.step(action)[4]
    assert info["reward_forward"] == 2.0 * plain_info["reward_forward"]
    delayed = aaren.Env("Pendulum-v1", reward_delay="episode", max_episode_steps=5)
    delayed.reset(seed=1)
    rewards = [delayed.step([0.0])[1] for _ in range(5)]
    assert rewards[:4] == [0.0] * 4 and rewards[4] < 0.0


def test_a_state_can_be_gone_back_to() -> None:
    env = aaren.Env("Hopper-v5")
    env.reset(seed=1)
    state = env.state()
    after = env.step([0.1, 0.2, 0.3])[0]
    env.set_state(state)
    np.testing.assert_array_equal(env.step([0.1, 0.2, 0.3])[0], after)


def test_images_have_their_size() -> None:
    env = gym.make("aaren/CartPole-v1", render_mode="rgb_array", width=96, height=64)
    env.reset(seed=1)
    first = env.render()
    assert first.shape == (64, 96, 3) and first.dtype == np.uint8 and first.std() > 0
    for _ in range(5):
        env.step(1)
    assert (env.render() != first).any()
    env.close()


def test_what_is_wrong_is_one_clear_exception() -> None:
    hopper = aaren.Env("Hopper-v5")
    cartpole = aaren.Env("CartPole-v1")
    with pytest.raises(gym.error.ResetNeeded, match="call reset first"):
        hopper.step([0.0, 0.0, 0.0])
    hopper.reset(seed=1)
    cartpole.reset(seed=1)
    wrong = [
        (lambda: hopper.step([0.0, 0.0]), ValueError, r"action: shape \[2\], expected \[3\]"),
        (lambda: hopper.step(["a", "b", "c"]), TypeError, "expected floats"),
        (lambda: hopper.step([0.0, np.nan, 0.0]), ValueError, "NaN or infinity at component 1"),
        (lambda: hopper.step(1), ValueError, "shape"),
        (lambda: cartpole.step(2), ValueError, "expected an index from 0 to 1"),
        (lambda: cartpole.step(0.5), TypeError, "expected an integer"),
        (lambda: cartpole.step(np.array([1])), ValueError, "shape"),
        (lambda: cartpole.step(2**70), ValueError, "out of range"),
        (lambda: hopper.reset(seed=-1), (ValueError, gym.error.Error), "(?i)seed"),
        (lambda: aaren.Env("Hoper-v5"), ValueError, 'did you mean "Hopper-v5"'),
        (lambda: gym.make("aaren/Hoper-v5"), gym.error.NameNotFound, "Hopper"),
        (lambda: aaren.Env("Hopper-v5", frame_skp=2), ValueError, "frame_skp.*unknown"),
        (lambda: aaren.Env("Hopper-v5", ctrl_cost_weight="two"), ValueError, "expected a number"),
        (lambda: aaren.Env("Hopper-v5", ctrl_cost_weight=object()), TypeError, "no text, number, list or dict"),
        (lambda: aaren.Env("Hopper-v5", render_mode="human"), ValueError, "rgb_array"),
        (lambda: aaren.VectorEnv("Hopper-v5", 0), ValueError, "num_envs: 0"),
        (lambda: aaren.VectorEnv("CartPole-v1", 10**18), ValueError, "num_envs: found 1000000000000000000, which take at least"),
        (lambda: aaren.VectorEnv("Hopper-v5", 2, threads=0), ValueError, "threads: 0"),
        (lambda: aaren.VectorEnv("Hopper-v5", 2, autoreset_mode="never"), ValueError, "NextStep"),
        (lambda: aaren.VectorEnv("Hopper-v5", 2, render_mode="rgb_array"), ValueError, "render_mode"),
    ]
    for call, kind, text in wrong:
        with pytest.raises(kind, match=text):
            call()


def test_a_vector_with_a_wrong_action_is_not_stepped() -> None:
    envs = aaren.VectorEnv("CartPole-v1", 3)
    with pytest.raises(gym.error.ResetNeeded, match="copy 0"):
        envs.step([0, 0, 0])
    first, _ = envs.reset(seed=1)
    for actions, kind, text in [
        ([0, 0, 7], ValueError, "copy 2.*expected an index from 0 to 1"),
        ([0, 0], ValueError, r"shape \[2\], expected \[3\]"),
        ([0.0, 1.0, 1.0], TypeError, "expected integers"),
    ]:
        with pytest.raises(kind, match=text):
            envs.step(actions)
    again = aaren.VectorEnv("CartPole-v1", 3)
    again.reset(seed=1)
    np.testing.assert_array_equal(envs.step([0, 1, 0])[0], again.step([0, 1, 0])[0])
    assert first.shape == (3, 4)
    disabled = aaren.VectorEnv("TMaze-v0", 2, autoreset_mode="Disabled", corridor=1)
    disabled.reset(seed=1)
    while not np.logical_or(*disabled.step([0, 1])[2:4]).any():
        pass
    with pytest.raises(gym.error.ResetNeeded, match=re.escape("call reset first")):
        for _ in range(50):
            disabled.step([0, 1])
    with pytest.raises(ValueError, match="marks no copy"):
        disabled.reset(options={"reset_mask": np.zeros(2, dtype=bool)})
    with pytest.raises(TypeError, match="array of bool"):
        disabled.reset(options={"reset_mask": [True, False]})
    with pytest.raises(ValueError, match="3 seeds"):
        disabled.reset(seed=[1, 2, 3])

"""Steps Gymnasium environments for the process that started this one, by frames over stdin and stdout.

worker.rs is the other end and says what a frame looks like. Needs numpy and gymnasium; those are imported only after the first
frame has come, so that what is wrong with them can be told. `requests`, stdin as a file, comes from the line that starts this text.
"""

import importlib
import importlib.util
import json
import math
import os
import re
import signal
import struct
import sys
import threading
import time
import traceback
import warnings

HEADER = struct.Struct("<II")
HELLO, MAKE, RESET, STEP = range(4)
OK, RAISED = range(2)

# More combinations than this are no action space for one choice.
MOST_CHOICES = 1024

TERMINATED, TRUNCATED, FAILED = 1, 2, 4


def be_quiet():
    """Keeps signals and prints away from the protocol. Returns stdout as a file for frames alone."""
    # The parent stops at a clean point when it is asked to and ends this process by closing stdin. Handlers in place of SIG_IGN,
    # which would be inherited by the environments' own processes.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: None)
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # What environments and their C libraries print goes where stderr goes.
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    parent = os.getppid()
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()

    def show_warning(message, category, filename, lineno, file=None, line=None):
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(message)).replace("\n", " ").removeprefix("WARN: ")
        print(f"warning: {category.__name__}: {text} ({os.path.basename(filename)}, line {lineno})", file=sys.stderr, flush=True)

    warnings.showwarning = show_warning
    return replies


def end_with(parent):
    """Ends this process when the parent has ended, should an environment be too busy to see that stdin is closed."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def described(error, doing):
    """What is told of an exception: one line of text, and the innermost place in a file, which this text is not."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    where = f"{frames[-1].filename}, line {frames[-1].lineno}, in {frames[-1].name}" if frames else None
    traceback.print_exception(type(error), error, error.__traceback__)
    return {"doing": doing, "exception": re.sub(r"\x1b\[[0-9;]*m", "", " ".join(text.split())), "where": where}


class Refused(Exception):
    """A space that cannot be served."""


class Doing(Exception):
    """An exception while the environments were prepared, and what was being done."""

    def __init__(self, doing, cause):
        super().__init__(doing)
        self.doing, self.cause = doing, cause


def bounds(values):
    return [float(value) if math.isfinite(value) else ("inf" if value > 0 else "-inf") for value in values]


def box(low, high, dtype):
    return {"type": "Box", "low": bounds(low), "high": bounds(high), "dtype": dtype}


def observation_reader(space):
    """A space of observations as a box of one axis, and a function that brings an observation into it."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        flat, flatten = space, numpy.asarray
    elif getattr(space, "is_np_flattenable", False):
        flat, flatten = spaces.flatten_space(space), lambda observation: spaces.flatten(space, observation)
    else:
        raise Refused(f"its observations are {space}, which cannot be flattened to numbers; a wrapper may change them")
    width = math.prod(flat.shape)
    if width == 0:
        raise Refused(f"its observations are {space}, which has no numbers; a wrapper may change them")
    # Single precision holds every integer of 16 bits.
    is_single = flat.dtype.itemsize <= (4 if flat.dtype.kind == "f" else 2)

    def read(observation):
        numbers = flatten(observation)
        if numbers.size != width:
            raise ValueError(f"an observation of shape {numbers.shape}, the space has {space.shape or width}")
        return numbers.ravel()

    return box(flat.low.ravel().tolist(), flat.high.ravel().tolist(), "float32" if is_single else "float64"), read


def action_maker(space):
    """A space of actions as a box of one axis or as one choice, and a function from a row of numbers to an action."""
    from gymnasium import spaces

    dtype, shape = space.dtype, space.shape
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}, lambda row: dtype.type(row[0])
    if isinstance(space, spaces.Box) and dtype.kind == "f":
        name = "float32" if dtype.itemsize <= 4 else "float64"
        return box(space.low.ravel().tolist(), space.high.ravel().tolist(), name), lambda row: row.astype(dtype).reshape(shape)
    if isinstance(space, spaces.MultiBinary):
        counts = numpy.full(shape, 2)
        starts = numpy.zeros(shape, dtype)
    elif isinstance(space, spaces.MultiDiscrete):
        counts = space.nvec
        starts = getattr(space, "start", numpy.zeros(counts.shape, dtype))
    elif isinstance(space, spaces.Box):
        starts = space.low
        counts = [int(high) - int(low) + 1 for low, high in zip(space.low.ravel().tolist(), space.high.ravel().tolist())]
    else:
        raise Refused(f"its actions are {space}; a policy acts in a Box of floats, or chooses one of a number of actions")
    counts = [int(count) for count in numpy.ravel(counts)]
    choices = math.prod(counts)
    if choices > MOST_CHOICES:
        raise Refused(f"its actions are {space}, which are {choices} combinations; a policy chooses among at most {MOST_CHOICES}")
    digits = numpy.stack(numpy.unravel_index(numpy.arange(choices), counts), axis=-1).reshape(choices, *shape)
    actions = [(numpy.asarray(starts).reshape(shape) + digit).astype(dtype) for digit in digits]
    return {"type": "Discrete", "n": choices, "start": 0}, lambda row: actions[row[0]].copy()


def named(path):
    """A wrapper: one of gymnasium.wrappers, or `module:name`."""
    module, _, name = path.rpartition(":")
    return getattr(importlib.import_module(module or "gymnasium.wrappers"), name)


def load(module):
    """Imports a module by its name, or from its file."""
    if not module.endswith(".py"):
        importlib.import_module(module)
        return
    name = os.path.splitext(os.path.basename(module))[0]
    spec = importlib.util.spec_from_file_location(name, module)
    # Environments are looked up by the module's name.
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


class Worker:
    def __init__(self, settings):
        global numpy, gymnasium
        self.settings, self.envs = settings, []
        module = "numpy"
        try:
            numpy = importlib.import_module(module)
            module = "gymnasium"
            gymnasium = importlib.import_module(module)
            for module in settings["modules"]:
                load(module)
        except BaseException as error:
            raise Doing(f"import {module}", error)
        try:
            env = self.make()
        except BaseException as error:
            raise Doing("make", error)
        self.envs.append(env)
        try:
            self.observations, self.read = observation_reader(env.observation_space)
            self.actions, self.action = action_maker(env.action_space)
        except BaseException as error:
            raise Doing("serve", error)
        self.width = len(self.observations["low"])
        self.is_discrete = self.actions["type"] == "Discrete"
        self.action_width = 1 if self.is_discrete else len(self.actions["low"])

    def make(self):
        settings = self.settings
        kwargs = dict(settings["kwargs"])
        if "max_episode_steps" in settings:
            limit = settings["max_episode_steps"]
            if limit is None and int(gymnasium.__version__.split(".")[0]) < 1:
                raise ValueError(f"no time limit takes gymnasium 1.0 or newer, this is {gymnasium.__version__}")
            kwargs["max_episode_steps"] = -1 if limit is None else limit
        env = gymnasium.make(settings["id"], **kwargs)
        for wrapper in settings["wrappers"]:
            env = named(wrapper["name"])(env, **wrapper["kwargs"])
        return env

    def spec(self):
        """Gymnasium's own description of what is stepped here, if it can write one: wrappers of foreign kinds and arguments that are
        no JSON keep it from that, and so do combinations of choices, which no wrapper of its own makes."""
        from gymnasium import spaces, wrappers

        env = self.envs[0]
        if self.is_discrete and not isinstance(env.action_space, spaces.Discrete):
            return None
        try:
            if not isinstance(env.observation_space, spaces.Box) or len(env.observation_space.shape) != 1:
                env = wrappers.FlattenObservation(env)
            return json.loads(env.spec.to_json())
        except Exception:
            return None

    def about(self):
        limits, layer = [], self.envs[0]
        while isinstance(layer, gymnasium.Wrapper):
            if isinstance(layer, gymnasium.wrappers.TimeLimit):
                limits.append(int(layer._max_episode_steps))
            layer = layer.env
        return {
            "observation_space": self.observations,
            "action_space": self.actions,
            "max_episode_steps": min(limits, default=None),
            "env_spec": self.spec(),
            "versions": f"Python {sys.version.split()[0]}, gymnasium {gymnasium.__version__}, numpy {numpy.__version__}",
        }

    def reset(self, payload):
        count = len(payload) // 13
        rows = numpy.frombuffer(payload, "<u4", count)
        seeds = numpy.frombuffer(payload, "<u8", count, 4 * count)
        is_seeded = payload[12 * count :]
        observations, failures = numpy.empty((count, self.width)), []
        for i in range(count):
            try:
                observation, _ = self.envs[rows[i]].reset(seed=int(seeds[i]) if is_seeded[i] else None)
                observations[i] = self.read(observation)
            except BaseException as error:
                failures.append({"row": i, **described(error, "reset")})
        flags = bytearray(count)
        for failure in failures:
            flags[failure["row"]] = FAILED
        return observations, numpy.zeros(count), flags, failures

    def step(self, payload):
        count = len(payload) // (4 + 8 * self.action_width)
        rows = numpy.frombuffer(payload, "<u4", count).tolist()
        kind = "<i8" if self.is_discrete else "<f8"
        actions = numpy.frombuffer(payload, kind, count * self.action_width, 4 * count).reshape(count, self.action_width)
        observations, rewards, flags, failures = numpy.empty((count, self.width)), numpy.empty(count), bytearray(count), []
        for i, row in enumerate(rows):
            try:
                observation, reward, terminated, truncated, _ = self.envs[row].step(self.action(actions[i]))
                observations[i] = self.read(observation)
                rewards[i] = reward
                flags[i] = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
            except BaseException as error:
                observations[i], rewards[i], flags[i] = 0, 0, FAILED
                failures.append({"row": i, **described(error, "step")})
        return observations, rewards, flags, failures

    def close(self):
        for env in self.envs:
            try:
                env.close()
            except BaseException as error:
                described(error, "close")


def serve():
    replies = be_quiet()
    replies.write(b"aaren worker 1\n")
    replies.flush()

    def reply(status, *parts):
        replies.write(HEADER.pack(status, sum(len(part) for part in parts)))
        for part in parts:
            replies.write(part)
        replies.flush()

    worker = None
    while True:
        header = requests.read(HEADER.size)
        if len(header) < HEADER.size:
            break
        kind, size = HEADER.unpack(header)
        payload = requests.read(size)
        if len(payload) < size:
            break
        try:
            if kind == HELLO:
                worker = Worker(json.loads(payload))
                reply(OK, json.dumps(worker.about()).encode())
            elif kind == MAKE:
                try:
                    worker.envs.extend(worker.make() for _ in range(int.from_bytes(payload, "little")))
                except BaseException as error:
                    raise Doing("make", error)
                reply(OK)
            else:
                observations, rewards, flags, failures = (worker.reset if kind == RESET else worker.step)(payload)
                said = json.dumps(failures).encode() if failures else b""
                reply(OK, observations.astype("<f8").tobytes(), rewards.astype("<f8").tobytes(), flags, said)
        except Doing as error:
            reply(RAISED, json.dumps(described(error.cause, error.doing)).encode())
    if worker is not None:
        worker.close()


try:
    serve()
except BrokenPipeError:
    pass
sys.stderr.flush()
# Without what an interpreter does at its end, which libraries of environments make slow.
os._exit(0)

"""Steps environments of other libraries on request, for `aaren-bench env`.

A line of JSON on standard input asks for a slice: {"library", "name", "env", "threads", "steps", "seed"}. The answer is a line
{"steps", "seconds", "processor_seconds"}: environment steps that simulated something, over all threads, and how long they took, by
the clock and by the processor time of all threads of this process. Environments and actions are kept from slice to slice. Gymnasium steps one environment in this process, or by name an AsyncVectorEnv or SyncVectorEnv of as many environments as threads are asked for, whose
steps are counted; EnvPool has COPIES environments for each thread.
"""
import json
import sys
import time

import numpy as np

COPIES = 16
kept = {}


def now():
    return time.perf_counter(), time.process_time()


def answer(steps, started):
    ended = now()
    return {"steps": steps, "seconds": ended[0] - started[0], "processor_seconds": ended[1] - started[1]}


def gymnasium_slice(env, steps, actions, seed):
    env.reset(seed=seed)
    started = now()
    for t in range(steps):
        _, _, terminated, truncated, _ = env.step(actions[t])
        if terminated or truncated:
            env.reset()
    return answer(steps, started)


def envpool_slice(env, steps, actions):
    copies = env.config["num_envs"]
    env.reset()
    over, done = np.zeros(copies, bool), 0
    started = now()
    while done < steps:
        first = done % (len(actions) - copies)
        _, _, terminated, truncated, _ = env.step(actions[first:first + copies])
        # A copy whose episode is over is reset by the next step, which simulates nothing.
        done += copies - int(over.sum())
        over = terminated | truncated
    return answer(done, started)


def vector_slice(env, steps, actions, seed):
    env.reset(seed=seed)
    started = now()
    for t in range(steps):
        env.step(actions[t])
    return answer(steps, started)


def make_vector(request):
    from gymnasium import vector, make
    kind = getattr(vector, request["name"])
    env = kind([lambda: make(request["env"])] * request["threads"])
    env.action_space.seed(request["seed"])
    return env, [env.action_space.sample() for _ in range(request["steps"])]


def make(request):
    if request["name"].endswith("VectorEnv"):
        return make_vector(request)
    if request["library"] == "envpool":
        import envpool
        threads = request["threads"]
        env = envpool.make(request["env"], env_type="gymnasium", num_envs=COPIES * threads, num_threads=threads, seed=request["seed"])
        rows = max(request["steps"], 2 * COPIES * threads)
    else:
        import gymnasium
        env, rows = gymnasium.make(request["env"]), request["steps"]
    space, generator = env.action_space, np.random.default_rng(request["seed"])
    return env, generator.uniform(space.low, space.high, (rows,) + space.shape).astype(np.float32)


for line in sys.stdin:
    request = json.loads(line)
    key = (request["name"], request["env"], request["threads"], request["steps"])
    if key not in kept:
        for env, _ in kept.values():
            env.close()
        kept.clear()
        kept[key] = make(request)
    env, actions = kept[key]
    if request["name"].endswith("VectorEnv"):
        slice = vector_slice(env, request["steps"], actions, request["seed"])
    elif request["library"] == "envpool":
        slice = envpool_slice(env, request["steps"] * request["threads"], actions)
    else:
        slice = gymnasium_slice(env, request["steps"], actions, request["seed"])
    print(json.dumps(slice), flush=True)

"""Writes agents/tests/data/rliable.json: what the Python package rliable says of a small example, which a test holds ours against.

    pip install rliable "pandas<3" && python3 scripts/rliable_example.py

Three agents on four tasks with five runs each; one pair of agents has ties, one is alike on a task.
"""

import json
import pathlib
from importlib.metadata import version

import numpy as np
from rliable import library, metrics

REPETITIONS = 50_000
PAIR_REPETITIONS = 5_000  # each is a Mann-Whitney test a task, in Python

random = np.random.RandomState(7)
# [run, task], as rliable has them. Rounded, so that the file holds exactly what was computed with.
scores = {
    name: np.round(random.normal(mean, spread, size=(5, 4)), 1)
    for name, mean, spread in [("first", 60, 12), ("second", 55, 20), ("third", 30, 5)]
}
scores["second"][:2, 1] = scores["first"][:2, 1]
scores["third"][:, 3] = scores["first"][:, 3]

iqm, iqm_interval = library.get_interval_estimates(
    scores, lambda x: np.array([metrics.aggregate_iqm(x)]), reps=REPETITIONS, random_state=np.random.RandomState(1)
)
pairs = {
    f"{left},{right}": (scores[left], scores[right])
    for left, right in [("first", "second"), ("second", "first"), ("first", "third"), ("third", "second")]
}
improvement, improvement_interval = library.get_interval_estimates(
    pairs, metrics.probability_of_improvement, reps=PAIR_REPETITIONS, random_state=np.random.RandomState(1)
)


def number(x):
    return float(np.asarray(x).reshape(-1)[0])


def interval(x):
    return [float(end) for end in np.asarray(x).reshape(2, -1)[:, 0]]


example = {
    "rliable": version("rliable"),
    "repetitions": {"interquartile_mean": REPETITIONS, "probability_of_improvement": PAIR_REPETITIONS},
    "scores_by_task": {name: x.T.tolist() for name, x in scores.items()},
    "interquartile_mean": {name: {"value": number(iqm[name]), "interval": interval(iqm_interval[name])} for name in scores},
    "probability_of_improvement": [
        {
            "agent": pair.split(",")[0],
            "over": pair.split(",")[1],
            "value": number(improvement[pair]),
            "interval": interval(improvement_interval[pair]),
        }
        for pair in pairs
    ],
}
path = pathlib.Path(__file__).parent.parent / "agents/tests/data/rliable.json"
path.parent.mkdir(exist_ok=True)
path.write_text(json.dumps(example, indent=2) + "\n")

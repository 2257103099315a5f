#!/usr/bin/env python3
"""The PyTorch peer of a task on sequences: a Transformer of torch.nn that learns from the batches that aaren recorded.

    python sequence_peer.py FOLDER THREADS

FOLDER has batches.json and batches.bin, as `aaren-bench sequence` writes them: the same tokens, targets, weights, order and learning rates.
The network has the same sizes: tokens of numbers, ids and learned positions, pre-norm layers with causal attention within a sequence, and one
linear output. Prints one line of JSON: milliseconds of an optimizer step, microseconds of an answer to one whole sequence, and scores
on the test split. Needs `pip install torch numpy`.
"""
import json, pathlib, statistics, sys, time
import numpy as np
import torch, torch.nn as nn, torch.nn.functional as F

folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
header = json.loads((folder / "batches.json").read_text())
data = np.memmap(folder / "batches.bin", dtype=np.uint8, mode="r")
job, spec = header["job"], header["spec"]
policy, train = job["policy"], job["train"]
torch.manual_seed(job["seed"])
(kind, size), = spec["loss"].items()
if kind == "next_event":
    components, marks = size["components"], size["marks"]
    size = 3 * components + (marks if marks > 1 else 0)
DTYPES = [np.float32, np.int32, np.int32, np.int32, np.int32, np.float32, np.int32, np.float32, np.float32, np.float32]


def read():
    """All batches, as tensors."""
    at = 0
    for batch in header["batches"]:
        arrays = []
        for dtype, count in zip(DTYPES, batch["arrays"]):
            arrays.append(torch.from_numpy(np.frombuffer(data, dtype, count, at).copy()))
            at += 4 * count
        yield batch, arrays


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        width = policy["width"]
        self.numbers = nn.Linear(spec["numbers"], width) if spec["numbers"] else None
        self.ids = nn.Embedding(spec["vocabulary"], width) if spec["vocabulary"] else None
        self.positions = nn.Embedding(spec["positions"], width) if spec["positions"] else None
        for table in (self.ids, self.positions):
            if table is not None:
                nn.init.normal_(table.weight, std=0.02)
        self.norm, self.last = nn.LayerNorm(width), nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(
            width, policy["heads"], policy["feed_forward"], policy["dropout"], activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, policy["layers"], enable_nested_tensor=False)
        self.output = nn.Linear(width, size)
        if kind == "squares":
            nn.init.normal_(self.output.weight, std=0.02)
            nn.init.zeros_(self.output.bias)

    def forward(self, rows, numbers, ids, positions, resets, due):
        time = len(resets) // rows
        x = 0
        if self.numbers is not None:
            x = x + self.numbers(numbers.view(rows, time, -1))
        if self.ids is not None:
            x = x + self.ids(ids.view(rows, time).long())
        if self.positions is not None:
            x = x + self.positions(positions.view(rows, time).long().clamp(max=spec["positions"] - 1))
        x = self.norm(x)
        resets = resets.view(rows, time)
        causal = torch.ones(time, time, dtype=torch.bool).triu(1)
        if bool((resets[:, 1:] == 0).all()):
            mask = causal
        else:
            segment = resets.cumsum(1)
            mask = causal | (segment[:, :, None] != segment[:, None, :])
            mask = mask.repeat_interleave(policy["heads"], 0)
        x = self.last(self.layers(x, mask=mask, is_causal=mask is causal))
        if spec["pool"] == "mean":
            segment = resets.cumsum(1)
            same = (segment[:, :, None] == segment[:, None, :]) & ~causal
            x = (same / same.sum(-1, keepdim=True)).float() @ x
        return self.output(x.reshape(rows * time, -1)[due.long()])


def nats_of_events(outputs, classes, gaps):
    """Minus the logarithm of the density of each gap and of the probability of its mark."""
    z, constants, ended = gaps.view(-1, 3).unbind(1)
    weights, means, free = outputs[:, : 3 * components].split(components, 1)
    deviations = free + (free.clamp(-5, 3) - free).detach()
    x = (z[:, None] - means) * (-deviations).exp()
    terms = torch.where(ended[:, None] > 0, -0.5 * x * x - deviations, torch.special.log_ndtr(-x))
    nats = constants - torch.logsumexp(F.log_softmax(weights, 1) + terms, 1)
    if marks > 1:
        nats = nats + ended * F.cross_entropy(outputs[:, 3 * components :], classes.long(), reduction="none")
    return nats


def loss_of(outputs, weights, classes, gains, targets, gaps):
    """The mean over what is due, by weight."""
    if kind == "next_event":
        return (nats_of_events(outputs, classes, gaps) * (weights / weights.sum())).sum()
    if kind == "classes":
        weights = weights / weights.sum()
        return (F.cross_entropy(outputs, classes.long(), reduction="none") * weights).sum()
    gains, targets = gains.view(outputs.shape), targets.view(outputs.shape)
    shares = weights[:, None] * (gains != 0)
    return ((outputs * gains - targets) ** 2 * shares).sum() / shares.sum()


network = Network()
plain = [p for name, p in network.named_parameters() if p.dim() < 2 or "positions" in name or "ids" in name]
rest = [p for p in network.parameters() if all(p is not other for other in plain)]
optimizer = torch.optim.AdamW([{"params": rest}, {"params": plain, "weight_decay": 0.0}], weight_decay=train["weight_decay"])
milliseconds, microseconds, total, weight, right, absolute = [], [], 0.0, 0.0, 0.0, 0.0
for batch, (numbers, ids, positions, resets, due, weights, classes, gains, targets, gaps) in read():
    if batch["split"] == "train":
        for group in optimizer.param_groups:
            group["lr"] = batch["learning_rate"]
        network.train()
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(network(batch["rows"], numbers, ids, positions, resets, due), weights, classes, gains, targets, gaps)
        loss.backward()
        if train["gradient_clip"]:
            nn.utils.clip_grad_norm_(network.parameters(), train["gradient_clip"])
        optimizer.step()
        milliseconds.append((time.perf_counter() - started) * 1e3)
        continue
    network.eval()
    with torch.no_grad():
        if len(microseconds) < 200:
            one = len(resets) // batch["rows"]
            cut = [numbers[: one * spec["numbers"]], ids[: one if len(ids) else 0], positions[:one], resets[:one]]
            started = time.perf_counter()
            network(1, *cut, torch.tensor([one - 1]))
            microseconds.append((time.perf_counter() - started) * 1e6)
        outputs = network(batch["rows"], numbers, ids, positions, resets, due)
        share = weights if kind != "squares" else (weights[:, None] * (gains.view(outputs.shape) != 0)).sum(1)
        total += float(loss_of(outputs, weights, classes, gains, targets, gaps)) * float(share.sum())
        weight += float(share.sum())
        if kind == "classes":
            right += float(((outputs.argmax(1) == classes) * weights).sum())
        elif kind == "next_event":
            right += float(((outputs[:, 3 * components :].argmax(1) == classes) * weights).sum()) if marks > 1 else 0.0
        else:
            gains, targets = gains.view(outputs.shape), targets.view(outputs.shape)
            absolute += float(((outputs * gains - targets).abs() * (gains != 0) * weights[:, None]).sum())


def spread(numbers):
    return {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers)}


def score(name, value, better):
    return {"name": name, "condition": None, "value": value, "better": better}


loss = score("loss", total / weight, "lower")
if kind != "squares":
    scores = [score("accuracy", right / weight, "higher"), loss]
else:
    scores = [score("MSE", total / weight, "lower"), score("MAE", absolute / weight, "lower"), loss]
print(json.dumps({"milliseconds": spread(milliseconds), "microseconds": spread(microseconds), "scores": scores}))

"""The scan's peers in PyTorch: causal attention, and a compiled associative scan of the same recurrence.

Reads batch, heads, time, head_dim, device, repeats and whether attention is timed (its fallbacks are quadratic in time) as
arguments; prints a JSON object of median milliseconds of a forward pass. What a build of PyTorch cannot do is null.
"""
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

batch, heads, length, head_dim = map(int, sys.argv[1:5])
device, repeats, with_attention = sys.argv[5], int(sys.argv[6]), sys.argv[7] == "true"
torch.manual_seed(0)
values = torch.rand(batch, heads, length, head_dim, device=device) * 2 - 1
scores = torch.rand(batch, heads, length, device=device) * 2 - 1


def measure(work):
    times = []
    with torch.no_grad():
        for repeat in range(repeats + 2):
            if device == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            work()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat >= 2:
                times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def attempt(work):
    try:
        return measure(work)
    except Exception as error:
        print(f"PyTorch: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
        return None


def attention():
    F.scaled_dot_product_attention(values, values, values, is_causal=True)


def scan():
    from torch._higher_order_ops.associative_scan import associative_scan

    def join(a, b):
        top = torch.maximum(a[0], b[0])
        left, right = torch.exp(a[0] - top), torch.exp(b[0] - top)
        return top, a[1] * left + b[1] * right, a[2] * left + b[2] * right

    @torch.compile
    def run(scores, values):
        scores = scores.unsqueeze(-1).expand_as(values)
        _, sums, weighted = associative_scan(join, (scores, torch.ones_like(values), values), dim=2, combine_mode="pointwise")
        return weighted / sums

    return lambda: run(scores, values)


figures = {"attention_ms": attempt(attention) if with_attention else None, "scan_ms": None}
if device == "cuda":  # the pointwise scan is generated for CUDA only
    try:
        figures["scan_ms"] = attempt(scan())
    except ImportError as error:
        print(f"PyTorch: {error}", file=sys.stderr)
print(json.dumps(figures))

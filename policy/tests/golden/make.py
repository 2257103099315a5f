"""Writes golden.json: weights, inputs and outputs of layers of public Python packages, for policy/tests/golden.rs.

    pip install torch transformers performer-pytorch
    python policy/tests/golden/make.py

Made with torch 2.15.0, transformers 5.23.0, performer-pytorch 1.1.4, on the CPU.
"""

import json
import pathlib

import torch
from performer_pytorch.performer_pytorch import (
    causal_linear_attention_noncuda,
    gaussian_orthogonal_random_matrix,
    generalized_kernel,
    softmax_kernel,
)
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer

BATCH, TIME = 2, 7
torch.manual_seed(0)


def plain(tensor):
    tensor = tensor.detach().float().contiguous()
    return {"shape": list(tensor.shape), "data": [float(f"{x:.9g}") for x in tensor.flatten().tolist()]}


def case(name, width, heads, options, weights, x, y):
    return {
        "mixer": name,
        "width": width,
        "heads": heads,
        "options": options,
        "weights": {key: plain(value) for key, value in weights.items()},
        "x": plain(x),
        "y": plain(y),
    }


def dense(name, layer):
    return {f"{name}.weight": layer.weight.T, f"{name}.bias": layer.bias}


def recurrent(name, layer, initial):
    """torch.nn.LSTM or GRU from a learned initial state."""
    width = layer.hidden_size
    x = torch.randn(BATCH, TIME, width)
    states = [torch.randn(width) for _ in initial]
    first = [state.expand(1, BATCH, width).contiguous() for state in states]
    y, _ = layer(x, tuple(first) if len(first) > 1 else first[0])
    weights = {
        "input.weight": layer.weight_ih_l0.T,
        "input.bias": layer.bias_ih_l0,
        "recurrent.weight": layer.weight_hh_l0.T,
        "recurrent.bias": layer.bias_hh_l0,
        **dict(zip(initial, states)),
    }
    return case(name, width, 1, {}, weights, x, y)


def mamba():
    width, states, taps = 18, 5, 4  # more than 16 channels: a step of rank 2
    config = MambaConfig(hidden_size=width, state_size=states, conv_kernel=taps, expand=2, num_hidden_layers=1)
    layer = MambaMixer(config, layer_idx=0)
    for parameter in layer.parameters():  # nothing may be at a value that hides a mistake
        parameter.data += 0.2 * torch.randn_like(parameter)
    x = torch.randn(BATCH, TIME, width)
    y = layer._slow_forward(x)
    weights = {
        "input.weight": layer.in_proj.weight.T,
        "convolution.taps": layer.conv1d.weight[:, 0].flip(1).T,
        "convolution.bias": layer.conv1d.bias,
        "select.weight": layer.x_proj.weight.T,
        "step.weight": layer.dt_proj.weight.T,
        "step.bias": layer.dt_proj.bias,
        "decay_log": layer.A_log.T,
        "skip": layer.D,
        "output.weight": layer.out_proj.weight.T,
    }
    return case("mamba", width, 1, {"mamba": {"expansion": 2, "states": states, "taps": taps}}, weights, x, y)


def performer(kernel):
    width, heads, rows = 6, 2, 5
    head_dim = width // heads
    query, key, value, output = (torch.nn.Linear(width, width) for _ in range(4))
    projection = gaussian_orthogonal_random_matrix(rows, head_dim)
    x = torch.randn(BATCH, TIME, width)
    q, k, v = (
        layer(x).view(BATCH, TIME, heads, head_dim).transpose(1, 2) for layer in (query, key, value)
    )
    if kernel == "softmax":
        # Without its epsilon, which it adds after dividing by the largest feature of all keys: it would depend on the future.
        q = softmax_kernel(q, projection_matrix=projection, is_query=True, eps=0.0)
        k = softmax_kernel(k, projection_matrix=projection, is_query=False, eps=0.0)
    else:
        q, k = (generalized_kernel(part, projection_matrix=projection, kernel_epsilon=1e-3) for part in (q, k))
    attended = causal_linear_attention_noncuda(q, k, v, eps=0.0)
    y = output(attended.transpose(1, 2).reshape(BATCH, TIME, width))
    weights = {
        **dense("query", query),
        **dense("key", key),
        **dense("value", value),
        **dense("output", output),
        "features.projection": projection.T,
    }
    return case("performer", width, heads, {"performer": {"rows": rows, "kernel": kernel}}, weights, x, y)


cases = [
    recurrent("lstm", torch.nn.LSTM(5, 5, batch_first=True), ["initial_hidden", "initial_cell"]),
    recurrent("gru", torch.nn.GRU(5, 5, batch_first=True), ["initial_hidden"]),
    mamba(),
    performer("softmax"),
    performer("relu"),
]
path = pathlib.Path(__file__).parent / "golden.json"
path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")

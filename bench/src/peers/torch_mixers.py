#!/usr/bin/env python3
"""What each mixer of aaren is in PyTorch, written as one who wants it quick on these sizes would: `torch.nn` where it has the mixer, fused
attention where the mixer is attention, quadratic forms where rows are short, Fourier transforms for long filters; Mamba is
transformers' own where that is installed. `MIXERS` makes a module of a width and heads, `[batch, tokens, width] -> [batch, tokens, width]`;
`STACKS` are mixers that take turns. No episode ends within a row, and nothing is carried over.
"""
import math
import torch, torch.nn as nn, torch.nn.functional as F


def split(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).flatten(2)


def causal(x, time):
    return torch.ones(time, time, dtype=torch.bool, device=x.device).tril()


class Recurrent(nn.Module):
    def __init__(self, kind, width):
        super().__init__()
        self.cell = kind(width, width, batch_first=True)

    def forward(self, x):
        return self.cell(x)[0]


class MinGru(nn.Module):
    """As its paper trains it: by logarithms, in parallel."""

    def __init__(self, width, _):
        super().__init__()
        self.input = nn.Linear(width, 2 * width)

    def forward(self, x):
        gate, new = self.input(x).chunk(2, -1)
        kept, written = -F.softplus(gate), -F.softplus(-gate)
        log_new = torch.where(new >= 0, (F.relu(new) + 0.5).log(), -F.softplus(-new))
        through = kept.cumsum(1)
        return torch.exp(through + torch.logcumsumexp(written + log_new - through, 1))


class ShortConv(nn.Module):
    def __init__(self, width, _, taps=3):
        super().__init__()
        inner = 2 * width
        self.input, self.output = nn.Linear(width, 2 * inner), nn.Linear(inner, width)
        self.conv, self.taps = nn.Conv1d(inner, inner, taps, groups=inner), taps

    def forward(self, x):
        a, gate = self.input(x).chunk(2, -1)
        a = self.conv(F.pad(a.transpose(1, 2), (self.taps - 1, 0))).transpose(1, 2)
        return self.output(F.silu(a) * gate)


class LinearAttention(nn.Module):
    """Based's: the second-order Taylor map, over short rows as a quadratic form."""

    def __init__(self, width, heads, features=16):
        super().__init__()
        self.heads, self.features = heads, features
        self.query, self.key = nn.Linear(width, heads * features, bias=False), nn.Linear(width, heads * features, bias=False)
        self.value, self.output = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x):
        q, k, v = split(self.query(x), self.heads), split(self.key(x), self.heads), split(self.value(x), self.heads)
        scores = q @ k.transpose(2, 3) / self.features**0.5
        weights = (0.5 * (scores + 1) ** 2 + 0.5) * causal(x, x.shape[1])
        return self.output(merged(weights @ v / weights.sum(-1, keepdim=True)))


class Performer(nn.Module):
    """FAVOR+ with positive features; their products masked, which over short rows is quicker than sums of outer products."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, size = heads, width // heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        rows = max(1, int(size * math.log(size)))
        blocks = [torch.linalg.qr(torch.randn(size, size))[0].T for _ in range(-(-rows // size))]
        drawn = torch.cat(blocks)[:rows] * torch.randn(rows, size).norm(dim=1, keepdim=True)
        self.register_buffer("drawn", drawn)

    def features(self, x, is_query):
        x = x * x.shape[-1] ** -0.25
        dots = x @ self.drawn.T
        most = dots.amax(-1, keepdim=True) if is_query else dots.amax((-2, -1), keepdim=True)
        return torch.exp(dots - x.square().sum(-1, keepdim=True) / 2 - most.detach()) + 1e-6

    def forward(self, x):
        q, k, v = (split(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        weights = self.features(q, True) @ self.features(k, False).transpose(2, 3) * causal(x, x.shape[1])
        return self.output(merged(weights @ v / weights.sum(-1, keepdim=True)))


class Mamba(nn.Module):
    """The selective scan token by token, as everybody's processor does it: the published kernel is for GPUs."""

    def __init__(self, width, _, states=16, taps=4):
        super().__init__()
        inner, self.rank, self.states, self.taps = 2 * width, -(-width // 16), states, taps
        self.input, self.output = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)
        self.conv = nn.Conv1d(inner, inner, taps, groups=inner)
        self.select, self.step = nn.Linear(inner, self.rank + 2 * states, bias=False), nn.Linear(self.rank, inner)
        self.decay = nn.Parameter(torch.arange(1.0, states + 1).log().expand(inner, states).clone())
        self.skip = nn.Parameter(torch.ones(inner))

    def forward(self, x):
        u, gate = self.input(x).chunk(2, -1)
        u = F.silu(self.conv(F.pad(u.transpose(1, 2), (self.taps - 1, 0))).transpose(1, 2))
        dt, writes, reads = self.select(u).split([self.rank, self.states, self.states], -1)
        dt = F.softplus(self.step(dt))
        kept = torch.exp(dt[..., None] * -self.decay.exp())
        added = (dt * u)[..., None] * writes[:, :, None]
        h, out = torch.zeros_like(added[:, 0]), []
        for t in range(x.shape[1]):
            h = kept[:, t] * h + added[:, t]
            out.append((h @ reads[:, t, :, None])[..., 0])
        y = torch.stack(out, 1) + u * self.skip
        return self.output(y * F.silu(gate))


def mamba(width, heads):
    try:
        from transformers import MambaConfig
        from transformers.models.mamba.modeling_mamba import MambaMixer
    except ImportError:
        return Mamba(width, heads)
    config = MambaConfig(hidden_size=width, state_size=16, conv_kernel=4, expand=2, time_step_rank=-(-width // 16))

    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            self.mixer = MambaMixer(config, 0)

        def forward(self, x):
            return self.mixer(x)

    return Theirs()


class Filter(nn.Module):
    """Hyena's implicit filter: a network of sines of the lag, below a window that decays."""

    def __init__(self, channels, taps, embedding, frequency, width=64):
        super().__init__()
        bands = (embedding - 1) // 2
        lag = torch.arange(taps)[:, None]
        waves = torch.linspace(1e-4, max(bands - 1, 1e-4), bands)[None] * 2 * math.pi * lag / taps
        self.register_buffer("position", torch.cat([lag / (taps - 1), waves.cos(), -waves.sin()], 1))
        self.register_buffer("window", torch.exp(-lag / (taps - 1) * torch.linspace(3.07, 15.35, channels)[None]))
        self.layers = nn.ModuleList([nn.Linear(embedding, width), nn.Linear(width, width), nn.Linear(width, width)])
        self.last = nn.Linear(width, channels, bias=False)
        self.frequency, self.skip = nn.Parameter(torch.full((width,), frequency)), nn.Parameter(torch.randn(channels))

    def forward(self, x):
        """Convolves `[batch, tokens, channels]` over time; only the taps that rows of this length see are made."""
        time = x.shape[1]
        h = self.position[:time]
        for layer in self.layers:
            h = torch.sin(self.frequency * layer(h))
        h = self.last(h) * self.window[:time]
        y = torch.fft.irfft(torch.fft.rfft(x, 2 * time, 1) * torch.fft.rfft(h, 2 * time, 0), 2 * time, 1)[:, :time]
        return y + x * self.skip


class Hyena(nn.Module):
    def __init__(self, width, _, taps=1024, embedding=33, frequency=14.0, residual=False):
        super().__init__()
        self.input, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.conv = nn.Conv1d(3 * width, 3 * width, 3, groups=3 * width)
        self.filter = Filter(width, taps, embedding, frequency)
        self.residual = Filter(width, taps, embedding, frequency) if residual else None

    def forward(self, x):
        a, b, v = self.conv(F.pad(self.input(x).transpose(1, 2), (2, 0))).transpose(1, 2).chunk(3, -1)
        y = a * self.filter(b * v)
        return self.output(y if self.residual is None else y + self.residual(x))


class HyenaModal(nn.Module):
    """StripedHyena's: a filter of complex poles."""

    def __init__(self, width, _, poles=8):
        super().__init__()
        self.input, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.conv = nn.Conv1d(3 * width, 3 * width, 3, groups=3 * width)
        self.decay, self.angle = nn.Parameter(torch.randn(width, poles)), nn.Parameter(torch.rand(width, poles) * math.pi)
        self.residues, self.skip = nn.Parameter(torch.randn(width, poles, 2) * 0.1), nn.Parameter(torch.randn(width))

    def forward(self, x):
        a, b, v = self.conv(F.pad(self.input(x).transpose(1, 2), (2, 0))).transpose(1, 2).chunk(3, -1)
        u, time = b * v, x.shape[1]
        lag = torch.arange(time, device=x.device)[:, None, None]
        size, turn = torch.exp(-self.decay.exp() * lag), self.angle * lag
        h = (size * (self.residues[..., 0] * turn.cos() - self.residues[..., 1] * turn.sin())).sum(-1)
        y = torch.fft.irfft(torch.fft.rfft(u, 2 * time, 1) * torch.fft.rfft(h, 2 * time, 0), 2 * time, 1)[:, :time]
        return self.output(a * (y + u * self.skip))


class Perceiver(nn.Module):
    """Latents that read every prefix, think, and answer the token."""

    def __init__(self, width, heads, latents=8):
        super().__init__()
        self.heads = heads
        self.latents = nn.Parameter(torch.randn(latents, width))
        self.key, self.value, self.read = (nn.Linear(width, width) for _ in range(3))
        self.norm, self.inner_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.among, self.answer = (nn.ModuleList(nn.Linear(width, width) for _ in range(4)) for _ in range(2))

    def attend(self, layers, queries, sources):
        q, k, v = (split(layer(x), self.heads) for layer, x in zip(layers, (queries, sources, sources)))
        return layers[3](merged(F.scaled_dot_product_attention(q, k, v)))

    def forward(self, x):
        rows, time, width = x.shape
        k, v = split(self.key(x), self.heads), split(self.value(x), self.heads)
        q = self.latents.unflatten(-1, (self.heads, -1)).transpose(0, 1)
        scores = (k @ q.transpose(1, 2)).transpose(2, 3) / q.shape[-1] ** 0.5  # [rows, heads, latents, time]
        weights = torch.exp(scores - scores.amax(-1, keepdim=True).detach())
        masked = weights[..., None, :] * causal(x, time)
        read = (masked / masked.sum(-1, keepdim=True)) @ v[:, :, None]  # [rows, heads, latents, time, size]
        read = read.permute(0, 3, 2, 1, 4).reshape(rows * time, -1, width)
        z = self.latents + self.read(read)
        z = z + self.outer(F.relu(self.inner(self.inner_norm(z))))
        normal = self.norm(z)
        z = z + self.attend(self.among, normal, normal)
        return self.attend(self.answer, x.reshape(rows * time, 1, width), z).view(rows, time, width)


class Abc(nn.Module):
    """Attention with bounded memory in two masked passes: no slot is ever made for every token."""

    def __init__(self, width, heads, slots=16):
        super().__init__()
        self.heads, self.slots = heads, slots
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.score = nn.Linear(width, heads * slots)

    def forward(self, x):
        q, k, v = (split(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        s, mask = split(self.score(x), self.heads), causal(x, x.shape[1])
        weights = torch.exp(s - s.amax(2, keepdim=True).detach())
        total = weights.cumsum(2)
        asked = (q @ k.transpose(2, 3) * mask) @ weights / total / q.shape[-1] ** 0.5
        shares = F.softmax(asked, -1) / total
        return self.output(merged((shares @ weights.transpose(2, 3) * mask) @ v))


class Attention(nn.Module):
    """Causal attention, of a window where there is one, with rotary positions."""

    def __init__(self, width, heads, window=0, rotary=False):
        super().__init__()
        self.heads, self.window, self.rotary = heads, window, rotary
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def turned(self, x):
        half = x.shape[-1] // 2
        rate = 10000.0 ** (-torch.arange(half, device=x.device) / half)
        angle = torch.arange(x.shape[2], device=x.device)[:, None] * rate
        a, b = x.split(half, -1)
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)

    def forward(self, x):
        q, k, v = (split(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        if self.rotary:
            q, k = self.turned(q), self.turned(k)
        time = x.shape[1]
        if 0 < self.window < time:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=causal(x, time).triu(1 - self.window))
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(merged(y))


MIXERS = {
    "mlp": lambda width, heads: nn.Identity(),
    "lstm": lambda width, heads: Recurrent(nn.LSTM, width),
    "gru": lambda width, heads: Recurrent(nn.GRU, width),
    "min-gru": MinGru,
    "short-conv": ShortConv,
    "linear-attention": LinearAttention,
    "performer": Performer,
    "mamba": mamba,
    "hyena": Hyena,
    "hyena-modal": HyenaModal,
    "monarch": lambda width, heads: Hyena(width, heads, taps=512, embedding=5, frequency=10.0, residual=True),
    "perceiver": Perceiver,
    "abc": Abc,
    "window": lambda width, heads: Attention(width, heads, window=64, rotary=True),
    "rotary": lambda width, heads: Attention(width, heads, rotary=True),
}

STACKS = {"based": ["short-conv", "linear-attention", "window"], "striped-hyena": ["hyena-modal", "rotary"]}

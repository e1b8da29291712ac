"""Run a saved language model with numpy alone, by the names and shapes of Hugging Face, in float64.

usage: lm.py FOLDER

FOLDER holds config.json, model.safetensors (or its shards and their index), and expected.safetensors with ids [t] and
logits [t, vocabulary] (of a BERT, the residual [t, dim]), as latens computed them. Exits with 3 if numpy or safetensors is not installed.
"""

import json
import math
import sys
from pathlib import Path

try:
    import numpy as np
    from safetensors.numpy import load_file
except ImportError as missing:
    print(missing)
    sys.exit(3)

ACTS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_new": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}


class Model:
    """The weights by name, and the pieces that families share."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        index = folder / "model.safetensors.index.json"
        files = ["model.safetensors"]
        if index.exists():
            where = json.loads(index.read_text())["weight_map"]
            files = sorted(set(where.values()))
        self.weights = {}
        for file in files:
            for name, tensor in load_file(folder / file).items():
                assert name not in self.weights, name
                self.weights[name] = tensor.astype(np.float64)
        self.used = set()

    def __getitem__(self, name: str):
        self.used.add(name)
        return self.weights[name]

    def linear(self, x, name: str):
        y = x @ self[f"{name}.weight"].T
        return y + self[f"{name}.bias"] if f"{name}.bias" in self.weights else y

    def conv1d(self, x, name: str):
        """GPT-2's product, whose weight is [in, out]."""
        return x @ self[f"{name}.weight"] + self[f"{name}.bias"]

    def rms(self, x, name: str, eps: float):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * self[f"{name}.weight"]

    def layer(self, x, name: str, eps: float):
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred**2).mean(-1, keepdims=True)
        return centred / np.sqrt(variance + eps) * self[f"{name}.weight"] + self[f"{name}.bias"]


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def attend(q, k, v, causal=True):
    """[t, heads, dim] each; keys and values may have fewer heads."""
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    scores = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(q.shape[2])
    if causal:
        scores = np.where(np.tri(q.shape[0], dtype=bool), scores, -np.inf)
    return np.einsum("hij,jhd->ihd", softmax(scores), v).reshape(q.shape[0], -1)


def rotate(x, base: float, dim: int):
    """The first dim entries of each head, i with i + dim / 2."""
    frequency = base ** (-np.arange(0, dim, 2) / dim)
    angle = np.arange(x.shape[0])[:, None] * np.concatenate([frequency, frequency])
    turned, rest = x[..., :dim], x[..., dim:]
    half = np.concatenate([-turned[..., dim // 2 :], turned[..., : dim // 2]], -1)
    turned = turned * np.cos(angle)[:, None] + half * np.sin(angle)[:, None]
    return np.concatenate([turned, rest], -1)


def llama(m: Model, ids):
    c = m.config
    heads, kv, dim, eps = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["rms_norm_eps"]
    x, t = m["model.embed_tokens.weight"][ids], len(ids)
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}"
        y = m.rms(x, f"{p}.input_layernorm", eps)
        q, k, v = (m.linear(y, f"{p}.self_attn.{w}_proj").reshape(t, -1, dim) for w in "qkv")
        assert (q.shape[1], k.shape[1], v.shape[1]) == (heads, kv, kv)
        q, k = (rotate(z, c["rope_theta"], dim) for z in (q, k))
        x = x + m.linear(attend(q, k, v), f"{p}.self_attn.o_proj")
        y = m.rms(x, f"{p}.post_attention_layernorm", eps)
        gate = ACTS[c["hidden_act"]](m.linear(y, f"{p}.mlp.gate_proj"))
        x = x + m.linear(gate * m.linear(y, f"{p}.mlp.up_proj"), f"{p}.mlp.down_proj")
    return m.rms(x, "model.norm", eps) @ head(m, "model.embed_tokens.weight", "lm_head.weight").T


def gpt2(m: Model, ids):
    c, t = m.config, len(ids)
    eps, act = c["layer_norm_epsilon"], ACTS[c["activation_function"]]
    x = m["transformer.wte.weight"][ids] + m["transformer.wpe.weight"][:t]
    for layer in range(c["n_layer"]):
        p = f"transformer.h.{layer}"
        y = m.conv1d(m.layer(x, f"{p}.ln_1", eps), f"{p}.attn.c_attn")
        q, k, v = (z.reshape(t, c["n_head"], -1) for z in np.split(y, 3, axis=1))
        x = x + m.conv1d(attend(q, k, v), f"{p}.attn.c_proj")
        y = act(m.conv1d(m.layer(x, f"{p}.ln_2", eps), f"{p}.mlp.c_fc"))
        x = x + m.conv1d(y, f"{p}.mlp.c_proj")
    return m.layer(x, "transformer.ln_f", eps) @ head(m, "transformer.wte.weight", "lm_head.weight").T


def gpt_neox(m: Model, ids):
    c, t = m.config, len(ids)
    heads, eps, act = c["num_attention_heads"], c["layer_norm_eps"], ACTS[c["hidden_act"]]
    dim = c["hidden_size"] // heads
    turned = int(dim * c["rotary_pct"])
    x = m["gpt_neox.embed_in.weight"][ids]
    for layer in range(c["num_hidden_layers"]):
        p = f"gpt_neox.layers.{layer}"
        y = m.linear(m.layer(x, f"{p}.input_layernorm", eps), f"{p}.attention.query_key_value")
        q, k, v = np.split(y.reshape(t, heads, 3 * dim), 3, axis=2)
        q, k = (rotate(z, c["rotary_emb_base"], turned) for z in (q, k))
        a = m.linear(attend(q, k, v), f"{p}.attention.dense")
        y = m.layer(x if c["use_parallel_residual"] else x + a, f"{p}.post_attention_layernorm", eps)
        x = x + a + m.linear(act(m.linear(y, f"{p}.mlp.dense_h_to_4h")), f"{p}.mlp.dense_4h_to_h")
    return m.layer(x, "gpt_neox.final_layer_norm", eps) @ head(m, "gpt_neox.embed_in.weight", "embed_out.weight").T


def mamba(m: Model, ids):
    c, t = m.config, len(ids)
    eps, states, rank, taps = c["layer_norm_epsilon"], c["state_size"], c["time_step_rank"], c["conv_kernel"]
    silu = ACTS[c["hidden_act"]]
    x = m["backbone.embeddings.weight"][ids]
    for layer in range(c["num_hidden_layers"]):
        p = f"backbone.layers.{layer}"
        y = m.linear(m.rms(x, f"{p}.norm", eps), f"{p}.mixer.in_proj")
        u, gate = np.split(y, 2, axis=1)
        # Cross-correlation over the last `taps` rows, channel by channel.
        padded = np.concatenate([np.zeros((taps - 1, u.shape[1])), u])
        weight = m[f"{p}.mixer.conv1d.weight"]
        assert weight.shape == (u.shape[1], 1, taps)
        u = sum(padded[i : i + t] * weight[:, 0, i] for i in range(taps))
        if f"{p}.mixer.conv1d.bias" in m.weights:
            u = u + m[f"{p}.mixer.conv1d.bias"]
        u = silu(u)
        step, b, c_ = np.split(m.linear(u, f"{p}.mixer.x_proj"), [rank, rank + states], axis=1)
        step = np.logaddexp(0, m.linear(step, f"{p}.mixer.dt_proj"))
        a = -np.exp(m[f"{p}.mixer.A_log"])
        h, rows = np.zeros_like(a), []
        for i in range(t):
            h = np.exp(step[i][:, None] * a) * h + (step[i] * u[i])[:, None] * b[i]
            rows.append(h @ c_[i])
        y = (np.array(rows) + u * m[f"{p}.mixer.D"]) * silu(gate)
        x = x + m.linear(y, f"{p}.mixer.out_proj")
    return m.rms(x, "backbone.norm_f", eps) @ head(m, "backbone.embeddings.weight", "lm_head.weight").T


def bert(m: Model, ids):
    """What it makes of every token, in place of logits."""
    c, t = m.config, len(ids)
    heads, eps, act = c["num_attention_heads"], c["layer_norm_eps"], ACTS[c["hidden_act"]]
    e = "embeddings"
    x = m[f"{e}.word_embeddings.weight"][ids] + m[f"{e}.position_embeddings.weight"][:t]
    x = m.layer(x + m[f"{e}.token_type_embeddings.weight"][0], f"{e}.LayerNorm", eps)
    for layer in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{layer}"
        q, k, v = (m.linear(x, f"{p}.attention.self.{w}").reshape(t, heads, -1) for w in ("query", "key", "value"))
        y = m.linear(attend(q, k, v, causal=False), f"{p}.attention.output.dense")
        x = m.layer(x + y, f"{p}.attention.output.LayerNorm", eps)
        y = m.linear(act(m.linear(x, f"{p}.intermediate.dense")), f"{p}.output.dense")
        x = m.layer(x + y, f"{p}.output.LayerNorm", eps)
    return x


def head(m: Model, tied: str, own: str):
    return m[tied if m.config["tie_word_embeddings"] else own]


def main(folder: Path) -> None:
    m, expected = Model(folder), load_file(folder / "expected.safetensors")
    kind = m.config["model_type"]
    run = {"llama": llama, "gpt2": gpt2, "gpt_neox": gpt_neox, "mamba": mamba, "bert": bert}[kind]
    logits = run(m, expected["ids"])
    # What BERT has beyond its encoder is not asked for.
    left = {name for name in m.weights if "pooler." not in name} - m.used
    assert not left, sorted(left)
    want = expected["logits"]
    assert logits.shape == want.shape, (logits.shape, want.shape)
    off = ((logits - want) ** 2).sum() / (want**2).sum()
    # latens keeps the scale of attention and the epsilon of norms in float32.
    assert np.abs(want).max() > 0.5 and off < 1e-14, off
    print(f"{kind}: numpy agrees, normalised squared error {off:.1e}")


main(Path(sys.argv[1]))

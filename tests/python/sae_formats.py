"""Write checkpoints of autoencoders in the layouts of other libraries, and what those libraries would make of some rows.

usage: sae_formats.py FOLDER

Each layout gets a folder with its files, and beside it NAME.expected.safetensors: x [rows, d], features [rows, n] and recon
[rows, d] by plain numpy in f64. PyTorch's files are written without PyTorch: a zip, stored, of a pickle of protocol 2 that names the
functions and types that torch.save names, and of the memory of tensors; with LATENS_TORCH set, by torch.save itself. Exits with 3 if numpy or safetensors is not installed.
"""

import importlib
import io
import json
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

try:
    import numpy as np
    from safetensors.numpy import save_file
except ImportError as missing:
    print(missing)
    sys.exit(3)

D, N, ROWS, K = 12, 40, 25, 6
draw = np.random.default_rng(7)
f32 = np.float32


def relu(x):
    return np.maximum(x, 0)


def strongest(z, k):
    kept = np.zeros_like(z)
    best = np.argsort(-z, axis=1, kind="stable")[:, :k]
    np.put_along_axis(kept, best, np.take_along_axis(z, best, 1), 1)
    return relu(kept)


class Storage:
    """The memory of a tensor, which torch.save puts into a file of its own."""

    def __init__(self, array):
        self.array = array


def module(name, **members):
    made = types.ModuleType(name)
    sys.modules.setdefault(name, made)
    for key, value in members.items():
        value.__module__, value.__qualname__, value.__name__ = name, key, key
        setattr(made, key, value)
    return made


def rebuild(*_):
    raise NotImplementedError


def kinds():
    return {name: type(name, (), {}) for name in ("FloatStorage", "DoubleStorage", "HalfStorage", "LongStorage", "IntStorage")}


# PyTorch itself, where it is asked for: it is large, and what it writes is known.
WRITER = importlib.import_module("torch") if os.environ.get("LATENS_TORCH") else None
if not WRITER:
    TORCH = module("torch", **kinds())
    UTILS = module("torch._utils", _rebuild_tensor_v2=rebuild)
NAMES = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage", "int32": "IntStorage"}


class Tensor:
    """As torch pickles one; `turned` has its strides the other way round, as a transposed view has."""

    def __init__(self, array, turned=False):
        self.array, self.turned = np.asarray(array), turned

    def real(self):
        made = WRITER.from_numpy(np.array(self.array.T if self.turned else self.array, order="C"))
        return made.T if self.turned else made

    def __reduce__(self):
        from collections import OrderedDict

        memory = np.array(self.array.T if self.turned else self.array, order="C")
        strides = tuple(int(s) // self.array.itemsize for s in memory.strides)
        if self.turned:
            strides = strides[::-1]
        return rebuild, (Storage(memory), 0, self.array.shape, strides, False, OrderedDict())


def save_torch(path, state):
    """torch.save of a state dict."""
    if WRITER:
        WRITER.save({key: value.real() if isinstance(value, Tensor) else value for key, value in state.items()}, path)
        return
    memory, packed = [], io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, of):
            if not isinstance(of, Storage):
                return None
            memory.append(of.array)
            return "storage", getattr(TORCH, NAMES[of.array.dtype.name]), str(len(memory) - 1), "cpu", of.array.size

    Pickler(packed, protocol=2).dump(state)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        stem = path.stem
        archive.writestr(f"{stem}/data.pkl", packed.getvalue())
        archive.writestr(f"{stem}/byteorder", "little")
        for i, array in enumerate(memory):
            archive.writestr(f"{stem}/data/{i}", array.tobytes())
        archive.writestr(f"{stem}/version", "3\n")


def weights():
    """Rows of both matrices are latents; decoder rows are no unit vectors."""
    w_enc, w_dec = draw.normal(size=(N, D)).astype(f32), draw.normal(size=(N, D)).astype(f32)
    return w_enc, w_dec, (0.3 * draw.normal(size=N)).astype(f32), draw.normal(size=D).astype(f32)


def rows():
    return (draw.normal(size=(ROWS, D)) * 2).astype(f32)


class Writer:
    def __init__(self, folder):
        self.folder, self.names = Path(folder), []

    def place(self, name):
        self.names.append(name)
        (self.folder / name).mkdir(parents=True)
        return self.folder / name

    def expect(self, name, x, features, recon):
        of = {"x": x, "features": features, "recon": recon}
        save_file({key: np.ascontiguousarray(value, f32) for key, value in of.items()}, self.folder / f"{name}.expected.safetensors")


def saelens(to, name, config, tensors, x, features, recon):
    at = to.place(name)
    base = {"d_in": D, "d_sae": N, "dtype": "float32", "device": "cpu", "metadata": {"hook_name": "blocks.0.hook_resid_post"}}
    (at / "cfg.json").write_text(json.dumps({**base, **config}))
    save_file({key: np.array(value, order="C") for key, value in tensors.items()}, at / "sae_weights.safetensors")
    to.expect(name, x, features, recon)


def all_saelens(to):
    w_enc, w_dec, b_enc, b_dec = weights()
    x, tensors = rows(), {"W_enc": w_enc.T, "W_dec": w_dec, "b_enc": b_enc, "b_dec": b_dec}
    pre = lambda x: x.astype(float) @ w_enc.T + b_enc
    z = pre(x - b_dec)
    write = lambda name, config, tensors, f: saelens(to, name, config, tensors, x, f, f @ w_dec + b_dec)
    write("saelens_standard", {"architecture": "standard", "normalize_activations": "none"}, tensors, relu(z))
    plain = {"architecture": "standard", "apply_b_dec_to_input": False}
    write("saelens_not_centred", plain, tensors, relu(pre(x)))
    write("saelens_topk", {"architecture": "topk", "k": K}, tensors, strongest(z, K))
    old = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "normalize_activations": False}
    write("saelens_before_6", old, tensors, strongest(z, K))
    length = np.linalg.norm(w_dec.astype(float), axis=1)
    f = strongest(z * length, K)
    by_length = {"architecture": "topk", "k": K, "rescale_acts_by_decoder_norm": True}
    saelens(to, "saelens_topk_by_length", by_length, tensors, x, f, (f / length) @ w_dec + b_dec)
    threshold = (0.2 + np.abs(draw.normal(size=N))).astype(f32)
    jump = {**tensors, "threshold": threshold}
    write("saelens_jumprelu", {"architecture": "jumprelu", "reshape_activations": "hook_z"}, jump, z * (z > threshold))
    r_mag, b_mag, b_gate = (0.5 * draw.normal(size=N).astype(f32) for _ in range(3))
    u = z - b_enc
    f = (u + b_gate > 0) * relu(np.exp(r_mag.astype(float)) * u + b_mag)
    gated = {"W_enc": w_enc.T, "W_dec": w_dec, "b_dec": b_dec, "r_mag": r_mag, "b_mag": b_mag, "b_gate": b_gate}
    write("saelens_gated", {"architecture": "gated"}, gated, f)
    mean, deviation = x.astype(float).mean(1, keepdims=True), x.astype(float).std(1, ddof=1, keepdims=True)
    f = relu(pre((x - mean) / (deviation + 1e-5) - b_dec))
    layer = {"architecture": "standard", "normalize_activations": "layer_norm"}
    saelens(to, "saelens_layer_norm", layer, tensors, x, f, (f @ w_dec + b_dec) * deviation + mean)
    by = np.linalg.norm(x.astype(float), axis=1, keepdims=True) / np.sqrt(D)
    f = relu(pre(x / by - b_dec))
    rescale = {"architecture": "standard", "normalize_activations": "constant_norm_rescale"}
    saelens(to, "saelens_rescaled_rows", rescale, tensors, x, f, (f @ w_dec + b_dec) * by)
    factors = (1 + 0.2 * draw.normal(size=N)).astype(f32)
    f = relu(z)
    tuned = {"architecture": "standard", "finetuning_scaling_factor": True}
    saelens(to, "saelens_finetuned", tuned, {**tensors, "scaling_factor": factors}, x, f, (f * factors) @ w_dec + b_dec)
    batch = {**tensors, "topk_threshold": np.asarray(0.7, f32)}
    skip = draw.normal(size=(D, D)).astype(f32)
    for name, jumps in ("skip_transcoder", False), ("jumprelu_skip_transcoder", True):
        as_is = pre(x)
        f = as_is * (as_is > threshold) if jumps else relu(as_is)
        of = {**(jump if jumps else tensors), "W_skip": skip}
        saelens(to, f"saelens_{name}", {"architecture": name, "d_out": D}, of, x, f, f @ w_dec + b_dec + x @ skip.T)
    for name, f, of in ("transcoder", relu(pre(x)), tensors), ("jumprelu_transcoder", pre(x) * (pre(x) > threshold), jump):
        saelens(to, f"saelens_{name}", {"architecture": name, "d_out": D}, of, x, f, f @ w_dec + b_dec)
    write("saelens_batchtopk", {"architecture": "batchtopk", "k": 6.5}, batch, z * (z > f32(0.7)))
    prefixes = {"architecture": "matryoshka_batchtopk", "k": 6.5, "matryoshka_widths": [N // 4, N // 2, N]}
    write("saelens_matryoshka_batchtopk", prefixes, batch, z * (z > f32(0.7)))


def sparsify(to):
    w_enc, w_dec, b_enc, b_dec = weights()
    x, at = rows(), to.place("sparsify")
    config = {"expansion_factor": 32, "normalize_decoder": True, "num_latents": N, "k": K, "multi_topk": False, "skip_connection": False,
              "activation": "topk", "transcode": False, "d_in": D}
    (at / "cfg.json").write_text(json.dumps(config))
    save_file({"encoder.weight": w_enc, "encoder.bias": b_enc, "W_dec": w_dec, "b_dec": b_dec}, at / "sae.safetensors")
    f = strongest((x - b_dec).astype(float) @ w_enc.T + b_enc, K)
    to.expect("sparsify", x, f, f @ w_dec + b_dec)

    def more(name, change, centred, f, **tensors):
        at, z = to.place(name), (x - (b_dec if centred else 0)).astype(float) @ w_enc.T + b_enc
        (at / "cfg.json").write_text(json.dumps({**config, **change}))
        all_ = {"encoder.weight": w_enc, "encoder.bias": b_enc, "W_dec": w_dec, "b_dec": b_dec, **tensors}
        save_file(all_, at / "sae.safetensors")
        recon = f(z) @ w_dec + b_dec
        to.expect(name, x, f(z), recon + x @ tensors["W_skip"].T if tensors else recon)

    groups = lambda z: np.where(z == z.reshape(ROWS, 5, -1).max(-1).repeat(N // 5, 1), relu(z), 0)
    more("sparsify_groupmax", {"activation": "groupmax", "k": 5}, True, groups)
    more("sparsify_transcoder", {"transcode": True}, False, lambda z: strongest(z, K))
    skip = draw.normal(size=(D, D)).astype(f32)
    more("sparsify_skip", {"transcode": True, "skip_connection": True}, False, lambda z: strongest(z, K), W_skip=skip)


def dictionaries(to):
    def write(kind, state, x, f, recon, name=None):
        name = name or f"dictionary_{kind}"
        at = to.place(name)
        (at / "config.json").write_text(json.dumps({"trainer": {"dict_class": kind, "activation_dim": D, "dict_size": N}}))
        save_torch(at / "ae.pt", {key: Tensor(value, key == "decoder.weight") for key, value in state.items()})
        to.expect(name, x, f, recon)

    w_enc, w_dec, b_enc, b_dec = weights()
    x, length = rows(), np.linalg.norm(w_dec.astype(float), axis=1)
    z, out = (x - b_dec).astype(float) @ w_enc.T + b_enc, lambda f: f @ w_dec + b_dec
    linear = {"encoder.weight": w_enc, "encoder.bias": b_enc, "decoder.weight": w_dec.T}
    write("AutoEncoder", {**linear, "bias": b_dec}, x, relu(z) * length, out(relu(z)))
    f = relu(x.astype(float) @ w_enc.T + b_enc)
    write("AutoEncoderNew", {**linear, "decoder.bias": b_dec}, x, f, out(f))
    number = lambda value, kind: np.asarray(value, kind)
    state = {**linear, "b_dec": b_dec, "k": number(K, np.int32), "threshold": number(0.9, f32)}
    f = strongest(z, K)
    write("AutoEncoderTopK", state, x, f, out(f))
    f = z * (z > f32(0.9))
    write("BatchTopKSAE", state, x, f, out(f))
    f = relu(z)
    write("BatchTopKSAE", {**state, "threshold": number(-1, f32)}, x, f, out(f), "dictionary_threshold_unset")
    r_mag, mag, gate = (0.5 * draw.normal(size=N).astype(f32) for _ in range(3))
    u = z - b_enc
    f = (u + gate > 0) * relu(np.exp(r_mag.astype(float)) * u + mag)
    state = {"encoder.weight": w_enc, "decoder.weight": w_dec.T, "r_mag": r_mag, "gate_bias": gate, "mag_bias": mag, "decoder_bias": b_dec}
    write("GatedAutoEncoder", state, x, f * length, out(f))
    threshold = (0.2 + np.abs(draw.normal(size=N))).astype(f32)
    pre = x.astype(float) @ w_enc.T + b_enc
    f = pre * (pre > threshold)
    turned = {"W_enc": w_enc.T.copy(), "W_dec": w_dec, "b_enc": b_enc, "b_dec": b_dec}
    write("JumpReluAutoEncoder", {**turned, "threshold": threshold}, x, f * length, out(f))
    same, f = np.full(N, 0.8, f32), pre * (pre > f32(0.8))
    write("JumpReluAutoEncoder", {**turned, "threshold": same}, x, f * length, out(f), "dictionary_equal_thresholds")
    f = z * (z > f32(0.4))
    state = {**turned, "threshold": number(0.4, f32), "k": number(K, np.int32), "group_sizes": np.asarray([10, 30])}
    write("MatryoshkaBatchTopKSAE", state, x, f, out(f))


def scopes(to):
    w_enc, w_dec, b_enc, b_dec = weights()
    x, threshold = rows(), (0.2 + np.abs(draw.normal(size=N))).astype(f32)
    z = x.astype(float) @ w_enc.T + b_enc
    f = z * (z > threshold)
    tensors = {"W_enc": w_enc.T, "W_dec": w_dec, "b_enc": b_enc, "b_dec": b_dec, "threshold": threshold}
    for name, save in ("gemma_scope", np.savez), ("gemma_scope_packed", np.savez_compressed):
        save(to.place(name) / "params.npz", **tensors)  # W_enc is stored columns first, for it is a turned view
        to.expect(name, x, f, f @ w_dec + b_dec)
    small = {key.lower(): np.ascontiguousarray(value) for key, value in tensors.items()}
    save_file(small, to.place("gemma_scope_2") / "params.safetensors")
    to.expect("gemma_scope_2", x, f, f @ w_dec + b_dec)

    skip = draw.normal(size=(D, D)).astype(f32)
    save_file({**small, "affine_skip_connection": skip}, to.place("gemma_scope_2_transcoder") / "params.safetensors")
    to.expect("gemma_scope_2_transcoder", x, f, f @ w_dec + b_dec + x @ skip)

    # The same weights thrice: a place, a transcoder, and one beside its settings that does not say where it was trained.
    norm = {"in": 10.8, "out": 9.5}
    tensors = {"encoder.weight": w_enc, "encoder.bias": b_enc, "decoder.weight": np.ascontiguousarray(w_dec.T), "decoder.bias": b_dec}
    s_in, s_out = (np.sqrt(D) / norm[side] for side in ("in", "out"))
    decoder = w_dec.astype(float) * s_in / s_out
    length = np.linalg.norm(decoder, axis=1)
    z = length * (x.astype(float) @ w_enc.T + b_enc / s_in)
    f = z * (z > 0.36)
    for name, hooks in (
        ("llama_scope", {"hook_point_in": "blocks.1.hook_resid_post", "hook_point_out": "blocks.1.hook_resid_post"}),
        ("llama_scope_transcoder", {"hook_point_in": "blocks.1.ln2.hook_normalized", "hook_point_out": "blocks.1.hook_mlp_out"}),
        ("llama_scope_unplaced", {}),
    ):
        at = to.place(name)
        below = at / "checkpoints" if hooks else at
        below.mkdir(exist_ok=True)
        config = {"d_model": D, "d_sae": N, "act_fn": "jumprelu", "jump_relu_threshold": 0.36, "norm_activation": "dataset-wise",
                  "dataset_average_activation_norm": norm, "sparsity_include_decoder_norm": True, "use_decoder_bias": True,
                  "apply_decoder_bias_to_pre_encoder": False, "top_k": 50, **hooks}
        (at / "hyperparams.json").write_text(json.dumps(config))
        save_file(tensors, below / "final.safetensors")
        to.expect(name, x, f, (f / length) @ decoder + b_dec / s_out)


def openai(to):
    w_enc, w_dec, b_enc, b_dec = weights()
    x = rows()
    state = {"pre_bias": b_dec, "latent_bias": b_enc, "stats_last_nonzero": np.zeros(N, np.int64),
             "latents_activation_frequency": np.ones(N, f32), "latents_mean_square": np.zeros(N, f32), "encoder.weight": w_enc,
             "decoder.weight": w_dec.T}
    tensors = {key: Tensor(value, key == "decoder.weight") for key, value in state.items()}
    mean, deviation = x.astype(float).mean(1, keepdims=True), x.astype(float).std(1, ddof=1, keepdims=True)
    topk = {**tensors, "activation": "TopK", "activation_state_dict": {"k": K, "postact_fn": "ReLU"}}
    pre = lambda x: (x - b_dec).astype(float) @ w_enc.T + b_enc
    for name, saved, f, back in (
        ("openai_topk.pt", topk, strongest(pre((x - mean) / (deviation + 1e-5)), K), lambda y: y * deviation + mean),
        ("openai_relu.pt", {**tensors, "activation": "ReLU"}, relu(pre(x)), lambda y: y),
    ):
        save_torch(to.folder / name, saved)
        to.names.append(name)
        to.expect(name, x, f, back(f @ w_dec + b_dec))


def main(folder):
    to = Writer(folder)
    for write in all_saelens, sparsify, dictionaries, scopes, openai:
        write(to)
    print("\n".join(to.names))


main(sys.argv[1])

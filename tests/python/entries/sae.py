"""Sparse autoencoders against numpy."""

import ctypes
import json
import os
import tempfile

import numpy as np
from interface import Failed, close, same

f32, u32 = np.float32, np.uint32
ROWS, DIM, N, K = 6, 8, 40, 5


def codes(pre, k):
    """Of each row the k largest positive entries, by latent; slots to spare hold 0 and the number of latents."""
    values, latents = np.zeros((len(pre), k), f32), np.full((len(pre), k), pre.shape[1], u32)
    for row, numbers in enumerate(pre):
        best = np.sort([i for i in np.argsort(-numbers, kind="stable")[:k] if numbers[i] > 0])
        latents[row, : len(best)], values[row, : len(best)] = best, numbers[best.astype(int)]
    return values, latents


def encode(c, draw):
    x, w, b_enc, b_dec = draw(ROWS, DIM), draw(N, DIM), draw(N) * 0.1, draw(DIM)
    bias = np.zeros(N, f32)
    c.sae_bias(w, b_enc, b_dec, bias)
    close("sae_bias", bias, b_enc - w @ b_dec)
    pre = x.astype(float) @ w.T + bias
    values, latents = np.zeros((ROWS, K), f32), np.zeros((ROWS, K), u32)
    c.sae_encode(x, w, bias, K, values, latents, c.workspace("sae_encode", x, w, K))
    want = codes(pre, K)
    close("sae_encode", values, want[0])
    same("sae_encode latents", latents, want[1])
    subset, count = np.array([1, 4, 7, 20, 33, 39, 39], u32), np.array([6], u32)
    workspace = c.workspace("sae_encode_subset", x, w, len(subset), K)
    c.sae_encode_subset(x, w, bias, subset, count, K, values, latents, workspace)
    among = np.full_like(pre, -1)
    among[:, subset[:6]] = pre[:, subset[:6]]
    want = codes(among, K)
    close("sae_encode_subset", values, want[0])
    same("sae_encode_subset latents", latents, want[1])
    flat, numbers, offsets = np.zeros(20, u32), np.zeros(20, f32), np.zeros(ROWS + 1, u32)
    c.sae_encode_flat(x, w, bias, 20, numbers, flat, offsets, c.workspace("sae_encode_flat", x, w, 20))
    best = np.sort(np.argsort(-pre.ravel(), kind="stable")[:20])
    same("sae_encode_flat", np.repeat(np.arange(ROWS), np.diff(offsets.astype(int))) * N + flat, best)
    close("sae_encode_flat values", numbers, pre.ravel()[best])
    counts = np.zeros(ROWS, u32)
    workspace = c.workspace("sae_encode_threshold", x, w, K)
    c.sae_encode_threshold(x, w, bias, 2.0, K, values, latents, counts, workspace)
    want = codes(np.where(pre > 2, pre, -1), K)
    close("sae_encode_threshold", values, want[0])
    same("sae_encode_threshold latents", latents, want[1])
    same("sae_encode_threshold counts", counts, (pre > 2).sum(-1))


def decode(c, draw):
    x, w_enc, w_dec, b_dec, g = draw(ROWS, DIM), draw(N, DIM), draw(N, DIM), draw(DIM), draw(ROWS, DIM)
    values, latents = codes((x - b_dec) @ w_enc.T, K)
    dense = np.zeros((ROWS, N + 1))
    np.put_along_axis(dense, latents.astype(int), values.astype(float), -1)
    dense = dense[:, :N]
    recon, residual, error = np.zeros_like(x), np.zeros_like(x), np.zeros(ROWS, f32)
    workspace = c.workspace("sae_decode", latents, None, w_dec, 1)
    c.sae_decode(values, latents, None, w_dec, b_dec, x, recon, residual, error, workspace)
    want = dense @ w_dec + b_dec
    close("sae_decode", recon, want)
    close("sae_decode residual", residual, x - want)
    close("sae_decode error", error, ((x - want) ** 2).sum(-1))
    dw_dec, dw_enc, db_enc, dvalues = (np.zeros_like(of) for of in (w_dec, w_enc, w_enc[:, 0].copy(), values))
    workspace = c.workspace("sae_backward", latents, None, w_dec)
    c.sae_backward(values, latents, None, x, g, w_dec, b_dec, 0, dw_dec, dw_enc, db_enc, dvalues, workspace)
    dpre = np.where(dense > 0, g @ w_dec.T, 0)
    close("sae_backward dw_dec", dw_dec, dense.T @ g)
    close("sae_backward dw_enc", dw_enc, dpre.T @ (x - b_dec))
    close("sae_backward db_enc", db_enc, dpre.sum(0))
    padded = np.concatenate([dpre, np.zeros((ROWS, 1))], 1)
    close("sae_backward dvalues", dvalues, np.take_along_axis(padded, latents.astype(int), -1))
    db_dec = np.zeros(DIM, f32)
    c.sae_bias_backward(g, w_enc, db_enc, 0, db_dec, c.workspace("sae_bias_backward", g, w_enc))
    close("sae_bias_backward", db_dec, g.sum(0) - db_enc @ w_enc)
    since = np.arange(N, dtype=u32)
    c.sae_track(values, latents, None, 100, 0.0, since)
    want = np.where((dense > 0).any(0), 0, np.arange(N) + 100)
    same("sae_track", since, want)
    listed, count = np.zeros(N, u32), np.zeros(1, u32)
    c.sae_dead(since, 110, listed, count)
    dead = np.flatnonzero(want >= 110)
    same("sae_dead", listed, np.concatenate([dead, np.full(N - len(dead), N)]))
    same("sae_dead count", count, [len(dead)])


def gates(c, draw):
    """Gated: factors and biases of each latent, an L1 penalty by weights; JumpReLU: a threshold with its rectangle."""
    x, w_dec, b_dec, g = draw(ROWS, DIM), draw(N, DIM), draw(DIM), draw(ROWS, DIM)
    v, latents = codes(draw(ROWS, N), K)
    at, is_ = np.minimum(latents, N - 1).astype(int), latents < N
    scale, shift, weight = 1 + 0.3 * draw(N), 0.5 * draw(N), np.abs(draw(N))
    by_latent = lambda of: np.bincount(at[is_], of[is_], N)
    slopes, dot = np.zeros_like(v), np.where(is_, (g[:, None] * w_dec[at]).sum(-1), 0)
    c.sae_slopes(v, latents, None, g, w_dec, slopes)
    close("sae_slopes", slopes, dot)
    workspace = c.workspace("sae_gate_backward", latents, None, N)
    y, sums = np.zeros_like(v), np.zeros((4, N), f32)
    c.sae_gate(v, latents, None, N, scale, shift, 0.0, y)
    want = np.where(is_ & (v > 0), np.maximum(scale[at] * v + shift[at], 0), 0)
    close("sae_gate", y, want)
    c.sae_gate_backward(v, latents, None, scale, shift, weight, 0.0, c.constants["PENALTY_POWER"], 1.0, 0.25, 0.0, slopes, sums,
                        workspace)
    s, open_ = dot + 0.25 * weight[at], want > 0
    close("sae_gate_backward", slopes, np.where(open_, scale[at] * s, 0))
    close("sae_gate_backward scale", sums[0], by_latent(open_ * s * v))
    close("sae_gate_backward shift", sums[1], by_latent(open_ * s))
    close("sae_gate_backward weight", sums[3], by_latent(open_ * 0.25 * want))
    dvalues, dw_dec, dw_enc, db_enc = slopes, np.zeros_like(w_dec), np.zeros_like(w_dec), np.zeros(N, f32)
    c.sae_weights_backward(y, latents, None, x, g, b_dec, dvalues, 0, dw_dec, dw_enc, db_enc,
                           c.workspace("sae_backward", latents, None, w_dec))
    rows = lambda of, by: np.stack([by_latent(of * by[:, None, i]) for i in range(DIM)], -1)
    close("sae_weights_backward dw_dec", dw_dec, rows(y, g))
    close("sae_weights_backward dw_enc", dw_enc, rows(dvalues, x - b_dec))
    close("sae_weights_backward db_enc", db_enc, by_latent(dvalues))
    theta, half = 0.6 + 0.2 * np.abs(draw(N)), 0.5
    bar = (theta - half).astype(f32)
    c.sae_gate(v, latents, None, N, None, bar, half, y)
    close("sae_gate with a threshold", y, np.where(is_ & (v > half), v + bar[at], 0))
    slopes[:] = dot
    c.sae_gate_backward(v, latents, None, None, bar, None, half, c.constants["PENALTY_TANH"], 2.0, 0.25, 0.125, slopes, sums,
                        workspace)
    s = dot + 0.25 * 2.0 / np.cosh(2.0 * y) ** 2
    close("sae_gate_backward of a threshold", sums[2], by_latent(-((bar + half)[at] * s + 0.125) * (v < 2 * half) / (2 * half)))


def trainer(c, draw):
    """Rows made of few directions: reconstruction gets better, and what is saved encodes them."""
    directions = draw(20, DIM)
    rows = lambda count: (np.abs(draw(count, 20)) * (draw(count, 20) > 1.2)).astype(f32) @ directions
    settings = c.structs["LatensSaeSettings"]()
    settings.size = ctypes.sizeof(settings)
    c.sae_defaults(DIM, N, K, 300, settings)
    settings.batch = 64
    handle = ctypes.c_void_p()
    c.sae_trainer_new(rows(512), settings, ctypes.byref(handle))
    metrics, course = c.structs["LatensSaeMetrics"](), []
    for _ in range(300):
        c.sae_trainer_step(handle, rows(64))
        c.sae_trainer_metrics(handle, metrics)
        course.append(metrics.fvu)
    assert metrics.step == 300 and metrics.l0 <= K, (metrics.step, metrics.l0)
    first, final = np.mean(course[:20]), np.mean(course[-20:])
    assert final < 0.5 * first, f"unexplained variance went from {first} to {final}"
    with tempfile.TemporaryDirectory() as folder:
        c.sae_trainer_save(handle, folder.encode(), c.constants["SAE_FORMAT_SAE_LENS"])
        assert sorted(os.listdir(folder)) == ["cfg.json", "sae_weights.safetensors"], os.listdir(folder)
        assert json.load(open(os.path.join(folder, "cfg.json")))["d_sae"] == N
    c.sae_trainer_free(handle)


def kinds(c, draw):
    """Every kind of autoencoder by its settings as JSON: it learns, and what is saved and opened again is what numpy makes of the file."""
    directions = draw(20, DIM)
    rows = lambda count: (np.abs(draw(count, 20)) * (draw(count, 20) > 1.2)).astype(f32) @ directions
    penalty = {"weight": 0.5, "cost": {"power": 1.0}, "warm": 20}
    counted = {"weight": 0.5, "cost": "count", "warm": 20}
    jump = lambda sparsity: {"jumprelu": {"sparsity": sparsity, "width": 0.5, "start": 0.3}}
    free = dict(decoder="free", centred=False)
    lengths, tanh = dict(penalty, by_length=True), {"weight": 0.5, "cost": {"tanh": 4.0}, "warm": 20, "by_length": True}
    anneal = dict(penalty, anneal={"to": 0.5, "from_step": 100, "turns": 5})
    # With the settings that only some have; the last few need more than a few lines of numpy.
    for variant, more, plain in (
        ("topk", {}, True),
        ("batchtopk", {}, True),
        ("groupmax", {}, True),
        ({"relu": penalty}, {}, True),
        ({"relu": anneal}, {}, True),
        ({"gated": {"sparsity": penalty}}, {}, True),
        (jump(counted), {}, True),
        ("topk", dict(multi={"times": 4, "weight": 0.125}), True),
        ("batchtopk", dict(prefixes=[5, 10, 20, N]), True),
        ({"relu": lengths}, free, False),
        (jump(tanh), dict(free, nudge={"weight": 1e-3, "after": 512}), False),
        ({"switch": {"experts": 4, "balance": 0.3}}, dict(revive=None), False),
        ("batchtopk", dict(free, sides=2, normalise="mean"), False),
    ):
        settings = dict(d=DIM, latents=N, k=4, steps=200, batch=64, rate=0.01, variant=variant, **more)
        handle, metrics = ctypes.c_void_p(), c.structs["LatensSaeMetrics"]()
        c.sae_trainer_configure(rows(512), None, json.dumps(settings).encode(), ctypes.byref(handle))
        course = []
        for _ in range(200):
            c.sae_trainer_step(handle, rows(64))
            c.sae_trainer_metrics(handle, metrics)
            course.append(metrics.fvu)
        assert np.mean(course[-20:]) < 0.8 * np.mean(course[:10]), (variant, more, course[0], course[-1])
        grouped = variant == "groupmax"
        with tempfile.TemporaryDirectory() as folder:
            c.sae_trainer_save(handle, folder.encode(), c.constants["SAE_FORMAT_SPARSIFY" if grouped else "SAE_FORMAT_SAE_LENS"])
            opened(c, folder, rows(32), None if grouped else variant if plain else "topk")
        c.sae_trainer_free(handle)


def opened(c, folder, x, variant):
    """A checkpoint as an autoencoder: its codes, what they stand for, and the file that it writes itself."""
    own, latents, dim = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    c.autoencoder_open(folder.encode(), ctypes.byref(own))
    c.autoencoder_size(own, ctypes.byref(latents), ctypes.byref(dim))
    assert (latents.value, dim.value) == (N, DIM)
    values, names = np.zeros((len(x), N), f32), np.zeros((len(x), N), np.uint32)
    c.autoencoder_encode(own, x, values, names)
    recon, again = np.zeros_like(x), np.zeros_like(x)
    c.autoencoder_decode(own, values, names, recon)
    c.autoencoder_reconstruct(own, x, again)
    close("autoencoder_decode", recon, again)
    dense = np.zeros((len(x), N + 1), f32)
    np.put_along_axis(dense, names.astype(np.int64), values, 1)
    if variant is not None and variant not in ("topk", "batchtopk"):
        from safetensors.numpy import load_file

        of = load_file(os.path.join(folder, "sae_weights.safetensors"))
        u = (x - of["b_dec"]) @ of["W_enc"]
        if "b_gate" in of:
            want = np.where(u + of["b_gate"] > 0, np.maximum(np.exp(of["r_mag"]) * u + of["b_mag"], 0), 0)
        else:
            z = u + of["b_enc"]
            want = np.where(z > of.get("threshold", 0), np.maximum(z, 0), 0)
        close("autoencoder_encode", dense[:, :N], want)
        close("autoencoder_reconstruct", again, want @ of["W_dec"] + of["b_dec"])
    with tempfile.TemporaryDirectory() as other:
        kind = "SAE_FORMAT_SPARSIFY" if variant is None else "SAE_FORMAT_SAE_LENS"
        c.autoencoder_save(own, other.encode(), c.constants[kind])
        copy = ctypes.c_void_p()
        c.autoencoder_open(other.encode(), ctypes.byref(copy))
        c.autoencoder_reconstruct(copy, x, recon)
        assert np.array_equal(recon, again)
        c.autoencoder_free(copy)
    c.autoencoder_free(own)


def transcoder(c, draw):
    """A skip transcoder predicts a linear map of its input and more."""
    turn = draw(DIM, DIM)
    settings = dict(d=DIM, latents=N, k=3, steps=200, batch=64, rate=0.01, centred=False, decoder="free",
                    transcode=dict(skip=True))
    x, handle, metrics = draw(512, DIM), ctypes.c_void_p(), c.structs["LatensSaeMetrics"]()
    c.sae_trainer_configure(x, x @ turn, json.dumps(settings).encode(), ctypes.byref(handle))
    for _ in range(200):
        x = draw(64, DIM)
        c.sae_trainer_step_to(handle, x, x @ turn)
    c.sae_trainer_metrics(handle, metrics)
    assert metrics.fvu < 0.3, metrics.fvu
    c.sae_trainer_free(handle)


def through(c, draw):
    """Steps on a loss of the caller's, the squared error by hand; what it refuses is no step."""
    handle, metrics = ctypes.c_void_p(), c.structs["LatensSaeMetrics"]()
    basis = draw(6, DIM)
    rows = lambda count: np.abs(draw(count, 6)) @ basis
    settings = dict(d=DIM, latents=N, k=4, steps=150, batch=64, rate=0.01)
    c.sae_trainer_configure(rows(512), None, json.dumps(settings).encode(), ctypes.byref(handle))
    floats, double, size = ctypes.POINTER(ctypes.c_float), ctypes.POINTER(ctypes.c_double), ctypes.c_size_t
    losses = []

    @ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, floats, size, size, double, floats)
    def loss(_, recon, batch, dim, lost, gradient):
        recon, gradient = (np.ctypeslib.as_array(of, (batch, dim)) for of in (recon, gradient))
        lost[0] = ((recon - x) ** 2).sum() / batch
        gradient[:] = 2 * (recon - x) / batch
        losses.append(lost[0])
        return 5 if len(losses) > 150 else 0

    for _ in range(150):
        x = rows(64)
        c.sae_trainer_step_through(handle, x, 0.0, loss, None)
    assert losses[-1] < 0.3 * losses[0], losses
    try:
        c.sae_trainer_step_through(handle, x, 0.0, loss, None)
    except Failed as error:
        assert "loss: answered 5" in str(error), error
    else:
        raise AssertionError("a refused loss was taken")
    c.sae_trainer_metrics(handle, metrics)
    assert metrics.step == 150, metrics.step
    c.sae_trainer_free(handle)


def interrupted(c, draw):
    """A run that is saved on the way and resumed gives the bytes of one that was not; what it gives is what is saved."""
    x, rows = draw(256, DIM), [draw(32, DIM) for _ in range(40)]
    settings = json.dumps(dict(d=DIM, latents=N, k=4, steps=40, batch=32, rate=0.01)).encode()
    whole, first, second, own = (ctypes.c_void_p() for _ in range(4))
    c.sae_trainer_configure(x, None, settings, ctypes.byref(whole))
    c.sae_trainer_configure(x, None, settings, ctypes.byref(first))
    origin = json.dumps(dict(model="tiny", hook="blocks.3.hook_resid_post", context=128, begin=True)).encode()
    lens, metrics = c.constants["SAE_FORMAT_SAE_LENS"], c.structs["LatensSaeMetrics"]()
    with tempfile.TemporaryDirectory() as folder:
        state, *places = (os.path.join(folder, name).encode() for name in ("state", "whole", "resumed", "snapshot"))
        for batch in rows[:21]:
            c.sae_trainer_step(first, batch)
        c.sae_trainer_save_state(first, state)
        c.sae_trainer_free(first)
        c.sae_trainer_resume(state, settings, ctypes.byref(second))
        c.sae_trainer_metrics(second, metrics)
        assert metrics.step == 21, metrics.step
        for batch in rows:
            c.sae_trainer_step(whole, batch)
        for batch in rows[21:]:
            c.sae_trainer_step(second, batch)
        c.sae_trainer_save_as(whole, places[0], lens, origin)
        c.sae_trainer_save_as(second, places[1], lens, origin)
        c.sae_trainer_snapshot(second, ctypes.byref(own))
        c.autoencoder_save_as(own, places[2], lens, origin)
        read = lambda place, name: open(os.path.join(place.decode(), name), "rb").read()
        for name in ("cfg.json", "sae_weights.safetensors"):
            assert read(places[0], name) == read(places[1], name) == read(places[2], name), name
        said = json.loads(read(places[0], "cfg.json"))["metadata"]
        assert said["model_name"] == "tiny" and said["context_size"] == 128 and said["prepend_bos"] is True, said
        for change in (dict(seed=1), dict(data="words")):
            other = json.dumps(json.loads(settings) | change).encode()
            try:
                c.sae_trainer_resume(state, other, ctypes.byref(first))
            except Failed as error:
                assert "state of a run" in str(error) and not first.value, error
            else:
                raise AssertionError(f"resumed with {change}")
    c.autoencoder_free(own)
    c.sae_trainer_free(second)
    c.sae_trainer_free(whole)


CHECKS = [encode, decode, gates, trainer, kinds, transcoder, through, interrupted]

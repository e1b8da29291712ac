"""Operations of language models and optimisers against numpy."""

import ctypes

import numpy as np
from interface import Failed, close, same

f32 = np.float32


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def largest(x, k):
    """The k largest of each row, the smaller index first among equals."""
    order = np.argsort(-x, axis=-1, kind="stable")[:, :k]
    return np.take_along_axis(x, order, -1), order


def devices(c, draw):
    for call in [lambda: c.device_open(7, 0, ctypes.byref(ctypes.c_void_p())), lambda: c.device_open(0, 0, None)]:
        try:
            call()
        except Failed as failed:
            assert "device_open" in str(failed), failed
        else:
            raise AssertionError("a wrong device was opened")
    handle = ctypes.c_void_p()
    try:
        c.device_adopt(0, None, ctypes.byref(handle))
    except Failed as failed:
        assert failed.status in (c.constants["STATUS_NO_DRIVER"], c.constants["STATUS_DRIVER"]), failed
    else:
        c.device_free(handle)
    c.device_open(0, 0, ctypes.byref(handle))
    c.device_wait(handle)
    c.device_free(handle)


def maps(c, draw):
    x, y = draw(5, 7), draw(5, 7)
    out = np.full((5, 7), np.nan, f32)
    c.copy(x, out)
    same("copy", out, x)
    wide = np.zeros((5, 12), f32)
    c.copy(x, wide[:, 2:9])
    same("copy into a part", wide[:, 2:9], x)
    same("copy beside it", wide[:, [0, 1, 9, 10, 11]], np.zeros((5, 5)))
    half = np.zeros((5, 7), np.float16)
    c.cast(x, half)
    same("cast", half, x.astype(np.float16))
    sum = y.copy()
    c.add(x, sum)
    same("add", sum, x + y)
    c.scale(0.5, sum)
    same("scale", sum, (x + y) * f32(0.5))
    ways = {"SUM": np.sum, "MEAN": np.mean, "MAX": np.max, "SUM_SQUARES": lambda x, axis: (x * x).sum(axis)}
    for name, way in ways.items():
        for axis in (0, 1):
            y = np.zeros(x.shape[1 - axis], f32)
            c.reduce(x, c.constants["REDUCE_" + name], axis, y)
            close(f"reduce {name} {axis}", y, way(x.astype(float), axis=axis))


def statistics(c, draw):
    x, y = draw(9, 5), draw(9, 5)
    for axis in (0, 1):
        mean, variance = np.zeros(x.shape[1 - axis], f32), np.zeros(x.shape[1 - axis], f32)
        c.moments(x, axis, mean, variance)
        close(f"mean {axis}", mean, x.mean(axis))
        close(f"variance {axis}", variance, x.var(axis))
        dmean, dvariance, dx = draw(len(mean)), draw(len(mean)), np.zeros_like(x)
        c.moments_backward(x, mean, dmean, dvariance, axis, 0, dx)
        wide = [np.expand_dims(of, axis) for of in (dmean, dvariance, mean)]
        close(f"moments_backward {axis}", dx, (wide[0] + 2 * wide[1] * (x - wide[2])) / x.shape[axis])
    for of in (y, y[:, :1]):
        r, saved, dr = np.zeros(5, f32), np.zeros((4, 5), f32), draw(5)
        c.pearson(x, of, r, saved)
        want = [np.corrcoef(x[:, j], of[:, j % of.shape[1]])[0, 1] for j in range(5)]
        close("pearson", r, np.array(want))
        dx, dy = np.zeros_like(x), np.zeros(of.shape, f32)
        c.pearson_backward(x, of, r, saved, dr, 0, dx, dy)
        u, w = ((a - a.mean(0)) / np.linalg.norm(a - a.mean(0), axis=0) for a in (x, of))
        close("pearson dx", dx, dr * (w - r * u) / np.linalg.norm(x - x.mean(0), axis=0))
        all = dr * (u - r * w) / np.linalg.norm(of - of.mean(0), axis=0)
        close("pearson dy", dy, all if of.shape[1] == 5 else all.sum(1, keepdims=True))
    labels = np.array([2, 0, 2, 9, 0, 0, 2, 2, 4], np.uint32)
    counts, means, squares = np.zeros(4, np.uint32), np.zeros((4, 5), f32), np.zeros((4, 5), f32)
    ignored = np.zeros(1, np.uint32)
    for add, part in enumerate((slice(0, 5), slice(5, 9))):
        work = c.workspace("class_moments", x[part], 4)
        c.class_moments(x[part], labels[part], add, counts, means, squares, ignored, work)
    same("counts", counts, np.array([3, 0, 4, 0]))
    same("ignored", ignored, np.array([2]))
    for label in (0, 2):
        close("means", means[label], x[labels == label].mean(0))
        close("squares", squares[label], x[labels == label].var(0) * counts[label])


def topk(c, draw):
    x = np.round(draw(6, 50) * 3) / 3  # with ties
    values, indices = np.zeros((6, 9), f32), np.zeros((6, 9), np.uint32)
    c.topk(x, 9, values, indices, c.workspace("topk", x, 9))
    want = largest(x, 9)
    same("topk values", values, want[0])
    same("topk indices", indices, want[1])
    values, indices, offsets = np.zeros(31, f32), np.zeros(31, np.uint32), np.zeros(7, np.uint32)
    c.topk_flat(x, 31, values, indices, offsets, c.workspace("topk_flat", x, 31))
    flat = np.argsort(-x.ravel(), kind="stable")[:31]
    rows = np.repeat(np.arange(6), np.diff(offsets.astype(int)))
    same("topk_flat", np.sort(rows * 50 + indices), np.sort(flat))
    same("topk_flat values", values, x[rows, indices])


def linear(c, draw):
    x, w, bias, dy = draw(5, 8), draw(3, 8), draw(3), draw(5, 3)
    y = np.zeros((5, 3), f32)
    c.linear(x, w, bias, 0, y)
    close("linear", y, x @ w.T + bias)
    c.linear(x, w, None, 1, y)
    close("linear, added", y, 2 * (x @ w.T) + bias)
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros_like(bias)
    c.linear_backward(x, w, dy, 0, dx, dw, db)
    for name, got, want in [("dx", dx, dy @ w), ("dw", dw, dy.T @ x), ("db", db, dy.sum(0))]:
        close("linear_backward " + name, got, want)


def norms(c, draw):
    x, weight, bias, y = draw(4, 9), draw(9), draw(9), np.zeros((4, 9), f32)
    c.rms_norm(x, weight, 1e-5, y)
    close("rms_norm", y, x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight)
    c.layer_norm(x, weight, bias, 1e-5, y)
    off = x - x.mean(-1, keepdims=True)
    close("layer_norm", y, off / np.sqrt((off * off).mean(-1, keepdims=True) + 1e-5) * weight + bias)
    dy, dx, dweight, dbias = draw(4, 9), np.zeros((4, 9), f32), np.zeros(9, f32), np.zeros(9, f32)
    work = c.workspace("norm_backward", x)

    def gradients(off, around):
        root = np.sqrt((off * off).mean(-1, keepdims=True) + 1e-5)
        unit, g = off / root, dy * weight
        level = g.mean(-1, keepdims=True) if around else 0
        return (g - level - unit * (g * unit).mean(-1, keepdims=True)) / root, (dy * unit).sum(0)

    c.rms_norm_backward(x, weight, dy, 1e-5, 0, dx, dweight, work)
    for name, got, want in zip(["dx", "dweight"], [dx, dweight], gradients(x, False)):
        close("rms_norm_backward " + name, got, want)
    before = [dx.copy(), dweight.copy()]
    c.layer_norm_backward(x, weight, dy, 1e-5, 1, dx, dweight, dbias, work)
    for name, got, was, want in zip(["dx", "dweight"], [dx, dweight], before, gradients(off, True)):
        close("layer_norm_backward " + name, got, was + want)
    close("layer_norm_backward dbias", dbias, dy.sum(0))
    x, dy, weight, bias = draw(9, 5), draw(9, 5), draw(5), draw(5)
    y, mean, variance = np.zeros((9, 5), f32), np.zeros(5, f32), np.zeros(5, f32)
    c.batch_norm(x, weight, bias, 1e-5, y, mean, variance)
    root = np.sqrt(x.var(0) + 1e-5)
    u = (x - x.mean(0)) / root
    close("batch_norm", y, u * weight + bias)
    close("its mean", mean, x.mean(0))
    close("its variance", variance, x.var(0))
    c.batch_norm_by(x, bias, variance, weight, None, 1e-5, y)
    close("batch_norm_by", y, (x - bias) / root * weight)
    dx, dweight, dbias = np.zeros((9, 5), f32), np.zeros(5, f32), np.zeros(5, f32)
    work = c.workspace("batch_norm_backward", x)
    c.batch_norm_backward(x, mean, variance, weight, dy, 1e-5, 0, dx, dweight, dbias, work)
    close("batch_norm dx", dx, weight / root * (dy - dy.mean(0) - u * (dy * u).mean(0)))
    close("batch_norm dweight", dweight, (dy * u).sum(0))
    close("batch_norm dbias", dbias, dy.sum(0))


def language(c, draw):
    gate, up, y = draw(4, 6), draw(4, 6), np.zeros((4, 6), f32)
    c.act(gate, up, c.constants["ACT_SILU"], y)
    close("act", y, silu(gate) * up)
    dy, dgate, dup = draw(4, 6), np.zeros((4, 6), f32), np.zeros((4, 6), f32)
    c.act_backward(gate, up, dy, c.constants["ACT_SILU"], dgate, dup)
    share = 1 / (1 + np.exp(-gate))
    close("act_backward dgate", dgate, dy * up * share * (1 + gate * (1 - share)))
    close("act_backward dup", dup, dy * silu(gate))
    # Positions turn pairs by position / base^(2 i / dim).
    x, positions = draw(3, 2, 8), np.array([0, 5, 9], np.uint32)
    angle = positions[:, None, None] * 100.0 ** (-np.arange(4) / 4)
    a, b = x[..., :4].copy(), x[..., 4:].copy()
    want = np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)
    c.rope(positions, 100.0, c.constants["PAIRING_HALVES"], x)
    close("rope", x, want)
    c.rope_backward(positions, 100.0, c.constants["PAIRING_HALVES"], x)
    close("rope_backward", x, np.concatenate([a, b], -1))
    q, k, v, y = draw(2, 3, 4, 8), draw(2, 5, 2, 8), draw(2, 5, 2, 8), np.zeros((2, 3, 4, 8), f32)
    lse, dy = np.zeros((2, 3, 4), f32), draw(2, 3, 4, 8)
    c.attention(q, k, v, 0.3, 1, y, lse)
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    c.attention_backward(q, k, v, 0.3, 1, y, lse, dy, dq, dk, dv, c.workspace("attention_backward", q, k, v))
    k, v = np.repeat(k, 2, 2), np.repeat(v, 2, 2)
    scores = np.einsum("bthd,bshd->bhts", q, k) * 0.3
    scores[:, :, np.arange(3)[:, None] + 2 < np.arange(5)] = -np.inf
    weights = softmax(scores)
    close("attention", y, np.einsum("bhts,bshd->bthd", weights, v))
    close("attention lse", lse, np.log(np.exp(scores).sum(-1)).transpose(0, 2, 1))
    slopes = np.einsum("bthd,bshd->bhts", dy, v)
    slopes = weights * (slopes - (weights * slopes).sum(-1, keepdims=True)) * 0.3
    shared = lambda of: of.reshape(2, 5, 2, 2, 8).sum(3)
    close("attention dq", dq, np.einsum("bhts,bshd->bthd", slopes, k))
    close("attention dk", dk, shared(np.einsum("bhts,bthd->bshd", slopes, q)))
    close("attention dv", dv, shared(np.einsum("bhts,bthd->bshd", weights, dy)))
    table, ids, rows = draw(11, 4), np.array([3, 10, 0, 3], np.uint32), np.zeros((4, 4), f32)
    c.embed(table, ids, rows)
    same("embed", rows, table[ids])
    dtable, want = draw(11, 4), np.zeros((11, 4))
    np.add.at(want, ids, rows)
    work = c.workspace("embed_backward", rows, 11)
    for accumulate, held in [(1, dtable.copy()), (0, 0)]:
        c.embed_backward(rows, ids, accumulate, dtable, work)
        close("embed_backward", dtable, held + want)


def surprise(c, draw):
    logits, targets, counts = draw(4, 7), np.array([0, 6, 2**32 - 1, 3], np.uint32), np.array([1, 1, 0, 1])
    dlosses, losses, again, dlogits = draw(4), np.zeros(4, f32), np.zeros(4, f32), np.zeros((4, 7), f32)
    for smoothing in (0, 0.1):
        wanted = (1 - smoothing) * np.eye(7)[targets % 7] + smoothing / 7
        c.cross_entropy(logits, targets, smoothing, losses)
        close("cross_entropy", losses, counts * -(wanted * np.log(softmax(logits))).sum(-1))
        c.cross_entropy_backward(logits, targets, dlosses, smoothing, None, dlogits)
        close("cross_entropy_backward", dlogits, (counts * dlosses)[:, None] * (softmax(logits) - wanted))
        place = logits.copy()
        c.cross_entropy_backward_in_place(place, targets, dlosses, smoothing, again)
        same("cross_entropy_backward_in_place", place, dlogits)
        same("its losses", again, losses)
    x, y, dx = draw(4, 9), draw(4, 9), np.zeros((4, 9), f32)
    brought = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, ddof=1, keepdims=True) + 1e-6)
    for normalise, away in [(False, x - y), (True, x - brought)]:
        c.mse(x, y, normalise, losses)
        close("mse", losses, (away**2).mean(-1))
        c.mse_backward(x, y, dlosses, normalise, again, dx)
        close("mse_backward", dx, dlosses[:, None] * 2 / 9 * away)
        same("its losses", again, losses)


def optimisers(c, draw):
    w, g, m, v = draw(4, 6), draw(4, 6), draw(4, 6) * 0.1, draw(4, 6) ** 2
    adamw = c.struct("AdamW", lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.05, step=3)

    def step(w, g, m, v):
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        return w - 0.1 * (0.05 * w + m / (1 - 0.9**3) / (np.sqrt(v / (1 - 0.99**3)) + 1e-8)), m, v

    got = [of.copy() for of in (w, m, v)]
    c.adamw(g, adamw, *got)
    for name, got, want in zip("wmv", got, step(w, g, m, v)):
        close("adamw " + name, got, want)
    w /= np.linalg.norm(w, axis=-1, keepdims=True)
    got = [of.copy() for of in (w, m, v)]
    adamw.weight_decay = 0
    c.decoder_step(g, adamw, *got)
    off = g - (g * w).sum(-1, keepdims=True) * w
    m, v = 0.9 * m + 0.1 * off, 0.99 * v + 0.01 * off * off
    moved = w - 0.1 * m / (1 - 0.9**3) / (np.sqrt(v / (1 - 0.99**3)) + 1e-8)
    close("decoder_step", got[0], moved / np.linalg.norm(moved, axis=-1, keepdims=True), 1e-5)
    # From averages of nothing a step does not depend on their codes.
    adamw.step, w, g = 1, draw(4, 30), draw(4, 30)
    got, (m, v) = w.copy(), np.zeros((2, 4, 30), np.uint8)
    scales = np.zeros((2, 2), f32)
    c.adamw8(g, adamw, 64, got, m, v, scales)
    close("adamw8", got, w - 0.1 * g / (np.abs(g) + 1e-8))
    means = 0.1 * g.ravel()
    largest = [block[np.abs(block).argmax()] for block in (means[:64], means[64:])]
    close("adamw8 scales", scales[:, 0], np.array(largest))
    got, m = w.copy(), draw(4, 30)
    mean = 0.9 * m + 0.1 * g
    c.signum(g, 0.01, 0.9, 0.5, got, m)
    close("signum m", m, mean)
    close("signum", got, 0.995 * w - 0.01 * np.sign(mean))
    squares, parts = np.zeros(256, f32), [draw(5, 3), draw(8)]
    before = [part.copy() for part in parts]
    for n, part in enumerate(parts):
        c.clip_squares(part, int(n > 0), squares)
    length = np.sqrt(sum((part**2).sum() for part in before))
    for part, was in zip(parts, before):
        c.clip_scale(squares, 0.5, part)
        close("clip", part, was * 0.5 / length, 1e-5)


CHECKS = [devices, maps, statistics, topk, linear, norms, language, surprise, optimisers]

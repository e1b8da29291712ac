"""Compression of gradients against numpy."""

import ctypes
import struct

import numpy as np
from interface import close, same

f32, u32 = np.float32, np.uint32


def entropy(c, draw):
    table, starts, span = c.segments([(1000,), (1,), (5000,)])
    x = draw(span)
    x[starts[2]] = np.nan
    x[starts[2] + 9] = np.inf
    values, counts = np.zeros((3, 8), f32), np.zeros((3, 3), u32)
    settings = c.struct("Entropy", estimator=0, correct=0, bins=100, chunk=0, stride=4, seed=1, step=2)
    c.entropy(x, table, settings, values, counts, c.workspace("entropy", table, settings))
    for row, (start, length) in enumerate(zip(starts, (1000, 1, 5000))):
        part = x[start : start + length]
        part = part[np.isfinite(part)][::4]
        shares = np.histogram(part, 100)[0] / len(part)
        shares = shares[shares > 0]
        close(f"entropy {row}", values[row, 0], -(shares * np.log(shares)).sum(), 1e-3)
        close("entropy range", values[row, 3:5], [part.min(), part.max()])
        close("entropy mean", values[row, 5], part.mean(dtype=float), 1e-4)
        same("entropy counts", counts[row], [len(part), row == 2, row == 2])
    c.segments_free(table)


def unpack(codes, bits, n):
    """Code i is bits b i to b i + b - 1 of a stream whose bit k is bit k % 8 of byte k // 8."""
    stream = np.unpackbits(codes, bitorder="little")[: n * bits].reshape(n, bits)
    return (stream << np.arange(bits)).sum(-1)


def quant(c, draw):
    n, block = 150, 64
    for name, bits in [("SYMMETRIC", 8), ("SYMMETRIC", 4), ("AFFINE", 8), ("AFFINE", 3), ("SIGN", 1)]:
        width = 2 if name == "AFFINE" else 1
        number = c.constants["FORMAT_" + name]
        settings = c.struct("Quant", format=number, bits=bits, block=block, stochastic=0, seed=0, step=0)
        x, error = draw(n), draw(n) * f32(0.1)
        a = x + error
        codes, scales, dropped = np.zeros((n * bits + 7) // 8, np.uint8), np.zeros((3, width), f32), np.zeros(1, u32)
        c.quant(x, settings, error, codes, scales, dropped)
        q, scale = unpack(codes, bits, n), np.repeat(scales[:, 0], block)[:n]
        parts = [a[start : start + block] for start in range(0, n, block)]
        if name == "SYMMETRIC":
            size = [np.abs(part).max() / (2 ** (bits - 1) - 1) for part in parts]
            numbers = np.where(q >= 2 ** (bits - 1), q - 2**bits, q) * scale
        elif name == "AFFINE":
            size = [(part.max() - part.min()) / (2**bits - 1) for part in parts]
            numbers = np.repeat(scales[:, 1], block)[:n] + q * scale
        else:
            size = [np.abs(part).mean() for part in parts]
            numbers = np.where(q == 1, scale, -scale)
            same("quant sign", q, a >= 0)
        close(f"quant {name} {bits} scales", scales[:, 0], size)
        if name != "SIGN":
            assert (np.abs(numbers - a) <= 0.5001 * scale).all(), f"quant {name} {bits} is not nearest"
        y = np.zeros(n, f32)
        c.dequant(codes, scales, settings, 0, y)
        close(f"dequant {name} {bits}", y, numbers)
        close("quant error", error, a - y, 1e-4)
        ranks = [np.repeat(of[None], 3, 0).copy() for of in (codes, scales)]
        error, again, sizes = np.zeros(n, f32), np.zeros_like(codes), np.zeros_like(scales)
        c.quant_sum(*ranks, n, 1 / 3, settings, error, again, sizes, dropped)
        c.dequant(again, sizes, settings, 0, y)
        close(f"quant_sum {name} {bits}", y + error, numbers, 1e-5)
        same("dropped", dropped, [0])
        message(c, settings, codes, scales, n)


def message(c, settings, codes, scales, n):
    """Codes and scales as the bytes of version 1, and back."""
    size = ctypes.c_size_t()
    c.quant_message(n, settings, ctypes.byref(size))
    sent = np.full(size.value, 255, np.uint8)
    c.quant_write(codes, scales, n, settings, sent)
    rest = scales.astype("<f4").tobytes() + codes.tobytes()
    head = struct.pack("<4sBBBBIIQQ", b"LTNQ", 1, settings.format, settings.bits, 0, settings.block, 0, n, len(rest))
    same("quant_write", sent, np.frombuffer(head + rest, np.uint8))
    count, found = ctypes.c_size_t(), c.struct("Quant")
    c.quant_head(sent, ctypes.byref(count), found)
    assert count.value == n, f"quant_head: {count.value} numbers"
    for name in ("format", "bits", "block", "stochastic"):
        assert getattr(found, name) == getattr(settings, name), f"quant_head: {name}"
    codes_back, scales_back = np.zeros_like(codes), np.zeros_like(scales)
    c.quant_read(sent, codes_back, scales_back)
    same("quant_read codes", codes_back, codes)
    same("quant_read scales", scales_back, scales)


def sparsify(c, draw):
    n, k = 200, 17
    g, e = draw(n), draw(n)
    g[3] = np.nan
    a, memory = g + e, e.copy()
    values, indices, counts = np.zeros(k, f32), np.zeros(k, u32), np.zeros(2, u32)
    c.sparsify(g, k, e, values, indices, counts, c.workspace("sparsify", g, k))
    a[3] = 0
    sent = np.sort(np.argsort(-np.abs(a), kind="stable")[:k])
    same("sparsify", indices, sent)
    same("sparsify values", values, a[sent])
    same("sparsify counts", counts, [k, 1])
    a[sent] = 0
    a[3] = memory[3]
    same("sparsify memory", e, a)
    y = np.full(n, 2, f32)
    c.sparsify_sum(np.stack([values, values]), np.stack([indices, indices]), 0.5, 1, y)
    want = np.full(n, 2, f32)
    want[sent] += values
    close("sparsify_sum", y, want)


def lowrank(c, draw):
    shapes, rank = [(12, 9), (6, 20), (7, 7)], 3
    table, starts, span = c.segments(shapes)
    parts = [slice(start, start + rows * columns) for start, (rows, columns) in zip(starts, shapes)]
    rows, columns = (np.cumsum([0] + [shape[axis] for shape in shapes]) for axis in (0, 1))
    e, q, sent, came = np.zeros(span, f32), draw(columns[-1], rank), np.zeros(span), np.zeros(span)
    p, y, dropped = np.zeros((rows[-1], rank), f32), np.zeros(span, f32), np.zeros(3, u32)
    for _ in range(4):
        g = draw(span)
        a, was = e + g, q.copy()
        c.lowrank_left(table, g, q, e, p, dropped)
        for s, (part, shape) in enumerate(zip(parts, shapes)):
            came[part] += g[part]
            close("lowrank_left e", e[part], a[part])
            close("lowrank_left", p[rows[s] : rows[s + 1]], a[part].reshape(shape) @ was[columns[s] : columns[s + 1]], 1e-5)
        spanned = p.copy()
        c.lowrank_orthogonalise(table, 5, p, c.workspace("lowrank_orthogonalise", table, rank))
        c.lowrank_right(table, e, p, q)
        c.lowrank_restore(table, p, q, e, y)
        for s, (part, shape) in enumerate(zip(parts, shapes)):
            mine, before = p[rows[s] : rows[s + 1]], spanned[rows[s] : rows[s + 1]]
            close("lowrank_orthogonalise", mine.T @ mine, np.eye(rank), 1e-5)
            close("what it spans", mine @ (mine.T @ before), before, 1e-5)
            close("lowrank_right", q[columns[s] : columns[s + 1]], a[part].reshape(shape).T @ mine, 1e-5)
            made = mine @ q[columns[s] : columns[s + 1]].T
            close("lowrank_restore", y[part].reshape(shape), made, 1e-5)
            close("lowrank_restore e", e[part], a[part] - made.ravel(), 1e-4)
            sent[part] += y[part]
    for part in parts:
        close("sum of what was sent, and the rest", sent[part] + e[part], came[part], 1e-5)
    same("dropped", dropped, [0, 0, 0])
    narrow, wide = np.zeros((columns[-1], 2), f32), np.zeros((columns[-1], 5), f32)
    c.lowrank_resize(table, q, 9, narrow)
    c.lowrank_resize(table, q, 9, wide)
    same("lowrank_resize, wider", wide[:, :rank], q)
    for s in range(3):
        mine = q[columns[s] : columns[s + 1]]
        longest = np.sort(np.argsort(-(mine.astype(float) ** 2).sum(0), kind="stable")[:2])
        same("lowrank_resize, narrower", narrow[columns[s] : columns[s + 1]], mine[:, longest])
        assert np.linalg.matrix_rank(wide[columns[s] : columns[s + 1]]) == 5, "new columns are not new"
    c.segments_free(table)


def factors(c, draw):
    """Three ranks exchange a factor in 8 bits; all of them make the same sum of what was sent."""
    rows, rank, block, scale = 50, 3, 32, 0.25
    settings = c.struct("Quant", format=c.constants["FORMAT_SYMMETRIC"], bits=8, block=block, stochastic=0, seed=0, step=0)
    blocks, n = (rows * rank + block - 1) // block, rows * rank
    codes, scales, dropped = np.zeros((3, n), np.uint8), np.zeros((3, blocks, 1), f32), np.zeros(1, u32)
    sent = [draw(rows, rank) for _ in range(3)]
    for number, p in enumerate(sent):
        was = p.copy()
        c.lowrank_quantise(p, settings, codes[number], scales[number], dropped)
        step = np.repeat(scales[number], block)[:n].reshape(rows, rank)
        close("lowrank_quantise", p, codes[number].view(np.int8).reshape(rows, rank) * step)
        assert (np.abs(p - was) <= 0.5001 * step).all(), "lowrank_quantise is not nearest"
    out = np.zeros((rows, rank), f32)
    c.lowrank_sum(codes, scales, scale, settings, out)
    close("lowrank_sum", out, scale * sum(sent))


CHECKS = [entropy, quant, sparsify, lowrank, factors]

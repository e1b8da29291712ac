"""Convolution, pooling and change of size of images against numpy."""

import ctypes
from itertools import product

import numpy as np
from interface import close, same

f32, u32 = np.float32, np.uint32


def places(size, steps):
    """Where the entries of a padded image lie that each result reads: an array for each entry of a window."""
    taps, stride, padding, dilation = steps
    count = (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    return [np.arange(count) * stride + tap * dilation for tap in range(taps)]


def patches(x, down, across, fill=0):
    """[batch, rows, columns, window, channels] of what the entries of a window read."""
    pad = [(0, 0), (down[2],) * 2, (across[2],) * 2, (0, 0)]
    x = np.pad(x.astype(float), pad, constant_values=fill)
    rows, columns = places(x.shape[1] - 2 * down[2], down), places(x.shape[2] - 2 * across[2], across)
    return np.stack([x[:, u][:, :, v] for u, v in product(rows, columns)], 3)


def scatter(parts, shape, down, across):
    """The gradient of patches."""
    dx = np.zeros((shape[0], shape[1] + 2 * down[2], shape[2] + 2 * across[2], shape[3]))
    pairs = product(places(shape[1], down), places(shape[2], across))
    for at, (u, v) in enumerate(pairs):
        dx[:, u[:, None], v] += parts[:, :, :, at]
    return dx[:, down[2] : down[2] + shape[1], across[2] : across[2] + shape[2]]


def conv2d(c, draw):
    names = ["stride_y", "stride_x", "padding_y", "padding_x", "dilation_y", "dilation_x", "groups"]
    for how in [(1, 1, 1, 1, 1, 1, 1), (2, 1, 0, 2, 1, 2, 1), (2, 2, 1, 1, 1, 1, 2), (1, 2, 2, 1, 2, 1, 6), (1, 1, 0, 0, 1, 1, 1)]:
        (sy, sx, py, px, dy_, dx_, groups), (u, v) = how, (1, 1) if how[2:4] == (0, 0) else (3, 2)
        x, w, bias = draw(2, 9, 8, 6), draw(6, u, v, 6 // groups), draw(6)
        down, across = (u, sy, py, dy_), (v, sx, px, dx_)
        read = patches(x, down, across)
        batch, rows, columns = read.shape[:3]
        read = read.reshape(batch, rows, columns, u * v, groups, -1)
        of_w = w.reshape(groups, 6 // groups, u * v, -1).astype(float)
        y, given = np.zeros((batch, rows, columns, 6), f32), c.struct("Conv2d", **dict(zip(names, how)))
        c.conv2d(x, w, bias, given, y)
        close(f"conv2d {how}", y, np.einsum("bijtgc,gotc->bijgo", read, of_w).reshape(y.shape) + bias)
        dy = draw(*y.shape)
        of_y = dy.reshape(batch, rows, columns, groups, -1).astype(float)
        parts = np.einsum("bijgo,gotc->bijtgc", of_y, of_w).reshape(batch, rows, columns, u * v, 6)
        want = [scatter(parts, x.shape, down, across), np.einsum("bijgo,bijtgc->gotc", of_y, read).reshape(w.shape), dy.sum((0, 1, 2))]
        workspace, out = c.workspace("conv2d_backward", x, w, given), [np.zeros_like(of) for of in (x, w, bias)]
        for times in (1, 2):
            c.conv2d_backward(x, w, dy, given, times - 1, *out, workspace)
            for name, got, one in zip(["dx", "dw", "db"], out, want):
                close(f"conv2d_backward {how} {name}", got, times * one)


def pools(c, draw):
    names = ["size_y", "size_x", "stride_y", "stride_x", "padding_y", "padding_x"]
    for given in [(2, 2, 2, 2, 0, 0), (3, 3, 2, 2, 1, 1), (4, 3, 1, 3, 2, 0), (9, 8, 1, 1, 0, 0)]:
        down, across = (given[0], given[2], given[4], 1), (given[1], given[3], given[5], 1)
        x, window = np.round(draw(2, 9, 8, 5) * 2) / 2, c.struct("Window", **dict(zip(names, given)))  # with ties
        numbers = np.broadcast_to(np.arange(72).reshape(1, 9, 8, 1), x.shape)
        read, where = patches(x, down, across, -np.inf), patches(numbers, down, across, -1)
        y = np.zeros(read[:, :, :, 0].shape, f32)
        indices = np.zeros(y.shape, u32)
        c.max_pool(x, window, y, indices)
        same(f"max_pool {given}", y, read.max(3))
        first = read.argmax(3)[:, :, :, None]
        same(f"max_pool indices {given}", indices, np.take_along_axis(where, first, 3)[:, :, :, 0])
        dy, dx = draw(*y.shape), np.zeros_like(x)
        parts = np.zeros(read.shape)
        np.put_along_axis(parts, first, dy[:, :, :, None], 3)
        for times in (1, 2):
            c.max_pool_backward(dy, indices, window, times - 1, dx)
            close(f"max_pool_backward {given}", dx, times * scatter(parts, x.shape, down, across))
        inside = np.isfinite(read)
        for count_padding in (False, True):
            divisor = np.full(y.shape, given[0] * given[1]) if count_padding else inside.sum(3)
            c.average_pool(x, window, count_padding, y)
            close(f"average_pool {given}", y, np.where(inside, read, 0).sum(3) / divisor)
            parts = np.broadcast_to((dy / divisor)[:, :, :, None], read.shape)
            c.average_pool_backward(dy, window, count_padding, 0, dx)
            close(f"average_pool_backward {given}", dx, scatter(parts, x.shape, down, across))


def weights(name, size, to):
    """The matrix of a change of size in one direction."""
    a = -0.5 if "ANTIALIAS" in name else -0.75
    triangle = lambda z: np.maximum(1 - z, 0)
    near, far = lambda z: ((a + 2) * z - (a + 3)) * z * z + 1, lambda z: a * (((z - 5) * z + 8) * z - 4)
    cubic = lambda z: np.where(z < 1, near(z), np.where(z < 2, far(z), 0))
    shape, scale = triangle if "BILINEAR" in name else cubic, size / to
    centers, matrix = (np.arange(to) + 0.5) * scale, np.zeros((to, size))
    if "ANTIALIAS" in name:
        matrix = shape(np.abs(np.arange(size) + 0.5 - centers[:, None]) / max(scale, 1))
        return matrix / matrix.sum(1, keepdims=True)
    for at in range(-3, size + 3):
        matrix[:, np.clip(at, 0, size - 1)] += shape(np.abs(at + 0.5 - centers))
    return matrix


def resize(c, draw):
    for name, to in product(["BILINEAR", "BICUBIC", "BILINEAR_ANTIALIAS", "BICUBIC_ANTIALIAS"], [(4, 3), (13, 5), (9, 8)]):
        x, by = draw(2, 9, 8, 3), ctypes.c_void_p()
        c.resize_new(c.constants["FILTER_" + name], 9, 8, *to, ctypes.byref(by))
        down, across = weights(name, 9, to[0]), weights(name, 8, to[1])
        y, work = np.zeros((2, *to, 3), f32), c.workspace("resize", x, by)
        c.resize(x, by, y, work)
        close(f"resize {name} {to}", y, np.einsum("ik,jl,bklc->bijc", down, across, x))
        dy, dx = draw(*y.shape), np.zeros_like(x)
        for times in (1, 2):
            c.resize_backward(dy, by, times - 1, dx, work)
            close(f"resize_backward {name} {to}", dx, times * np.einsum("ik,jl,bijc->bklc", down, across, dy))
        c.resize_free(by)


CHECKS = [conv2d, pools, resize]

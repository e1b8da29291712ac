"""Causal convolution, selective scan and state space dual against numpy."""

import numpy as np
from interface import close, same

f32, u32 = np.float32, np.uint32


def silu(x):
    return x / (1 + np.exp(-x))


def conv1d(c, draw):
    x, weight, bias, initial = draw(2, 9, 5), draw(5, 4), draw(5), draw(2, 3, 5)
    keep = []
    call = c.struct("Conv1d", keep, x=x, weight=weight, bias=bias, initial=initial, silu=True)
    y, last = np.zeros_like(x), np.zeros_like(initial)
    c.conv1d(call, y, last, c.workspace("conv1d", call))
    whole = np.concatenate([initial, x], 1)
    before = sum(whole[:, w : w + 9] * weight[:, w] for w in range(4)) + bias
    close("conv1d", y, silu(before))
    same("conv1d last", last, whole[:, -3:])
    dy, dlast = draw(2, 9, 5), draw(2, 3, 5)
    dx, dweight, dbias, dinitial = (np.zeros_like(of) for of in (x, weight, bias, initial))
    workspace = c.workspace("conv1d_backward", call)
    c.conv1d_backward(call, dy, dlast, dx, dweight, dbias, dinitial, workspace)
    s = 1 / (1 + np.exp(-before))
    d = dy * s * (1 + before * (1 - s))
    dwhole = np.zeros_like(whole)
    for w in range(4):
        dwhole[:, w : w + 9] += d * weight[:, w]
    dwhole[:, -3:] += dlast
    want_weight = np.stack([(d * whole[:, w : w + 9]).sum((0, 1)) for w in range(4)], -1)
    close("conv1d dx", np.concatenate([dinitial, dx], 1), dwhole)
    close("conv1d dweight", dweight, want_weight)
    close("conv1d dbias", dbias, d.sum((0, 1)))
    # Step by step it is the same.
    state, row = initial.copy(), np.zeros((2, 5), f32)
    for t in range(9):
        c.conv1d_step(np.ascontiguousarray(x[:, t]), weight, bias, True, state, row)
        close("conv1d_step", row, y[:, t])
    close("conv1d_step state", state, last)


def orders(c, draw):
    """Patches of a picture in each order, with a class token among them and without."""
    height, width, side, token = 4, 6, 2, 9
    patches = np.arange(height * width).reshape(height, width)
    squares = patches.reshape(height // side, side, width // side, side).transpose(0, 2, 1, 3)
    for name, want in [("FORWARD", patches), ("COLUMN", patches.T), ("CLUSTER", squares)]:
        want = want.reshape(-1)
        among = np.insert(want + (want >= token), token, token)
        for end, turn in [("", 1), ("_REVERSE", -1)]:
            order = c.constants.get("ORDER_" + (name + end).replace("FORWARD_", ""))
            if order is None:
                continue
            rows, more = np.zeros(want.size, u32), np.zeros(want.size + 1, u32)
            c.scan_order(order, side, height, width, -1, rows)
            same(f"scan_order {name}", rows, want[::turn])
            c.scan_order(order, side, height, width, token, more)
            same(f"scan_order {name} with a token", more, among[::turn])


class Inputs:
    """What a scan reads, by the names of LatensScan."""

    def __init__(self, **tensors):
        self.tensors = tensors

    def outputs(self, **others):
        """y and last in f64, with some of the tensors replaced."""
        t = {name: np.asarray(of, np.float64) for name, of in {**self.tensors, **others}.items()}
        orders = self.tensors.get("orders", np.arange(t["u"].shape[1])[None])
        (batch, length, channels), states = t["delta"].shape, t["a"].shape[1]
        width = channels // len(orders)
        delta = np.log1p(np.exp(t["delta"] + t["bias"]))
        u = np.concatenate([t["u"]] * (channels // t["u"].shape[2]), -1)
        spread = lambda of: np.repeat(of.reshape(batch, length, -1, states), channels * states // of.shape[2], 2)
        b, c = spread(t["b"]), spread(t["c"])
        y, last = np.zeros((batch, length, width)), np.zeros((batch, channels, states))
        for number, order in enumerate(orders):
            mine = slice(number * width, (number + 1) * width)
            h = t["initial"][:, mine].copy()
            for row in order:
                d = delta[:, row, mine, None]
                h = np.exp(d * t["a"][mine]) * h + d * b[:, row, mine] * u[:, row, mine, None]
                y[:, row] += (h * c[:, row, mine]).sum(-1) + t["skip"][mine] * u[:, row, mine]
            last[:, mine] = h
        return y * silu(t["gate"]), last


def scan(c, draw):
    batch, length, width, states, keep = 2, 7, 6, 5, []
    # There and back, with a group of b and c for each direction.
    orders = np.array([np.arange(length), np.arange(length)[::-1]], u32)
    channels = 2 * width
    inputs = Inputs(
        u=draw(batch, length, width),
        delta=draw(batch, length, channels),
        a=-np.exp(draw(channels, states)),
        b=draw(batch, length, 2 * states),
        c=draw(batch, length, 2 * states),
        skip=draw(channels),
        bias=draw(channels),
        gate=draw(batch, length, width),
        initial=draw(batch, channels, states),
        orders=orders,
    )
    call = c.struct("Scan", keep, softplus=True, **inputs.tensors)
    y, last = np.zeros((batch, length, width), f32), np.zeros((batch, channels, states), f32)
    c.scan(call, y, last, c.workspace("scan", call))
    want = inputs.outputs()
    close("scan", y, want[0])
    close("scan last", last, want[1])
    dy, dlast = draw(*y.shape), draw(*last.shape)
    gradients = {name: np.zeros_like(of) for name, of in inputs.tensors.items() if name != "orders"}
    to = c.struct("ScanGradients", keep, **gradients)
    c.scan_backward(call, dy, dlast, to, c.workspace("scan_backward", call))
    loss = lambda y, last: (y * dy).sum() + (last * dlast).sum()
    for name, gradient in gradients.items():
        of, towards = inputs.tensors[name].astype(float), draw(*gradient.shape)
        step = 1e-5
        up, down = (loss(*inputs.outputs(**{name: of + sign * step * towards})) for sign in (1, -1))
        close(f"scan_backward {name}", (gradient * towards).sum(), (up - down) / (2 * step), 1e-4)
        assert np.isfinite(gradient).all() and gradient.any(), f"scan_backward {name} is {gradient}"
    # Row by row, in one order.
    forward = {name: of for name, of in inputs.tensors.items() if name != "orders"}
    for name in ("delta", "b", "c"):
        forward[name] = np.ascontiguousarray(forward[name][:, :, : forward[name].shape[2] // 2])
    for name in ("a", "skip", "bias"):
        forward[name] = forward[name][:width].copy()
    state = forward.pop("initial")[:, :width].copy()
    want = Inputs(**forward, initial=state).outputs()
    for row in range(length):
        rows = {name: np.ascontiguousarray(of[:, row : row + 1]) if of.ndim == 3 else of for name, of in forward.items()}
        out = np.zeros((batch, 1, width), f32)
        c.scan_step(c.struct("Scan", keep, softplus=True, **rows), state, out)
        close("scan_step", out[:, 0], want[0][:, row])
    close("scan_step state", state, want[1])


def dual(t):
    """y and last of an ssd in f64, of the inputs by the names of LatensSsd."""
    t = {name: np.asarray(of, np.float64) for name, of in t.items()}
    (batch, length, heads), (_, _, head_dim, states) = t["delta"].shape, t["initial"].shape
    delta = np.log1p(np.exp(t["delta"] + t["bias"]))
    x = t["x"].reshape(batch, length, heads, head_dim)
    groups = lambda of: of.reshape(batch, length, -1, states)
    spread = lambda of: np.repeat(groups(of), heads // groups(of).shape[2], 2)
    b, c = spread(t["b"]), spread(t["c"])
    y, h = np.zeros((batch, length, heads, head_dim)), t["initial"].copy()
    for row in range(length):
        d = delta[:, row, :, None, None]
        h = np.exp(d * t["a"][:, None, None]) * h + d * x[:, row, :, :, None] * b[:, row, :, None]
        y[:, row] = (h * c[:, row, :, None]).sum(-1) + t["skip"][:, None] * x[:, row]
    return y.reshape(batch, length, -1) * silu(t["gate"]), h


def ssd(c, draw):
    batch, length, heads, head_dim, states, keep = 2, 70, 4, 3, 5, []
    inputs = {
        "x": draw(batch, length, heads * head_dim),
        "delta": draw(batch, length, heads),
        "a": -np.exp(draw(heads)),
        "b": draw(batch, length, 2 * states),
        "c": draw(batch, length, 2 * states),
        "skip": draw(heads),
        "bias": draw(heads),
        "gate": draw(batch, length, heads * head_dim),
        "initial": draw(batch, heads, head_dim, states),
    }
    call = c.struct("Ssd", keep, groups=2, softplus=True, **inputs)
    y, last = np.zeros_like(inputs["x"]), np.zeros_like(inputs["initial"])
    c.ssd(call, y, last, c.workspace("ssd", call))
    want = dual(inputs)
    close("ssd", y, want[0])
    close("ssd last", last, want[1])
    dy, dlast = draw(*y.shape), draw(*last.shape)
    gradients = {name: np.zeros_like(of) for name, of in inputs.items()}
    to = c.struct("SsdGradients", keep, **gradients)
    c.ssd_backward(call, dy, dlast, to, c.workspace("ssd_backward", call))
    loss = lambda y, last: (y * dy).sum() + (last * dlast).sum()
    for name, gradient in gradients.items():
        of, towards = inputs[name].astype(float), draw(*gradient.shape)
        step = 1e-5
        up, down = (loss(*dual({**inputs, name: of + sign * step * towards})) for sign in (1, -1))
        close(f"ssd_backward {name}", (gradient * towards).sum(), (up - down) / (2 * step), 1e-4)
        assert np.isfinite(gradient).all() and gradient.any(), f"ssd_backward {name} is {gradient}"
    # Row by row.
    state = inputs.pop("initial").copy()
    for row in range(length):
        rows = {name: np.ascontiguousarray(of[:, row : row + 1]) if of.ndim == 3 else of for name, of in inputs.items()}
        out = np.zeros((batch, 1, heads * head_dim), f32)
        c.ssd_step(c.struct("Ssd", keep, groups=2, softplus=True, **rows), state, out)
        close("ssd_step", out[:, 0], want[0][:, row], 1e-5)
    close("ssd_step state", state, want[1], 1e-5)


CHECKS = [conv1d, orders, scan, ssd]

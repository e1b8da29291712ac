"""Operations along sequences as programs in torch write them: cases of torch_peer.py."""
import torch
import torch.nn.functional as F


def scan_inputs(c, gradients):
    length, width, states = (c.dims[name] for name in ("len", "width", "states"))
    shapes = {"u": (1, length, width), "delta": (1, length, width), "a": (width, states), "b": (1, length, states),
              "c": (1, length, states), "skip": (width,)}
    return {name: c.load(name, *shape).requires_grad_(gradients) for name, shape in shapes.items()}


def scan_loop(u, delta, a, b, c, skip):
    """The published program's reference: decays and entries of all rows at once, then a loop over time. Rows are taken apart
    by unbind, for the gradient of an index is as large as what it indexes: a loop of them would take the square of the time."""
    decay = torch.exp(delta[..., None] * a)
    entry = (delta * u)[..., None] * b[:, :, None]
    h, out = torch.zeros_like(entry[:, 0]), []
    for decay, entry, c in zip(decay.unbind(1), entry.unbind(1), c.unbind(1)):
        h = decay * h + entry
        out.append((h * c[:, None]).sum(-1))
    return torch.stack(out, 1) + u * skip


def scan(c):
    x = scan_inputs(c, False)
    run = lambda: scan_loop(**x)
    c.save("y", run())
    return run


def scan_backward(c):
    """Forward and backward; what the forward pass takes is part of what autograd takes."""
    x, dy = scan_inputs(c, True), c.load("dy", 1, c.dims["len"], c.dims["width"])

    def run():
        for tensor in x.values():
            tensor.grad = None
        scan_loop(**x).backward(dy)

    run()
    for name, tensor in x.items():
        c.save(f"d{name}", tensor.grad)
    return run


def conv1d(c):
    length, width, taps = (c.dims[name] for name in ("len", "width", "taps"))
    x, weight, bias = c.load("x", 1, width, length), c.load("weight", width, 1, taps), c.load("bias", width)
    run = lambda: F.silu(F.conv1d(x, weight, bias, padding=taps - 1, groups=width)[..., :length])
    c.save("y", run())
    return run


CASES = {f.__name__: f for f in (scan, scan_backward, conv1d)}

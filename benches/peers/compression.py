"""Compression of gradients as programs in torch write it: cases of torch_peer.py."""
import torch


def entropy_released(c):
    """The estimator of the published program: histogram of every fourth finite element, in nats."""
    x = c.load("x", -1)

    def run():
        flat = x.flatten()
        flat = flat[torch.isfinite(flat)]
        sample = flat[:: c.dims["stride"]].float()
        counts = torch.histc(sample, bins=c.dims["bins"], min=sample.min().item(), max=sample.max().item())
        p = counts / counts.sum()
        p = p[p > 0]
        return -(p * p.log()).sum()

    c.save("entropy", run().reshape(1))
    return run


def symmetric(a, top):
    """Codes of rows and their scales."""
    a = a.float()
    scale = a.abs().amax(1, keepdim=True) / top
    return (a / scale).round().clamp(-top, top).to(torch.int8), scale


def blocks(c):
    return c.load("x", -1, c.dims["block"])


def quant_int8(c):
    x = blocks(c)
    run = lambda: symmetric(x, 127)
    codes, scale = run()
    c.save("numbers", codes * scale)
    return run


def quant_int4(c):
    x = blocks(c)

    def run():
        codes, scale = symmetric(x, 7)
        low, high = codes[:, 0::2] & 15, codes[:, 1::2] & 15
        return low | (high << 4), scale

    codes, scale = symmetric(x, 7)
    run()
    c.save("numbers", codes * scale)
    return run


def quant_chance8(c):
    x = blocks(c)

    def run():
        scale = x.abs().amax(1, keepdim=True) / 127
        return (x / scale + torch.rand_like(x)).floor().clamp(-127, 127).to(torch.int8), scale

    codes, scale = run()
    c.save("numbers", codes * scale)
    return run


def by_table(c):
    x, table = blocks(c), c.load("table", -1)
    edges = (table[1:] + table[:-1]) / 2

    def run():
        scale = x.abs().amax(1, keepdim=True)
        return torch.bucketize(x / scale, edges, out_int32=True).to(torch.uint8), scale

    codes, scale = run()
    c.save("numbers", table[codes.int()] * scale)
    return run


def quant_dynamic8(c):
    return by_table(c)


def quant_normal4(c):
    return by_table(c)


def quant_feedback(c):
    """With the memory of errors, as error feedback is written."""
    x = blocks(c)
    state = {"error": torch.zeros_like(x)}

    def run():
        a = x + state["error"]
        codes, scale = symmetric(a, 127)
        state["error"] = a - codes * scale
        return codes, scale

    codes, scale = run()
    c.save("numbers", codes * scale)
    return run


def quant_dequant(c):
    codes, scale = symmetric(blocks(c), 127)
    run = lambda: codes * scale
    c.save("numbers", run())
    return run


def quant_sum(c):
    """The mean of what ranks sent, as a message."""
    ranks = c.dims["ranks"]
    messages = [symmetric(blocks(c) * (1 + rank), 127) for rank in range(ranks)]

    def run():
        total = messages[0][0] * messages[0][1]
        for codes, scale in messages[1:]:
            total += codes * scale
        return symmetric(total / ranks, 127)

    codes, scale = run()
    c.save("numbers", codes * scale)
    return run


def sparsify(c):
    """The largest entries with error feedback, as the sparsifying libraries write it."""
    g, k = c.load("g", c.dims["n"]), c.dims["k"]
    state = {"error": c.load("e", c.dims["n"])}

    def run():
        a = g + state["error"]
        indices = torch.topk(a.abs(), k, sorted=False).indices
        values = a[indices]
        a[indices] = 0
        state["error"] = a
        return values, indices

    values, indices = run()
    indices, order = indices.sort()
    c.save("values", values[order])
    c.save("left", state["error"])
    return run


def sparsify_sum(c):
    n, k, ranks = c.dims["n"], c.dims["k"], c.dims["ranks"]
    values, indices = c.load("values", ranks, k), c.ids("indices", ranks, k)

    def run():
        y = torch.zeros(n)
        for rank in range(ranks):
            y.index_add_(0, indices[rank], values[rank])
        return y.mul_(1 / ranks)

    c.save("y", run())
    return run


CASES = {
    f.__name__: f
    for f in (entropy_released, quant_int8, quant_int4, quant_chance8, quant_dynamic8, quant_normal4, quant_feedback,
              quant_dequant, quant_sum, sparsify, sparsify_sum)
}

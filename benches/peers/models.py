"""What language models are trained with: the torch side of `compare models`."""
import torch
import torch.nn.functional as F


def heads(c):
    length, dim = c.dims["len"], c.dims["dim"]
    return [c.load(name, c.dims[of], length, dim)[None] for name, of in (("q", "heads"), ("k", "kv_heads"), ("v", "kv_heads"))]


def attention(c):
    q, k, v = heads(c)
    run = torch.inference_mode()(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))
    c.save("y", run())
    return run


def attention_backward(c):
    q, k, v = (x.requires_grad_() for x in heads(c))
    dy = c.load("dy", c.dims["heads"], c.dims["len"], c.dims["dim"])[None]

    def run():
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return torch.autograd.grad(y, (q, k, v), dy)

    for name, gradient in zip(("dq", "dk", "dv"), run()):
        c.save(name, gradient)
    return run


def of_rows(c):
    """A norm as a function of x, weight and bias."""
    n = c.dims["n"]
    if c.dims["rms"]:
        return lambda x, weight, bias: F.rms_norm(x, (n,), weight, 1e-5)
    return lambda x, weight, bias: F.layer_norm(x, (n,), weight, bias, 1e-5)


def norm(c):
    n = c.dims["n"]
    x, weight, bias = c.load("x", c.dims["rows"], n), c.load("weight", n), c.load("bias", n)
    run = torch.inference_mode()(lambda: of_rows(c)(x, weight, bias))
    c.save("y", run())
    return run


def norm_gradient(c):
    n = c.dims["n"]
    inputs = [c.load("x", c.dims["rows"], n), c.load("weight", n), c.load("bias", n)][: 2 if c.dims["rms"] else 3]
    inputs = [x.requires_grad_() for x in inputs]
    dy, call = c.load("dy", c.dims["rows"], n), of_rows(c)
    run = lambda: torch.autograd.grad(call(*inputs, *[None] * (3 - len(inputs))), inputs, dy)
    for name, gradient in zip(("dx", "dweight", "dbias"), run()):
        c.save(name, gradient)
    return run


def embed_gradient(c):
    ids, dy = c.ids("ids", c.dims["tokens"]), c.load("dy", c.dims["tokens"], c.dims["n"])
    run = torch.inference_mode()(lambda: torch.ops.aten.embedding_dense_backward(dy, ids, c.dims["vocab"], -1, False))
    c.save("table", run())
    return run


def adamw(c):
    w = torch.nn.Parameter(c.load("w", c.dims["numbers"]))
    w.grad = c.load("g", c.dims["numbers"])
    optimiser = torch.optim.AdamW([w], lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, fused=True)
    optimiser.step()
    c.save("w", w)
    return optimiser.step


def images(c):
    """Inputs as [batch, channels, height, width], and a convolution of them; in memory channels lie last."""
    size, out = c.dims["size"], c.dims["out"]
    of = lambda name, *dims: c.load(name, *dims).permute(0, 3, 1, 2)
    x = of("x", c.dims["batch"], size, size, c.dims["channels"])
    w = of("w", c.dims["n"], c.dims["taps"], c.dims["taps"], c.dims["channels"])
    dy = of("dy", c.dims["batch"], out, out, c.dims["n"])
    call = lambda x, w, bias: F.conv2d(x, w, bias, c.dims["stride"], c.dims["padding"])
    return x, w, c.load("bias", c.dims["n"]), dy, call


def conv2d(c):
    x, w, bias, _, call = images(c)
    run = torch.inference_mode()(lambda: call(x, w, bias))
    c.save("y", run().permute(0, 2, 3, 1))
    return run


def conv2d_gradient(c):
    x, w, bias, dy, call = images(c)
    to = {"dw": w, "db": bias} | ({"dx": x} if c.dims["image"] else {})
    for leaf in to.values():
        leaf.requires_grad_()
    run = lambda: torch.autograd.grad(call(x, w, bias), list(to.values()), dy)
    for name, gradient in zip(to, run()):
        c.save(name, gradient.permute(0, 2, 3, 1) if gradient.dim() == 4 else gradient)
    return run


CASES = {
    f.__name__: f
    for f in (attention, attention_backward, norm, norm_gradient, embed_gradient, adamw, conv2d, conv2d_gradient)
}

"""The torch side of `compare`: one JSON request a line on standard input, one JSON answer a line on standard output.

{"setup": name, "dir": folder, "dims": {...}, "dtype": "f32" | "bf16"}   load NAME.bin inputs, run once, write outputs, answer {}
{"time": repeats}                                                        answer {"ms": mean of the repeats}
Inputs and outputs are raw little-endian f32 or u32 files in the folder, so that both sides see the same numbers.
"""
import json, math, os, sys, time
import numpy as np
import torch
import torch.nn.functional as F
import compression
import llama
import models
import sequence

torch.set_num_threads(int(os.environ.get("LATENS_THREADS", os.cpu_count())))
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Case:
    def __init__(self, dir, dims, dtype):
        self.dir, self.dims, self.dtype = dir, dims, DTYPES[dtype]

    def load(self, name, *shape, dtype=None):
        data = np.fromfile(f"{self.dir}/{name}.bin", dtype=np.float32).reshape(shape)
        return torch.from_numpy(data).to(dtype or self.dtype)

    def ids(self, name, *shape):
        return torch.from_numpy(np.fromfile(f"{self.dir}/{name}.bin", dtype=np.uint32).astype(np.int64).reshape(shape))

    def save(self, name, tensor):
        tensor.detach().to(torch.float32).contiguous().numpy().tofile(f"{self.dir}/{name}.torch.bin")


def sae_inputs(c):
    d, n, b = c.dims["d"], c.dims["n"], c.dims["b"]
    return c.load("x", b, d), c.load("w_enc", n, d), c.load("bias", n)


def linear(c):
    x, w, _ = sae_inputs(c)
    run = lambda: x @ w.T
    c.save("out", run())
    return run


def sae_encode(c):
    x, w, bias = sae_inputs(c)
    k = c.dims["k"]
    run = lambda: torch.topk(F.relu(F.linear(x, w, bias)), k, dim=-1, sorted=False)
    values, latents = run()
    latents, order = latents.sort(dim=-1)
    c.save("values", values.gather(-1, order))
    c.save("latents", latents)
    return run


def codes(c):
    d, n, k, b = (c.dims[name] for name in ("d", "n", "k", "b"))
    return (c.load("values", b, k), c.ids("latents", b, k), c.load("w_dec", n, d), c.load("b_dec", d), c.load("x", b, d))


def with_error(recon, x):
    e = x - recon
    return e, (e * e).sum(-1)


def sae_decode(c):
    values, latents, w, b_dec, x = codes(c)
    run = lambda: with_error(F.embedding_bag(latents, w, per_sample_weights=values, mode="sum") + b_dec, x)
    e, squares = run()
    c.save("e", e)
    c.save("squares", squares)
    return run


def sae_decode_dense(c):
    values, latents, w, b_dec, x = codes(c)
    dense = torch.zeros(x.shape[0], w.shape[0]).scatter_(-1, latents, values)
    run = lambda: with_error(dense @ w + b_dec, x)
    e, squares = run()
    c.save("e", e)
    c.save("squares", squares)
    return run


def sae_step(c):
    """Dense autograd, Adam, decoder projection and renormalisation: what the PyTorch libraries do."""
    d, n, k, b = (c.dims[name] for name in ("d", "n", "k", "b"))
    x = c.load("x", b, d)
    w_enc, w_dec = (torch.nn.Parameter(c.load(name, n, d)) for name in ("w_enc", "w_dec"))
    b_enc, b_dec = torch.nn.Parameter(torch.zeros(n)), torch.nn.Parameter(c.load("b_dec", d))
    optimiser = torch.optim.Adam([w_enc, w_dec, b_enc, b_dec], lr=c.dims["lr_e9"] * 1e-9)

    def run():
        pre = F.relu(F.linear(x - b_dec, w_enc, b_enc))
        values, latents = torch.topk(pre, k, dim=-1, sorted=False)
        dense = torch.zeros_like(pre).scatter(-1, latents, values)
        loss = ((dense @ w_dec + b_dec - x) ** 2).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        with torch.no_grad():
            w_dec.grad.sub_((w_dec.grad * w_dec).sum(-1, keepdim=True) * w_dec)
        optimiser.step()
        with torch.no_grad():
            w_dec.div_(w_dec.norm(dim=-1, keepdim=True))
        return loss.detach()

    losses = torch.stack([run() for _ in range(3)])
    c.save("losses", losses)
    return run


class Step(torch.autograd.Function):
    """1 where z is above its threshold; the gradient of a rectangle reaches the threshold, none reaches z."""

    @staticmethod
    def forward(ctx, z, threshold, width):
        ctx.save_for_backward(z, threshold)
        ctx.width = width
        return (z > threshold).to(z.dtype)

    @staticmethod
    def backward(ctx, g):
        z, threshold = ctx.saved_tensors
        near = ((z - threshold).abs() < ctx.width / 2).to(z.dtype)
        return None, -(near * g).sum(0) / ctx.width, None


class Jump(torch.autograd.Function):
    """z where it is above its threshold, with the same rectangle."""

    @staticmethod
    def forward(ctx, z, threshold, width):
        ctx.save_for_backward(z, threshold)
        ctx.width = width
        return z * (z > threshold)

    @staticmethod
    def backward(ctx, g):
        z, threshold = ctx.saved_tensors
        near = ((z - threshold).abs() < ctx.width / 2).to(z.dtype)
        return (z > threshold) * g, -(threshold * near * g).sum(0) / ctx.width, None


def batchtopk(z, k, c):
    flat = F.relu(z).flatten()
    values, at = torch.topk(flat, k * z.shape[0], sorted=False)
    return torch.zeros_like(flat).scatter(0, at, values).view_as(z), 0.0


def sae_variant(c, parameters, activate, more=lambda *_: 0.0):
    """A step of a variant as the PyTorch libraries take it: dense autograd, Adam, decoder projection and renormalisation."""
    d, n, b = (c.dims[name] for name in ("d", "n", "b"))
    variance = c.dims["variance"]
    x = c.load("x", b, d)
    w_enc, w_dec = (torch.nn.Parameter(c.load(name, n, d)) for name in ("w_enc", "w_dec"))
    b_enc, b_dec = torch.nn.Parameter(c.load("b_enc", n)), torch.nn.Parameter(c.load("b_dec", d))
    lr = c.dims["lr_e9"] * 1e-9
    own = [{"params": [p], "lr": lr * (c.dims["scale"] if scaled else 1.0)} for p, scaled in parameters]
    biases = {"params": [b_enc, b_dec], "lr": lr * c.dims["scale"]}
    optimiser = torch.optim.Adam([{"params": [w_enc, w_dec], "lr": lr}, biases] + own)
    errors = []

    def run():
        u = F.linear(x - b_dec, w_enc)
        f, cost = activate(u, b_enc)
        squares = ((f @ w_dec + b_dec - x) ** 2).sum(-1).mean()
        loss = squares / variance + cost + more(u, b_enc, w_dec, b_dec, x)
        optimiser.zero_grad()
        loss.backward()
        with torch.no_grad():
            w_dec.grad.sub_((w_dec.grad * w_dec).sum(-1, keepdim=True) * w_dec)
        optimiser.step()
        with torch.no_grad():
            w_dec.div_(w_dec.norm(dim=-1, keepdim=True))
        return squares.detach()

    c.save("losses", torch.stack([run() for _ in range(3)]))
    return run


def sae_step_batchtopk(c):
    return sae_variant(c, [], lambda u, b_enc: batchtopk(u + b_enc, c.dims["k"], c))


def sae_step_jumprelu(c):
    log = torch.nn.Parameter(torch.full((c.dims["n"],), math.log(c.dims["threshold"])))
    width, weight, d = c.dims["width"], c.dims["weight"], c.dims["d"]

    def activate(u, b_enc):
        z, threshold = u + b_enc, log.exp()
        return Jump.apply(z, threshold, width), weight / d * Step.apply(z, threshold, width).sum(-1).mean()

    return sae_variant(c, [(log, False)], activate)


def sae_step_gated(c):
    n, d, weight, unit, variance = (c.dims[name] for name in ("n", "d", "weight", "unit", "variance"))
    r_mag, b_mag = (torch.nn.Parameter(torch.zeros(n)) for _ in range(2))

    def activate(u, b_enc):
        return (u + b_enc > 0) * F.relu(torch.exp(r_mag) * u + b_mag), 0.0

    def more(u, b_enc, w_dec, b_dec, x):
        gate = F.relu(u + b_enc)
        left = ((gate @ w_dec.detach() + b_dec.detach() - x) ** 2).sum(-1).mean() / variance
        return left + weight / (d * unit) * gate.sum(-1).mean()

    return sae_variant(c, [(r_mag, False), (b_mag, True)], activate, more)


def lowrank_step(c):
    """A round of PowerSGD as torch's DDP hook makes it (error feedback, warm start), for one worker: without the copies by
    which the hook gathers matrices of one shape, for here they are one tensor."""
    count, rows, columns, rank = (c.dims[name] for name in ("count", "rows", "columns", "rank"))
    state = {"q": c.load("q", count, columns, rank), "error": torch.zeros(count * rows * columns)}
    bucket = c.load("g", count * rows * columns)

    def run():
        bucket.add_(state["error"])
        copy = bucket.clone()
        matrices = bucket.view(count, rows, columns)
        q = torch.linalg.qr(state["q"]).Q
        p = torch.linalg.qr(torch.bmm(matrices, q)).Q
        q = torch.bmm(matrices.transpose(1, 2), p)
        torch.bmm(p, q.transpose(1, 2), out=matrices)
        state["error"] = copy - bucket
        state["q"] = q

    run()
    c.save("made", bucket)
    c.save("left", state["error"])
    return run


def lowrank_orthogonalise(c):
    p = c.load("p", c.dims["count"], c.dims["rows"], c.dims["rank"])
    work = torch.empty_like(p)

    def run():
        work.copy_(p)  # not timed: ours writes over what it reads, so both are given the numbers anew
        started = time.perf_counter()
        made = torch.linalg.qr(work)
        run.seconds = time.perf_counter() - started
        return made

    q, r = run()
    c.save("q", q * torch.sign(torch.diagonal(r, dim1=-2, dim2=-1))[:, None, :])
    return run


def entropy_inputs(c):
    return c.load("logits", c.dims["rows"], c.dims["classes"]), c.ids("targets", c.dims["rows"])


def cross_entropy(c):
    logits, targets = entropy_inputs(c)
    run = lambda: F.cross_entropy(logits, targets, reduction="none")
    c.save("losses", run())
    return run


def cross_entropy_gradient(c):
    """The mean over rows, and its gradient."""
    logits, targets = entropy_inputs(c)
    logits.requires_grad_()
    run = lambda: torch.autograd.grad(F.cross_entropy(logits, targets), logits)[0]
    c.save("dlogits", run())
    return run


CASES = {f.__name__: f for f in (linear, sae_encode, sae_decode, sae_decode_dense, sae_step, sae_step_batchtopk,
                                 sae_step_jumprelu, sae_step_gated, cross_entropy,
                                 cross_entropy_gradient, lowrank_step, lowrank_orthogonalise)}
CASES |= compression.CASES | llama.CASES | models.CASES | sequence.CASES


def main():
    run = None
    for line in sys.stdin:
        ask = json.loads(line)
        answer = {}
        if "setup" in ask:
            run = CASES[ask["setup"]](Case(ask["dir"], ask["dims"], ask["dtype"]))
        else:
            total = 0.0
            for _ in range(ask["time"]):
                started = time.perf_counter()
                run()
                total += getattr(run, "seconds", None) or time.perf_counter() - started
            answer["ms"] = 1e3 * total / ask["time"]
        print(json.dumps(answer), flush=True)


print(json.dumps({"peer": f"torch {torch.__version__}"}), flush=True)
main()

"""Language models in plain PyTorch: the torch side of `compare lm` and `compare lm_grad`."""
import json, time
import torch
import torch.nn.functional as F


class Cache(dict):
    """Keys and values by layer."""


class Llama:
    def __init__(self, c):
        shape = json.load(open(f"{c.dir}/llama.json"))
        self.shape = shape
        self.w = {name: c.load(name, *dims) for name, dims in shape["tensors"].items()}

    def norm(self, x, name):
        return F.rms_norm(x, (x.shape[-1],), self.w[name], self.shape["eps"])

    def rope(self, x, start):
        half = x.shape[-1] // 2
        angle = torch.arange(start, start + x.shape[-2], dtype=torch.float64)[:, None] * self.shape["rope_base"] ** (
            -torch.arange(half, dtype=torch.float64) / half
        )
        sin, cos = angle.sin().to(x.dtype), angle.cos().to(x.dtype)
        if self.shape["interleaved"]:
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        a, b = x[..., :half], x[..., half:]
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def __call__(self, ids, cache=None, rows=slice(-1, None), watched=None, prefix=None):
        s, start = self.shape, 0 if not cache else cache[0][0].shape[-2]
        x = F.embedding(ids, self.w["embed"])
        if prefix is not None:
            x = torch.cat((prefix, x))
        heads = lambda y, n: y.view(x.shape[0], n, -1).transpose(0, 1)
        for layer in range(s["layers"]):
            w = lambda name: self.w[f"{layer}.{name}"]
            h = self.norm(x, f"{layer}.attn_norm")
            q = self.rope(heads(h @ w("q").T, s["heads"]), start)
            k, v = self.rope(heads(h @ w("k").T, s["kv_heads"]), start), heads(h @ w("v").T, s["kv_heads"])
            if cache is not None:
                if start:
                    k, v = torch.cat((cache[layer][0], k), -2), torch.cat((cache[layer][1], v), -2)
                cache[layer] = (k, v)
            y = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=start == 0, enable_gqa=True)[0]
            x = x + y.transpose(0, 1).reshape(len(x), -1) @ w("o").T
            h = self.norm(x, f"{layer}.ffn_norm")
            x = x + (F.silu(h @ w("gate").T) * (h @ w("up").T)) @ w("down").T
            if layer == watched:
                self.seen = x
        return self.norm(x[rows], "norm") @ self.w["head" if "head" in self.w else "embed"].T


@torch.inference_mode()
def lm_prefill(c):
    model, ids = Llama(c), c.ids("ids", c.dims["tokens"])
    run = torch.inference_mode()(lambda: model(ids))
    c.save("logits", run()[-1])
    return run


def peak(of):
    """Bytes that a call takes at most, over what was there before it. Linux."""
    status = lambda name: next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = status("VmRSS")
    of()
    return status("VmHWM") - before


def lm_grad(c):
    """The gradients of the mean surprise of a text. Those that ours are compared with are of double precision; what single
    precision makes of them is saved beside, to tell how far rounding goes."""
    model, ids, layer = Llama(c), c.ids("ids", c.dims["tokens"]), c.dims["layer"]
    prefix = c.load("prefix", c.dims["prefix"], model.w["embed"].shape[1])

    def run(model=model):
        for w in model.w.values():
            w.grad = None
            w.requires_grad_()
        loss = F.cross_entropy(model(ids, rows=slice(None, -1), watched=layer), ids[1:])
        model.seen.retain_grad()
        loss.backward()
        return loss

    def all_of(model, prefix):
        loss = run(model)
        found = {"loss": loss[None], "residual": model.seen.grad}
        found |= {name: model.w[of].grad.clone() for name, of in (("o", "0.o"), ("norm", "norm"), ("embed", "embed"))}
        prefix = prefix.clone().requires_grad_()
        F.cross_entropy(model(ids, rows=slice(len(prefix), -1), prefix=prefix), ids[1:]).backward()
        return found | {"prefix": prefix.grad}

    c.save("memory", torch.tensor([peak(run) / 1e6]))
    for name, single in all_of(model, prefix).items():
        c.save(f"{name}.single", single)
    exact = Llama(c)
    exact.w = {name: w.detach().double() for name, w in model.w.items()}
    for name, double in all_of(exact, prefix.double()).items():
        c.save(name, double)
    return run


@torch.inference_mode()
def lm_decode(c):
    model, ids, count = Llama(c), c.ids("ids", c.dims["prompt"]), c.dims["tokens"]

    @torch.inference_mode()
    def run():
        cache = Cache()
        logits = model(ids, cache)
        out = [int(logits[-1].argmax())]
        started = time.perf_counter()
        while len(out) <= count:
            logits = model(torch.tensor(out[-1:]), cache)
            out.append(int(logits[-1].argmax()))
        run.seconds = time.perf_counter() - started
        return torch.tensor(out)

    c.save("generated", run())
    return run


CASES = {f.__name__: f for f in (lm_prefill, lm_decode, lm_grad)}

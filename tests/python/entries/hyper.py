"""Hypergraphs against dense numpy matrices."""

import numpy as np
from interface import close, same

f32, u32 = np.float32, np.uint32
EDGES, VERTICES = 9, 14


class Graph:
    """Pairs in disorder, with one that comes twice, an edge without members and a vertex without edges."""

    def __init__(self, c, draw):
        dense = np.abs(draw(EDGES, VERTICES))
        dense[dense < 0.8] = 0
        dense[4], dense[:, 3], dense[0, 0] = 0, 0, 1.5
        rows, columns = (of.astype(u32) for of in np.nonzero(dense))
        weights = dense[rows, columns].astype(f32)
        order = np.argsort(draw(len(rows)))
        pair = lambda of, extra: np.concatenate([of[order], [extra]]).astype(of.dtype)
        rows, columns, weights = pair(rows, 0), pair(columns, 0), pair(weights, 0.5)
        dense[0, 0] = 2.0
        pairs = len(rows)
        self.dense, self.entries = dense, pairs - 1
        self.offsets, members, merged = np.zeros(EDGES + 1, u32), np.zeros(pairs, u32), np.zeros(pairs, f32)
        workspace = c.workspace("hyper_incidence", EDGES, VERTICES, pairs)
        c.hyper_incidence(rows, columns, weights, EDGES, VERTICES, self.offsets, members, merged, workspace)
        same("hyper_incidence, left over", members[-1:], [VERTICES])
        self.members, self.weights = members[:-1].copy(), merged[:-1].copy()
        self.turned = np.zeros(VERTICES + 1, u32), np.zeros(self.entries, u32), np.zeros(self.entries, u32)
        workspace = c.workspace("hyper_transpose", EDGES, VERTICES, self.entries)
        c.hyper_transpose(self.offsets, self.members, VERTICES, *self.turned, workspace)
        self.edges = self.offsets, self.members, None
        self.rows = np.repeat(np.arange(EDGES), np.diff(self.offsets.astype(int)))

    def matrix(self, entries):
        to = np.zeros((EDGES, VERTICES))
        to[self.rows, self.members] = entries
        return to


def incidence(c, draw):
    graph = Graph(c, draw)
    close("hyper_incidence", graph.matrix(graph.weights), graph.dense)
    assert (np.diff(graph.members.astype(int))[np.diff(graph.rows) == 0] > 0).all(), "members do not rise"
    offsets, members, places = graph.turned
    columns = np.repeat(np.arange(VERTICES), np.diff(offsets.astype(int)))
    to = np.zeros((EDGES, VERTICES))
    to[members, columns] = graph.weights[places]
    close("hyper_transpose", to, graph.dense)


def shares(c, draw):
    graph = Graph(c, draw)
    columns, rows = np.abs(draw(VERTICES)) + f32(0.1), np.abs(draw(EDGES))
    d = (graph.dense * columns).sum(-1)
    out = np.zeros(EDGES, f32)
    with np.errstate(divide="ignore"):
        ways = [d, np.where(d > 0, 1 / d, 0), np.where(d > 0, d**-0.5, 0), np.log((1 + VERTICES) / (1 + d)) + 1]
    for how, want in enumerate(ways):
        c.hyper_degree(*graph.edges, VERTICES, how, graph.weights, columns, out)
        close(f"hyper_degree {how}", out, want, 1e-5)
    there = graph.dense > 0
    h = graph.dense * columns
    logits = np.where(there, graph.dense + columns, -np.inf)
    top = np.where(there.any(-1), logits.max(-1), 0)[:, None]
    e = np.exp(logits - top)
    total = lambda x: np.where(x.sum(-1, keepdims=True) == 0, 1, x.sum(-1, keepdims=True))
    scale = rows[:, None]
    ways = [scale * h, scale * h / total(h), scale * e / total(e)]
    da = draw(graph.entries)
    dense_da = graph.matrix(da)
    mean = lambda of: (of * dense_da).sum(-1, keepdims=True)
    backward = [
        scale * columns * dense_da,
        columns / total(h) * scale * (dense_da - mean(h) / total(h)),
        ways[2] * (dense_da - mean(e) / total(e)),
    ]
    for how, (want, gradient) in enumerate(zip(ways, backward)):
        a, dvalues = np.zeros(graph.entries, f32), np.zeros(graph.entries, f32)
        c.hyper_weigh(*graph.edges, VERTICES, how, graph.weights, columns, rows, a)
        close(f"hyper_weigh {how}", graph.matrix(a), want, 1e-5)
        c.hyper_weigh_backward(*graph.edges, VERTICES, how, graph.weights, columns, rows, da, dvalues)
        close(f"hyper_weigh_backward {how}", graph.matrix(dvalues), np.where(there, gradient, 0), 1e-5)


def pools(c, draw):
    graph, x, dy = Graph(c, draw), draw(VERTICES, 5), draw(EDGES, 5)
    y, dx, da = np.zeros((EDGES, 5), f32), np.zeros((VERTICES, 5), f32), np.zeros(graph.entries, f32)
    c.hyper_pool(*graph.edges, VERTICES, graph.weights, x, y)
    close("hyper_pool", y, graph.dense @ x)
    c.hyper_pool(*graph.turned, EDGES, graph.weights, dy, dx)
    close("hyper_pool, turned over", dx, graph.dense.T @ dy)
    c.hyper_dots(*graph.edges, VERTICES, dy, x, da)
    close("hyper_dots", graph.matrix(da), np.where(graph.dense > 0, dy @ x.T, 0))
    chosen = np.zeros((EDGES, 5), u32)
    c.hyper_largest(*graph.edges, VERTICES, graph.weights, x, y, chosen)
    products = np.where(graph.dense[:, :, None] > 0, graph.dense[:, :, None] * x, -np.inf)
    full = (graph.dense > 0).any(-1)
    close("hyper_largest", y, np.where(full[:, None], products.max(1), 0))
    same("hyper_largest chosen", graph.members[chosen[full]], products.argmax(1)[full])
    want = np.zeros((VERTICES, 5))
    for edge in np.flatnonzero(full):
        for column in range(5):
            vertex = products[edge, :, column].argmax()
            want[vertex, column] += graph.dense[edge, vertex] * dy[edge, column]
    c.hyper_largest_backward(*graph.turned, EDGES, graph.weights, dy, chosen, dx)
    close("hyper_largest_backward", dx, want)
    scores, values, best = draw(VERTICES), np.zeros((EDGES, 4), f32), np.zeros((EDGES, 4), u32)
    c.hyper_topk(*graph.edges, VERTICES, scores, 4, values, best)
    for edge, members in enumerate(graph.dense > 0):
        order = sorted(np.flatnonzero(members), key=lambda vertex: -scores[vertex])[:4]
        pad = 4 - len(order)
        same("hyper_topk", best[edge], order + [VERTICES] * pad)
        same("hyper_topk values", values[edge], np.concatenate([scores[order], np.full(pad, -np.inf, f32)]))


def rank(c, draw):
    graph, weights = Graph(c, draw), np.abs(draw(EDGES)) + f32(0.1)
    seeds = np.abs(draw(VERTICES, 3))
    seeds /= seeds.sum(0)
    got, change = np.zeros_like(seeds), np.zeros(3, f32)
    workspace = c.workspace("hyper_rank", EDGES, seeds)
    c.hyper_rank(*graph.edges[:2], *graph.turned, weights, graph.weights, seeds, 0.7, 200, 1e-7, got, change, workspace)
    there = (graph.dense > 0) * weights[:, None].astype(float)
    delta, d = graph.dense.sum(-1, keepdims=True), there.sum(0)
    step = (there / np.where(d == 0, 1, d)).T @ (graph.dense / np.where(delta == 0, 1, delta))
    for column in range(3):
        # A walk at a vertex without edges begins anew.
        p = step + np.outer(d == 0, seeds[:, column])
        want = 0.3 * np.linalg.solve(np.eye(VERTICES) - 0.7 * p.T, seeds[:, column])
        close("hyper_rank", got[:, column], want, 1e-5)


def search(c, draw):
    queries, corpus, k = draw(3, 16), draw(200, 16), 7
    scores = queries.astype(float) @ corpus.T
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
    values, ids = np.zeros((3, k), f32), np.zeros((3, k), u32)
    c.hyper_search(queries, corpus, k, values, ids, c.workspace("hyper_search", queries, corpus, k))
    same("hyper_search", ids, order)
    close("hyper_search values", values, np.take_along_axis(scores, order, -1))
    for kind in [np.int8, np.uint16]:
        search_copy(c, queries, corpus, order, np.zeros((200, 16), kind))


def search_copy(c, queries, corpus, order, codes):
    k, bounds, complete = order.shape[1], np.zeros((200, 3), f32), np.zeros(3, u32)
    c.hyper_compress(corpus, codes, bounds)
    integers = codes.dtype == np.int8
    close("hyper_compress scale", bounds[:, 0], np.abs(corpus).max(-1) / 127 if integers else np.ones(200))
    copy = codes * bounds[:, :1] if integers else (codes.astype(u32) << 16).view(f32)
    step = bounds[:, :1] if integers else np.abs(corpus) / 128
    assert (np.abs(copy - corpus) <= 0.5001 * step).all(), "hyper_compress is not nearest"
    close("hyper_compress", bounds[:, 1], np.linalg.norm(corpus - copy.astype(float), axis=-1), 1e-5)
    values, ids = np.zeros((3, k), f32), np.zeros((3, k), u32)
    workspace = c.workspace("hyper_search_compressed", queries, corpus, k, 60)
    c.hyper_search_compressed(queries, corpus, codes, bounds, k, 60, values, ids, complete, workspace)
    same("hyper_search_compressed complete", complete, [1, 1, 1])
    same("hyper_search_compressed", ids, order)


CHECKS = [incidence, shares, pools, rank, search]

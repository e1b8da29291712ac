"""The numpy and scipy side of `compare`, in the protocol of torch_peer.py. Needs `pip install numpy scipy`."""
import json, sys, time
import numpy as np
import scipy
from scipy import sparse


class Case:
    def __init__(self, dir, dims):
        self.dir, self.dims = dir, dims

    def load(self, name, *shape, dtype=np.float32):
        return np.fromfile(f"{self.dir}/{name}.bin", dtype=dtype).reshape(shape)

    def save(self, name, array):
        np.ascontiguousarray(array, dtype=np.float32).tofile(f"{self.dir}/{name}.numpy.bin")

    def members(self):
        """Who is in each edge, as a sparse matrix of ones."""
        pairs = [self.load(name, -1, dtype=np.uint32).astype(np.int32) for name in ("pair_edges", "pair_vertices")]
        shape = (self.dims["edges"], self.dims["vertices"])
        members = sparse.coo_matrix((np.ones(len(pairs[0]), np.float32), pairs), shape=shape).tocsr()
        members.data[:] = 1
        return members


def inverse(x):
    return np.divide(1, x, out=np.zeros_like(x), where=x > 0)


def scaled(rows, matrix, columns=None):
    matrix = sparse.diags(rows.astype(np.float32)) @ matrix
    return (matrix if columns is None else matrix @ sparse.diags(columns.astype(np.float32))).tocsr().astype(np.float32)


def best(scores, k):
    """The k largest of each row, best first."""
    chosen = np.argpartition(scores, -k, axis=-1)[..., -k:]
    order = np.argsort(-np.take_along_axis(scores, chosen, -1), axis=-1)
    return np.take_along_axis(chosen, order, -1)


def hyper_query(c):
    """Score the vertices, pool the scores over edges, and take the best of both."""
    x, q, k = c.load("x", c.dims["vertices"], c.dims["d"]), c.load("q", -1)[: c.dims["d"]], c.dims["k"]
    members = c.members()
    mean = scaled(inverse(np.diff(members.indptr).astype(np.float32)), members)

    def run():
        vertices = x @ q
        edges = mean @ vertices
        return vertices[best(vertices, k)], edges[best(edges, k)]

    vertices, edges = run()
    c.save("vertices", vertices)
    c.save("edges", edges)
    return run


def hyper_search(c):
    x, count, k = c.load("x", c.dims["vertices"], c.dims["d"]), c.dims["queries"], c.dims["k"]
    q = np.ascontiguousarray(c.load("q", -1, c.dims["d"])[:count])

    def run():
        scores = q @ x.T
        return np.take_along_axis(scores, best(scores, k), -1)

    c.save("values", run())
    return run


def hyper_rank(c):
    damping, steps, seeds = c.dims["damping"], c.dims["steps"], c.load("seeds", c.dims["vertices"], c.dims["columns"])
    members = c.members()
    degrees = np.asarray(members.sum(axis=0)).ravel()
    down = scaled(inverse(np.diff(members.indptr).astype(np.float32)), members, inverse(degrees))
    up = members.T.tocsr()
    lonely = np.flatnonzero(degrees == 0)

    def run():
        rank = seeds
        for _ in range(steps):
            moved = up @ (down @ rank)
            rank = np.float32(1 - damping) * seeds + np.float32(damping) * (moved + rank[lonely].sum(axis=0) * seeds)
        return rank

    c.save("rank", run())
    return run


def entropy(c):
    """Of the histogram between the lowest and the highest element of each sample, in nats."""
    samples = c.load("sample", c.dims["segments"], -1)

    def run():
        entropies = []
        for sample in samples:
            counts, _ = np.histogram(sample, bins=c.dims["bins"])
            p = counts[counts > 0] / counts.sum()
            entropies.append(-(p * np.log(p)).sum())
        return entropies

    c.save("entropy", run())
    return run


CASES = {f.__name__: f for f in (hyper_query, hyper_search, hyper_rank, entropy)}
print(json.dumps({"peer": f"numpy {np.__version__}, scipy {scipy.__version__}"}), flush=True)
run = None
for line in sys.stdin:
    ask = json.loads(line)
    answer = {}
    if "setup" in ask:
        run = CASES[ask["setup"]](Case(ask["dir"], ask["dims"]))
    else:
        started = time.perf_counter()
        for _ in range(ask["time"]):
            run()
        answer["ms"] = 1e3 * (time.perf_counter() - started) / ask["time"]
    print(json.dumps(answer), flush=True)

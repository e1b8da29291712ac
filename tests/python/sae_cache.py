"""Read a latent cache with numpy and safetensors alone, by the names and shapes of EleutherAI's delphi, and make it dense.

usage: sae_cache.py FOLDER EXPECTED

FOLDER is the cache; EXPECTED a safetensors file with dense [contexts, length, latents] and tokens [contexts, length], as latens
computed them. Exits with 3 if numpy or safetensors is not installed.
"""

import json
import sys
from pathlib import Path

try:
    import numpy
    from safetensors.numpy import load_file
except ImportError as missing:
    print(missing)
    sys.exit(3)


def main(folder: Path, expected: Path) -> None:
    want = load_file(expected)
    config = json.loads((folder / "config.json").read_text())
    ranges = sorted(tuple(int(edge) for edge in path.stem.split("_")) for path in folder.glob("*.safetensors"))
    assert len(ranges) == config["n_splits"] and ranges[0][0] == 0, ranges
    assert all(one[1] + 1 == other[0] for one, other in zip(ranges, ranges[1:])), ranges
    assert want["dense"].shape[:2] == (config["n_tokens"] // config["ctx_len"], config["ctx_len"])
    assert want["dense"].shape[2] == ranges[-1][1] + 1

    dense, count = numpy.zeros_like(want["dense"]), 0
    for first, last in ranges:
        file = load_file(folder / f"{first}_{last}.safetensors")
        assert set(file) == {"locations", "activations", "tokens"}
        locations, values = file["locations"], file["activations"]
        assert locations.dtype == numpy.uint16 and locations.shape == (len(values), 3)
        assert values.dtype in (numpy.float32, numpy.float16)
        assert file["tokens"].dtype == numpy.int64 and (file["tokens"] == want["tokens"]).all()
        places = locations.astype(numpy.int64)
        assert (places[:, 2] <= last - first).all()
        assert (numpy.lexsort(places.T[::-1]) == numpy.arange(len(places))).all()  # by context, position, latent
        dense[places[:, 0], places[:, 1], places[:, 2] + first] = values
        count += len(values)
    if values.dtype == numpy.float16:
        want["dense"] = want["dense"].astype(numpy.float16).astype(numpy.float32)
    assert count == (dense != 0).sum()
    assert (dense == want["dense"]).all()
    print(f"{len(ranges)} ranges, {count} firings in {values.dtype}, equal")


main(Path(sys.argv[1]), Path(sys.argv[2]))

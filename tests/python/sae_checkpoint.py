"""Open a checkpoint with numpy and safetensors alone, by SAELens' names and shapes, and encode with it.

usage: sae_checkpoint.py FOLDER

FOLDER holds a SAELens checkpoint and expected.safetensors with x [rows, d], values and latents [rows, k], and recon
[rows, d], as latens computed them. Exits with 3 if numpy or safetensors is not installed.
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


def main(folder: Path) -> None:
    config = json.loads((folder / "cfg.json").read_text())
    weights = load_file(folder / "sae_weights.safetensors")
    expected = load_file(folder / "expected.safetensors")
    d, latents = config["d_in"], config["d_sae"]
    shapes = {"W_enc": (d, latents), "W_dec": (latents, d), "b_enc": (latents,), "b_dec": (d,)}
    if config["architecture"] == "jumprelu":
        shapes["threshold"] = (latents,)
    assert {name: tensor.shape for name, tensor in weights.items()} == shapes
    assert all(tensor.dtype == numpy.float32 for tensor in weights.values())
    assert config["apply_b_dec_to_input"] and config["normalize_activations"] == "none"
    assert config["dtype"] == "float32" and config["metadata"]["hook_name"]
    assert numpy.allclose(numpy.linalg.norm(weights["W_dec"], axis=1), 1, atol=1e-5)

    x = expected["x"]
    codes = numpy.maximum((x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"], 0)
    if config["architecture"] == "topk":
        weakest = -numpy.sort(-codes, axis=1)[:, config["k"] - 1, None]
        codes = numpy.where(codes >= weakest, codes, 0)
    else:
        codes = numpy.where(codes > weights["threshold"], codes, 0)
    ours = numpy.zeros((len(x), latents + 1), numpy.float32)  # empty slots name the latent after the last
    numpy.put_along_axis(ours, expected["latents"].astype(numpy.int64), expected["values"], axis=1)
    ours = ours[:, :latents]
    scale = numpy.abs(codes).max()
    assert numpy.abs(codes - ours).max() <= 1e-4 * scale, numpy.abs(codes - ours).max()
    assert ((codes > 0) == (ours > 0)).all()
    recon = codes @ weights["W_dec"] + weights["b_dec"]
    assert numpy.abs(recon - expected["recon"]).max() <= 1e-4 * numpy.abs(recon).max()
    print(f"{config['architecture']}: {len(x)} rows, {(codes > 0).sum(1).mean():.1f} active latents, equal")


main(Path(sys.argv[1]))

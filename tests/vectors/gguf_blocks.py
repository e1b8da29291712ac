"""Prints gguf_blocks.txt: one line per encoding, `number name bytes elements` in hexadecimal. Needs `pip install gguf numpy`."""
import gguf
import numpy as np

random = np.random.default_rng(20261122)
K = gguf.GGMLQuantizationType
for kind in [K.F32, K.F16, K.BF16, K.Q4_0, K.Q4_1, K.Q5_0, K.Q5_1, K.Q8_0, K.Q2_K, K.Q3_K, K.Q4_K, K.Q5_K, K.Q6_K]:
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    scales = {K.Q4_0: [0], K.Q4_1: [0, 2], K.Q5_0: [0], K.Q5_1: [0, 2], K.Q8_0: [0], K.Q2_K: [80, 82], K.Q3_K: [108],
              K.Q4_K: [0, 2], K.Q5_K: [0, 2], K.Q6_K: [208]}.get(kind)
    blocks = 2 if elements == 32 else 1 if elements == 256 else 16
    raw = random.integers(0, 256, (blocks, size), dtype=np.uint8)
    if scales is None:
        plain = random.standard_normal(blocks).astype(np.float32)
        raw = {K.F32: plain.view(np.uint8), K.F16: plain.astype(np.float16).view(np.uint8),
               K.BF16: (plain.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)}[kind].reshape(blocks, size)
    else:
        for at in scales:  # scales of a sensible size, or most elements would be NaN or infinite
            raw[:, at:at + 2] = random.standard_normal(blocks).astype(np.float16).view(np.uint8).reshape(blocks, 2)
    flat = raw.reshape(1, -1)
    if kind == K.F32:
        flat = flat.view(np.float32)
    if kind == K.F16:
        flat = flat.view(np.float16)
    values = gguf.quants.dequantize(flat, kind).astype(np.float32)
    print(kind.value, kind.name, raw.tobytes().hex(), values.tobytes().hex())

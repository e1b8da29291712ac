"""What others make of small images: `python resize.py pil` (Pillow) and `python resize.py torch`, one after the other, are
resize.txt. A line: filter, rows and columns before and after, and the numbers row by row."""

import sys

import numpy as np

SIZES = [(7, 5, 3, 4), (3, 4, 5, 6), (9, 3, 2, 3), (6, 6, 6, 13), (16, 2, 3, 7)]


def image(rows, columns):
    k = np.arange(rows * columns)
    return ((k * k * 7 + k * 3) % 23 / 4 - 2).astype(np.float32).reshape(rows, columns)


def pil(x, rows, columns, name):
    from PIL import Image

    return np.asarray(Image.fromarray(x).resize((columns, rows), getattr(Image, name.removesuffix("Antialias").upper())))


def torch(x, rows, columns, name):
    from torch import from_numpy
    from torch.nn.functional import interpolate

    x = from_numpy(x.astype(np.float64))[None, None]
    return interpolate(x, (rows, columns), mode=name.lower(), align_corners=False)[0, 0].numpy().astype(np.float32)


for name in [name + ("Antialias" if sys.argv[1] == "pil" else "") for name in ("Bilinear", "Bicubic")]:
    for sizes in SIZES:
        out = globals()[sys.argv[1]](image(*sizes[:2]), *sizes[2:], name)
        print(name, *sizes, *out.ravel())

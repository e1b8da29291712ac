"""Every function of latens.h, called by ctypes on DLPack tensors and compared with numpy.

usage: run.py LIBRARY HEADER

Fails if a function of the header was not called. Exits with 3 if numpy is not installed.
"""

import sys

try:
    import numpy as np
except ImportError as missing:
    print(missing)
    sys.exit(3)

import compress
import dense
import hyper
import sae
import sequences
import steer
import vision
from interface import Latens


def main():
    c = Latens(*sys.argv[1:3])
    for family in (dense, sequences, vision, sae, steer, compress, hyper):
        for check in family.CHECKS:
            seeds = np.random.default_rng(sum(map(ord, check.__name__)))
            check(c, lambda *shape: seeds.standard_normal(shape).astype(np.float32))
            print(f"{family.__name__}: {check.__name__}")
    missing = sorted(set(c.functions) - c.called)
    if missing:
        sys.exit(f"no check calls {missing}")
    print(f"{len(c.functions)} functions agree with numpy {np.__version__}")


main()

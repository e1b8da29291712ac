"""Concept vectors against numpy."""

import ctypes
import hashlib
import json
import os
import tempfile

import numpy as np
from interface import Failed, close, same

f32 = np.float32
DIM = 24


def saved(path, values, **changes):
    """The two files of a vector, as the library describes them."""
    from safetensors.numpy import save_file

    save_file({"vector": values}, path + ".safetensors")
    about = dict(concept="calm", method="by hand", site="blocks.3.hook_resid_post", width=len(values), model="0" * 64)
    about |= dict(typical=2.5, sha256=hashlib.sha256(values.tobytes()).hexdigest(), notes={"k": 3}) | changes
    with open(path + ".json", "w") as file:
        json.dump(about, file)


def vectors(c, draw):
    values, x = draw(DIM), draw(5, DIM)
    handle, dim, layer, typical = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_float()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "calm")
        saved(path, values)
        c.vector_open(path.encode(), ctypes.byref(handle))
        c.vector_size(handle, ctypes.byref(dim), ctypes.byref(layer), ctypes.byref(typical))
        assert (dim.value, layer.value, typical.value) == (DIM, 3, 2.5)
        for changes, what in [(dict(width=DIM + 1), "vector"), (dict(sha256="1"), "another vector"), (dict(site="x"), "names no place")]:
            saved(path, values, **changes)
            other = ctypes.c_void_p()
            try:
                c.vector_open(path.encode(), ctypes.byref(other))
            except Failed as error:
                assert what in str(error) and not other.value, error
            else:
                raise AssertionError(f"opened with {changes}")
    here = b"blocks.3.hook_resid_post"
    for fits in ((b"0" * 64, here), (b"0" * 64, None), (None, here), (None, None)):
        c.vector_check(handle, *fits)
    for wrong, what in (((b"1" * 64, here), "model"), ((b"0" * 64, b"blocks.3.hook_mlp_out"), "place"), ((None, b""), "place")):
        try:
            c.vector_check(handle, *wrong)
        except Failed as error:
            assert "vector_check" in str(error) and f"made for the {what}" in str(error), error
        else:
            raise AssertionError(f"taken for {wrong}")
    out = x.copy()
    c.vector_add(handle, 1.5, out)
    close("vector_add", out, x + f32(1.5) * values)
    # Some rows of a wider buffer, of half the bits.
    wide = np.zeros((7, DIM + 3), np.float16)
    wide[:5, 1 : DIM + 1] = x
    want = wide.copy()
    want[1:4, 1 : DIM + 1] = (want[1:4, 1 : DIM + 1].astype(f32) + f32(-2) * values.astype(np.float16)).astype(np.float16)
    c.vector_add(handle, -2.0, wide[1:4, 1 : DIM + 1])
    close("vector_add to a part", wide.astype(f32), want.astype(f32), 1e-5)
    same("vector_add beside it", wide[[0, 4, 5, 6]], want[[0, 4, 5, 6]])
    strengths, out = np.array([0, 1, -1, 0.5, 3], f32), x.copy()
    c.vector_add_each(handle, strengths, out)
    close("vector_add_each", out, x + strengths[:, None] * values)
    same("vector_add_each by 0", out[0], x[0])
    for wrong in (lambda: c.vector_add_each(handle, strengths[:3], out), lambda: c.vector_add(handle, 1.0, out[:, :5].copy())):
        try:
            wrong()
        except Failed as error:
            assert "vector_add" in str(error), error
        else:
            raise AssertionError("rows that do not fit")
    c.vector_free(handle)
    try:
        c.vector_add(handle, 1.0, out)
    except Failed as error:
        assert "freed" in str(error), error
    else:
        raise AssertionError("a freed vector was added")


CHECKS = [vectors]

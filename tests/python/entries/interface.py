"""The C interface by ctypes, with tensors handed over as DLPack: no extension is compiled.

Everything known of the interface is read from latens.h, so a changed signature is a changed call.
"""

import ctypes
import re

import numpy as np

NUMBERS = {
    "size_t": ctypes.c_size_t,
    "uint8_t": ctypes.c_uint8,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "bool": ctypes.c_bool,
}

ctypes.pythonapi.PyCapsule_GetPointer.restype = ctypes.c_void_p
ctypes.pythonapi.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


class Failed(Exception):
    """A call that did not return LATENS_STATUS_OK."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Latens:
    """The library, its functions by name without latens_: `latens.topk(x, 3, values, indices, None)`."""

    def __init__(self, library, header):
        self.library = ctypes.CDLL(library)
        text = re.sub(r"//.*|/\*.*?\*/|#.*", "", open(header).read(), flags=re.M)
        self.constants = {name: int(value) for name, value in re.findall(r"LATENS_(\w+) = (-?\d+)", text)}
        self.structs = {}
        for body, name in re.findall(r"typedef struct \{(.*?)\} (\w+);", text, flags=re.S):
            fields = [self.field(line) for line in body.split(";") if line.strip()]
            self.structs[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
        self.functions = {}
        for name, arguments in re.findall(r"^LatensStatus latens_(\w+)\((.*?)\);", text, flags=re.S | re.M):
            self.functions[name] = [re.sub(r"\bconst\b", "", part).strip() for part in arguments.split(",")]
        self.called = set()
        self.device = ctypes.c_void_p()
        self.device_open(0, 0, ctypes.byref(self.device))

    def field(self, line):
        kind, name = re.fullmatch(r"\s*(.*?)\s*(\w+)\s*", line, flags=re.S).groups()
        return name, NUMBERS.get(kind, ctypes.c_void_p)

    def __getattr__(self, name):
        if name not in self.functions:
            raise AttributeError(name)
        return lambda *arguments: self.call(name, arguments)

    def call(self, name, arguments):
        """Call with arguments as latens.h has them; the leading device may be left out."""
        kinds = self.functions[name]
        if kinds[0].startswith("LatensDevice *device") and len(arguments) == len(kinds) - 1:
            arguments = (self.device, *arguments)
        assert len(arguments) == len(kinds), f"{name} takes {kinds}"
        keep, given = [], []
        for argument, kind in zip(arguments, kinds):
            if kind.startswith("LatensTensor *"):
                argument = tensor(argument, keep)
            elif kind.rpartition(" ")[0] in NUMBERS and "*" not in kind:
                argument = NUMBERS[kind.rpartition(" ")[0]](argument)
            elif isinstance(argument, ctypes.Structure):
                keep.append(argument)
                argument = ctypes.byref(argument)
            given.append(argument)
        status = getattr(self.library, "latens_" + name)(*given)
        self.called.add(name)
        if status:
            text = ctypes.create_string_buffer(500)
            self.library.latens_error(text, ctypes.c_size_t(500))
            raise Failed(status, f"{name}: {text.value.decode()}")

    def struct(self, name, keep=None, **fields):
        """A struct of settings; tensors among its fields are kept in `keep`."""
        of = self.structs["Latens" + name]()
        for field, value in fields.items():
            if isinstance(value, np.ndarray):
                value = tensor(value, keep)
            setattr(of, field, value)
        return of

    def workspace(self, name, *arguments):
        """Bytes for `name`, as NAME_workspace asks for."""
        size = ctypes.c_size_t()
        self.call(name + "_workspace", (*arguments, ctypes.byref(size)))
        return np.zeros(size.value, np.uint8) if size.value else None

    def segments(self, shapes, gap=3):
        """A table of matrices (or vectors, shapes of one number), `gap` elements apart; it, the starts, and the span."""
        starts, at = [], 0
        for shape in shapes:
            starts.append(at)
            at += int(np.prod(shape)) + gap
        table = ctypes.c_void_p()
        rows = [shape[0] if len(shape) == 2 else 1 for shape in shapes]
        arrays = [(ctypes.c_uint64 * len(shapes))(*numbers) for numbers in (starts, rows, [shape[-1] for shape in shapes])]
        self.segments_new(*arrays, len(shapes), ctypes.byref(table))
        return table, starts, at


def tensor(array, keep):
    """The DLTensor of an array, by the protocol that numpy and PyTorch share. None is null."""
    if array is None:
        return None
    # numpy hands over no type that DLPack 0 has not, nor what it must not write to.
    capsule = array.__dlpack__()
    keep.append(capsule)
    at = ctypes.pythonapi.PyCapsule_GetPointer(capsule, b"dltensor")
    if array.dtype == np.uint16:
        # The bits of bf16, a type that numpy has not: its number, behind pointer, device and rank.
        ctypes.c_uint8.from_address(at + ctypes.sizeof(ctypes.c_void_p) + 12).value = 4
    return ctypes.c_void_p(at)


def close(what, got, want, limit=1e-6):
    """Normalised squared error, NaN only where there is one to be."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, f"{what}: {got.shape} instead of {want.shape}"
    finite = np.isfinite(want)
    assert np.array_equal(got[~finite], want[~finite], equal_nan=True), f"{what}: {got[~finite]} and {want[~finite]}"
    error = ((got - want)[finite] ** 2).sum() / max((want[finite] ** 2).sum(), 1e-30)
    assert error <= limit**2, f"{what}: off by {error**0.5:e}"


def same(what, got, want):
    """Equal in every number."""
    assert np.array_equal(got, want), f"{what}:\n{got}\n{want}"

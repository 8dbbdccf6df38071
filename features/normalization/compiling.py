"""Decorators of the kernels of a row, and what a compilation reports.

Numba's cache notices a change of the file of an entry point, not of the files of the kernels that it calls. So an entry point is built by
a function that receives the digest of all these files: the digest is part of the key of its compiled form (`build_digest`).
"""

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numba.core import event
from numpy.typing import NDArray

log = logging.getLogger("npsrisk")

START = np.int64(0)
"""The number 0 as an argument of a kernel. A literal number, unlike one of numpy, compiles the kernel once more for each value."""
Array = NDArray[Any]
Int = Any  # a whole number, as wide as numba infers
Bool = Any
Tables = Any
"""The record of tables and scratch arrays (`features.normalization.tables`). A kernel receives one pointer."""

kernel = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)  # type: ignore[call-overload]
"""Decorator of a kernel that only kernels call. It has no cache and no wrapper of its own: both would cost a third of the compilation."""
inlined_kernel = njit(  # type: ignore[call-overload]
    error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False, forceinline=True
)
"""Decorator of a kernel of some instructions that is called in the innermost loops."""
entry_point = njit(error_model="numpy", cache=True, _nrt=False)  # type: ignore[call-overload]
"""Decorator of a kernel that Python calls. It holds the interpreter's lock, because all calls share the scratch arrays."""


class CompilationReporter(event.Listener):
    """A listener that reports the compilation of an entry point while it runs. A form from the cache is not compiled."""

    def __init__(self, name: str) -> None:
        self._name = name
        event.register("numba:compile", self)  # type: ignore[no-untyped-call]

    def on_start(self, started: Any) -> None:
        """Report the start."""
        if started.data["dispatcher"].py_func.__name__ == self._name:
            log.warning(
                "compiling the kernel %s: this takes about a minute, once for each version", self._name
            )

    def on_end(self, ended: Any) -> None:
        """Report nothing: what waited for the kernel goes on."""


def build_digest(files: Iterable[str | None]) -> int:
    """Return a number for the content of the files of all kernels that an entry point calls."""
    digest = hashlib.sha256()
    for file in files:
        assert file is not None
        digest.update(Path(file).read_bytes())
    return int.from_bytes(digest.digest()[:7], "big")

"""Folder of compiled kernels, if the installation is read-only; numba then has no folder of its own.

The folder is private: a kernel in it is executed, so nobody else may write it.
"""

import os
import shutil
import tempfile
from atexit import register
from contextlib import suppress
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
PACKAGE = Path(__file__).resolve().parent


def prepare_kernel_cache(package: Path = PACKAGE) -> None:
    """Set the folder of compiled kernels before numba is imported, unless it is set or the installation can be written.

    It is `kernels` in the state directory. If that cannot be written either, it is a temporary folder, deleted at the end.
    """
    if VARIABLE in os.environ or os.access(package, os.W_OK):
        return
    from cli.stores import read_settings
    from consignments.errors import BadSetting

    folder = None
    with suppress(BadSetting, OSError):
        state_dir = read_settings().state_dir
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = state_dir.resolve() / "kernels"
        folder.mkdir(mode=0o700, exist_ok=True)
    if folder is None or not os.access(folder, os.W_OK):
        folder = Path(tempfile.mkdtemp(prefix="npsrisk-kernels-"))
        register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[VARIABLE] = str(folder)

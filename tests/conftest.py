"""What holds for every test: it leaves behind what it found, and no clock decides whether it passes."""

import gc
import re
from collections.abc import Iterator, MutableSequence
from functools import cache
from pathlib import Path

import pytest
import structlog
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

settings.register_profile("short", deadline=None, max_examples=40)
settings.register_profile("long", deadline=None, max_examples=200)
settings.load_profile("short")


@pytest.fixture(autouse=True)
def _own_log_lines() -> Iterator[None]:
    """A verb that a test runs in this process sets up the process's log; the next test gets it as it was."""
    yield
    structlog.reset_defaults()


SHARED = ("shared_run", "lived_lane", "lived_world")
"""What takes long to make and is made once: the files of the tests that ask for one of them run in one process."""


@cache
def _find_shared(file: Path) -> str:
    files = [each for each in (file, file.with_name("conftest.py")) if each.exists()]
    asking = [each.read_text(encoding="utf-8") for each in files]
    found = (name for name in SHARED if any(re.search(rf"\b{name}[,:)]", text) for text in asking))
    return next(found, "")


class FileScheduling(LoadFileScheduling):
    """Each file in one process, and all files that share something large in the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _find_shared(self.config.rootpath / file) or file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Distribute files (`--dist loadfile`) so that the run is trained once. Groups of xdist 3.8 do not work with pytest 9.2."""
    return FileScheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: MutableSequence[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process waits for it at the end, and beside it with what needs no kernels.

    In a fresh clone two processes would else compile the same kernels.
    """

    def rank(item: pytest.Item) -> int:
        shared = _find_shared(item.path)
        return 0 if shared == SHARED[0] else 1 if "consignments" in item.path.parts else 2 if shared else 3

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Take modules out of garbage collection, which walked them in 8 % of the time."""
    gc.freeze()

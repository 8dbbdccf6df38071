"""Cases of tests that are lines of a file in tests/data."""

import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[1] / "data"


def read_cases(name: str) -> list[Any]:
    """Read the lines of a file of cases, each with its first words as the name of the test."""
    lines = (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [pytest.param(json.loads(line), id=line[:80]) for line in lines]

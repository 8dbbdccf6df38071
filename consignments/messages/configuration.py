"""The tables of paths, codes and names next to this code, each read once."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def load_table(name: str) -> dict[str, Any]:
    """Read a TOML file of this folder."""
    return tomllib.loads(files("consignments.messages").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


@cache
def load_codes(name: str, section: str) -> dict[str, Any]:
    """Read what the codes of a section mean; each line of it has a meaning and its codes."""
    lines: dict[str, str] = load_table(name).get(section, {})
    return {code: meaning for meaning, codes in lines.items() for code in codes.split(", ")}

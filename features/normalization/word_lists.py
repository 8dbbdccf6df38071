"""The lists of words and phrases of `word_lists.toml`."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files

WORD_LISTS = tomllib.loads(
    files("features.normalization").joinpath("word_lists.toml").read_text(encoding="utf-8")
)


def read_variants(variants: Mapping[str, str]) -> dict[str, str]:
    """Return the word of each of its variants."""
    return {variant: word for word, others in variants.items() for variant in others.split()}

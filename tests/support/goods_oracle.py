"""The score of a goods text, written once more from its definition: plain and slow, with strings."""

import re
from math import sqrt
from unicodedata import category, normalize

from features.goods import kernels as kernel
from features.goods.character_folding import fold_character, is_unfolded
from features.normalization.normal_forms import MAX_CHARACTERS


def plain_buckets(text: str) -> list[int]:
    """Give the distinct buckets of a text's n-grams, in the order they first occur."""
    text = normalize("NFC", text[:MAX_CHARACTERS])[:MAX_CHARACTERS]
    folded = "".join(char if in_word(char) else " " for part in text for char, _ in fold_character(part))
    line = re.sub(" +", " ", f" {folded} ")
    lengths = range(kernel.MIN_NGRAM, kernel.MAX_NGRAM + 1)
    ends = ((first, first + length) for first in range(len(line)) for length in lengths)
    grams = [line[first:end] for first, end in ends if end <= len(line)]
    return list(dict.fromkeys(map(bucket, grams)))


def in_word(char: str) -> bool:
    return category(char)[0] in "LNM" or is_unfolded(char)


def bucket(gram: str) -> int:
    value = 0xCBF29CE484222325
    for char in gram:
        value = (value ^ ord(char)) * 0x100000001B3 % 2**64
    return value * kernel.HASH_MULTIPLIER % 2**64 >> (64 - kernel.BUCKET_BITS)


def plain_score(text: str, weights: list[float]) -> float:
    """Add up the weights of the distinct buckets, over the square root of their number."""
    buckets = plain_buckets(text)
    total = 0.0
    for place in buckets:
        total += weights[place]
    return total / sqrt(len(buckets)) if buckets else 0.0

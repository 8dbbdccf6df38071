"""BLAKE2b in kernels: the generated rounds, and its numbers at every length."""

from pathlib import Path

import pytest
from support.examples import make_consignment

from features.config import FeatureConfig
from features.history import blake2b_rounds
from features.history.blake2b_generator import generate
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.rows.described_rows import describe
from features.rows.plans import build_key_plan


def test_the_file_of_the_rounds_is_what_the_generator_writes() -> None:
    assert Path(blake2b_rounds.__file__).read_text() == generate()


@pytest.mark.parametrize("key", [b"k", b"a key for tests", bytes(range(32)), bytes(64)])
def test_numbers_of_every_length_are_those_of_hashlib(key: bytes) -> None:
    kinds, pseudonyms = list_key_kinds(FeatureConfig()), Pseudonyms(key)
    place = [kind.name for kind in kinds].index("account")
    texts = [
        "a" * length for length in (1, 2, 7, 8, 9, 63, *range(110, 130), 247, 248, 249, 255, 256, 257, 400)
    ]
    described = describe(
        [make_consignment(account_id=text) for text in texts], build_key_plan(kinds, pseudonyms)
    )
    assert described.keys[:, place].tolist() == [pseudonyms.compute_number("account", text) for text in texts]

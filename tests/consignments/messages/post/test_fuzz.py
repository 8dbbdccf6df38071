"""Whatever bytes come, each reader gives values that can be rows, or a fault: never a crash."""

import random
from collections import Counter
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.message_mutations import READERS, check_readers, iterate_mutations, load_seeds, mutate

SEEDS = load_seeds()
MUTATIONS_OF_SLOW_TEST = 200_000


def test_every_example_is_read_by_a_reader() -> None:
    for seed in SEEDS:
        found: Counter[str] = Counter()
        check_readers(seed, found)
        assert any(not kind.endswith("fault") for kind in found)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SEEDS), st.integers(0, 2**32))
def test_spoilt_messages_give_values_or_faults(seed: bytes, number: int) -> None:
    check_readers(mutate(seed, random.Random(number), SEEDS), Counter())


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_values_or_faults(content: bytes) -> None:
    check_readers(content, Counter())


@settings(max_examples=50, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["@id", "@type", "@value", "@graph", "waybillNumber", "shipment", "pieces", "SenderName", "ContentPieces", "Amount", "GrossWeight"]), inner, max_size=4), max_leaves=12))  # fmt: skip
def test_any_json_gives_values_or_faults(document: object) -> None:
    import json

    check_readers(json.dumps(document).encode(), Counter())


@pytest.mark.slow
def test_two_hundred_thousand_spoilt_messages_give_values_or_faults() -> None:
    found: Counter[str] = Counter()
    for content, names in islice(iterate_mutations(2026), MUTATIONS_OF_SLOW_TEST):
        check_readers(content, found, names)
    kinds = {
        name.partition(": ")[0] for name, count in found.items() if count > MUTATIONS_OF_SLOW_TEST / 1000
    }
    assert kinds == set(READERS)
    assert (
        sum(count for name, count in found.items() if name.endswith("Declaration"))
        > MUTATIONS_OF_SLOW_TEST / 10
    )

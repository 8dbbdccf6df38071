"""The index never calls a known consignment unknown, and forgets by the day alone."""

from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consignments.errors import ServiceFault
from features.history.kernels import REMEMBERED_DAYS
from serving.state.identifier_index import (
    DAY_BITS,
    FIRST_DAY,
    KEPT_DAYS,
    MIN_WORDS,
    TAG_BITS,
    IdentifierIndex,
)

DIGEST = blake2b(digest_size=8, key=b"a key of the tests")
START = 19_783

# Tags that begin alike stand in one chain, at the end of the set, and at its start again.
LAST = (1 << TAG_BITS) - 1
tags = st.one_of(st.integers(0, 3), st.integers(LAST - 2, LAST), st.integers(0, LAST))
gaps = st.sampled_from([0, 0, 1, 30, 365, 366, 367, 1000])
steps = st.lists(st.tuples(tags, gaps), max_size=60)


def index_of(words=None) -> IdentifierIndex:
    return IdentifierIndex(DIGEST, words)


@given(steps, st.lists(tags, max_size=10))
def test_it_knows_what_a_dict_of_days_knows(met, others) -> None:
    index, days, today = index_of(), dict[int, int](), START
    for tag, gap in met:
        today += gap
        days[tag] = today
        index.add_all(np.array([tag], dtype=np.uint64), np.array([today]))
        check(index, days, today, others)
    together = index_of()
    moments = np.cumsum([0, *(gap for _, gap in met)])[1:] + START
    together.add_all(np.array([tag for tag, _ in met], dtype=np.uint64), moments)
    assert together.words.tolist() == index.words.tolist()
    index._make_room(1, today)
    check(index, days, today, others)
    check(index_of(index.words.copy()), days, today, others)


def check(index: IdentifierIndex, days: dict[int, int], today: int, others: list[int]) -> None:
    for tag in {*days, *others}:
        known = days.get(tag, FIRST_DAY) >= today - REMEMBERED_DAYS
        assert index.may_contain_each(np.array([tag], dtype=np.uint64), today).tolist() == [known]


def test_it_grows_and_keeps_all_as_long_as_history_remembers_under_tags_of_its_key() -> None:
    index, names = index_of(), [f"RB{number:09d}DE" for number in range(20_000)]
    for name in names[:500]:
        index.add_all(index.compute_tags([name]), np.array([START]))
    index.add_all(index.compute_tags(names[500:]), np.full(19_500, START))
    assert index.may_contain_each(index.compute_tags(names), START + REMEMBERED_DAYS).all()
    assert not index.may_contain_each(index.compute_tags(names), START + KEPT_DAYS + 1).any()
    assert len(index) == 20_000
    assert index.words.nbytes <= 22 * len(names)
    other = IdentifierIndex(blake2b(digest_size=8, key=b"another key"))
    assert other.compute_tags(["RB1"]) != index.compute_tags(["RB1"])
    assert FIRST_DAY < -719_162, "a day fits beside a tag"
    assert (1 << DAY_BITS) + FIRST_DAY > 2_932_897


def test_what_is_forgotten_makes_room_so_that_it_stays_as_small_as_a_year() -> None:
    index = index_of()
    for day in range(0, 40 * 366, 30):
        of_day = np.arange(500, dtype=np.uint64) << np.uint64(30) | np.uint64(day)
        index.add_all(of_day, np.full(500, START + day))
    assert len(index.words) <= 8 * MIN_WORDS


@pytest.mark.parametrize(
    "words",
    [
        np.zeros(MIN_WORDS, dtype=np.int64),
        np.zeros(MIN_WORDS + 1, dtype=np.uint64),
        np.zeros(16, dtype=np.uint64),
        np.ones(MIN_WORDS, dtype=np.uint64),
    ],
    ids=["other numbers", "no power of two", "too small", "full"],
)
def test_other_words_are_refused(words) -> None:
    with pytest.raises(ServiceFault, match="identifier index is not valid"):
        index_of(words)

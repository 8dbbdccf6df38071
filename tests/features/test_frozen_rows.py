"""Rows have the values, keys and normal forms that were frozen when kernels computed them."""

import numpy as np
import pytest
from support import frozen_rows
from support.frozen_rows import PARTS, FrozenAnswers

SOURCES = frozen_rows.read_sources()
FROZEN = frozen_rows.read_answers()


@pytest.fixture(scope="module")
def found() -> FrozenAnswers:
    pipeline = frozen_rows.build_pipeline(SOURCES, frozen_rows.read_parameters())
    return frozen_rows.compute_answers(pipeline, SOURCES, frozen_rows.read_names())


@pytest.mark.parametrize("place", range(len(FROZEN.shown)))
def test_a_row_that_can_be_read_has_its_frozen_values(found: FrozenAnswers, place: int) -> None:
    for what in ("values", "ones", "keys", "forms"):
        assert found.shown[place][what] == FROZEN.shown[place][what]


@pytest.mark.parametrize("part", PARTS)
def test_twenty_thousand_rows_have_their_frozen_digests(found: FrozenAnswers, part: str) -> None:
    place = PARTS.index(part)
    differ = np.flatnonzero(found.digests[:, place] != FROZEN.digests[:, place])
    assert not len(differ), f"{len(differ)} rows, the first: {differ[:10].tolist()}"


def test_vocabularies_and_norms_are_learnt_as_they_were() -> None:
    assert frozen_rows.fit_parameters(SOURCES) == frozen_rows.read_parameters()

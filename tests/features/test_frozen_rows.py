"""Rows have the values, keys and normal forms that were frozen when kernels computed them."""

import json

import numpy as np
import pytest
from support import frozen_rows
from support.frozen_rows import GROUP_ROWS, PARTS

SOURCES = frozen_rows.read_sources()
FROZEN = frozen_rows.read_answers()
WHAT = ("values", "ones", "keys", "forms")


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_rows_have_their_frozen_digests_and_those_that_can_be_read_their_values(every: int) -> None:
    """A quarter of the 20,000 rows, or all of them."""
    pipeline = frozen_rows.build_pipeline(SOURCES, frozen_rows.read_parameters())
    found = frozen_rows.compute_answers(pipeline, SOURCES, frozen_rows.read_names(), every)
    computed = np.arange(len(FROZEN.digests)) // GROUP_ROWS % every == 0
    for place, part in enumerate(PARTS):
        differ = np.flatnonzero(computed & (found.digests[:, place] != FROZEN.digests[:, place]))
        assert not len(differ), f"{part}: {len(differ)} rows, the first: {differ[:10].tolist()}"
    shown = {json.dumps(each["consignment"]): each for each in FROZEN.shown}
    assert len(found.shown) >= len(shown) // (every + 1)
    for row in found.shown:
        frozen = shown[json.dumps(row["consignment"])]
        assert {what: row[what] for what in WHAT} == {what: frozen[what] for what in WHAT}


def test_vocabularies_and_norms_are_learnt_as_they_were() -> None:
    assert frozen_rows.fit_parameters(SOURCES) == frozen_rows.read_parameters()

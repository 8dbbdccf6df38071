"""Rows have the values, keys and normal forms that were frozen when kernels computed them."""

import numpy as np
import pytest
from support import frozen_rows
from support.frozen_rows import GROUP_ROWS, PARTS

SOURCES = frozen_rows.read_sources()
PARAMETERS, NAMES, DIGESTS = frozen_rows.read_frozen()


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_rows_have_their_frozen_digests(every: int) -> None:
    """A quarter of the 20,000 rows, or all of them."""
    found = frozen_rows.compute_answers(frozen_rows.build_pipeline(PARAMETERS), SOURCES, NAMES, every)
    computed = np.arange(len(DIGESTS)) // GROUP_ROWS % every == 0
    for place, part in enumerate(PARTS):
        differ = np.flatnonzero(computed & (found[:, place] != DIGESTS[:, place]))
        assert not len(differ), f"{part}: {len(differ)} rows, the first: {differ[:10].tolist()}"


def test_vocabularies_and_norms_are_learnt_as_they_were() -> None:
    assert frozen_rows.fit_parameters(SOURCES) == PARAMETERS

"""The tables of the goods as one record, which kernels receive as one pointer: the lexicon and the HS codes."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.goods.hs import build_hs_tables
from features.goods.kernels import SCRATCH
from features.goods.lexicon import load_text_tables


@cache
def load_goods_tables() -> NDArray[Any]:
    """Build the record once per process.

    Returns
    -------
    array of one record
        The arrays of `features.goods.lexicon.TextTables`, those of `features.goods.hs.HsTables` as `hs_codes` and `friends`, and
        the scratch arrays of the kernels.
    """
    hs = build_hs_tables()
    arrays = load_text_tables()._asdict() | {"hs_codes": hs.codes, "friends": hs.friends}
    fields = [(name, array.dtype, array.shape) for name, array in arrays.items()]
    tables = np.zeros(1, np.dtype([*fields, *SCRATCH], align=True))
    for name, array in arrays.items():
        tables[name][0] = array
    return tables

"""Features of the declared goods: the text, the HS code, the items, and the agreement of text and code."""

from math import nan

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BundleRefused
from consignments.records import Consignment
from features.goods import kernels as kernel
from features.goods.tables import encode_text, load_goods_tables
from features.normalization.normal_forms import CHAPTER_DIGITS, NormalForms, clean_hs, normalize_goods
from features.table import read_group

GOODS_FEATURES = read_group("goods.").features


class GoodsFeatures:
    """The features of the goods."""

    def __init__(self, text_weights: NDArray[np.float32]) -> None:
        self.weights = _check_weights(text_weights)

    def fill(self, c: Consignment, forms: NormalForms, row: NDArray[np.float32]) -> None:
        """Write the features in the order of the table."""
        row[kernel.ITEMS], row[kernel.ITEM_CHAPTERS], row[kernel.ITEM_GAPS] = _describe_items(c)
        hs = int(forms.hs[: kernel.HS_DIGITS_READ] or 0)
        text = encode_text(forms.text)
        if (
            kernel.write_goods(text, load_goods_tables(), self.weights, hs, len(forms.hs), row)
            == kernel.REFUSED
        ):
            raise IndexError(f"the kernel of goods has no room for {len(text)} characters")


def prepare_kernel() -> None:
    """Compile the kernel if no process did so on this machine, so that several processes do not do it at the same time."""
    c = Consignment(consignment_id="1", channel="postal")
    row = np.empty(len(GOODS_FEATURES), np.float32)
    GoodsFeatures(np.zeros(kernel.TEXT_BUCKETS, np.float32)).fill(c, normalize_goods(c), row)


def _describe_items(c: Consignment) -> tuple[float, float, float]:
    """Count the items and their chapters, and compute the share of them without description or HS code."""
    if not c.items:
        return (nan, nan, nan) if c.items is None else (0.0, 0.0, 0.0)
    chapters = {code[:CHAPTER_DIGITS] for item in c.items if (code := clean_hs(item.hs_code))}
    gaps = sum(not (item.description and item.hs_code) for item in c.items)
    return float(len(c.items)), float(len(chapters)), gaps / len(c.items)


def _check_weights(text_weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Check the size of text weights, and return a copy of the type for which the kernel is compiled."""
    weights = np.array(text_weights, dtype=np.float32)
    if weights.shape != (kernel.TEXT_BUCKETS,):
        raise BundleRefused(
            "text weights have another size than this version of npsrisk expects",
            got=f"shape {weights.shape}",
            expected=f"({kernel.TEXT_BUCKETS},)",
            todo="retrain, or install the version named in the bundle's card",
        )
    return weights

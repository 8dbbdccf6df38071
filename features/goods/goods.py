"""Features of the declared goods: the text, the HS code, the items, and the agreement of text and code."""

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BundleRefused
from features.goods.kernels import HS_DIGITS_READ, ITEM_CHAPTERS, ITEM_GAPS, ITEMS, TEXT_BUCKETS, write_goods
from features.goods.texts import load_goods_text
from features.items import CHAPTERS, GAPS, HS_DIGITS, KINDS
from features.normalization.compiling import START, Array, Int, Tables, kernel
from features.spec import Feature

# Name, unit and reason code, in the order in which the kernel writes them (features.goods.kernels).
_TEXT_AND_HS = (
    ("described", "flag", "vague_description"),
    ("names_specific", "count", "substance_named"),
    ("names_class", "count", "substance_named"),
    ("names_medicine", "count", "medicine_named"),
    ("names_context", "count", "substance_hinted"),
    ("context_supported", "flag", "substance_hinted"),
    ("names_disguised", "count", "name_disguised"),
    ("name_tier", "code", "substance_named"),
    ("name_family", "code", "substance_named"),
    ("cas_numbers", "count", "chemical_text"),
    ("cas_misprints", "count", "chemical_text"),
    ("locants", "count", "chemical_text"),
    ("chemistry_words", "count", "chemical_text"),
    ("brackets", "count", "chemical_text"),
    ("unknown_chemical", "flag", "chemical_text"),
    ("powder_words", "count", "form_of_goods"),
    ("crystal_words", "count", "form_of_goods"),
    ("liquid_words", "count", "form_of_goods"),
    ("dose_words", "count", "form_of_goods"),
    ("sample_words", "count", "sample_declared"),
    ("pretext_words", "count", "pretext_use"),
    ("admin_words", "count", "admin_text"),
    ("cover_industrial", "count", "cover_goods"),
    ("cover_cosmetic", "count", "cover_goods"),
    ("cover_supplement", "count", "cover_goods"),
    ("cover_plant", "count", "cover_goods"),
    ("cover_feed", "count", "cover_goods"),
    ("text_family", "code", "kind_of_goods"),
    ("text_families", "count", "kind_of_goods"),
    ("vague_whole", "flag", "vague_description"),
    ("vague_share", "share", "vague_description"),
    ("characters", "count", "text_shape"),
    ("tokens", "count", "text_shape"),
    ("longest_token", "count", "text_shape"),
    ("coded_share", "share", "text_shape"),
    ("upper_share", "share", "text_shape"),
    ("digit_share", "share", "text_shape"),
    ("mark_share", "share", "text_shape"),
    ("non_ascii_share", "share", "text_shape"),
    ("longest_repeat", "count", "text_shape"),
    ("invisible", "count", "name_disguised"),
    ("latin", "flag", "script"),
    ("cyrillic", "flag", "script"),
    ("hangul", "flag", "script"),
    ("cjk", "flag", "script"),
    ("mixed_script_words", "count", "name_disguised"),
    ("invalid", "flag", "invalid_text"),
    ("hs_present", "flag", "hs_quality"),
    ("hs_digits", "count", "hs_quality"),
    ("hs_chapter_known", "flag", "hs_quality"),
    ("hs_valid", "flag", "hs_quality"),
    ("hs_family", "code", "kind_of_goods"),
    ("hs_typical", "flag", "hs_typical"),
    ("hs_cover", "flag", "cover_goods"),
    ("hs_text_mismatch", "flag", "hs_text_mismatch"),
    ("items", "count", "items"),
    ("item_chapters", "count", "items"),
    ("item_gaps", "share", "items"),
)  # fmt: skip
GOODS_FEATURES = (
    *(Feature(f"goods.{name}", unit, reason) for name, unit, reason in _TEXT_AND_HS),
    Feature("goods.text_score", "log-odds", "text_score", fitted=True),
)
ZERO = ord("0")


@kernel
def write_goods_values(tables: Tables, goods: Tables, data: Array, weights: Array, row: Array) -> Int:
    """Write the features of the goods of a row. Return 0, or what is needed first.

    Parameters
    ----------
    tables : Tables
        `features.items.read_items` has read the items.
    goods : record
        From `features.goods.tables.load_goods_tables`.
    data : uint8 array
    weights : float32 array, (TEXT_BUCKETS,)
        Result of `features.goods.text_weights.fit_text_weights`.
    row : float32 array
    """
    size = load_goods_text(tables, data)
    if size < 0:
        return size
    kinds, digits, hs = tables.item_counts[KINDS], tables.item_counts[HS_DIGITS], START
    row[ITEMS] = kinds if kinds >= 0 else np.nan
    row[ITEM_CHAPTERS] = tables.item_counts[CHAPTERS] if kinds >= 0 else np.nan
    row[ITEM_GAPS] = tables.item_counts[GAPS] / kinds if kinds > 0 else 0.0 if kinds == 0 else np.nan
    for place in range(min(digits, HS_DIGITS_READ)):
        hs = 10 * hs + int(tables.hs[place]) - ZERO
    write_goods(goods, tables.letters[:size], weights, hs, digits, row)
    return 0


def check_weights(text_weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Check the size of text weights, and return them in the form that the kernel reads.

    Raises
    ------
    BundleRefused
        If they have another size. The kernel checks no bounds.
    """
    weights = np.array(text_weights, dtype=np.float32)
    if weights.shape != (TEXT_BUCKETS,):
        raise BundleRefused(
            "text weights have another size than this version of npsrisk expects",
            got=f"shape {weights.shape}",
            expected=f"({TEXT_BUCKETS},)",
            todo="retrain, or install the version named in the bundle's card",
        )
    return weights

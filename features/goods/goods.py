"""Features of the declared goods: the text, the HS code, and the agreement of both."""

from math import nan

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BundleRefused
from consignments.records import Consignment
from features.goods.hs import build_hs_tables
from features.goods.kernels import HS_DIGITS_READ, TEXT_BUCKETS, encode_text, fill_goods
from features.goods.lexicon import load_text_tables
from features.normalization.normal_forms import NormalForms, clean_hs
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
_TEXT_SCORE = Feature("goods.text_score", "log-odds", "text_score", fitted=True)


class GoodsFeatures:
    """The features of the goods of a consignment.

    Parameters
    ----------
    text_weights : float32 array, (TEXT_BUCKETS,), or None
        Result of `features.goods.text_weights.fit_text_weights`. Without them there is no text score.

    Attributes
    ----------
    features : tuple of Feature
        The features in the order in which `fill` writes them.
    """

    def __init__(self, text_weights: NDArray[np.float32] | None) -> None:
        plain = tuple(Feature(f"goods.{name}", unit, reason) for name, unit, reason in _TEXT_AND_HS)
        self.features = plain if text_weights is None else (*plain, _TEXT_SCORE)
        self._tables = (*load_text_tables(), *build_hs_tables(), _check_weights(text_weights))

    def fill(self, c: Consignment, forms: NormalForms, row: NDArray[np.float32], at: int) -> None:
        """Write the features of one consignment into `row`, from column `at` on.

        Parameters
        ----------
        c : Consignment
        forms : NormalForms
            Its normal forms. Only the text and the HS code of the goods are used.
        row : float32 array
            It must have room for all features from `at` on.
        at : int
        """
        if at < 0 or at + len(self.features) > len(row):
            raise IndexError(f"a row of {len(row)} values has no {len(self.features)} places from {at} on")
        hs = forms.hs
        number = int(hs[:HS_DIGITS_READ]) if hs else 0
        items = (nan, nan, nan) if c.items is None else _describe_items(c)
        fill_goods(encode_text(forms.text), *self._tables, row, at, number, len(hs), *items)


def _check_weights(text_weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Check the weights, and return them in the form that the kernel reads. The kernel checks no bounds."""
    weights = np.array([] if text_weights is None else text_weights, dtype=np.float32)
    if text_weights is not None and weights.shape != (TEXT_BUCKETS,):
        raise BundleRefused(
            "text weights have another size than this version of npsrisk expects",
            got=f"shape {weights.shape}",
            expected=f"({TEXT_BUCKETS},)",
            todo="retrain, or install the version named in the bundle's card",
        )
    return weights


def _describe_items(c: Consignment) -> tuple[float, float, float]:
    """Count the items and their HS chapters, and compute the share of items without description or HS code."""
    items = c.items or ()
    chapters = {code[:2] for item in items if (code := clean_hs(item.hs_code))}
    gaps = sum(not (item.description and item.hs_code) for item in items)
    return float(len(items)), float(len(chapters)), gaps / len(items) if items else 0.0

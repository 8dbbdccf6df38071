"""What the goods are said to be: the text, the HS code, and whether the two agree."""

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

# In the order in which the kernel writes them (features.goods.kernels): name, unit, reason, text.
_TEXT_AND_HS = (
    ("described", "flag", "vague_description", "The goods are described at all: {value}"),
    ("names_specific", "count", "substance_named", "The text names {value} known new psychoactive substance(s)"),
    ("names_class", "count", "substance_named", "The text has {value} name(s) built like those of a class of new substances"),
    ("names_medicine", "count", "medicine_named", "The text names {value} medicine(s) or industrial substance(s) that are also abused"),
    ("names_context", "count", "substance_hinted", "The text has {value} short code(s) or ordinary word(s) that also stand for a drug"),
    ("context_supported", "flag", "substance_hinted", "Such a code stands beside powder, chemical words or a chemical HS code: {value}"),
    ("names_disguised", "count", "name_disguised", "{value} name(s) are written in disguise: spaced out, with digits or letters of other scripts"),
    ("name_tier", "code", "substance_named", "Strength of the strongest name in the text, 0 none to 4 certain: {value}"),
    ("name_family", "code", "substance_named", "Family of the strongest name in the text: {value}"),
    ("cas_numbers", "count", "chemical_text", "The text has {value} valid CAS registry number(s)"),
    ("cas_misprints", "count", "chemical_text", "The text has {value} number(s) formed like a CAS number with a wrong check digit"),
    ("locants", "count", "chemical_text", "The text has {value} locant(s) of a chemical name, like 2,5-"),
    ("chemistry_words", "count", "chemical_text", "The text has {value} part(s) of chemical names"),
    ("brackets", "count", "chemical_text", "The text has {value} opening bracket(s)"),
    ("unknown_chemical", "flag", "chemical_text", "The text holds a chemical name that is not in the lists: {value}"),
    ("powder_words", "count", "form_of_goods", "The text speaks of powder {value} time(s)"),
    ("crystal_words", "count", "form_of_goods", "The text speaks of crystals {value} time(s)"),
    ("liquid_words", "count", "form_of_goods", "The text speaks of a liquid {value} time(s)"),
    ("dose_words", "count", "form_of_goods", "The text speaks of tablets, capsules or other doses {value} time(s)"),
    ("sample_words", "count", "sample_declared", "The text speaks of samples {value} time(s)"),
    ("pretext_words", "count", "pretext_use", "The text names {value} use(s) that have served as a pretext, like bath salts or research chemical"),
    ("admin_words", "count", "admin_text", "The text has {value} note(s) on freight or papers in place of goods"),
    ("cover_industrial", "count", "cover_goods", "The text has {value} word(s) of industrial chemicals or plastics"),
    ("cover_cosmetic", "count", "cover_goods", "The text has {value} word(s) of cosmetics or cleaning agents"),
    ("cover_supplement", "count", "cover_goods", "The text has {value} word(s) of food supplements"),
    ("cover_plant", "count", "cover_goods", "The text has {value} word(s) of tea, herbs or seeds"),
    ("cover_feed", "count", "cover_goods", "The text has {value} word(s) of pet food or feed"),
    ("text_family", "code", "kind_of_goods", "Family of goods the text speaks of: {value}"),
    ("text_families", "count", "kind_of_goods", "The text speaks of {value} families of goods"),
    ("vague_whole", "flag", "vague_description", "The whole description is a vague term: {value}"),
    ("vague_share", "share", "vague_description", "Share of vague words in the description: {value}"),
    ("characters", "count", "text_shape", "The description has {value} characters"),
    ("tokens", "count", "text_shape", "The description has {value} words"),
    ("longest_token", "count", "text_shape", "The longest word of the description has {value} characters"),
    ("coded_share", "share", "text_shape", "Share of words that mix letters and digits: {value}"),
    ("upper_share", "share", "text_shape", "Share of capital letters in the description: {value}"),
    ("digit_share", "share", "text_shape", "Share of digits in the description: {value}"),
    ("mark_share", "share", "text_shape", "Share of punctuation in the description: {value}"),
    ("non_ascii_share", "share", "text_shape", "Share of characters beyond plain Latin in the description: {value}"),
    ("longest_repeat", "count", "text_shape", "One character is repeated {value} times in a row"),
    ("invisible", "count", "name_disguised", "The description has {value} invisible character(s)"),
    ("latin", "flag", "script", "The description uses Latin letters: {value}"),
    ("cyrillic", "flag", "script", "The description uses Cyrillic letters: {value}"),
    ("hangul", "flag", "script", "The description uses Korean letters: {value}"),
    ("cjk", "flag", "script", "The description uses Chinese or Japanese characters: {value}"),
    ("mixed_script_words", "count", "name_disguised", "{value} word(s) mix Latin letters with look-alikes of other scripts"),
    ("invalid", "flag", "invalid_text", "The description is no text: only digits or signs, one repeated character or a file ending: {value}"),
    ("hs_present", "flag", "hs_quality", "An HS code is given: {value}"),
    ("hs_digits", "count", "hs_quality", "The HS code has {value} digits"),
    ("hs_chapter_known", "flag", "hs_quality", "The HS code's chapter exists: {value}"),
    ("hs_valid", "flag", "hs_quality", "The HS code has six digits or more and its heading exists: {value}"),
    ("hs_family", "code", "kind_of_goods", "Family of goods of the HS code: {value}"),
    ("hs_typical", "flag", "hs_typical", "The HS code is one where new psychoactive substances belong by their chemistry: {value}"),
    ("hs_cover", "flag", "cover_goods", "The HS code is one under which they are often hidden: {value}"),
    ("hs_text_mismatch", "flag", "hs_text_mismatch", "The HS code and the words speak of different goods: {value}"),
    ("items", "count", "items", "The consignment lists {value} item(s)"),
    ("item_chapters", "count", "items", "The items belong to {value} different HS chapters"),
    ("item_gaps", "share", "items", "Share of items without description or HS code: {value}"),
)  # fmt: skip
_TEXT_SCORE = Feature(
    "goods.text_score",
    "log-odds",
    "text_score",
    "The words are like those of consignments in which it was found: {value}",
    fitted=True,
)


class GoodsFeatures:
    """Describe the goods of a consignment.

    Parameters
    ----------
    text_weights : float32 array, (TEXT_BUCKETS,), or None
        From `features.goods.text_weights.fit_text_weights`; without them there is no text score.

    Attributes
    ----------
    features : tuple of Feature
        In the order in which `fill` writes them.
    """

    def __init__(self, text_weights: NDArray[np.float32] | None) -> None:
        plain = tuple(
            Feature(f"goods.{name}", unit, reason, text) for name, unit, reason, text in _TEXT_AND_HS
        )
        self.features = plain if text_weights is None else (*plain, _TEXT_SCORE)
        self._tables = (*load_text_tables(), *build_hs_tables(), _check_weights(text_weights))

    def fill(self, c: Consignment, forms: NormalForms, row: NDArray[np.float32], at: int) -> None:
        """Write the features of one consignment into `row`, from column `at` on.

        Parameters
        ----------
        c : Consignment
        forms : Forms
            Its normal forms, of which the goods' text and HS code are read.
        row : float32 array
            Long enough for all features after `at`.
        at : int
        """
        if at < 0 or at + len(self.features) > len(row):
            raise IndexError(f"a row of {len(row)} values has no {len(self.features)} places from {at} on")
        hs = forms.hs
        number = int(hs[:HS_DIGITS_READ]) if hs else 0
        items = (nan, nan, nan) if c.items is None else _describe_items(c)
        fill_goods(encode_text(forms.text), *self._tables, row, at, number, len(hs), *items)


def _check_weights(text_weights: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Give the weights as the kernel may read them: it checks no bounds."""
    weights = np.array([] if text_weights is None else text_weights, dtype=np.float32)
    if text_weights is not None and weights.shape != (TEXT_BUCKETS,):
        raise BundleRefused(
            "text weights of another size than this version of npsrisk reads",
            got=f"shape {weights.shape}",
            expected=f"({TEXT_BUCKETS},)",
            todo="retrain, or install the version named in the bundle's card",
        )
    return weights


def _describe_items(c: Consignment) -> tuple[float, float, float]:
    """Give the number of items, of the HS chapters among them, and the share without description or HS code."""
    items = c.items or ()
    chapters = {code[:2] for item in items if (code := clean_hs(item.hs_code))}
    gaps = sum(not (item.description and item.hs_code) for item in items)
    return float(len(items)), float(len(chapters)), gaps / len(items) if items else 0.0

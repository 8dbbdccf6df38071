"""Location of the words of a goods text on which its features depend, so that a reason can quote them."""

import re
from collections.abc import Callable, Iterable
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from features.goods import kernels as kernel
from features.goods.goods import GOODS_FEATURES
from features.goods.lexicon import TIERS, WORD_SLOTS, load_text_tables
from features.goods.tables import encode_text, load_goods_tables

MAX_HITS = 64
"""Maximum number of names and words that are located in one text."""
MAX_QUOTED_WORDS = 3
MAX_QUOTED_CHARACTERS = 40
CONTACT_DETAILS = re.compile(r"\S*@\S+|(?:\+|\b0)\d[\d\s()/-]{6,}\d")
"""E-mail addresses and telephone numbers, which a text may hold. CAS numbers begin with neither + nor 0."""
REMOVED = "…"

_TIER_FEATURES = {"context_supported": kernel.CONTEXT} | {f"names_{name}": at for name, at in TIERS.items()}
Hits = NDArray[np.int32]


class GoodsWords:
    """A goods text whose words are searched only if a reason needs them."""

    def __init__(self, text: str) -> None:
        self._codes = encode_text(text)

    def list_words(self, feature: str) -> list[str]:
        """List up to three words on which a feature depends, as written in the text; none for other features."""
        finder = _FINDERS.get(feature)
        found = finder(self) if finder and self._codes.size else ()
        return list(dict.fromkeys(filter(None, map(shorten_text, found))))[:MAX_QUOTED_WORDS]

    @cached_property
    def text(self) -> str:
        """Return the whole text."""
        return "".join(map(chr, self._codes.tolist()))

    @cached_property
    def _hits(self) -> Hits:
        hits = np.empty((MAX_HITS, kernel.HIT_COLUMNS), np.int32)
        return hits[: kernel.locate_terms(self._codes, load_goods_tables(), hits)]

    def _quote(self, hits: Hits) -> Iterable[str]:
        """Return the spelling of each hit, in the order of the text, without hits inside another."""
        places = hits[:, [kernel.HIT_FIRST, kernel.HIT_LAST]].tolist()
        spans = {self._widen(first, last) for first, last in places}
        words, stop = [], 0
        for first, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            if end > stop:
                words.append(self.text[first:end])
                stop = end
        return words

    def _widen(self, first: int, last: int) -> tuple[int, int]:
        """Widen a hit to whole words."""
        text, end = self.text, last + 1
        while first > 0 and text[first - 1].isalnum():
            first -= 1
        while end < len(text) and text[end].isalnum():
            end += 1
        return first, end

    def quote_tier(self, tier: int) -> Iterable[str]:
        """Quote the names of a tier."""
        return self._quote(self._hits[self._hits[:, kernel.HIT_TIER] == tier])

    def quote_strongest(self) -> Iterable[str]:
        """Quote the names of the strongest tier that the text has."""
        tiers = self._hits[:, kernel.HIT_TIER]
        strongest = int(tiers.max(initial=kernel.WORD))
        return () if strongest == kernel.WORD else self.quote_tier(strongest)

    def quote_disguised(self) -> Iterable[str]:
        """Quote the names with a disguised spelling."""
        return self._quote(self._hits[self._hits[:, kernel.HIT_DISGUISED] != 0])

    def quote_slot(self, slot: int) -> Iterable[str]:
        """Quote the words that are counted in a slot."""
        terms = load_text_tables().terms[self._hits[:, kernel.HIT_TERM]]
        words = self._hits[:, kernel.HIT_TIER] == kernel.WORD
        return self._quote(self._hits[words & (terms[:, kernel.SLOT] == slot)])


def shorten_text(text: str, longest: int = MAX_QUOTED_CHARACTERS) -> str:
    """Shorten a text, without contact details, control characters and bidi characters."""
    shown = CONTACT_DETAILS.sub(REMOVED, text[: 10 * longest])
    shown = "".join(char for char in shown if char.isprintable()).strip(" \"'.,;:|/()[]")
    return shown if len(shown) <= longest else f"{shown[:longest].rstrip()}…"


_FINDERS: dict[str, Callable[[GoodsWords], Iterable[str]]] = {
    **{f"goods.{name}": partial(GoodsWords.quote_tier, tier=tier) for name, tier in _TIER_FEATURES.items()},
    **{GOODS_FEATURES[slot].name: partial(GoodsWords.quote_slot, slot=slot) for slot in WORD_SLOTS.values()},
    "goods.name_tier": GoodsWords.quote_strongest,
    "goods.name_family": GoodsWords.quote_strongest,
    "goods.names_disguised": GoodsWords.quote_disguised,
    "goods.vague_whole": lambda words: (words.text,),
}
QUOTED_FEATURES = frozenset(_FINDERS)
"""Features for which words can be quoted."""

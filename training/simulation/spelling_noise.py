"""Spelling noise of a hard world: distortions of names, addresses and phones by clerks, forms and careful senders.

A party is often distorted in the same way every time, since a form was filled once; networks' consignments vary more.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.simulation.hard_parameters import SpellingNoise
from training.simulation.parties import Draws, Ids, Texts, add_typo, rotate_parts

Flags = NDArray[np.bool_]
Chances = NDArray[np.float64]
PLAIN_FORMS = str.maketrans(
    {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "ß": "ss", "æ": "ae", "Æ": "Ae", "đ": "d", "Đ": "D", "ı": "i"}
)
"""Letters without a Unicode decomposition."""
MIX_FACTOR, MIX_STEP, MIX_SHIFT, MIX_BITS = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 31, 53
"""Constants of the hash for a party's lasting numbers (splitmix64)."""


def swap_variant(text: str, variants: tuple[tuple[str, ...], ...], pick: float) -> str:
    """Replace one word or sound by another of its spellings.

    Examples
    --------
    >>> groups = (("Mohammed", "Muhammad", "Mohamed"), ("shi", "si"))
    >>> swap_variant("Mohammed Rahman", groups, 0.1), swap_variant("Ishii", groups, 0.9)
    ('Muhammad Rahman', 'Isii')
    """
    found = [(group, _find_longest(text, group)) for group in variants]
    found = [(group, word) for group, word in found if word]
    if not found:
        return text
    group, word = found[int(pick * len(found))]
    others = [other for other in group if other != word]
    return text.replace(word, others[int(pick * len(found) % 1 * len(others))])


def _find_longest(text: str, group: tuple[str, ...]) -> str:
    """Return the longest spelling of a group that a text contains; '' and blanks are only written, never searched."""
    return max((word for word in group if word.strip() and word in text), key=len, default="")


def fold_letters(text: str) -> str:
    """Remove the marks of letters, as systems with few letters do.

    Examples
    --------
    >>> fold_letters("Göran Håkansson"), fold_letters("Łukasz")
    ('Goran Hakansson', 'Lukasz')
    """
    apart = unicodedata.normalize("NFKD", text.translate(PLAIN_FORMS))
    return unicodedata.normalize("NFC", "".join(sign for sign in apart if not unicodedata.combining(sign)))


def write_initial(text: str) -> str:
    """Replace the first word of a name by its initial.

    Examples
    --------
    >>> write_initial("Emma Taylor"), write_initial("Emma")
    ('E Taylor', 'Emma')
    """
    first, space, rest = text.partition(" ")
    return f"{first[0]} {rest}" if space and first else text


def join_words(text: str) -> str:
    """Join two parts of a name.

    Examples
    --------
    >>> join_words("Kim Min-su"), join_words("van Dijk")
    ('Kim Minsu', 'vanDijk')
    """
    return text.replace("-", "") if "-" in text else text.replace(" ", "", 1)


def move_unit(text: str) -> str:
    """Move the last part of an address to the front.

    Examples
    --------
    >>> move_unit("12 High Street, Unit 4"), move_unit("12 High Street")
    ('Unit 4, 12 High Street', '12 High Street')
    """
    rest, comma, unit = text.rpartition(", ")
    return f"{unit}, {rest}" if comma else text


def drop_unit(text: str) -> str:
    """Remove the last part of an address.

    Examples
    --------
    >>> drop_unit("12 High Street, Unit 4"), drop_unit("12 High Street")
    ('12 High Street', '12 High Street')
    """
    return text.rpartition(", ")[0] or text


def drop_country_prefix(phone: str) -> str:
    """Replace the country prefix of a number by the domestic one.

    Examples
    --------
    >>> drop_country_prefix("+46 701234567"), drop_country_prefix("0701234567")
    ('0701234567', '0701234567')
    """
    prefix, space, number = phone.partition(" ")
    return f"0{number}" if space and prefix.startswith("+") else phone


def change_digit(phone: str, where: float, digit: float) -> str:
    """Replace one digit of a number, never one of the country prefix.

    Examples
    --------
    >>> change_digit("+46 701234567", 0.0, 0.55), change_digit("", 0.5, 0.5)
    ('+46 501234567', '')
    """
    at = phone.find(" ") + 1
    if len(phone) - at < 1:
        return phone
    place = at + int(where * (len(phone) - at))
    return f"{phone[:place]}{int(digit * 10)}{phone[place + 1 :]}"


def respell_name(text: str, variants: tuple[tuple[str, ...], ...], pick: float) -> str:
    """Rewrite a name so that a reader recognises it: another spelling, one word, another order, or a typing error.

    Examples
    --------
    >>> respell_name("Mohammed Rahman", (("Mohammed", "Muhammad"),), 0.0)
    'Muhammad Rahman'
    """
    swapped = swap_variant(text, variants, pick)
    if swapped != text:
        return swapped
    ways = (join_words, rotate_parts, lambda name: add_typo(name, pick * 7 % 1, pick * 3 % 1))
    return ways[int(pick * len(ways))](text)


def draw_lasting(ids: Ids, way: int) -> Chances:
    """Compute for each party a number from 0 to 1 that is the same at every call."""
    offset = np.uint64(way * MIX_STEP % 2**64)
    mixed = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(MIX_FACTOR) + offset
    mixed = (mixed ^ (mixed >> np.uint64(MIX_SHIFT))) * np.uint64(MIX_STEP)
    mixed = (mixed ^ (mixed >> np.uint64(MIX_SHIFT))) * np.uint64(MIX_FACTOR)
    return (mixed >> np.uint64(64 - MIX_BITS)).astype(np.float64) / 2.0**MIX_BITS


@dataclass(frozen=True)
class SpellingWriter:
    """Writer that distorts the texts on the consignments of a day; every method returns a new object array, (n,).

    Parameters
    ----------
    noise : SpellingNoise
    draws : Generator
    networks : bool array, (n,)
        Consignments sent by networks.
    """

    noise: SpellingNoise
    draws: Draws
    networks: Flags

    def write_names(self, names: Texts, ids: Ids) -> Texts:
        """Distort names of parties."""
        noise, out = self.noise, names.copy()
        self._change(out, ids, 1, noise.variant, self._swap)
        self._change(out, ids, 2, noise.plain_letters, lambda text, _: fold_letters(text))
        self._change(out, ids, 3, noise.order, lambda text, _: rotate_parts(text))
        self._change(out, ids, 4, noise.initial, lambda text, _: write_initial(text))
        self._change(out, ids, 5, noise.joined, lambda text, _: join_words(text))
        self._change(out, ids, 6, noise.typo, lambda text, pick: add_typo(text, pick, pick * 7 % 1))
        titles = noise.titles
        self._change(out, ids, 7, noise.title, lambda text, p: f"{titles[int(p * len(titles))]} {text}")
        return out

    def write_addresses(self, addresses: Texts, ids: Ids, names: Texts) -> Texts:
        """Distort addresses; `names` are written before an address in care of someone."""
        noise, out = self.noise, addresses.copy()
        self._change(out, ids, 11, noise.variant, self._swap)
        self._change(out, ids, 12, noise.plain_letters, lambda text, _: fold_letters(text))
        self._change(out, ids, 13, noise.unit_moved, lambda text, _: move_unit(text))
        self._change(out, ids, 14, noise.unit_lost, lambda text, _: drop_unit(text))
        self._change(out, ids, 15, noise.typo, lambda text, pick: add_typo(text, pick, pick * 7 % 1))
        held = self._choose(ids, 16, noise.care_of) & (out != "")
        out[held] = [f"c/o {name}, {text}" for name, text in zip(names[held], out[held], strict=True)]
        return out

    def write_cities(self, cities: Texts, ids: Ids) -> Texts:
        """Replace some cities by their other name."""
        out = cities.copy()
        self._change(out, ids, 21, self.noise.city, lambda text, _: self.noise.city_names.get(text, text))
        self._change(out, ids, 22, self.noise.plain_letters, lambda text, _: fold_letters(text))
        return out

    def write_postcodes(self, postcodes: Texts, ids: Ids) -> Texts:
        """Remove space and hyphen from some postcodes, and omit as many."""
        out = postcodes.copy()
        self._change(
            out, ids, 23, self.noise.postcode, lambda text, _: text.replace(" ", "").replace("-", "")
        )
        self._change(out, ids, 24, self.noise.postcode, lambda _text, _: "")
        return out

    def write_phones(self, phones: Texts, ids: Ids) -> Texts:
        """Remove the country prefix of some numbers, and change a digit of some."""
        out = phones.copy()
        self._change(out, ids, 31, self.noise.phone_digit, lambda text, p: change_digit(text, p, p * 7 % 1))
        self._change(out, ids, 32, self.noise.phone_prefix, lambda text, _: drop_country_prefix(text))
        return out

    def _swap(self, text: str, pick: float) -> str:
        return swap_variant(text, self.noise.variants, pick)

    def _choose(self, ids: Ids, way: int, chance: float) -> Flags:
        """Choose the consignments to which one kind of distortion applies."""
        lasting = np.where(self.networks, *self.noise.lasting)
        always = self.draws.random(len(ids)) < lasting
        fresh = self.draws.random(len(ids))
        limit = chance * np.where(self.networks, self.noise.by_networks, 1.0)
        return np.asarray(np.where(always, draw_lasting(ids, way), fresh) < limit)

    def _change(
        self, texts: Texts, ids: Ids, way: int, chance: float, change: Callable[[str, float], str]
    ) -> None:
        """Change some texts in place; the variant is also the party's own if the choice was."""
        rows = np.flatnonzero(self._choose(ids, way, chance) & (texts != ""))
        picks = draw_lasting(ids[rows], way + 100).tolist()
        texts[rows] = [change(text, pick) for text, pick in zip(texts[rows], picks, strict=True)]

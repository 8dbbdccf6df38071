"""Spellings of a simulated world: how the same party is written from one consignment to the next.

`write_variants` and `format_phones` write the usual variants of every world. `SpellingWriter` distorts them further, as clerks, forms
and careful senders do. A party is often distorted in the same way every time, since a form was filled once.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.arrays import Bools, Floats, Ints, Texts
from training.simulation.parameters import Parameters
from training.simulation.shipments import Draws, pick

Variants = Sequence[Sequence[str]]
PLAIN_FORMS = str.maketrans("øØłŁđĐı", "oOlLdDi") | {ord("ß"): "ss", ord("æ"): "ae", ord("Æ"): "Ae"}
"""Letters without a Unicode decomposition."""
MIX_FACTOR, MIX_STEP, MIX_SHIFT, MIX_BITS = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 31, 53
"""Constants of the hash for a party's lasting numbers (splitmix64)."""


def write_variants(draws: Draws, texts: Texts, native: Texts, spelling: Parameters, upper: Bools) -> Texts:
    """Write names or addresses in the variant of each consignment, some in capitals (`upper`); `native` is '' without another script."""
    out = texts.copy()
    chances = [spelling[name] for name in ("case", "script", "short", "typo", "order")]
    way = np.searchsorted(np.cumsum(chances), draws.random(len(out)), side="right")
    where = draws.random((2, len(out)))
    scripted = (way == 1) & (native != "")
    out[scripted] = native[scripted]
    for at in np.flatnonzero(way == 2):
        out[at] = shorten_text(out[at], spelling.short_forms)
    for at in np.flatnonzero(way == 4):
        out[at] = rotate_parts(out[at])
    for at in np.flatnonzero((way == 0) | upper):
        out[at] = out[at].upper()
    for at in np.flatnonzero(way == 3):
        out[at] = add_typo(out[at], where[0, at], where[1, at])
    return out


def format_phones(draws: Draws, phones: Texts) -> Texts:
    """Write phone numbers, `+CC NUMBER`, in one of the usual formats."""
    written = phones.copy()
    for at, way in enumerate(draws.random(len(phones)).tolist()):
        country, space, number = phones[at].partition(" ")
        if way >= 0.5 and space:
            first, middle, last = number[:2], number[2:-4], number[-4:]
            spaced = f"0{first}-{middle}-{last}" if way < 0.85 else f"{country} {first} {middle} {last}"
            written[at] = f"{country[1:]}{number}" if way < 0.65 else spaced
    return written


def shorten_text(text: str, short_forms: Variants) -> str:
    """Abbreviate a name or an address as clerks do."""
    short = text
    for long, brief in short_forms:
        short = short.replace(long, brief)
    if short == text and " " in text and not any(sign.isdigit() for sign in text):
        return f"{text[0]}. {text.partition(' ')[2]}"
    return short


def rotate_parts(text: str) -> str:
    """Write the parts of a name or an address in another order."""
    parts = text.split(", ") if ", " in text else text.split(" ")
    return " ".join([parts[-1], *parts[:-1]])


def add_typo(text: str, where: float, how: float) -> str:
    """Add one typing error; `where` and `how` from 0 to 1 decide which."""
    if len(text) < 4:
        return text
    at = 1 + int(where * (len(text) - 2))
    if how < 0.4:
        return text[: at + 1] + text[at + 1 : at + 3][::-1] + text[at + 3 :]
    return text[:at] + ("" if how < 0.7 else text[at] * 2) + text[at + 1 :]


def swap_variant(text: str, variants: Variants, share: float) -> str:
    """Replace one word or sound by another of its spellings; '' and blanks are only written, never searched."""
    held = [(group, [word for word in group if word.strip() and word in text]) for group in variants]
    found = [(group, max(words, key=len)) for group, words in held if words]
    if not found:
        return text
    group, word = found[int(share * len(found))]
    others = [other for other in group if other != word]
    return text.replace(word, pick(others, share * len(found) % 1))


def fold_letters(text: str) -> str:
    """Remove the marks of letters, as systems with few letters do."""
    apart = unicodedata.normalize("NFKD", text.translate(PLAIN_FORMS))
    return unicodedata.normalize("NFC", "".join(sign for sign in apart if not unicodedata.combining(sign)))


def join_words(text: str) -> str:
    """Join two parts of a name."""
    return text.replace("-", "") if "-" in text else text.replace(" ", "", 1)


def move_unit(text: str) -> str:
    """Move the last part of an address to the front."""
    rest, comma, unit = text.rpartition(", ")
    return f"{unit}, {rest}" if comma else text


def change_digit(phone: str, where: float, digit: float) -> str:
    """Replace one digit of a number, never one of the country prefix."""
    at = phone.find(" ") + 1
    if len(phone) - at < 1:
        return phone
    place = at + int(where * (len(phone) - at))
    return f"{phone[:place]}{int(digit * 10)}{phone[place + 1 :]}"


def respell_name(text: str, variants: Variants, share: float) -> str:
    """Rewrite a name so that a reader recognises it: another spelling, one word, another order, or a typing error."""
    swapped = swap_variant(text, variants, share)
    if swapped != text:
        return swapped
    ways = (join_words, rotate_parts, lambda name: add_typo(name, share * 7 % 1, share * 3 % 1))
    return ways[int(share * len(ways))](text)


def draw_lasting(ids: Ints, way: int) -> Floats:
    """Compute for each party a number from 0 to 1 that is the same at every call."""
    offset = np.uint64(way * MIX_STEP % 2**64)
    mixed = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(MIX_FACTOR) + offset
    mixed = (mixed ^ (mixed >> np.uint64(MIX_SHIFT))) * np.uint64(MIX_STEP)
    mixed = (mixed ^ (mixed >> np.uint64(MIX_SHIFT))) * np.uint64(MIX_FACTOR)
    return (mixed >> np.uint64(64 - MIX_BITS)).astype(np.float64) / 2.0**MIX_BITS


Change = Callable[[str, float, Parameters], str]
CHANGES: dict[str, Change] = {
    "variant": lambda text, share, noise: swap_variant(text, noise.variants, share),
    "plain_letters": lambda text, _, __: fold_letters(text),
    "order": lambda text, _, __: rotate_parts(text),
    "initial": lambda text, _, __: f"{text[0]} {text.partition(' ')[2]}" if " " in text else text,
    "joined": lambda text, _, __: join_words(text),
    "typo": lambda text, share, _: add_typo(text, share, share * 7 % 1),
    "title": lambda text, share, noise: f"{pick(noise.titles, share)} {text}",
    "unit_moved": lambda text, _, __: move_unit(text),
    "unit_lost": lambda text, _, __: text.rpartition(", ")[0] or text,
    "city": lambda text, _, noise: noise.city_names.get(text, text),
    "phone_digit": lambda text, share, _: change_digit(text, share, share * 7 % 1),
    "phone_prefix": lambda text, _, __: f"0{text.partition(' ')[2]}" if re.match(r"\+\S* ", text) else text,
}
"""What each probability of `hard.spelling` does to a text; the share from 0 to 1 decides how."""
WAYS = {
    "name": ("variant", "plain_letters", "order", "initial", "joined", "typo", "title"),
    "address": ("variant", "plain_letters", "unit_moved", "unit_lost", "typo"),
    "city": ("city", "plain_letters"),
    "phone": ("phone_digit", "phone_prefix"),
}
"""Changes of each column, in their order."""
FIRST_WAYS = {"name": 1, "address": 11, "city": 21, "phone": 31}
CARE_OF_WAY, POSTCODE_WAYS = 16, (23, 24)  # keys of a party's lasting numbers, by what they decide


@dataclass(frozen=True)
class SpellingWriter:
    """Writer that distorts the texts on the consignments of a day; `networks` marks those sent by networks."""

    noise: Parameters
    draws: Draws
    networks: Bools

    @property
    def is_off(self) -> bool:
        """True if a world has no distortions."""
        return not any(self.noise[name] for name in (*CHANGES, "care_of", "postcode"))

    def write(self, column: str, texts: Texts, ids: Ints) -> Texts:
        """Distort the names, addresses, cities or phones of parties; returns a new array."""
        out = texts.copy()
        for way, name in enumerate(WAYS[column], FIRST_WAYS[column]):
            rows = np.flatnonzero(self._choose(ids, way, self.noise[name]) & (out != ""))
            # The variant is also the party's own if the choice was.
            shares = draw_lasting(ids[rows], way + 100).tolist()
            change = CHANGES[name]
            out[rows] = [change(old, share, self.noise) for old, share in zip(out[rows], shares, strict=True)]
        return out

    def add_care_of(self, addresses: Texts, ids: Ints, names: Texts) -> Texts:
        """Write some addresses as in care of the name."""
        held = self._choose(ids, CARE_OF_WAY, self.noise.care_of) & (addresses != "")
        out = addresses.copy()
        out[held] = [f"c/o {name}, {text}" for name, text in zip(names[held], addresses[held], strict=True)]
        return out

    def write_postcodes(self, postcodes: Texts, ids: Ints) -> Texts:
        """Remove space and hyphen from some postcodes, and omit as many."""
        out = postcodes.copy()
        joined, lost = (self._choose(ids, way, self.noise.postcode) for way in POSTCODE_WAYS)
        out[joined] = [text.replace(" ", "").replace("-", "") for text in out[joined]]
        out[lost] = ""
        return out

    def _choose(self, ids: Ints, way: int, chance: float) -> Bools:
        """Choose the consignments to which one kind of distortion applies."""
        lasting = np.where(self.networks, *self.noise.lasting)
        always = self.draws.random(len(ids)) < lasting
        fresh = self.draws.random(len(ids))
        limit = chance * np.where(self.networks, self.noise.by_networks, 1.0)
        return np.asarray(np.where(always, draw_lasting(ids, way), fresh) < limit)

"""The lexicon of names and words that are searched in goods texts, compiled for the kernel.

lexicon.csv has names of substances, goods_words.csv words of goods; `consignments.goods` has descriptions without information.
A spelling may have alternatives, `(a|b)`. A leading `+` requires letters before it in the word, a leading `*` allows
them, and a final `*` allows letters after it.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.goods.descriptions import FILE_ENDINGS, read_vague_terms
from features.goods import kernels as kernel
from features.goods.character_folding import build_fold_table, fold_text
from features.goods.hs import FAMILY_CODES
from features.normalization.word_lists import WORD_LISTS
from features.table import read_group

SUBSTANCE_FAMILIES = tuple(WORD_LISTS["goods"]["substances"].split())
TIERS = {
    "specific": kernel.SPECIFIC,  # counts alone
    "class": kernel.CLASS,  # a pattern shared by the names of one class: also matches unlisted names
    "medicine": kernel.MEDICINE,  # has legal trade: counts only with a mismatch
    "context": kernel.CONTEXT,  # short, or also an ordinary word: never counts alone
}
_NAMES = [feature.name.removeprefix("goods.") for feature in read_group("goods.").features]
WORD_SLOTS = {kind: _NAMES.index(name) for kind, name in WORD_LISTS["goods"]["slots"].items()}
"""Position of the feature that counts the words of a kind."""
_ALTERNATIVES = re.compile(r"\(([^()]*)\)|([^()]+)")


class TextTables(NamedTuple):
    """The tables that the text kernel reads, in the order of its arguments."""

    fold: NDArray[np.uint32]
    goto: NDArray[np.uint16]  # Aho-Corasick automaton: the next state by symbol; state 0 is the start
    states: NDArray[np.int32]  # first term that ends in a state, next shorter state with terms; -1: none
    terms: NDArray[np.int32]
    spelling: NDArray[np.int32]  # letters of all terms; MAY_PART: the term has a separator before the letter
    vague: NDArray[np.uint64]  # hash table: hash and flags (0: empty slot)


@dataclass(frozen=True, slots=True)
class LexiconTerm:
    """A spelling that is searched in goods texts."""

    spelling: str
    opening: int
    tier: int
    slot: int
    family: int

    @property
    def sort(self) -> str:
        """Return the group in which terms that end at one letter compete: names, goods words or other words."""
        if self.tier != kernel.WORD:
            return "name"
        return "goods" if self.family else "other"


@cache
def load_text_tables() -> TextTables:
    """Read and compile the lists of the package, once per process."""
    goto, states, terms, spelling = compile_terms([*read_names(), *read_words()])
    vague = _build_hash_table(read_vague_terms())
    return TextTables(build_fold_table(), goto, states, terms, spelling, vague)


def read_names() -> Iterator[LexiconTerm]:
    """Read the names of lexicon.csv, with alternatives expanded."""
    for row in _read_rows("lexicon.csv"):
        family = SUBSTANCE_FAMILIES.index(row["family"]) + 1
        for spelling, opening in expand_pattern(row["spelling"]):
            yield LexiconTerm(spelling, opening, TIERS[row["tier"]], kernel.NO_SLOT, family)


@cache
def list_substances() -> tuple[str, ...]:
    """List the substances of lexicon.csv by their names in Latin letters."""
    names = {row["substance"] for row in _read_rows("lexicon.csv")}
    return tuple(sorted(filter(str.isascii, names)))


def read_words() -> Iterator[LexiconTerm]:
    """Read the words of goods_words.csv, with alternatives expanded."""
    for row in _read_rows("goods_words.csv"):
        slot = WORD_SLOTS.get(row["kind"], kernel.NO_SLOT)
        for pattern in row["words"].split(";"):
            for spelling, opening in expand_pattern(pattern):
                yield LexiconTerm(spelling, opening, kernel.WORD, slot, FAMILY_CODES.get(row["kind"], 0))


def expand_pattern(pattern: str) -> list[tuple[str, int]]:
    """Expand the alternatives of a pattern, each with its opening."""
    opening = {"+": kernel.AFTER_LETTERS, "*": kernel.AFTER_ANY}.get(pattern[0], kernel.CLOSED)
    if pattern.endswith("*"):
        opening |= kernel.BEFORE_ANY
    parts = _ALTERNATIVES.findall(pattern.strip("+*"))
    choices = [[plain] if plain else several.split("|") for several, plain in parts]
    return [("".join(chosen), opening) for chosen in product(*choices)]


def compile_terms(
    terms: Iterable[LexiconTerm],
) -> tuple[NDArray[np.uint16], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Compile terms to the automaton and the table of terms; of terms with the same letters the first wins."""
    rows: list[list[int]] = []
    spelling: list[int] = []
    edges: list[dict[int, int]] = [{}]
    first_term = [-1]
    starts: dict[tuple[str, int, tuple[int, ...]], int] = {}
    for term in sorted(terms, key=lambda term: term.tier == kernel.CLASS):
        letters = strip_separators(term.spelling)
        key = term.sort, term.opening, tuple(letter & kernel.CODE_MASK for letter, _ in letters)
        if key in starts:
            for place, (letter, _) in enumerate(letters, start=starts[key]):
                spelling[place] |= letter & kernel.MAY_PART
            continue
        starts[key] = len(spelling)
        state = 0
        for _, symbol in letters:
            if symbol not in edges[state]:
                edges[state][symbol] = len(edges)
                edges.append({})
                first_term.append(-1)
            state = edges[state][symbol]
        row = [0] * kernel.TERM_COLUMNS
        row[kernel.START], row[kernel.LENGTH] = len(spelling), len(letters)
        row[kernel.TIER], row[kernel.SLOT], row[kernel.FAMILY] = term.tier, term.slot, term.family
        row[kernel.OPEN], row[kernel.NEXT] = term.opening, first_term[state]
        first_term[state] = len(rows)
        rows.append(row)
        spelling += [letter for letter, _ in letters]
    goto, next_output = _link_automaton(edges, first_term)
    states = np.stack([np.array(first_term), next_output], axis=1).astype(np.int32)
    return goto, states, np.array(rows, dtype=np.int32), np.array(spelling, dtype=np.int32)


def strip_separators(spelling: str) -> list[tuple[int, int]]:
    """Return the folded letters and digits of a spelling, each with its symbol. MAY_PART marks a separator before it."""
    letters: list[tuple[int, int]] = []
    parted = 0
    for entry in fold_text(spelling):
        if (entry >> kernel.KIND_AT) & kernel.KIND_MASK < kernel.LETTER:
            parted = kernel.MAY_PART if letters else 0
            continue
        symbol = (entry >> kernel.SYMBOL_AT) & kernel.SYMBOL_MASK
        letters.append(((entry & kernel.CODE_MASK) | parted, symbol))
        parted = 0
    return letters


def _link_automaton(
    edges: list[dict[int, int]], first_term: list[int]
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Complete the trie to an automaton (Aho and Corasick 1975), breadth first."""
    goto = np.zeros((len(edges), kernel.SYMBOLS), dtype=np.uint16)
    next_output = np.full(len(edges), -1, dtype=np.int32)
    goto[0, list(edges[0])] = list(edges[0].values())
    waiting = [(state, 0) for state in edges[0].values()]
    for state, shorter in waiting:
        next_output[state] = shorter if first_term[shorter] >= 0 else next_output[shorter]
        goto[state] = goto[shorter]
        for symbol, longer in edges[state].items():
            waiting.append((longer, int(goto[shorter, symbol])))
            goto[state, symbol] = longer
    return goto, next_output


def _build_hash_table(vague: Iterable[str]) -> NDArray[np.uint64]:
    said = dict.fromkeys(map(hash_words, vague), kernel.VAGUE_TERM)
    said |= dict.fromkeys(map(hash_words, FILE_ENDINGS), kernel.FILE_ENDING)
    size = 1 << (2 * len(said)).bit_length()
    table = np.zeros((size, 2), dtype=np.uint64)
    for value, meaning in said.items():
        place = ((value * kernel.HASH_MULTIPLIER) % 2**64 >> 40) % size
        while table[place, 1]:
            place = (place + 1) % size
        table[place] = value, meaning
    return table


def hash_words(words: str) -> int:
    """Compute the hash by which the kernel finds a vague term: FNV-1a over its folded letters and single spaces."""
    folded = "".join(
        chr(entry & kernel.CODE_MASK)
        if (entry >> kernel.KIND_AT) & kernel.KIND_MASK >= kernel.LETTER
        else " "
        for entry in fold_text(words)
    )
    value = kernel.FNV_OFFSET
    for code in map(ord, " ".join(folded.split())):
        value = ((value ^ code) * kernel.FNV_PRIME) % 2**64
    return value


def _read_rows(name: str) -> Iterable[dict[str, str]]:
    text = files("features.goods").joinpath(name).read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())

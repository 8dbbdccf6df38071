"""History keys: the values that two consignments can have in common, each as one number.

A key with a missing part is missing (0). A key of the configuration treats a missing part as a separate value, because
its columns may be empty by design ("no tax type"). It is missing only if all its parts are.
"""

import tomllib
from collections.abc import Sequence
from importlib.resources import files

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadSetting
from consignments.records import Consignment
from features.config import FeatureConfig
from features.history.pseudonyms import Pseudonyms
from features.normalization.addresses import find_door
from features.normalization.letters import fold_to_ascii
from features.normalization.normal_forms import NormalForms

KEYS_VERSION = 5
"""Version of normal forms and keys. Increase it when one of them changes: the service then recomputes the keys of its log."""

PRODUCT, PRODUCT_DIGITS = "hs_code[:6]", 6
"""Part of a key: the first digits of the HS code. No column has such a name."""
Keys = NDArray[np.uint64]
_PART_SEPARATOR = "\x1f"
_POSITIVE_ZERO = 0.0  # added to a number, it turns -0.0 into 0.0
_NUMBER = np.dtype("<u8")
_DOORS = ("sender_door", "consignee_door")
_FORMS = {name: place for place, name in enumerate((*NormalForms._fields[:8], "hs_code", PRODUCT, *_DOORS))}
"""Parts whose normal form joins several columns or corrects their spelling, and their place in the texts of a consignment."""


class KeyKind(msgspec.Struct, frozen=True):
    """A kind of history key, which the head of `keys.toml` explains; that of a configuration has the name of its columns joined by `+`."""

    name: str
    noun: str
    counterpart: str | None = None
    parts: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()
    side: str | None = None
    joins: bool = False
    read: bool = True
    theme: str = "goods"


def list_key_kinds(config: FeatureConfig) -> tuple[KeyKind, ...]:
    """List the kinds of keys: the built-in kinds, the kinds of the configuration in order, and those that are not read."""
    declared = (_build_declared_kind(columns) for columns in config.history.keys)
    kinds = tuple(sorted((*COMMON_KINDS, *declared), key=lambda kind: not kind.read))
    names = [kind.name for kind in kinds]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise BadSetting(
            "this history key exists already",
            where="[history] keys",
            got=repr(repeated.split("+")),
            todo="remove it from the configuration",
        )
    return kinds


_TABLE = tomllib.loads(files("features.history").joinpath("keys.toml").read_text())
COMMON_KINDS = tuple(msgspec.convert({"name": name, **line}, KeyKind) for name, line in _TABLE.items())


def _build_declared_kind(columns: tuple[str, ...]) -> KeyKind:
    noun = " with ".join(column.replace("_", " ") for column in columns)
    return KeyKind("+".join(columns), noun, "sender", columns, frozenset(columns))


class KeyBuilder:
    """A builder of the history keys of consignments."""

    def __init__(self, kinds: Sequence[KeyKind], pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms
        self._columns: dict[tuple[str, bool], int] = {}
        self._parts = [self._place_parts(kind) for kind in kinds]
        places = {kind.name: place for place, kind in enumerate(kinds)}
        self._kinds = [kind.name for kind in kinds]
        pairs = [
            (places[kind.name], places[kind.counterpart]) for kind in kinds if kind.counterpart in places
        ]
        self._paired, self._counterparts = map(list, zip(*pairs, strict=True)) if pairs else ([], [])

    def _place_parts(self, kind: KeyKind) -> tuple[list[int], list[int]]:
        """Return where the parts of a kind are in the texts of a consignment, and which of them must not be missing."""
        places = [
            _FORMS[name]
            if name in _FORMS
            else self._columns.setdefault((name, name in kind.optional), len(_FORMS) + len(self._columns))
            for name in kind.parts
        ]
        required = [at for at, name in zip(places, kind.parts, strict=True) if name not in kind.optional]
        return places, required

    def fill(
        self, records: Sequence[Consignment], forms: Sequence[NormalForms], keys: Keys, counterparts: Keys
    ) -> None:
        """Write the keys of consignments, and their counterparts, into two rows of each with a number for each kind; 0 if missing."""
        digests = [digest for each in map(self._compute_digests, records, forms) for digest in each]
        keys[:] = np.frombuffer(b"".join(digests), _NUMBER).reshape(keys.shape)
        counterparts[:] = 0
        counterparts[:, self._paired] = keys[:, self._counterparts]

    def _compute_digests(self, c: Consignment, forms: NormalForms) -> list[bytes]:
        texts = [*forms[:8], forms.hs, forms.hs[:PRODUCT_DIGITS], *map(find_door, forms[1:6:4])]
        texts += [_read_column(getattr(c, name, None), optional) for name, optional in self._columns]
        values = [
            texts[places[0]] if len(places) == 1 else _join_parts(texts, places, required)
            for places, required in self._parts
        ]
        return self._pseudonyms.compute_digests(self._kinds, values)


def _join_parts(texts: list[str], places: list[int], required: list[int]) -> str:
    """Join the parts of a key into one value; '' if a required part is missing, or all are."""
    if not all(map(texts.__getitem__, required)):
        return ""
    parts = [texts[place] for place in places]
    return _PART_SEPARATOR.join(parts) if any(parts) else ""


def _read_column(value: object, optional: bool) -> str:
    """Return one column as text: a number as Python writes it (8.0 in every table format), else lower case."""
    if isinstance(value, str):
        return fold_to_ascii(value)
    if value is None or (optional and value != value):
        return ""
    assert isinstance(value, int | float)
    return repr(float(value) + _POSITIVE_ZERO)

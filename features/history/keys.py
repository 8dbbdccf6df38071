"""History keys: the values that two consignments can have in common, each as one number.

A key with a missing part is missing (0). A key of the configuration treats a missing part as a separate value, because
its columns may be empty by design ("no tax type"). It is missing only if all its parts are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import call, itemgetter
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadSetting
from consignments.records import Consignment
from features.config import FeatureConfig
from features.history.pseudonyms import MISSING, NUMBER_BYTES, Pseudonyms, finish_hash
from features.normalization.normal_forms import NormalForms, fold_to_ascii

KEYS_VERSION = 2
"""Version of normal forms and keys. Increase it when one of them changes: the service then recomputes the keys of its log."""
HS6_DIGITS = 6
_PART_SEPARATOR = "\x1f"
CODE_CACHE_SIZE = 1 << 13
NUMBER_CACHE_SIZE = 1 << 14
"""Size of the cache of each common kind. Nine of ten consignments find their product and route in it."""
POSITIVE_ZERO = 0.0
"""Added to a number, it turns -0.0 into 0.0."""
Keys = NDArray[np.uint64]
KeyFunction = Callable[[Consignment, NormalForms], str]


@dataclass(frozen=True, slots=True)
class KeyKind:
    """A kind of history key.

    Attributes
    ----------
    name : str
        For example `consignee_address`; for a key of the configuration its columns joined by `+`.
    noun : str
        Name for an officer, for example "consignee's address".
    counterpart : str or None
        Kind whose distinct values are counted for each value of this one, for example the consignees of a sender.
    value : callable or None
        Function that returns the value of a consignment in normal form, '' if missing. None: the value is one of
        `get_common_values`.
    common : bool
        True if many consignments share a value that is not personal, so that its numbers are cached.
    side : str or None
        Party that the key identifies, one of `features.history.readings.SIDES`. The detections of its keys are also read
        together.
    """

    name: str
    noun: str
    counterpart: str | None
    value: KeyFunction | None = None
    common: bool = False
    side: str | None = None


def list_key_kinds(config: FeatureConfig) -> tuple[KeyKind, ...]:
    """List the kinds of keys: the built-in kinds, then the kinds of the configuration, in order.

    Raises
    ------
    BadSetting
        If the configuration names a key that exists already.
    """
    kinds = COMMON_KINDS + tuple(_build_declared_kind(columns) for columns in config.history.keys)
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


class KeyWriter:
    """The writer of the keys of a consignment and their counterparts.

    Parameters
    ----------
    kinds : tuple of KeyKind
    pseudonyms : Pseudonyms
    """

    def __init__(self, kinds: tuple[KeyKind, ...], pseudonyms: Pseudonyms) -> None:
        self.kinds = kinds
        self._declared = tuple(kind.value for kind in kinds if kind.value is not None)
        self._numbers = tuple(_make_hasher(kind, pseudonyms) for kind in kinds)
        self._write: Callable[..., None] = Struct(f"{NUMBER_BYTES * len(kinds)}s").pack_into
        places = {kind.name: place for place, kind in enumerate(kinds)}
        nowhere = len(kinds)
        self._beside = itemgetter(
            *(nowhere if kind.counterpart is None else places[kind.counterpart] for kind in kinds)
        )

    def __call__(self, c: Consignment, forms: NormalForms, keys: Keys, counterparts: Keys) -> None:
        """Write the keys into `keys` and `counterparts`, each uint64, (kinds,); 0 if missing."""
        values = get_common_values(c, forms)
        if self._declared:
            values += tuple([value_of(c, forms) for value_of in self._declared])
        numbers = list(map(call, self._numbers, values))
        # Bytes of little-endian numbers have the layout of the array on all platforms of numba.
        self._write(keys, 0, b"".join(numbers))
        numbers.append(MISSING)
        self._write(counterparts, 0, b"".join(self._beside(numbers)))


def _make_hasher(kind: KeyKind, pseudonyms: Pseudonyms) -> Callable[[str], bytes]:
    number = partial(finish_hash, pseudonyms.prepare_hash(kind.name).copy)
    return lru_cache(NUMBER_CACHE_SIZE)(number) if kind.common else number


def join_required(*parts: str) -> str:
    """Join parts into one value; '' if a part is missing."""
    return _PART_SEPARATOR.join(parts) if all(parts) else ""


@lru_cache(CODE_CACHE_SIZE)
def _fold_code(value: str | None) -> str:
    return fold_to_ascii(value) if value else ""


COMMON_KINDS = (
    KeyKind("sender", "sender", "consignee", side="sender"),
    KeyKind("sender_address", "sender's address", "consignee", side="sender"),
    KeyKind("sender_phone", "sender's phone", "sender", side="sender"),
    KeyKind("sender_email", "sender's e-mail", "sender", side="sender"),
    KeyKind("account", "shipper's account", "sender", side="sender"),
    KeyKind("consignee", "consignee", "sender", side="consignee"),
    KeyKind("consignee_address", "consignee's address", "sender", side="consignee"),
    KeyKind("consignee_phone", "consignee's phone", "consignee", side="consignee"),
    KeyKind("consignee_email", "consignee's e-mail", "consignee", side="consignee"),
    KeyKind("pair", "sender with this consignee", "product"),
    KeyKind("address_pair", "sender's address with this consignee's address", "product"),
    KeyKind("product", "product", "sender", common=True),
    KeyKind("product_route", "product from this origin and departure", "sender", common=True),
    KeyKind("route", "route", "sender", common=True),
    KeyKind("declarant", "declarant", "sender", common=True),
    KeyKind("figures", "weight with this value", "sender"),
)


def get_common_values(c: Consignment, forms: NormalForms) -> tuple[str, ...]:
    """Return the values of `COMMON_KINDS` in order, in normal form, '' if missing."""
    product = forms.hs[:HS6_DIGITS]
    return (
        forms.sender_name,
        forms.sender_address,
        forms.sender_phone,
        forms.sender_email,
        fold_to_ascii(c.account_id) if c.account_id else "",
        forms.consignee_name,
        forms.consignee_address,
        forms.consignee_phone,
        forms.consignee_email,
        join_required(forms.sender_name, forms.consignee_name),
        join_required(forms.sender_address, forms.consignee_address),
        product,
        join_required(product, _fold_code(c.departure_country), _fold_code(c.origin_country)),
        _fold_code(c.route),
        _fold_code(c.declarant),
        _join_figures(c),
    )


def _join_figures(c: Consignment) -> str:
    """Join weight and value as declared. A sender who fills in many forms changes names sooner than numbers."""
    if c.gross_weight_kg is None or c.declared_value is None:
        return ""
    numbers = (repr(float(c.gross_weight_kg) + POSITIVE_ZERO), repr(float(c.declared_value) + POSITIVE_ZERO))
    return _PART_SEPARATOR.join((*numbers, _fold_code(c.currency)))


# Columns whose normal form joins several columns or corrects their spelling.
_FORMS: dict[str, Callable[[NormalForms], str]] = {
    "sender_name": lambda forms: forms.sender_name,
    "sender_address": lambda forms: forms.sender_address,
    "sender_phone": lambda forms: forms.sender_phone,
    "sender_email": lambda forms: forms.sender_email,
    "consignee_name": lambda forms: forms.consignee_name,
    "consignee_address": lambda forms: forms.consignee_address,
    "consignee_phone": lambda forms: forms.consignee_phone,
    "consignee_email": lambda forms: forms.consignee_email,
    "hs_code": lambda forms: forms.hs,
}


def _build_declared_kind(columns: tuple[str, ...]) -> KeyKind:
    parts = tuple(
        partial(_get_form, _FORMS[name]) if name in _FORMS else partial(_read_column, name)
        for name in columns
    )
    return KeyKind(
        "+".join(columns),
        " with ".join(_format_column(name) for name in columns),
        "sender",
        partial(_join_parts, parts),
    )


def _format_column(column: str) -> str:
    return column.replace("_", " ")


def _join_parts(parts: tuple[KeyFunction, ...], c: Consignment, forms: NormalForms) -> str:
    values = [part(c, forms) for part in parts]
    return _PART_SEPARATOR.join(values) if any(values) else ""


def _get_form(form: Callable[[NormalForms], str], _c: Consignment, forms: NormalForms) -> str:
    return form(forms)


def _read_column(name: str, c: Consignment, _forms: NormalForms) -> str:
    """Return one column as text: a number as Python writes it (8.0 in every table format), else lower case."""
    value = getattr(c, name, None)
    if isinstance(value, str):
        return fold_to_ascii(value)
    if value is None or value != value:
        return ""
    return repr(float(value) + POSITIVE_ZERO)

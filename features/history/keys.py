"""History keys: the values that two consignments can have in common, each as one number.

A key with a missing part is missing (0). A key of the configuration treats a missing part as a separate value, because
its columns may be empty by design ("no tax type"). It is missing only if all its parts are.
"""

from dataclasses import dataclass

from consignments.errors import BadSetting
from features.config import FeatureConfig

KEYS_VERSION = 3
"""Version of normal forms and keys. Increase it when one of them changes: the service then recomputes the keys of its log."""

PRODUCT = "hs_code[:6]"
"""Part of a key: the first digits of the HS code. No column has such a name."""


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
    parts : tuple of str
        Columns whose normal forms are its value, one after the other; or `PRODUCT`.
    optional : frozenset of str
        Parts that may be missing. The key is missing if all its parts are.
    side : str or None
        Party that the key identifies, one of `features.history.readings.SIDES`. The detections of its keys are also read
        together.
    """

    name: str
    noun: str
    counterpart: str | None
    parts: tuple[str, ...]
    optional: frozenset[str] = frozenset()
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


COMMON_KINDS = (
    KeyKind("sender", "sender", "consignee", ("sender_name",), side="sender"),
    KeyKind("sender_address", "sender's address", "consignee", ("sender_address",), side="sender"),
    KeyKind("sender_phone", "sender's phone", "sender", ("sender_phone",), side="sender"),
    KeyKind("sender_email", "sender's e-mail", "sender", ("sender_email",), side="sender"),
    KeyKind("account", "shipper's account", "sender", ("account_id",), side="sender"),
    KeyKind("consignee", "consignee", "sender", ("consignee_name",), side="consignee"),
    KeyKind("consignee_address", "consignee's address", "sender", ("consignee_address",), side="consignee"),
    KeyKind("consignee_phone", "consignee's phone", "consignee", ("consignee_phone",), side="consignee"),
    KeyKind("consignee_email", "consignee's e-mail", "consignee", ("consignee_email",), side="consignee"),
    KeyKind("pair", "sender with this consignee", "product", ("sender_name", "consignee_name")),
    KeyKind(
        "address_pair",
        "sender's address with this consignee's address",
        "product",
        ("sender_address", "consignee_address"),
    ),
    KeyKind("product", "product", "sender", (PRODUCT,)),
    KeyKind(
        "product_route",
        "product from this origin and departure",
        "sender",
        (PRODUCT, "departure_country", "origin_country"),
    ),
    KeyKind("route", "route", "sender", ("route",)),
    KeyKind("declarant", "declarant", "sender", ("declarant",)),
    KeyKind(
        "figures",
        "weight with this value",
        "sender",
        ("gross_weight_kg", "declared_value", "currency"),
        frozenset(("currency",)),
    ),
)


def _build_declared_kind(columns: tuple[str, ...]) -> KeyKind:
    noun = " with ".join(column.replace("_", " ") for column in columns)
    return KeyKind("+".join(columns), noun, "sender", columns, frozenset(columns))

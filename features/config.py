"""Feature configuration of a model: additional columns and additional history keys."""

from typing import Annotated

import msgspec

from consignments.errors import BadSetting
from consignments.records import Consignment, about, create_consignment_type, get_fields

UNKEYED_COLUMNS = frozenset(("description",))  # columns of the record that no history key can have


class ExtraColumns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The additional columns of the consignment table."""

    numeric: Annotated[
        tuple[str, ...],
        about("Names of additional columns with numbers. Each becomes a feature. Values may be missing."),
    ] = ()
    category: Annotated[
        tuple[str, ...],
        about(
            "Names of additional columns with few distinct texts, such as a tax type. Each becomes a feature."
        ),
    ] = ()


class HistoryKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The additional history keys, each a list of columns whose values form one key."""

    keys: Annotated[
        tuple[tuple[str, ...], ...],
        about(
            "Additional history keys, each a list of columns. Earlier consignments with the same values in all "
            "of them are counted, and so are their detections."
        ),
    ] = ()


class FeatureConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of a configuration that defines the features."""

    columns: ExtraColumns = ExtraColumns()
    history: HistoryKeys = HistoryKeys()

    def build_record_type(self) -> type[Consignment]:
        """Build the consignment type with the declared columns."""
        return create_consignment_type(self.columns.numeric, self.columns.category)

    def validate(self) -> "FeatureConfig":
        """Return the configuration itself; raise `BadSetting` if a name is reserved, repeated or unknown."""
        own = {field.name for field in get_fields(Consignment)}
        declared = [*self.columns.numeric, *self.columns.category]
        for name in declared:
            if name in own or declared.count(name) > 1 or not name.isidentifier() or name == "sequence":
                raise BadSetting(
                    "invalid name of a declared column",
                    where="[columns]",
                    got=repr(name),
                    expected="letters, digits and _; not a column of the record; declared once",
                )
        usable = {f.name for f in get_fields(Consignment) if f.kind in ("string", "number")} | set(declared)
        usable -= UNKEYED_COLUMNS
        for key in self.history.keys:
            unknown = [name for name in key if name not in usable]
            if unknown or not key or len(set(key)) != len(key):
                raise BadSetting(
                    "a history key must name known columns, each once",
                    where="[history] keys",
                    got=repr(list(key)),
                    expected="columns of the record, except description, or declared columns",
                    todo=_advise_on_key(unknown),
                )
        return self


def _advise_on_key(unknown: list[str]) -> str:
    """Return what to do about the columns that a key cannot have."""
    if not unknown:
        return ""
    if unknown[0] in UNKEYED_COLUMNS:
        return f"remove {unknown[0]!r}: it is free text; the features of the goods read it"
    return f"declare {unknown[0]!r} under [columns]"

"""Identifiers in several spellings within the tables of one call: records that belong together get one spelling."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from consignments.columns import normalize_array
from consignments.identifiers import normalize_identifier

IDENTIFIER = "consignment_id"
PLAIN = r"^[0-9]*[A-Z][A-Z0-9]*$"
"""Pattern of identifiers without separators or small letters, which are their own normal form."""


def adopt_spellings(given: pd.DataFrame, known: pd.Series) -> pd.DataFrame:
    """Return a table whose identifiers have the spelling of known ones with the same normal form.

    Parameters
    ----------
    given : DataFrame
        A table with `consignment_id`, for example outcomes.
    known : Series of str
        Identifiers of the consignments; the first spelling counts.

    Examples
    --------
    >>> outcomes = pd.DataFrame({"consignment_id": ["rb123456785gb", "A", "B"]})
    >>> adopt_spellings(outcomes, pd.Series(["RB123456785GB", "A"]))["consignment_id"].tolist()
    ['RB123456785GB', 'A', 'B']
    """
    strange = ~given[IDENTIFIER].isin(known)
    if not strange.any():
        return given
    names = normalize_array(pa.array(known))
    spellings: dict[str, str] = {}
    for name, identifier in zip(normalize_names(names).to_pylist(), names.to_pylist(), strict=True):
        spellings.setdefault(name, identifier)
    sent = given.loc[strange, IDENTIFIER].tolist()
    found = [spellings.get(normalize_identifier(identifier), identifier) for identifier in sent]
    if found == sent:
        return given
    changed = given.copy()
    changed.loc[strange, IDENTIFIER] = found
    return changed


def normalize_names(names: Any) -> Any:
    """Return an Arrow array of identifiers in normal form. Those that are plainly in it already are not looked at singly."""
    strange = pc.invert(pc.match_substring_regex(names, PLAIN))
    if not pc.any(strange).as_py():
        return names
    found = [normalize_identifier(name) for name in names.filter(strange).to_pylist()]
    return pc.replace_with_mask(names, strange, pa.array(found, names.type))

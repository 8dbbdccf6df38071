"""History keys in plain Python: the oracle of `features.history.key_kernels`."""

from collections.abc import Callable
from functools import partial

from consignments.records import Consignment
from features.history.keys import COMMON_KINDS, KeyKind
from features.history.pseudonyms import Pseudonyms
from features.normalization.normal_forms import NormalForms, fold_to_ascii

KeyFunction = Callable[[Consignment, NormalForms], str]
_PART_SEPARATOR = "\x1f"
POSITIVE_ZERO = 0.0


def compute_keys(
    kinds: tuple[KeyKind, ...], pseudonyms: Pseudonyms, c: Consignment, forms: NormalForms
) -> tuple[list[int], list[int]]:
    """Compute the keys and their counterparts, 0 if missing."""
    values = dict(zip([kind.name for kind in COMMON_KINDS], get_common_values(c, forms), strict=True))
    for kind in kinds[len(COMMON_KINDS) :]:
        values[kind.name] = _compute_declared_value(kind.parts, c, forms)
    numbers = {kind.name: pseudonyms.compute_number(kind.name, values[kind.name]) for kind in kinds}
    return [*numbers.values()], [numbers.get(kind.counterpart or "", 0) for kind in kinds]


def join_required(*parts: str) -> str:
    """Join parts into one value; '' if a part is missing."""
    return _PART_SEPARATOR.join(parts) if all(parts) else ""


def _fold_code(value: str | None) -> str:
    return fold_to_ascii(value) if value else ""


def get_common_values(c: Consignment, forms: NormalForms) -> tuple[str, ...]:
    """Return the values of `COMMON_KINDS` in order, in normal form, '' if missing."""
    product = forms.hs[:6]
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


def _compute_declared_value(columns: tuple[str, ...], c: Consignment, forms: NormalForms) -> str:
    parts = tuple(
        partial(_get_form, _FORMS[name]) if name in _FORMS else partial(_read_column, name)
        for name in columns
    )
    return _join_parts(parts, c, forms)


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

"""Drafts of messages from a detection, without a signature: a seizure with indicators, and a warning from its facts."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from consignments.exchange.documents import Handling, Seizure, Warning
from consignments.records import Consignment, Outcome
from features.history.pseudonyms import Pseudonyms
from features.indicators.operation_keys import OperationKey
from features.indicators.values import compute_indicators
from features.normalization.normal_forms import get_goods_hs, get_goods_text

HS6_DIGITS = 6
SHARING_DAYS = 365
"""Days of own consignments in which an indicator may not be frequent."""
MAX_SHARING = 50
"""Maximum number of own consignments with one indicator, as for the links of `npsrisk trace` (assumed)."""
VALID_DAYS = 90
"""Default validity of a warning, and of the indicators of a seizure."""
MAX_COVER_CHARACTERS = 100
FACTS_OF_WARNING = (
    *("author", "issued_at", "expires_at", "handling", "operation"),
    *("substance_family", "departure_country", "cover", "hs_code"),
)
"""Facts of a seizure that its warning has too."""


class DraftOptions(NamedTuple):
    """Values that all drafts of one call have in common; `common` are the indicators that are not sent, because many share them."""

    author: str
    issued_at: datetime
    key: OperationKey
    handling: Handling = "amber"
    valid_days: int = VALID_DAYS
    common: frozenset[str] = frozenset()


class ConfirmedSeizure(NamedTuple):
    """A detection whose result is final, with its consignment."""

    consignment: Consignment
    outcome: Outcome


def compute_case_reference(own: Pseudonyms, consignment_id: str) -> str:
    """Compute the reference of a case, from which nobody else can compute the identifier of the consignment."""
    return f"{own.compute_number('exchange case', consignment_id):016x}"


def find_common_indicators(
    consignments: Iterable[Consignment], found: Iterable[ConfirmedSeizure], key: OperationKey
) -> frozenset[str]:
    """Find the indicators that more than `MAX_SHARING` own consignments have: those of platforms, forwarders and frequent names."""
    wanted = {token for each in found for token in compute_indicators(each.consignment, key)}
    counts: Counter[str] = Counter()
    for c in consignments if wanted else ():
        counts.update(wanted.intersection(compute_indicators(c, key)))
    return frozenset(token for token, count in counts.items() if count > MAX_SHARING)


def draft_seizure(found: ConfirmedSeizure, options: DraftOptions, reference: str) -> Seizure:
    """Draft the message of a seizure: its facts in clear, its parties as indicators."""
    c, outcome = found
    return Seizure(
        message_id=f"S-{reference}",
        author=options.author,
        issued_at=options.issued_at,
        expires_at=options.issued_at + timedelta(days=options.valid_days),
        handling=options.handling,
        operation=options.key.operation,
        case_reference=reference,
        occurred_at=outcome.inspected_at or outcome.known_at or options.issued_at,
        office=outcome.office or c.office,
        channel=c.channel,
        substance=outcome.substance,
        substance_family=outcome.substance_family,
        quantity_g=outcome.quantity_g,
        concealment=outcome.concealment,
        departure_country=c.departure_country,
        route=c.route,
        cover=get_goods_text(c)[:MAX_COVER_CHARACTERS] or None,
        hs_code=get_goods_hs(c)[:HS6_DIGITS] or None,
        indicators=tuple(each for each in compute_indicators(c, options.key) if each not in options.common),
    )


def draft_warning(seizure: Seizure) -> Warning | None:
    """Draft a warning from the facts of a seizure, without its indicators; None if it has no departure, HS code or cover."""
    if not (seizure.departure_country or seizure.hs_code or seizure.cover):
        return None
    facts = {name: getattr(seizure, name) for name in FACTS_OF_WARNING}
    return Warning(message_id=f"W-{seizure.case_reference}", text=_describe_seizure(seizure), **facts)


def _describe_seizure(seizure: Seizure) -> str:
    what = (seizure.substance or seizure.substance_family or "substance").replace("_", " ")
    grams, amount = seizure.quantity_g, ""
    if grams is not None:
        amount = f"{grams / 1000:.3g} kg of " if grams >= 1000 else f"{grams:.3g} g of "
    parts = [f"{amount}{what}"]
    parts += [f"from {seizure.departure_country}"] if seizure.departure_country else []
    parts += [f"declared as {seizure.cover}"] if seizure.cover else []
    parts += [f"concealed in {seizure.concealment.replace('_', ' ')}"] if seizure.concealment else []
    return f"{', '.join(parts)}, seized on {seizure.occurred_at:%Y-%m-%d}"

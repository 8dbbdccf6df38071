"""Implausible values of a table: codes that do not exist, weights and years that cannot be.

They are counted as warnings in the report of a table, and the rows are kept: a wrong code is often what an officer should see, and
a model learns what it means. The lists are ISO 3166-1 alpha-2 and ISO 4217 of 2025, with codes that older data contain.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.schema import get_fields
from consignments.timestamps import get_time_column_us

if TYPE_CHECKING:
    import pandas as pd  # the service checks codes without tables

Mask = NDArray[np.bool_]

_COUNTRY_CODES = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD "
    "CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF "
    "GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN "
    "KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA "
    "NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI "
    "SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI "
    "VN VU WF WS YE YT ZA ZM ZW AN XK"
)
_CURRENCY_CODES = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP "
    "CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD "
    "IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR "
    "MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP "
    "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG "
    "XDR XOF XPF YER ZAR ZMW ZWG ANG BGN BYR CUC HRK LTL MRO SLL STD VEF ZWL"
)
COUNTRIES = frozenset(_COUNTRY_CODES.split())
"""ISO 3166-1 alpha-2, with AN (Netherlands Antilles, until 2010) and XK (Kosovo, as the Universal Postal Union uses it)."""
CURRENCIES = frozenset(_CURRENCY_CODES.split())
"""ISO 4217: currencies in which goods are declared, and those withdrawn since 2014."""
FIRST_YEAR, LAST_YEAR = 1990, 2100
"""Years of a time; advance data of earlier years do not exist."""
MAX_NUMBERS = {
    "gross_weight_kg": (1_000_000.0, "more than 1,000,000 kg"),
    "pieces": (1_000_000.0, "more than 1,000,000 pieces"),
    "declared_value": (1e13, "more than 10,000,000,000,000"),
}
"""Column to the largest plausible number, and the text of the warning. An aircraft carries 250,000 kg at most."""
NO_COUNTRY = "not a country code of ISO 3166-1 alpha-2"
NO_CURRENCY = "not a currency code of ISO 4217"
BAD_YEAR = f"before {FIRST_YEAR} or after {LAST_YEAR}"


def count_implausible(frame: "pd.DataFrame", record: type[msgspec.Struct]) -> Counter[str]:
    """Count the implausible values of checked rows by `column: kind`.

    Parameters
    ----------
    frame : DataFrame
        Rows of a checked table.
    record : type
        Their record type.

    Examples
    --------
    >>> from consignments.records import Alert
    >>> from consignments.tables import build_frame
    >>> from datetime import UTC, datetime
    >>> alert = Alert("A1", datetime(1900, 1, 1, tzinfo=UTC), departure_country="China")
    >>> sorted(count_implausible(build_frame([alert], Alert), Alert))
    ['departure_country: not a country code of ISO 3166-1 alpha-2', 'issued_at: before 1990 or after 2100']
    """
    return Counter(
        {
            f"{column}: {kind}": int(rows.sum())
            for column, kind, rows in _find_implausible(frame, record)
            if rows.any()
        }
    )


def find_code_lists(record: type[msgspec.Struct]) -> dict[str, frozenset[str]]:
    """Find the columns of a record that hold codes of a standard list, with their codes."""
    names = [field.name for field in get_fields(record) if field.kind == "string"]
    return {
        **{name: COUNTRIES for name in names if name.endswith("country")},
        **{name: CURRENCIES for name in names if name == "currency"},
    }


def count_unknown_codes(values: Collection[str | None], known: frozenset[str]) -> int:
    """Count the given values that are no code of a list.

    Examples
    --------
    >>> count_unknown_codes(["KR", "kr ", None, "China"], COUNTRIES)
    1
    """
    unknown = {value for value in set(values) - known if value is not None and not _is_code(value, known)}
    return sum(value in unknown for value in values) if unknown else 0


def _is_code(value: str, known: frozenset[str]) -> bool:
    """Check if a value is a known code; it may be in small letters and have spaces around it."""
    return value in known or value.strip().upper() in known


def _find_implausible(frame: "pd.DataFrame", record: type[msgspec.Struct]) -> Iterator[tuple[str, str, Mask]]:
    first, end = (_get_year_start_us(year) for year in (FIRST_YEAR, LAST_YEAR + 1))
    lists = find_code_lists(record)
    for field in get_fields(record):
        name = field.name
        if field.kind == "time":
            moments, given = get_time_column_us(frame, name), frame[name].notna().to_numpy(dtype=bool)
            yield name, BAD_YEAR, given & ((moments < first) | (moments >= end))
        elif name in lists:
            kind = NO_COUNTRY if lists[name] is COUNTRIES else NO_CURRENCY
            yield name, kind, _find_unknown_codes(frame[name], lists[name])
        elif name in MAX_NUMBERS:
            bound, kind = MAX_NUMBERS[name]
            yield name, kind, (frame[name] > bound).to_numpy(dtype=bool)


def _find_unknown_codes(column: "pd.Series", known: frozenset[str]) -> Mask:
    """Find values that are no known code."""
    codes, values = column.factorize()
    unknown = np.array([not _is_code(str(value), known) for value in values] + [False], dtype=bool)
    found: Mask = unknown[codes]  # a missing value has the code -1, the last place
    return found


def _get_year_start_us(year: int) -> int:
    return int(np.datetime64(f"{year}-01-01", "us").astype(np.int64))

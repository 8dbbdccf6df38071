"""A country that was read as its code, and a value that was left out, are warnings with their field, in every format."""

from datetime import UTC, datetime

import pytest
from support.messages import MESSAGES, changed

from consignments.messages.entries import Version
from consignments.messages.post.mapping import load_mapping
from consignments.messages.reading import read_entries

NOW = datetime(2026, 4, 1, tzinfo=UTC)
READ, DROPPED = "country_read_as", "number_malformed"


@pytest.mark.parametrize(
    ("sample", "old", "new", "expected"),
    [
        ("xfzb_house.xml", ">KR</ram:CountryID>", ">KOR</ram:CountryID>", (READ, "consignee_country")),
        ("xfzb_house.xml", ">CN</ram:ID>", ">China</ram:ID>", (READ, "items.origin_country")),
        ("xfzb_house.xml", ">1.85<", ">1,85<", (DROPPED, "gross_weight_kg")),
        ("xfzb_house.xml", ">96.50<", ">ninety<", (DROPPED, "postage")),
        ("xfhl_manifest.xml", "TotalPieceQuantity>3<", "TotalPieceQuantity>three<", (DROPPED, "pieces")),
        ("fwb_direct.txt", "/DE/01067", "/GERMANY/01067", None),
        ("fwb_direct.txt", "/NVD/2450/", "/NVD/2.450,00/", (DROPPED, "declared_value")),
        ("fhl_houses.txt", "/US/CUS/RT/B2C", "/US/CUS/AE/13132023", (DROPPED, "account_opened_on")),
        ("fhl_houses.txt", "1/K1.85", "1/K1,85", (DROPPED, "gross_weight_kg")),
        ("one_record_house.json", 'code": "KR"', 'code": "KOR"', (READ, "consignee_country")),
        ("ics2_f43.xml", "country>HK<", "country>HKG<", (READ, "sender_country")),
        ("ics2_f43.xml", "netMass>0.1<", "netMass>light<", (DROPPED, "items.net_weight_kg")),
        ("cds_view.xml", "CountryCd>KR<", "CountryCd>kor<", (READ, "consignee_country")),
        ("cds_view.xml", "CountryCd>KR<", "CountryCd>kr<", None),
        ("cds_view.xml", "<GrossWeight>0.15", "<GrossWeight>heavy", (DROPPED, "gross_weight_kg")),
        ("cds_view.xml", "<Number>2", "<Number>two", (DROPPED, "items.quantity")),
        ("itmatt.edi", "97201+US", "97201+USA", (READ, "sender_country")),
    ],
)
def test_what_was_doubted_is_named_with_its_field(
    sample: str, old: str, new: str, expected: tuple[str, str] | None
) -> None:
    content, mappings = (MESSAGES / sample).read_bytes(), (load_mapping(MESSAGES / "itmatt.toml"),)
    before, after = (
        {
            (each.code, each.field)
            for entry in read_entries(part, NOW, mappings).entries
            if isinstance(entry, Version)
            for each in entry.warnings
        }
        for part in (content, changed(content, (old, new)))
    )
    assert after - before == ({expected} if expected else set())

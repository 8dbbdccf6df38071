"""Cargo-XML: real shapes of messages become consignments, hostile and broken ones are refused by name."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lxml import etree

from consignments.cargo_xml import MasterWaybill, add_master, read_message, read_messages
from consignments.errors import MessageFault
from consignments.records import Consignment, Item
from consignments.tables import build_frame, check_frame, to_consignments
from consignments.xml_elements import MAX_TAGS

MESSAGES = Path(__file__).parents[1] / "messages"
HOUSE, MASTER = MESSAGES / "xfzb_house.xml", MESSAGES / "xfwb_master.xml"
DIRECT, POUNDS = MESSAGES / "xfwb_direct.xml", MESSAGES / "xfzb_pounds.xml"
SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "messages"


def consignment_of(source: Path | bytes, **options: Any) -> Consignment:
    message = read_message(source, **options)
    assert message.consignment is not None
    return message.consignment


def changed(path: Path, *changes: tuple[str, str]) -> bytes:
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode()


def test_a_house_waybill_becomes_one_consignment() -> None:
    assert consignment_of(HOUSE) == Consignment(
        consignment_id="160-48103823/WHX26030917",
        channel="air_cargo",
        received_at=datetime(2026, 3, 10, 0, 42, tzinfo=UTC),
        service="ecommerce",
        master_id="160-48103823",
        nature="sale",
        sender_name="WUHAN HEXIANG FINE MATERIAL TRADING",
        sender_address="ROOM 1907 UNIT 2 LUOYU ROAD 88",
        sender_city="WUHAN",
        sender_postcode="430070",
        sender_country="CN",
        sender_phone="8613900000017",
        sender_email="hx.material88@mail.example",
        consignee_name="PARK JI HO",
        consignee_address="GOSHIWON 3F ROOM 12, 21 SILLIM-RO 7-GIL",
        consignee_city="SEOUL",
        consignee_postcode="08789",
        consignee_country="KR",
        consignee_phone="010-5550-4471",
        account_id="BH-0099412",
        account_opened_on=date(2026, 2, 26),
        departure_country="CN",
        destination_country="KR",
        route="PVG>ICN",
        description="PIGMENT SAMPLE, NOT FOR HUMAN CONSUMPTION",
        hs_code="320417",
        origin_country="CN",
        items=(
            Item("ORGANIC PIGMENT POWDER", 1.0, 0.9, None, "320417", "CN"),
            Item("4 - C M C REFERENCE MATERIAL, RESEARCH USE ONLY", 3.0, 0.75, None, "382499", "CN"),
            Item("FOIL ZIP BAGS", 50.0, 0.2, None, "392329", None),
        ),
        pieces=1.0,
        gross_weight_kg=1.85,
        declared_value=18.0,
        currency="USD",
        postage=96.5,
        payment="crypto",
    )


def test_a_direct_waybill_becomes_one_consignment() -> None:
    found = consignment_of(DIRECT)
    assert found.consignment_id == "180-20451130"
    assert found.master_id is None
    assert found.received_at == datetime(2026, 3, 11, 21, 5, 30, tzinfo=UTC)  # no zone: UTC
    assert (found.route, found.carrier, found.departure_country) == ("FRA>ICN", "KE", "DE")
    assert (found.description, found.hs_code) == ("CENTRIFUGAL PUMPS", "841370")
    assert found.items == (
        Item("CENTRIFUGAL PUMPS", 2.0, 38.2, None, "841370", "DE"),
    )  # a line of volumes is none
    assert (found.declared_value, found.currency, found.postage, found.payment) == (
        2450.0,
        "EUR",
        171.3,
        "collect",
    )
    assert (found.account_id, found.account_opened_on, found.service) == (
        "FP-204417",
        date(2011, 5, 17),
        "general",
    )
    assert (found.sender_postcode, found.sender_address) == ("01067", "Industriestrasse 4, PO Box 1142")
    assert found.sender_email == "versand@feinwerk.example"
    assert found.consignee_phone == "82315550177"  # from a customs note


def test_a_house_without_a_value_in_pounds_and_withdrawn_by_its_sender() -> None:
    found = consignment_of(POUNDS)
    assert found.consignment_id == "988-30076631/LAX0031"
    assert found.gross_weight_kg == pytest.approx(4.5359237)
    assert (found.declared_value, found.currency, found.postage) == (None, "USD", 44.1)
    assert found.cancelled_at == found.received_at == datetime(2026, 3, 12, 21, 20, tzinfo=UTC)
    assert found.route == "LAX>ICN>PUS"
    assert found.sender_country == "US"
    assert found.items is None


def test_a_master_is_no_consignment_but_adds_route_forwarder_and_carrier_to_its_house() -> None:
    alone = read_message(MASTER)
    assert alone.consignment is None
    assert alone.master == MasterWaybill(
        "160-48103823", ("PVG", "HKG", "ICN"), "BRIGHT HARBOUR LOGISTICS", "CX"
    )
    for sources in ([HOUSE, MASTER], [MASTER, HOUSE]):
        (house,) = read_messages(sources).consignments
        assert (house.route, house.declarant, house.carrier) == (
            "PVG>HKG>ICN",
            "BRIGHT HARBOUR LOGISTICS",
            "CX",
        )
        assert msgspec.structs.replace(
            house, route="PVG>ICN", declarant=None, carrier=None
        ) == consignment_of(HOUSE)


@pytest.mark.parametrize(
    ("house", "master", "joined"),
    [
        ("PVG>ICN", ("PVG", "HKG", "ICN"), "PVG>HKG>ICN"),
        ("SZX>PVG>ICN>PUS", ("PVG", "HKG", "ICN"), "SZX>PVG>HKG>ICN>PUS"),
        ("ICN>FRA", ("PVG", "HKG"), "ICN>FRA"),
        ("ICN>PVG", ("PVG", "ICN"), "ICN>PVG"),
        (None, ("PVG", "ICN"), None),
        ("PVG>ICN", (), "PVG>ICN"),
    ],
)
def test_a_masters_stops_stand_between_its_ends(
    house: str | None, master: tuple[str, ...], joined: str | None
) -> None:
    given = Consignment("1/2", "air_cargo", route=house, declarant="OWN")
    found = add_master(given, MasterWaybill("1", master, "FORWARDER", "CX"))
    assert (found.route, found.declarant, found.carrier) == (joined, "OWN", "CX")


def test_every_style_of_prefixes_reads_alike() -> None:
    default = changed(HOUSE, ("<ram:", "<"), ("</ram:", "</"), ("xmlns:ram=", "xmlns="))
    bare = etree.fromstring(HOUSE.read_bytes())
    for element in bare.iter():
        element.tag = etree.QName(element).localname
    assert consignment_of(default) == consignment_of(etree.tostring(bare)) == consignment_of(HOUSE)


def test_the_time_of_receipt_is_the_one_given() -> None:
    moment = datetime(2026, 4, 1, tzinfo=UTC)
    assert consignment_of(HOUSE, received_at=moment).received_at == moment
    assert consignment_of(POUNDS, received_at=moment).cancelled_at == moment


def test_an_express_filing_a_numeric_date_and_a_verified_phone_are_read() -> None:
    data = changed(
        HOUSE,
        ("<ram:ContentCode>RT", "<ram:ContentCode>FT"),
        ("<ram:Content>B2C", "<ram:Content>02"),
        ("26FEB26", "02262026"),
        ("<ram:ContentCode>MU", "<ram:ContentCode>VU"),
        ("<ram:ContentCode>MD", "<ram:ContentCode>VD"),
    )
    found = consignment_of(data)
    assert (found.service, found.nature) == ("express", None)
    assert found.account_opened_on == date(2026, 2, 26)
    assert found.sender_email == "hx.material88@mail.example"


def test_freight_in_another_currency_than_the_value_is_left_out_and_noted() -> None:
    message = read_message(
        changed(
            HOUSE, ('TotalPrepaidChargeAmount currencyID="USD"', 'TotalPrepaidChargeAmount currencyID="CNY"')
        )
    )
    assert message.consignment is not None
    assert (message.consignment.currency, message.consignment.postage) == ("USD", None)
    assert message.notes == ("the freight is in another currency than the value, and was left out",)


@pytest.mark.parametrize(
    ("path", "old", "new", "note"),
    [
        (HOUSE, "26FEB26", "yesterday", "the date of the account has an unknown form"),
        (HOUSE, "160-48103823</ram:ID>\n    </ram:Transport", "X1</ram:ID>\n    </ram:Transport",
         "the waybill number has an unknown form"),
        (DIRECT, "CENTRIFUGAL PUMPS", "CONSOLIDATED CARGO", "a direct waybill described as a consolidation"),
    ],
)  # fmt: skip
def test_odd_messages_are_read_and_noted(path: Path, old: str, new: str, note: str) -> None:
    message = read_message(changed(path, (old, new)))
    assert message.consignment is not None
    assert message.notes == (note,)


def test_a_wrong_check_digit_is_no_reason_to_refuse() -> None:
    found = consignment_of(changed(HOUSE, ("160-48103823", "160-48103824")))
    assert found.consignment_id == "160-48103824/WHX26030917"


def test_missing_mandatory_elements_are_no_reason_to_refuse() -> None:
    root = etree.fromstring(HOUSE.read_bytes())
    for name in (
        "ConsignorParty",
        "ConsigneeParty",
        "OriginLocation",
        "TotalPieceQuantity",
        "TransportContractDocument",
    ):
        for element in root.findall(f".//{{*}}{name}"):
            parent = element.getparent()
            assert parent is not None
            parent.remove(element)
    found = consignment_of(etree.tostring(root))
    assert (found.consignment_id, found.sender_name, found.pieces, found.route) == (
        "WHX26030917",
        None,
        None,
        "ICN",
    )


def sized(count: int) -> bytes:
    return b"<HouseWaybill>" + b"<a/>" * count + b"</HouseWaybill>"


REFUSALS: list[tuple[Callable[[], bytes], str]] = [
    (lambda: b"", "empty"),
    (lambda: (MESSAGES / "xfzb_bomb.xml").read_bytes(), "entities are declared"),
    (lambda: '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'.encode("utf-16"), "entities are declared"),
    (lambda: b'<!DOCTYPE a SYSTEM "http://host.example/a.dtd"><HouseWaybill/>', "entities are declared"),
    (lambda: (MESSAGES / "xfzb_cut.xml").read_bytes(), "cut in half"),
    (lambda: HOUSE.read_bytes().rstrip()[:-1], "cut in half"),
    (lambda: HOUSE.read_bytes()[: HOUSE.read_bytes().rindex(b"</rsm:MasterConsignment>")], "cut in half"),
    (lambda: b"<a><b></a>", "not well-formed XML"),
    (lambda: b"<a>Tom & Jerry</a>", "not well-formed XML"),
    (lambda: b"<a>\xe9</a>", "not well-formed XML"),
    (lambda: b"FWB/16\n160-48103823PVGICN/T1K2\n", "cut in half|not well-formed XML"),
    (lambda: b"<a>" * 300 + b"</a>" * 300, "nested too deep"),
    (lambda: sized(MAX_TAGS), "too many elements"),
    (lambda: b'<FlightManifest xmlns="iata:flightmanifest:1"/>', "unknown kind of message; got FlightManifest; expected HouseWaybill"),
    (lambda: b"<HouseWaybill/>", "no house waybill number"),
    (lambda: b"<HouseWaybill><BusinessHeaderDocument><ID>1</ID></BusinessHeaderDocument></HouseWaybill>", "HouseWaybill: an element is missing"),
    (lambda: changed(DIRECT, (">740<", ">785<")), "unknown type of waybill; got '785'"),
    (lambda: changed(HOUSE, ("2026-03-10T08:42:00+08:00", "now")), "bad time of issue"),
    (lambda: changed(HOUSE, (">1.85<", ">heavy<")), "IncludedTareGrossWeightMeasure: not a number; got 'heavy'"),
    (lambda: changed(HOUSE, (">1.85<", ">-1<")), "gross_weight_kg"),
    (lambda: changed(HOUSE, ('unitCode="KGM">1.85', 'unitCode="MTQ">1.85')), "unknown unit of weight; got 'MTQ'"),
    (lambda: changed(HOUSE, ("PARK JI HO", "PARK " * 120)), "limits of the record; got .*consignee_name"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "words"), REFUSALS)
def test_a_bad_message_is_refused_with_its_reason(data: Callable[[], bytes], words: str) -> None:
    with pytest.raises(MessageFault, match=words):
        read_message(data())


def test_a_house_given_twice_in_one_message_is_refused() -> None:
    root = etree.fromstring(HOUSE.read_bytes())
    house = root.find(".//{*}IncludedHouseConsignment")
    assert house is not None
    parent = house.getparent()
    assert parent is not None
    parent.append(etree.fromstring(etree.tostring(house)))
    with pytest.raises(MessageFault, match="an element is repeated"):
        read_message(etree.tostring(root))


def test_a_refusal_never_shows_personal_data() -> None:
    with pytest.raises(MessageFault) as fault:
        read_message(changed(HOUSE, ("PARK JI HO", "PARK " * 120)))
    assert "PARK" not in str(fault.value)


def test_entities_are_never_expanded_nor_files_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    hostile = f'<!DOCTYPE a [<!ENTITY x SYSTEM "{secret.as_uri()}">]><HouseWaybill>&x;</HouseWaybill>'
    with pytest.raises(MessageFault) as fault:
        read_message(hostile.encode("utf-16"))
    assert "secret" not in str(fault.value)


def test_a_message_too_large_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = tmp_path / "large.xml"
    with large.open("wb") as file:
        file.truncate(100_000_000)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(
        MessageFault, match=r"large.xml: too large; got 100,000,000 bytes; expected at most 10,000,000"
    ):
        read_message(large)


def test_bad_messages_do_not_sink_the_good_ones(tmp_path: Path) -> None:
    sources = [
        MESSAGES / "xfzb_bomb.xml",
        HOUSE,
        tmp_path / "nowhere.xml",
        tmp_path,
        b"<a/>",
        MESSAGES / "xfzb_cut.xml",
    ]
    found = read_messages(sources)
    assert [c.consignment_id for c in found.consignments] == ["160-48103823/WHX26030917"]
    assert [reject.place for reject in found.rejects] == [
        str(MESSAGES / "xfzb_bomb.xml"),
        str(tmp_path / "nowhere.xml"),
        str(tmp_path),
        "message 5",
        str(MESSAGES / "xfzb_cut.xml"),
    ]
    assert [reject.reason.split(";")[0] for reject in found.rejects] == [
        "a document type or entities are declared",
        "cannot be read",
        "cannot be read",
        "unknown kind of message",
        "line 58: cut in half: it ends inside an element",
    ]


def test_messages_become_a_table_that_passes_its_checks() -> None:
    found = read_messages([HOUSE, MASTER, DIRECT, POUNDS, HOUSE])
    table = check_frame(build_frame(found.consignments, Consignment), Consignment)
    assert table.rejects == ()
    assert table.frame["sequence"].tolist() == [1, 2, 3, 4]  # the house came twice: the later amends
    assert to_consignments(table.frame, Consignment) == list(found.consignments)


@pytest.mark.skipif(
    not SAMPLES.exists(), reason="the collected sample messages stand beside this repository only"
)
def test_collected_sample_messages_are_read() -> None:
    found = read_messages(sorted([*SAMPLES.glob("xfwb/*.xml"), *SAMPLES.glob("xfzb/*.xml")]))
    assert found.rejects == ()
    assert {master.number: master.route for master in found.masters} == {
        "888-11111111": ("ORK", "DUB", "AUH", "PVG"),
        "020-68548340": ("VCP", "FRA", "CDG"),
    }
    (house,) = found.consignments
    assert house.consignment_id == "888-11111111/SEL22222222"
    assert (house.route, house.gross_weight_kg, house.pieces) == ("ICN>FRA>FDH", 134.0, 10.0)
    assert (house.currency, house.postage, house.declared_value) == ("KRW", 420.0, None)
    assert house.items == (Item("SPARE PARTS", 5.0, 133.7, None, "1133557799", None),)

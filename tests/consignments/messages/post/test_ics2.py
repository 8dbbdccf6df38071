"""Data sets of ICS2: houses, direct waybills and receptacles by element names, as a stream."""

import tracemalloc

import pytest
from support.messages import changed, declaration, declarations, load, masters, read

from consignments.errors import MessageFault
from consignments.messages.parsed import Declaration, Ignored, MessageContext
from consignments.messages.post.ics2 import find_kind, looks_like_ics2, read_ics2

F43, F26 = load("ics2_f43.xml"), load("ics2_f26.xml")


def test_express_is_a_service_of_its_own_data_sets() -> None:
    express = declaration(read_ics2, changed(F26, ("IE3F26", "IE3F32")))
    assert express.fields["service"] == "express"


def test_an_amendment_updates() -> None:
    assert {each.purpose for each in declarations(read_ics2, changed(F43, ("IE3F43", "IE3A43")))} == {
        "update"
    }


def test_goods_at_the_level_of_the_master_are_a_direct_waybill() -> None:
    direct = changed(
        F26,
        ("IE3F26", "IE3F28"),
        ("<ConsignmentHouseLevel>", ""),
        ("</ConsignmentHouseLevel>", ""),
        (
            "<TransportDocumentHouseLevel><documentNumber>SHA0091</documentNumber><type>N703</type></TransportDocumentHouseLevel>",
            "",
        ),
    )
    found = declaration(read_ics2, direct)
    assert (found.level, found.fields["consignment_id"]) == ("direct", "180-12345675")
    assert found.fields["description"] == "optical lenses"


def test_receptacles_add_route_and_members() -> None:
    message = b"""<IE3F44><documentIssueDate>2026-03-10T08:00:00Z</documentIssueDate><consignmentMasterLevel>
      <receptacle><receptacleIdentificationNumber>CNPVGADEFRAAAUN60001001100123</receptacleIdentificationNumber>
        <transportDocument><documentNumber>LX123456785CN</documentNumber></transportDocument></receptacle>
      </consignmentMasterLevel><declarant><name>China Post</name></declarant></IE3F44>"""
    (bag,) = masters(read_ics2, message)
    assert bag.number == "CNPVGADEFRAAAUN60001001100123"
    assert bag.fields == {
        "route": "CNPVGA>DEFRAA",
        "departure_country": "CN",
        "destination_country": "DE",
        "declarant": "China Post",
    }
    assert bag.members == ("LX123456785CN",)


def test_a_house_without_a_number_has_one_made_of_its_content() -> None:
    nameless = changed(F26, ("<documentNumber>SHA0091</documentNumber>", ""))
    first, again = (declaration(read_ics2, nameless).fields["consignment_id"] for _ in range(2))
    assert first.startswith("unidentified:")
    assert first == again


def test_amounts_in_two_currencies_have_no_sum() -> None:
    mixed = changed(
        F43, ("<cis:value>4</cis:value><cis:currency>USD", "<cis:value>4</cis:value><cis:currency>EUR")
    )
    found = declarations(read_ics2, mixed)[0]
    assert "declared_value" not in found.fields
    assert found.quality == ("currency_mixed",)
    assert [item["value"] for item in found.fields["items"]] == [12.5, None]


@pytest.mark.parametrize("value", ["174,5", "-3", "1e999", "25 PCS", "NaN"])
def test_a_number_that_cannot_be_used_is_left_out_with_a_code(value: str) -> None:
    found = declarations(
        read_ics2, changed(F43, ("<cis:totalGrossMass>0.45<", f"<cis:totalGrossMass>{value}<"))
    )[0]
    assert "gross_weight_kg" not in found.fields
    assert found.quality == ("number_malformed",)


@pytest.mark.parametrize(
    "moment", ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "soon"]
)
def test_an_impossible_time_of_issue_is_missing(moment: str) -> None:
    found = declarations(read_ics2, changed(F43, ("2026-03-10T08:42:00Z", moment)))
    assert [each.issued_at for each in found] == [None, None]


def test_what_deceives_the_eye_is_taken_out_of_names() -> None:
    hidden = changed(F43, ("Erika Musterfrau", "Erika\u202e Muster\u200bfrau\n   Dr."))
    assert declarations(read_ics2, hidden)[0].fields["consignee_name"] == "Erika Musterfrau Dr."


def test_every_encoding_and_envelope_reads_alike() -> None:
    expected = [each.fields for each in declarations(read_ics2, F43)]
    text = F43.decode().replace('encoding="UTF-8"', 'encoding="UTF-16"')
    body = F43.decode().split("?>", 1)[1]
    wrapped = f"<Envelope><Header><Id>1</Id></Header><Body>{body}</Body></Envelope>".encode()
    for content in (text.encode("utf-16"), b"\xef\xbb\xbf" + F43, wrapped):
        assert [each.fields for each in declarations(read_ics2, content)] == expected


def test_houses_before_a_cut_are_read_and_the_cut_is_a_fault() -> None:
    reader = read_ics2(F43[: F43.rindex(b"Max Muster")], MessageContext("test"))
    first = next(reader)
    assert first.fields["consignment_id"] == "LX123456785CN"  # type: ignore[union-attr]
    with pytest.raises(MessageFault, match="cut in half"):
        next(reader)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0",
        b'<!DOCTYPE a [<!ENTITY b "c">]><IE3F43><consignmentHouseLevel>&b;</consignmentHouseLevel></IE3F43>',
        b"<IE3F43>" + b"<consignmentHouseLevel>" * 300,
    ],
)
def test_hostile_and_empty_messages_are_faults(content: bytes) -> None:
    with pytest.raises(MessageFault):
        read(read_ics2, content)


def test_a_data_set_without_goods_is_named_and_ignored() -> None:
    (found,) = read(read_ics2, b"<IE3F43><declarant/></IE3F43>")
    assert found == Ignored("ICS2 F43", "a data set without goods")


def test_a_consignment_larger_than_its_bound_is_a_fault() -> None:
    padding = b"<x/>" * 1_200_000
    content = b"<IE3F43><consignmentHouseLevel>" + padding + b"</consignmentHouseLevel></IE3F43>"
    with pytest.raises(MessageFault, match="one consignment is too large"):
        read(read_ics2, content)


def test_attached_files_do_not_hide_a_consignment() -> None:
    files = "<cis:attachment><cis:content>" + "QUJD" * 500_000 + "</cis:content></cis:attachment>"
    attached = changed(
        F43,
        (
            "<cis:totalGrossMass>0.45</cis:totalGrossMass>",
            files * 4 + "<cis:totalGrossMass>0.45</cis:totalGrossMass>",
        ),
    )
    assert declarations(read_ics2, attached)[0].fields["gross_weight_kg"] == 0.45


def test_memory_does_not_grow_with_the_number_of_items() -> None:
    def measure_peak(times: int) -> int:
        start, end = (
            F43.index(b"    <cis:consignmentHouseLevel>"),
            F43.index(b"  </cis:consignmentMasterLevel>"),
        )
        content = F43[:start] + F43[start:end] * times + F43[end:]
        tracemalloc.start()
        count = sum(1 for _ in read_ics2(content, MessageContext("test")))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 2 * times
        return peak

    measure_peak(1)  # what is loaded and remembered once
    assert measure_peak(120) < 1.5 * measure_peak(40)


def test_kinds_are_found_by_their_elements() -> None:
    assert find_kind(F43) == ("F43", "create")
    assert looks_like_ics2(F43[:400])
    assert not looks_like_ics2(b"<IE3Q02/>")
    assert not looks_like_ics2(b"<HouseWaybill/>")


def test_a_bare_ampersand_in_a_late_house_loses_no_house() -> None:
    context = MessageContext("test")
    spoilt = changed(F43, ("gift</cis", "gift & card</cis"))
    houses = [each for each in read_ics2(spoilt, context) if isinstance(each, Declaration)]
    assert [house.fields["description"] for house in houses] == ["cotton shirt", "gift & card"]
    assert context.notes == ["repaired: bare ampersands were read as text"]


def test_a_bare_ampersand_in_a_direct_waybill_is_repaired() -> None:
    direct = changed(
        F26,
        ("<ConsignmentHouseLevel>", ""),
        ("</ConsignmentHouseLevel>", ""),
        ("optical lenses", "lenses & frames"),
    )
    assert declaration(read_ics2, direct).fields["description"] == "lenses & frames"

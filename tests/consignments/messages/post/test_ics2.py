"""Data sets of ICS2 become houses, direct waybills and receptacles, as a stream; answers become states of what they name."""

import tracemalloc

import pytest
from support.messages import changed, declarations, events, load, masters, read

from consignments.errors import MessageFault
from consignments.messages.parsed import Ignored, MessageContext
from consignments.messages.post.ics2 import read_ics2, read_ics2_response

F43, F26 = load("ics2_f43.xml"), load("ics2_f26.xml")
NUMBER = "<documentNumber>SHA0091</documentNumber>"
HOUSE_DOCUMENT = f"<TransportDocumentHouseLevel>{NUMBER}<type>N703</type></TransportDocumentHouseLevel>"
NO_HOUSE = (("<ConsignmentHouseLevel>", ""), ("</ConsignmentHouseLevel>", ""))
DIRECT = changed(F26, *NO_HOUSE, (HOUSE_DOCUMENT, ""), ("IE3F26", "IE3F28"))
AMPERSAND = changed(F26, *NO_HOUSE, ("optical lenses", "lenses & frames"))
MASS = "<cis:totalGrossMass>0.45<"
BAG = "CNPVGADEFRAAAUN60001001100123"


@pytest.mark.parametrize(
    ("content", "kind", "column", "value"),
    [
        (changed(F43, ("IE3F43", "IE3A43")), "update house", "consignment_id", "LX123456785CN"),
        (DIRECT, "create direct", "consignment_id", "180-12345675"),
        (DIRECT, "create direct", "description", "optical lenses"),
        (AMPERSAND, "create direct", "description", "lenses & frames"),
    ],
)
def test_a_data_set_becomes_declarations_of_its_kind(
    content: bytes, kind: str, column: str, value: str
) -> None:
    found = declarations(read_ics2, content)[0]
    assert f"{found.purpose} {found.level}" == kind
    assert found.fields[column] == value


def test_receptacles_add_route_and_members() -> None:
    message = f"""<IE3F44><documentIssueDate>2026-03-10T08:00:00Z</documentIssueDate><consignmentMasterLevel>
      <receptacle><receptacleIdentificationNumber>{BAG}</receptacleIdentificationNumber>
        <transportDocument><documentNumber>LX123456785CN</documentNumber></transportDocument></receptacle>
      </consignmentMasterLevel><declarant><name>China Post</name></declarant></IE3F44>"""
    (bag,) = masters(read_ics2, message.encode())
    countries = {"departure_country": "CN", "destination_country": "DE"}
    assert bag.fields == {"route": "CNPVGA>DEFRAA", "declarant": "China Post"} | countries
    assert (bag.number, bag.members) == (BAG, ("LX123456785CN",))


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


HOSTILE = b'<!DOCTYPE a [<!ENTITY b "c">]><IE3F43><consignmentHouseLevel>&b;</consignmentHouseLevel></IE3F43>'
LARGE = b"<IE3F43><consignmentHouseLevel>" + b"<x/>" * 1_200_000 + b"</consignmentHouseLevel></IE3F43>"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"\0\0\0", "empty"),
        (HOSTILE, "document type"),
        (b"<IE3F43>" + b"<consignmentHouseLevel>" * 300, "nested too deep"),
        (LARGE, "one consignment is too large"),
        (b"<IE3Q02><referralRequestDetails/></IE3Q02>", "names no consignment"),
    ],
    ids=["empty", "NUL", "entity", "deep", "large", "an answer about nothing"],
)
def test_hostile_and_empty_messages_are_faults(content: bytes, what: str) -> None:
    with pytest.raises(MessageFault, match=what):
        read(read_ics2_response if b"IE3Q02" in content else read_ics2, content)


def test_what_has_no_goods_and_no_state_is_ignored_by_name() -> None:
    nothing = read(read_ics2, b"<IE3F43><declarant/></IE3F43>")
    assert nothing == [Ignored("ICS2 F43", "a data set without goods")]
    for kind in ("IE3R02", "IE3Q05"):
        (found,) = read(read_ics2_response, f"<{kind}><MRN>1</MRN></{kind}>".encode())
        assert isinstance(found, Ignored)
        assert found.kind == kind


def test_attached_files_do_not_hide_a_consignment() -> None:
    files = "<cis:attachment><cis:content>" + "QUJD" * 500_000 + "</cis:content></cis:attachment>"
    found = declarations(read_ics2, changed(F43, (MASS, files * 4 + MASS)))
    assert found[0].fields["gross_weight_kg"] == 0.45


def test_memory_does_not_grow_with_the_number_of_items() -> None:
    start, end = F43.index(b"    <cis:consignmentHouseLevel>"), F43.index(b"  </cis:consignmentMasterLevel>")

    def measure_peak(times: int) -> int:
        content = F43[:start] + F43[start:end] * times + F43[end:]
        tracemalloc.start()
        count = sum(1 for _ in read_ics2(content, MessageContext("test")))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 2 * times
        return peak

    measure_peak(1)  # what is loaded and remembered once
    assert measure_peak(120) < 1.5 * measure_peak(40)


# --- answers ----------------------------------------------------------------------------------------------------------

RECEPTACLE = (
    f"<receptacle><receptacleIdentificationNumber>{BAG}\n</receptacleIdentificationNumber></receptacle>"
)


def document(number: str) -> str:
    return f"<transportDocument><documentNumber>{number}</documentNumber></transportDocument>"


def answer(kind: str, part: str, *content: str) -> bytes:
    return f"<{kind}><MRN>26DE1</MRN><{part}>{''.join(content)}</{part}></{kind}>".encode()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (answer("IE3Q01", "doNotLoadDetails", RECEPTACLE, document("LX1")), ["LX1 do_not_load IE3Q01"]),
        (answer("IE3Q01", "doNotLoadDetails", RECEPTACLE), [f"{BAG} do_not_load IE3Q01"]),
        (
            answer("IE3N03", "assessmentComplete", document("LX1"), document("LX2")),
            ["LX1 assessment_complete IE3N03", "LX2 assessment_complete IE3N03"],
        ),
        (answer("IE3N99", "error", "<validationCode>R3052</validationCode>"), ["26DE1 error R3052"]),
        (answer("CC351A", "X", "<Code>A001</Code>"), ["26DE1 do_not_load A001"]),
        (answer("CC351A", "X", "<Code>A002</Code>"), ["26DE1 request_for_screening A002"]),
    ],
)
def test_an_answer_is_a_state_of_each_that_it_names(message: bytes, expected: list[str]) -> None:
    found = events(read_ics2_response, message)
    assert [f"{each.consignment_id} {each.state} {each.code}" for each in found] == expected
    assert {each.authority for each in found} == {"EU"}


def test_a_referral_asks_about_one_element() -> None:
    more = (
        "</requestType><referralRequestReference>REF77</referralRequestReference>"
        "<pointer><messageElementPath>goodsItem/commodity</messageElementPath></pointer>"
        "<transportDocumentMaster><documentNumber>18012345675</documentNumber></transportDocumentMaster>"
    )
    content = changed(load("ics2_referral.xml"), ("</requestType>", more))
    (asked,) = events(read_ics2_response, content)
    assert (asked.consignment_id, asked.authority) == ("180-12345675/RB123456785GB", "DE")
    assert (asked.state, asked.code) == ("request_for_information", "RFI")
    assert asked.text == "describe the goods; at goodsItem/commodity; reference REF77"
    for time in ("notificationDate", "completionDate"):
        assert events(read_ics2_response, changed(content, ("documentIssueDate", time))) == [asked]
    (screened,) = events(read_ics2_response, changed(content, ("Q02", "Q03"), ("RFI", "RFS")))
    assert (screened.state, screened.source) == ("request_for_screening", "ICS2 IE3Q03")

"""Answers of EU customs become states of the consignments that they name."""

from datetime import UTC, datetime

import pytest
from support.messages import events, read

from consignments.errors import MessageFault
from consignments.messages.parsed import Ignored, StateRow
from consignments.messages.post.ics2 import looks_like_ics2_response, read_ics2_response

REFERRAL = b"""<i:IE3Q02 xmlns:i="urn:wco:datamodel:WCO:CIS:1">
  <i:documentIssueDate>2026-03-10T09:15:00Z</i:documentIssueDate><i:MRN>26DE0000000000001A</i:MRN>
  <i:responsibleMemberState><i:country>DE</i:country></i:responsibleMemberState>
  <i:referralRequestDetails>
    <i:referralRequestReference>REF77</i:referralRequestReference><i:requestType>RFI</i:requestType>
    <i:transportDocumentHouse><i:documentNumber>SHA0091</i:documentNumber></i:transportDocumentHouse>
    <i:transportDocumentMaster><i:documentNumber>180-12345675</i:documentNumber></i:transportDocumentMaster>
    <i:additionalInformation><i:text>say what the goods are</i:text></i:additionalInformation>
    <i:pointer><i:messageElementPath>goodsItem/commodity/descriptionOfGoods</i:messageElementPath></i:pointer>
  </i:referralRequestDetails></i:IE3Q02>"""


def test_a_referral_asks_for_information_about_one_element() -> None:
    assert events(read_ics2_response, REFERRAL) == [
        StateRow(
            "180-12345675/SHA0091",
            "DE",
            "request_for_information",
            "RFI",
            "say what the goods are; at goodsItem/commodity/descriptionOfGoods; reference REF77",
            datetime(2026, 3, 10, 9, 15, tzinfo=UTC),
            "ICS2 IE3Q02",
        )
    ]


def test_do_not_load_names_a_postal_item_without_its_bag() -> None:
    message = b"""<IE3Q01><documentIssueDate>2026-03-10T09:15:00Z</documentIssueDate><MRN>26DE1</MRN><doNotLoadDetails>
      <receptacle><receptacleIdentificationNumber>CNPVGADEFRAAAUN60001001100123</receptacleIdentificationNumber></receptacle>
      <transportDocument><documentNumber>LX123456785CN</documentNumber></transportDocument></doNotLoadDetails></IE3Q01>"""
    (found,) = events(read_ics2_response, message)
    assert (found.consignment_id, found.state, found.authority) == ("LX123456785CN", "do_not_load", "EU")


def test_a_screening_request_and_a_bag_that_may_not_be_loaded() -> None:
    screening = REFERRAL.replace(b"IE3Q02", b"IE3Q03").replace(b"RFI", b"RFS")
    assert [each.state for each in events(read_ics2_response, screening)] == ["request_for_screening"]
    bag = b"""<IE3Q01><MRN>26DE1</MRN><doNotLoadDetails><receptacle><receptacleIdentificationNumber>CNPVGADEFRAAAUN60001001100123
      </receptacleIdentificationNumber></receptacle></doNotLoadDetails></IE3Q01>"""
    assert [each.consignment_id for each in events(read_ics2_response, bag)] == [
        "CNPVGADEFRAAAUN60001001100123"
    ]


def test_assessment_complete_is_an_event_for_each_item() -> None:
    message = b"""<IE3N03><MRN>26DE1</MRN><completionDate>2026-03-10T10:00:00Z</completionDate><assessmentComplete>
      <transportDocument><documentNumber>LX1</documentNumber></transportDocument>
      <transportDocument><documentNumber>LX2</documentNumber></transportDocument></assessmentComplete></IE3N03>"""
    found = events(read_ics2_response, message)
    assert [(each.consignment_id, each.state) for each in found] == [
        ("LX1", "assessment_complete"),
        ("LX2", "assessment_complete"),
    ]
    assert found[0].issued_at == datetime(2026, 3, 10, 10, 0, tzinfo=UTC)


def test_errors_keep_their_codes_and_the_reference_of_the_sender() -> None:
    message = b"""<IE3N99><functionalReference>26POST0000001</functionalReference><notificationDate>2026-03-10T08:43:00Z</notificationDate>
      <error><description>element missing</description><validationCode>R3052</validationCode></error>
      <error><validationCode>C3025</validationCode></error></IE3N99>"""
    found = events(read_ics2_response, message)
    assert [(each.consignment_id, each.state, each.code) for each in found] == [
        ("26POST0000001", "error", "R3052"),
        ("26POST0000001", "error", "C3025"),
    ]


def test_the_first_system_s_intervention_is_do_not_load() -> None:
    message = b"<CC351A><HEAHEA><DocNumHEA5>26DE00000000000016</DocNumHEA5></HEAHEA><CUSINT632><CusIntCodCUSINT665>A001</CusIntCodCUSINT665></CUSINT632></CC351A>"
    (found,) = events(read_ics2_response, message)
    assert (found.consignment_id, found.state, found.code) == ("26DE00000000000016", "do_not_load", "A001")


@pytest.mark.parametrize("kind", ["IE3R02", "IE3Q05", "IE3R01X"])
def test_kinds_without_a_state_are_ignored_by_name(kind: str) -> None:
    if kind.endswith("X"):
        assert not looks_like_ics2_response(f"<{kind}/>".encode())
        return
    (found,) = read(read_ics2_response, f"<{kind}><MRN>1</MRN></{kind}>".encode())
    assert isinstance(found, Ignored)
    assert found.kind == kind


def test_an_answer_about_nothing_is_a_fault() -> None:
    with pytest.raises(MessageFault, match="names no consignment"):
        read(read_ics2_response, b"<IE3Q02><referralRequestDetails/></IE3Q02>")

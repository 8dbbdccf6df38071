"""Answers of customs: XCSN, XFNM, PSN and PER as states with their time."""

from datetime import UTC, datetime

import pytest
from support.messages import read_all, read_messages

from consignments.messages.parsed import StateRow

CAME = datetime(2026, 3, 12, tzinfo=UTC)

XCSN = """<rsm:CustomsStatusNotification xmlns:rsm="iata:customsstatusnotification:1" xmlns:ram="iata:datamodel:3">
<rsm:MessageHeaderDocument><ram:ID>1</ram:ID><ram:TypeCode>962</ram:TypeCode>
<ram:IssueDateTime>2026-03-10T09:33:48</ram:IssueDateTime><ram:PurposeCode>Creation</ram:PurposeCode>
<ram:SenderParty><ram:PrimaryID schemeID="C">PACTXML</ram:PrimaryID></ram:SenderParty></rsm:MessageHeaderDocument>
<rsm:BusinessHeaderDocument><ram:StatusCode>{code}</ram:StatusCode><ram:Information>{text}</ram:Information>
<ram:IssueDateTime>2026-03-10T{hour:02d}:33:48</ram:IssueDateTime></rsm:BusinessHeaderDocument>
<rsm:MasterConsignment>
<ram:AssociatedReferenceDocument><ram:ID>160-48103823</ram:ID><ram:TypeCode>741</ram:TypeCode></ram:AssociatedReferenceDocument>
{house}</rsm:MasterConsignment></rsm:CustomsStatusNotification>"""
HOUSE = (
    "<ram:AssociatedReferenceDocument><ram:ID>H1</ram:ID><ram:TypeCode>703</ram:TypeCode>"
    "</ram:AssociatedReferenceDocument>"
)


def xcsn(code: str, hour: int = 9, *, text: str = "PACT", house: str = "") -> bytes:
    return XCSN.format(code=code, hour=hour, text=text, house=house).encode()


def states_of(*messages: bytes) -> tuple[StateRow, ...]:
    found = read_all(*messages, received_at=CAME)
    assert found.consignments == ()
    return found.states


def test_a_request_about_a_waybill_and_one_about_a_house() -> None:
    (waybill,) = states_of(xcsn("RI", text="PACT REQUEST FOR INFORMATION HOLD"))
    assert waybill == StateRow(
        consignment_id="160-48103823",
        authority="PACT",
        state="request_for_information",
        code="RI",
        text="PACT REQUEST FOR INFORMATION HOLD",
        issued_at=datetime(2026, 3, 10, 9, 33, 48, tzinfo=UTC),
        source="XCSN",
    )
    for code in ("CD", "CB"):
        (house,) = states_of(xcsn(code, house=HOUSE))
        assert (house.consignment_id, house.state) == ("160-48103823/H1", "do_not_load")


DONE = "assessment_complete"


@pytest.mark.parametrize(
    ("messages", "states"),
    [
        (
            [xcsn("CO", 8), xcsn("RS", 9), xcsn("CO", 10), xcsn("CO", 11)],
            [DONE, "request_for_screening", "resolved", DONE],
        ),
        ([xcsn("RI", 9, house=HOUSE), xcsn("CO", 10)], ["request_for_information", DONE]),
        ([xcsn("CO", text="PACT HOLD REMOVED")], ["resolved"]),
        ([xcsn("RI"), xcsn("RI")], ["request_for_information"]),
    ],
    ids=["a hold stands", "a hold on another house", "it says so", "sent again"],
)
def test_a_completion_is_a_resolution_while_a_hold_stands_or_if_it_says_so(
    messages: list[bytes], states: list[str]
) -> None:
    assert [state.state for state in states_of(*messages)] == states


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("SR", "received"),
        ("SF", "assessment_complete"),
        ("7H", "request_for_information"),
        ("7J", "request_for_information"),
        ("7I", "resolved"),
        ("8H", "request_for_screening"),
        ("8I", "resolved"),
        ("6H", "do_not_load"),
        ("6J", "do_not_load"),
        ("6I", "resolved"),
    ],
)
def test_each_code_of_a_status_notification_has_its_state(code: str, state: str) -> None:
    (found,) = states_of(f"PSN\n160-48103823-H1\nCSN/{code}/10MAR1902/PACT TEXT\n".encode())
    assert (found.consignment_id, found.text) == ("160-48103823/H1", "PACT TEXT")
    assert (found.state, found.code) == (state, code)
    assert found.issued_at == datetime(2026, 3, 10, 19, 2, tzinfo=UTC)


def test_a_date_without_a_year_is_the_latest_that_is_not_after_it_came() -> None:
    (found,) = states_of(b"PSN\n160-48103823\nCSN/SF/31DEC2359/X\n")
    assert found.issued_at == datetime(2025, 12, 31, 23, 59, tzinfo=UTC)
    assert found.consignment_id == "160-48103823"


@pytest.mark.parametrize("joint", ["\n", " "])
def test_an_error_report_names_its_reason(joint: str) -> None:
    (found,) = states_of(f"PER\n160-48103823-HAW0123456{joint}ERR/422/MISSING_CNE_ADDR\n".encode())
    assert found.consignment_id == "160-48103823/HAW0123456"
    assert (found.state, found.code) == ("error", "MISSING_CNE_ADDR")


def test_a_response_in_xml_is_an_error_or_an_acknowledgement() -> None:
    response = (
        '<Response xmlns="iata:response:3"><MessageHeaderDocument><IssueDateTime>2026-03-10T10:00:00Z</IssueDateTime>'
        "</MessageHeaderDocument><BusinessHeaderDocument><ID>160-48103823</ID></BusinessHeaderDocument>"
        "<ResponseStatus><ConditionCode>{}</ConditionCode><Reason>{}</Reason></ResponseStatus></Response>"
    )
    (error,) = states_of(response.format("Error", "MISSING_WEIGHT").encode())
    assert (error.consignment_id, error.state, error.code) == ("160-48103823", "error", "MISSING_WEIGHT")
    (received,) = states_of(response.format("Acknowledgement", "No Errors").encode())
    assert (received.state, received.code) == ("received", "Acknowledgement")


def test_a_hold_without_a_time_stands_again_after_it_was_removed() -> None:
    answers = [f"PSN\n160-48103823-H1\nCSN/{code}\n".encode() for code in ("6H", "6H", "6I", "6H")]
    states = states_of(*answers)
    assert [(state.code, state.issued_at) for state in states] == [("6H", None), ("6I", None), ("6H", None)]


def test_an_unknown_status_is_named_and_an_answer_without_one_is_a_reject() -> None:
    found = read_messages([xcsn("ZZ"), b"PSN\n160-48103823\n", b"PSN\nCSN/SR/22NOV1902/NO ERRORS\n"])
    assert found.states == ()
    assert len(found.ignored) == 2
    assert [reject.reason.split(";")[0] for reject in found.rejects] == ["PSN: no status"]

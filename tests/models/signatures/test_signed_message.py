"""Signed messages: read only if whole, current, and signed by a partner who is their author."""

from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.cases import read_cases
from support.examples import day
from support.signing import REVIEWER, SECOND

from consignments.errors import MessageFault
from consignments.exchange.documents import AnyMessage, Feedback, Seizure, Warning, Withdrawal, encode_message
from models.signatures.envelope import PAYLOAD_TYPE, Envelope, build_statement, sign_statement
from models.signatures.key_holders import Partner, Partners
from models.signatures.signed_message import PREDICATE_TYPE, read_signed_message, sign_message

TOKEN = "0123456789abcdef:phone/exact:" + "0" * 32


PARTNERS = Partners([Partner("XA", REVIEWER.public.text)])
ISSUED = {"author": "XA", "issued_at": day(0)}
WARNING = Warning(message_id="W-1", **ISSUED, expires_at=day(30), hs_code="2922")
CASE = {"case_reference": "7", "occurred_at": day(-1), "indicators": (TOKEN,)}
SEIZURE = Seizure(message_id="S-1", **ISSUED, expires_at=day(30), **CASE)
PERIOD = {"about_author": "XB", "about": "W-1", "begins_at": day(-9), "ends_at": day(0)}
FEEDBACK = Feedback(message_id="F-1", **ISSUED, **PERIOD, matched=4, inspected=3, known=2, found=1)
GOOD: dict[str, AnyMessage] = {"warning": WARNING, "seizure": SEIZURE, "feedback": FEEDBACK}


@pytest.mark.parametrize(
    "message",
    [
        replace(WARNING, text="two lines\nof text"),
        replace(SEIZURE, quantity_g=0.1),
        FEEDBACK,
        Withdrawal(message_id="X-1", author="XA", issued_at=day(0), about="W-1"),
    ],
)
def test_what_was_signed_is_read(message: AnyMessage) -> None:
    assert read_signed_message(sign_message(message, REVIEWER), PARTNERS, day(1)).message == message


@pytest.mark.parametrize("case", read_cases("refused_messages"))
def test_a_message_is_refused_though_it_is_signed(case: dict[str, Any]) -> None:
    """Each line has a kind of message, changes of its document, another digest if it has one, and the reason."""
    document = msgspec.json.decode(encode_message(GOOD[case["of"]])) | case["change"]
    document = {name: value for name, value in document.items() if value is not None}
    digest = case.get("digest", sha256(msgspec.json.encode(document, order="sorted")).hexdigest())
    statement = build_statement({document["message_id"]: digest}, PREDICATE_TYPE, document)
    envelope = Envelope(PAYLOAD_TYPE, statement, (sign_statement(statement, REVIEWER),))
    with pytest.raises(MessageFault, match=case["said"]):
        read_signed_message(msgspec.json.encode(envelope), PARTNERS, day(1))


@pytest.mark.parametrize(
    "partners",
    [
        [Partner("XA", SECOND.public.text), Partner("XB", REVIEWER.public.text)],
        [Partner("XA", REVIEWER.public.text, until=day(0.5))],
    ],
    ids=["another partner signed", "the key had ended, whatever date it signs"],
)
def test_only_a_key_of_the_author_that_has_not_ended_signs(partners: list[Partner]) -> None:
    with pytest.raises(MessageFault, match="no signature of its author holds"):
        read_signed_message(sign_message(WARNING, REVIEWER), Partners(partners), day(1))


@given(place=st.integers(0, 2000), value=st.binary(min_size=1, max_size=3), cut=st.booleans())
def test_a_changed_byte_never_passes(place: int, value: bytes, cut: bool) -> None:
    whole = sign_message(SEIZURE, REVIEWER)
    at = place % len(whole)
    changed = whole[:at] + (b"" if cut else value + whole[at + len(value) :])
    try:
        found = read_signed_message(changed, PARTNERS, day(1))
    except MessageFault:
        return
    assert found.message == SEIZURE


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(MessageFault):
        read_signed_message(data, PARTNERS, day(1))

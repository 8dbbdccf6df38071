"""Signed messages: read only if whole, current, and signed by a partner who is their author."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import day

from consignments.errors import BadSetting, MessageFault
from consignments.exchange.documents import AnyMessage, Feedback, Seizure, Warning, Withdrawal
from models.signatures.envelope import build_envelope, build_statement, sign_statement
from models.signatures.key_holders import Partner, Partners
from models.signatures.keys import SigningKey
from models.signatures.signed_message import PREDICATE_TYPE, read_signed_message, sign_message

TOKEN = "0123456789abcdef:phone/exact:" + "0" * 32


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return SigningKey.create(tmp_path_factory.mktemp("keys") / "officer.key")


@pytest.fixture(scope="module")
def partners(key):
    return Partners([Partner("XA", key.public.text)])


def warning(**changes) -> Warning:
    fields = {
        "message_id": "W-1",
        "author": "XA",
        "issued_at": day(0),
        "expires_at": day(30),
        "hs_code": "2922",
    }
    return Warning(**(fields | changes))


def seizure(**changes) -> Seizure:
    fields = {
        "message_id": "S-1", "author": "XA", "issued_at": day(0), "expires_at": day(30), "case_reference": "7",
        "occurred_at": day(-1), "indicators": (TOKEN,),
    }  # fmt: skip
    return Seizure(**(fields | changes))


def feedback(**changes) -> Feedback:
    fields = {
        "message_id": "F-1", "author": "XA", "issued_at": day(0), "about_author": "XB", "about": "W-1",
        "begins_at": day(-9), "ends_at": day(0), "matched": 4, "inspected": 3, "known": 2, "found": 1,
    }  # fmt: skip
    return Feedback(**(fields | changes))


@pytest.mark.parametrize(
    "message",
    [
        warning(text="two lines\nof text"),
        seizure(quantity_g=0.1),
        feedback(),
        Withdrawal(message_id="X-1", author="XA", issued_at=day(0), about="W-1"),
    ],
)
def test_what_was_signed_is_read(message: AnyMessage, key, partners) -> None:
    assert read_signed_message(sign_message(message, key), partners, day(1)).message == message


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (warning(expires_at=day(0.5)), "has expired"),
        (warning(expires_at=day(0)), "is not after issued_at"),
        (warning(expires_at=day(500)), "more than 400 days"),
        (warning(issued_at=day(2)), "is in the future"),
        (warning(hs_code=None), "no criterion"),
        (warning(text="a\x1b[2Jb"), "cannot be printed"),
        (seizure(occurred_at=day(0.5)), "is after issued_at"),
        (feedback(found=3), "the counts do not fit"),
        (feedback(ends_at=day(-10)), "is not after begins_at"),
    ],
)
def test_a_contradictory_message_is_refused(message: AnyMessage, reason: str, key, partners) -> None:
    with pytest.raises(MessageFault, match=reason):
        read_signed_message(sign_message(message, key), partners, day(1))


def test_a_partner_cannot_sign_for_another(key, tmp_path) -> None:
    other = SigningKey.create(tmp_path / "other.key")
    both = Partners([Partner("XA", key.public.text), Partner("XB", other.public.text)])
    with pytest.raises(MessageFault, match="no signature of its author holds"):
        read_signed_message(sign_message(warning(), other), both, day(1))


def test_a_key_that_has_ended_is_refused_whatever_date_it_signs(key) -> None:
    ended = Partners([Partner("XA", key.public.text, until=day(0.5))])
    with pytest.raises(MessageFault, match="no signature"):
        read_signed_message(sign_message(warning(issued_at=day(0)), key), ended, day(1))


@pytest.mark.parametrize(
    "change",
    [
        {"indicators": ["Kim Min-su"]},
        {"indicators": [TOKEN] * 51},
        {"message_id": "../../x"},
        {"author": "XA/XB"},
        {"kind": "order"},
        {"more": 1},
        {"handling": "public"},
        {"text": "x" * 5000},
        {"schema_version": 2},
    ],
)
def test_another_shape_is_refused_though_it_is_signed(change: dict, key, partners) -> None:
    document = msgspec.to_builtins(warning()) | change
    statement = build_statement({"W-1": "0" * 64}, PREDICATE_TYPE, document)
    envelope = build_envelope(statement, (sign_statement(statement, key),))
    with pytest.raises(MessageFault, match=r"not a signed message|not that of its message"):
        read_signed_message(msgspec.json.encode(envelope), partners, day(1))


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 2000), value=st.binary(min_size=1, max_size=3), cut=st.booleans())
def test_a_changed_byte_never_passes(key, partners, place: int, value: bytes, cut: bool) -> None:
    whole = sign_message(seizure(), key)
    at = place % len(whole)
    changed = whole[:at] + (b"" if cut else value + whole[at + len(value) :])
    try:
        found = read_signed_message(changed, partners, day(1))
    except MessageFault:
        return
    assert found.message == seizure()


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(partners, data: bytes) -> None:
    with pytest.raises(MessageFault):
        read_signed_message(data, partners, day(1))


def test_the_file_of_partners_is_read_as_written(key, tmp_path) -> None:
    path = tmp_path / "partners.toml"
    assert Partners.read(path).members == ()
    Partners([Partner("XA", key.public.text, day(3))]).write(path)
    assert Partners.read(path).members == (Partner("XA", key.public.text, day(3)),)
    path.write_text("[[partner]]\nname = 'a b'\npublic_key = ''")
    with pytest.raises(BadSetting, match="cannot be read"):
        Partners.read(path)
    with pytest.raises(BadSetting, match="share a key"):
        Partners([Partner("XA", key.public.text), Partner("XB", key.public.text)])

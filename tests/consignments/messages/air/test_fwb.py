"""FWB: every version's shape of parties, goods told apart by their identifiers, whatever a network did to the lines."""

from datetime import UTC, datetime

import pytest
from support.messages import MESSAGES, read_all, read_messages, read_one

MASTER = (MESSAGES / "fwb_master.txt").read_bytes()
DIRECT = (MESSAGES / "fwb_direct.txt").read_bytes()
CAME = datetime(2026, 3, 10, 6, tzinfo=UTC)


def test_a_line_that_a_network_broke_is_joined() -> None:
    name = b"NAM/" + b"VERY LONG NAME OF A TRADING COMPANY WITH MANY WORDS IN IT AND MORE OF THEM"
    broken = MASTER.replace(b"NAM/BRIGHT HARBOUR KOREA", name[:69] + b"\n" + name[69:])
    assert read_one(broken).consignee_name == name[4:].decode()


def test_a_message_cut_at_1600_bytes_and_its_rest_are_one() -> None:
    for place in (DIRECT.index(b"RTD/"), DIRECT.index(b"/3/NH"), DIRECT.index(b"CVD/")):
        rest = DIRECT[place:]
        envelope = b"QK ICNFFKE\n.FRAFFKE 110831\n"
        again = b"FWB/9\n180-20451130FRAICN/T2L84.2MC0.3\n"
        whole = read_one(DIRECT, received_at=CAME)
        for second in (rest, envelope + rest, *([again + rest] if not rest.startswith(b"/") else [])):
            found = read_all(DIRECT[:place], second, received_at=CAME).consignments
            assert found == (whole,)
            (joined,) = read_all(DIRECT[:place] + envelope + rest, received_at=CAME).consignments
            assert joined == whole


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"FWB/16\n", "FWB: no waybill"),
        (b"FHL/4\nMBI/160-48103823PVGICN/T87K412.5\n", "FHL: no house waybill"),
    ],
)
def test_an_empty_waybill_or_list_is_rejected(message: bytes, told: str) -> None:
    (reject,) = read_messages([message]).rejects
    assert reject.reason.startswith(told)


@pytest.mark.parametrize("answer", [b"FMA\nACK/FWB RECEIVED\n", b"FNA\nACK/UNKNOWN AIRPORT\n"])
def test_the_message_that_an_answer_quotes_is_not_read_again(answer: bytes) -> None:
    found = read_all(answer + DIRECT)
    assert found.consignments == ()
    assert len(found.ignored) == 1
    both = read_all(answer + b"FWB/9\n180-20451130\n" + DIRECT)
    assert both.consignments == read_all(DIRECT).consignments


@pytest.mark.parametrize(
    ("envelope", "issued_at"),
    [
        ("092215", datetime(2026, 3, 9, 22, 15, tzinfo=UTC)),
        ("082215", datetime(2026, 3, 8, 22, 15, tzinfo=UTC)),  # the day in UTC of one made out in China
        ("051200", datetime(2026, 4, 5, 12, tzinfo=UTC)),
        ("092575", datetime(2026, 3, 9, tzinfo=UTC)),  # no clock: the day on which it was made out
    ],
)
def test_the_day_of_an_envelope_follows_the_day_on_which_the_waybill_was_made_out(
    envelope: str, issued_at: datetime
) -> None:
    data = MASTER.replace(b".PVGFFCX 092215", f".PVGFFCX {envelope}".encode())
    found = read_one(data, received_at=datetime(2027, 1, 20, tzinfo=UTC))  # read again months later
    assert found.issued_at == issued_at


@pytest.mark.parametrize("ahead", [b"OSI/HELLO\n", b"Subject: flight\nREF/123\n"])
def test_lines_of_an_envelope_before_the_first_line_hold_no_goods(ahead: bytes) -> None:
    assert read_all(ahead + DIRECT).consignments == read_all(DIRECT).consignments


def test_a_message_of_a_hundred_thousand_segments_is_refused_at_once() -> None:
    head = DIRECT[: DIRECT.index(b"\n", DIRECT.index(b"180-")) + 1]
    (reject,) = read_messages((head + b"TXT/\n" * 50_000 + b"SHP\n" * 50_000,)).rejects
    assert "SHP twice" in reject.reason

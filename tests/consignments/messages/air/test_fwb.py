"""FWB: every version's shape of parties, goods told apart by their identifiers, whatever a network did to the lines."""

from datetime import UTC, datetime

import msgspec
import pytest
from support.messages import MESSAGES, read_all, read_messages, read_one

MASTER = (MESSAGES / "fwb_master.txt").read_bytes()
DIRECT = (MESSAGES / "fwb_direct.txt").read_bytes()
CAME = datetime(2026, 3, 10, 6, tzinfo=UTC)
UNB = b"UNB+IATA:1+REUAGT82A/B01:PIMA+REUAIR08KE:PIMA+260311:0830+1'"


@pytest.mark.parametrize(
    "data",
    [
        DIRECT.replace(b"\n", b"\r\n"),
        DIRECT.replace(b"\n", b"\r"),
        b"\x01QU ICNFFKE\r\n.FRAFFKE 110830\r\n\x02" + DIRECT + b"\x03",
        b"\xef\xbb\xbf" + DIRECT,
        DIRECT + b"\n\n=\nNNNN\n",
        b"\n\n" + DIRECT,
        DIRECT.replace(b"FWB/9\n", b"FWB/9 "),
        DIRECT.replace(b"RTD/1/P2/L84.2", b"RTD/1/P2/\nL84.2"),
        DIRECT.replace(b"FRAICN/T2L84.2", b"/FRAICN/T2/L84.2"),
        b"%sUNH+1+CIMFWB:9'%s'UNT+3+1'UNZ+1+1'" % (UNB, DIRECT),
        b"%s\nUNH+1+CIMFWB:9'\n%s'UNT+3+1'\nUNZ+1+1'\n" % (UNB, DIRECT),
    ],
)
def test_line_ends_envelopes_and_wraps_change_nothing(data: bytes) -> None:
    found, plain = read_one(data), read_one(DIRECT)
    same = {"received_at": plain.received_at, "issued_at": plain.issued_at}
    assert msgspec.structs.replace(found, **same) == plain


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


def test_an_empty_waybill_is_rejected() -> None:
    (reject,) = read_messages([b"FWB/16\n"]).rejects
    assert reject.reason.startswith("FWB: no waybill")


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

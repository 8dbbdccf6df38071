"""FWB: every version's shape of parties, goods told apart by their identifiers, whatever a network did to the lines."""

from datetime import UTC, datetime

from support.messages import MESSAGES, read_all, read_messages, read_one

DIRECT = (MESSAGES / "fwb_direct.txt").read_bytes()
CAME = datetime(2026, 3, 10, 6, tzinfo=UTC)


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


def test_a_message_of_a_hundred_thousand_segments_is_refused_at_once() -> None:
    head = DIRECT[: DIRECT.index(b"\n", DIRECT.index(b"180-")) + 1]
    (reject,) = read_messages((head + b"TXT/\n" * 50_000 + b"SHP\n" * 50_000,)).rejects
    assert "SHP twice" in reject.reason

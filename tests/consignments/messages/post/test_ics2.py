"""Data sets of ICS2 are a stream, in any encoding and envelope."""

import tracemalloc

from support.messages import changed, declarations, load, read_messages

from consignments.messages.parsed import MessageContext
from consignments.messages.post.ics2 import read_ics2

F43 = load("ics2_f43.xml")
MASS = "<cis:totalGrossMass>0.45<"


def test_every_encoding_and_envelope_reads_alike() -> None:
    expected = read_messages([F43]).consignments
    text = F43.decode().replace('encoding="UTF-8"', 'encoding="UTF-16"')
    body = F43.decode().split("?>", 1)[1]
    header = "<Token>0</Token>" * 2_000  # 32 kB
    wrapped = f"<Envelope><Header>{header}</Header><Body>{body}</Body></Envelope>".encode()
    for content in (text.encode("utf-16"), b"\xef\xbb\xbf" + F43, wrapped):
        assert read_messages([content]).consignments == expected


def test_a_consignment_that_is_too_large_is_rejected() -> None:
    house = b"<consignmentHouseLevel>" + b"<x/>" * 1_200_000 + b"</consignmentHouseLevel>"
    (reject,) = read_messages([b"<IE3F43>" + house + b"</IE3F43>"]).rejects
    assert "one consignment is too large" in reject.reason


def test_attached_files_do_not_hide_a_consignment() -> None:
    files = "<cis:attachment><cis:content>" + "QUJD" * 500_000 + "</cis:content></cis:attachment>"
    found = declarations(read_ics2, changed(F43, (MASS, files * 4 + MASS)))
    assert found[0].fields["gross_weight_kg"] == 0.45


def test_memory_does_not_grow_with_the_number_of_items() -> None:
    start, end = F43.index(b"    <cis:consignmentHouseLevel>"), F43.index(b"  </cis:consignmentMasterLevel>")

    def measure_peak(times: int) -> int:
        content = F43[:start] + F43[start:end] * times + F43[end:]
        tracemalloc.start()
        count = sum(1 for _ in read_ics2(content, MessageContext()))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 2 * times
        return peak

    measure_peak(1)  # what is loaded and remembered once
    assert measure_peak(120) < 1.5 * measure_peak(40)

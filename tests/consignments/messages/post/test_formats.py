"""Formats are told apart by their content, and those that are only named are named."""

import pytest

from consignments.errors import MessageFault
from consignments.messages.post.edifact import find_message_type, read_interchange, split_segments


def test_segments_are_split_with_their_own_separators_and_released_ones() -> None:
    head, party = split_segments(b"UNA|;.! ~UNH;1;A|B~NAD;C!;Z|!~~")
    assert (head, party) == ([["UNH"], ["1"], ["A", "B"]], [["NAD"], ["C;Z", "~"]])
    assert list(split_segments("UNH+1?:2\ufdd0\0'".encode())) == [[["UNH"], ["1:2"]]]
    assert find_message_type(b"UNB+UNOA:1'UNH+1+CUSITM:1'") == "CUSITM"


def test_segments_group_under_their_leaders() -> None:
    content = b"UNH+1+ITMATT'BGM+1'GID+1'FTX+tea'GID+2'FTX+cups'UNS+S'FTX+end'UNT+9+1'"
    (message,) = read_interchange(content, {"group": ["GID"], "until": ["UNS"]})
    assert [group["ftx"][0]["1"][0]["#text"] for group in message["gid"]] == [["tea"], ["cups"]]
    assert message["ftx"][0]["1"][0]["1"] == ["end"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not EDIFACT"),
        (b"hello", "not EDIFACT"),
        (b"UNH+1+ITMATT", "cut in half"),
        (b"UNA+++++'UNH+1'", "separators are not different"),
        (b"UNH+1'" + (b"FTX" + b"+1" * 199 + b"'") * 1_100, "one message is too large"),
        (b"UNH+1'" + b"A" * 9_000_000, "cut in half"),
    ],
    ids=["empty", "text", "cut", "advice", "large", "endless"],
)
def test_what_is_no_interchange_is_a_fault(content: bytes, what: str) -> None:
    with pytest.raises(MessageFault, match=what):
        list(read_interchange(content, {}))

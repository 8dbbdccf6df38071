"""The registry of kinds: `docs/samples` has a message of each that is read, and each is recognised and read."""

from collections import Counter

import pytest
from support.messages import MESSAGES, ROOT, read_messages

from consignments.messages.kinds import detect_kind, list_kinds
from consignments.messages.post.mapping import load_mapping

SAMPLES = sorted(path for path in MESSAGES.iterdir() if path.suffix != ".toml")


def test_there_is_a_sample_of_each_kind_that_is_read() -> None:
    found = Counter(detect_kind(path.read_bytes()).name for path in SAMPLES)
    read = {
        kind.name for kind in list_kinds() if kind.page and kind.name not in ("WCO DM", "PER", "FSN", "FER")
    }
    assert found.keys() == read


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_read(path: object) -> None:
    mappings = [load_mapping(MESSAGES / "itmatt.toml")] if str(path).endswith(".edi") else []
    found = read_messages([str(path)], mappings=mappings)
    assert not found.rejects
    assert (
        found.consignments
        or found.states
        or found.ignored == ("postal: it only adds master and route to its items",)
    )


def test_each_kind_names_its_page() -> None:
    for kind in list_kinds():
        assert bool(kind.page) == bool(kind.reader), kind
        assert not kind.page or kind.name in (ROOT / "docs" / kind.page).read_text(), kind

"""The registry of kinds: `docs/samples` has a message of each that is read, and each is recognised and read."""

from collections import Counter

from support.messages import MESSAGES, ROOT

from consignments.messages.kinds import detect_kind, list_kinds

SAMPLES = sorted(path for path in MESSAGES.iterdir() if path.suffix != ".toml")


def test_there_is_a_sample_of_each_kind_that_is_read() -> None:
    found = Counter(detect_kind(path.read_bytes()).name for path in SAMPLES)
    read = {
        kind.name for kind in list_kinds() if kind.page and kind.name not in ("WCO DM", "PER", "FSN", "FER")
    }
    assert found.keys() == read


def test_each_kind_names_its_page() -> None:
    for kind in list_kinds():
        assert bool(kind.page) == bool(kind.reader or kind.goods), kind
        assert not kind.page or kind.name in (ROOT / "docs" / kind.page).read_text(), kind

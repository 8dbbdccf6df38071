"""A draft of a mapping reads the samples that it was made from, and says of what it is not sure."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some
from support.cases import read_cases
from support.messages import build_message

from consignments.errors import MessageFault
from consignments.messages.parsed import Declaration, MessageContext
from consignments.messages.post.drafting import draft_mapping
from consignments.messages.post.mapped import read_mapped
from consignments.messages.post.mapping import parse_mapping


def read(mapping: str, content: bytes) -> list[Declaration]:
    found = read_mapped(content, MessageContext(), parse_mapping(mapping, "draft"))
    return [each for each in found if isinstance(each, Declaration)]


@pytest.mark.parametrize("case", read_cases("drafts"))
def test_a_draft_of_a_message(case: dict[str, Any]) -> None:
    """Each line has a claim, a message, and an error, or what a draft reads, doubts, warns of, shows and does not show."""
    content = build_message(case["message"])
    if "error" in case:
        with pytest.raises(MessageFault, match=case["error"]):
            draft_mapping([("one", content)])
        return
    draft = draft_mapping([("one", content)])
    declarations = read(draft.text, content)
    for declaration, values in zip(declarations, case.get("read", [{}] * len(declarations)), strict=True):
        found = msgspec.to_builtins(declaration.fields | {"issued_at": declaration.issued_at})
        items = [{k: v for k, v in each.items() if v is not None} for each in found.get("items", ())]
        assert found | {"items": items} | values == found | {"items": items}
        codes = {warning.code for warning in declaration.doubts.warnings}
        assert codes == set(case.get("warnings", codes))
    doubted = sorted(guess.column for guess in (*draft.record, *draft.items) if guess.doubt)
    assert doubted == case.get("doubted", doubted)
    assert all(text in draft.text for text in case.get("shows", ()))
    assert not any(text in draft.text for text in case.get("hides", ()))


WORDS = "hs code,Sender,recipient,Name,zip,Items,Weight,a/b,..,@type,x[1],#TEXT"
ANY_NAME = some.sampled_from(WORDS.split(",")) | some.text(max_size=6)
TEXTS = some.text(max_size=12) | some.sampled_from(["KR", "RB123456785GB", "12.5", "cz"])
VALUES = some.none() | some.booleans() | some.floats() | TEXTS


@given(
    some.recursive(
        VALUES,
        lambda below: some.lists(below, max_size=3) | some.dictionaries(ANY_NAME, below, max_size=4),
        max_leaves=25,
    )
)
def test_a_draft_of_anything_is_a_mapping_or_a_refusal(message: object) -> None:
    try:
        draft = draft_mapping([("one", json.dumps(message).encode())])
    except MessageFault:
        return
    parse_mapping(draft.text, "draft")

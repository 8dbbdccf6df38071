"""JSON-LD as linked objects: nodes by their identifiers, found in one document or over all documents of a run.

Keys are compared by their local names in lower case, whatever prefix, IRI or vocabulary they are written with. Contexts are read
only for the words they give to `@id` and `@type`; one that stands elsewhere is never fetched.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from consignments.errors import MessageFault
from consignments.messages.configuration import load_table
from consignments.messages.content.values import Doubts, clean_text

KEYS = load_table("onerecord/keys")
"""Names of properties, roles and contacts, and what they are called instead."""
KEYWORDS = ("@id", "@type", "@value", "@graph", "@list", "@set", "@reverse")
MAX_OBJECTS = 2_000_000
"""Objects that one run may link; a shipment has a few dozen."""
MAX_IDENTIFIER_LENGTH = 2000
PUNCTUATION = re.compile(r"[\s_\-]")
LINK = re.compile(r"(?:https?://|urn:|neone:|_:|internal:)\S+", re.IGNORECASE)


@dataclass(slots=True, eq=False)
class LinkedObject:
    """One logistics object."""

    identifier: str
    types: set[str] = field(default_factory=set)
    values: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def is_link(self) -> bool:
        """Return True if it says nothing of itself but its identifier and type."""
        return bool(self.identifier) and not self.values


def get_local_name(name: str) -> str:
    """Return the local name of a key, type or code in lower case."""
    return PUNCTUATION.sub("", get_code(name)).lower()


def get_code(identifier: str) -> str:
    """Return what follows the last `#`, else the last `/`, else the last `:` of an IRI."""
    text = identifier.strip().rstrip("/#")
    for mark in "#/:":
        if mark in text:
            return text[text.rfind(mark) + 1 :]
    return text


class ObjectGraph:
    """All objects of one or several documents."""

    def __init__(self) -> None:
        self.objects: dict[str, LinkedObject] = {}
        self.roots: list[LinkedObject] = []
        self._count = 0

    def add_document(self, document: Any) -> None:
        """Add the objects of a decoded JSON-LD document."""
        if not isinstance(document, dict | list):
            raise MessageFault("not JSON-LD", got=type(document).__name__, expected="an object or a list")
        try:
            for root in _flatten(document):
                if isinstance(root, dict):
                    self.roots.append(self._build_object(root, _read_keywords(root)))
        except RecursionError as error:
            raise MessageFault("nested too deep") from error

    def resolve(self, value: Any, doubts: Doubts | None = None) -> LinkedObject | None:
        """Return the object that a value is or links to; a link that leads nowhere is a doubt."""
        if isinstance(value, str) and LINK.fullmatch(value.strip()):
            value = LinkedObject(value.strip())
        if not isinstance(value, LinkedObject):
            return None
        if not value.is_link:
            return self.objects.get(value.identifier, value) if value.identifier else value
        found = self.objects.get(value.identifier)
        if found is None or found.is_link:
            if doubts is not None:
                doubts.add("link_unresolved")
            return None
        return found

    def _build_object(self, given: dict[str, Any], words: dict[str, str]) -> LinkedObject:
        names = (value for key, value in given.items() if words.get(key, key) == "@id")
        identifier = next((name for name in names if isinstance(name, str)), "")
        built = LinkedObject(identifier.strip()[:MAX_IDENTIFIER_LENGTH])
        self._count += 1
        if self._count > MAX_OBJECTS:
            raise MessageFault("too many linked objects", expected=f"at most {MAX_OBJECTS:,}")
        for key, value in given.items():
            keyword = words.get(key, key)
            parts = _flatten(value)
            if keyword == "@type":
                built.types.update(get_local_name(name) for name in parts if isinstance(name, str))
            elif keyword == "@graph":
                for inner in parts:
                    if isinstance(inner, dict):
                        self.roots.append(self._build_object(inner, words))
            elif not keyword.startswith("@"):
                found = [each for part in parts if (each := self._build_value(part, words)) is not None]
                if found:
                    built.values.setdefault(get_local_name(key), []).extend(found)
        return self._register(built) if built.identifier and built.values else built

    def _build_value(self, value: Any, words: dict[str, str]) -> Any:
        if not isinstance(value, dict):
            return value
        plain = {words.get(key, key): part for key, part in value.items()}
        if "@value" in plain:
            return None if isinstance(plain["@value"], dict | list) else plain["@value"]
        return self._build_object(value, words)

    def _register(self, built: LinkedObject) -> LinkedObject:
        """Join what several places say of one object; the first value of a key stays first."""
        known = self.objects.setdefault(built.identifier, built)
        if known is not built:
            known.types |= built.types
            for key, values in built.values.items():
                kept = known.values.setdefault(key, [])
                kept.extend(
                    value for value in values if not any(value is each or value == each for each in kept[:50])
                )
        return known


def _read_keywords(document: dict[str, Any]) -> dict[str, str]:
    """Read the words that contexts give to keywords, such as `id` for `@id`."""
    contexts = [part for part in _flatten(document.get("@context")) if isinstance(part, dict)]
    words = [(term, value) for context in contexts for term, value in context.items()]
    return {term: value for term, value in words if isinstance(value, str) and value in KEYWORDS}


def _flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for part in value:
            yield from _flatten(part)
    elif isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("@list", "@set"):
        yield from _flatten(next(iter(value.values())))
    elif value is not None:
        yield value


# --- reading an object ------------------------------------------------------------------------------------------------


def list_property(node: LinkedObject, *names: str) -> list[Any]:
    """List the values of the first of several properties, or of what it is called instead, that has any."""
    for name in names:
        for spelling in (name, *KEYS["names"].get(name, ())):
            if values := node.values.get(spelling):
                return values
    return []


def read_all(node: LinkedObject, *names: str) -> list[str]:
    """Read all texts, numbers and codes of a property."""
    return [text for value in list_property(node, *names) if (text := read_code(value))]


def read_property(node: LinkedObject, *names: str) -> str | None:
    """Read the first text, number or code of a property."""
    return next((text for value in list_property(node, *names) if (text := read_code(value))), None)


def read_code(value: Any) -> str | None:
    """Return a text, a number as text, or the code of an element of a code list."""
    if isinstance(value, LinkedObject):
        own = next((text for each in list_property(value, "code") if (text := clean_text(each))), None)
        return own or (clean_text(get_code(value.identifier)) if value.identifier else None)
    return clean_text(value)


def walk_objects(nodes: Iterable[LinkedObject]) -> Iterator[LinkedObject]:
    """Yield objects and all that is embedded in them, each once."""
    stack, seen = list(nodes)[::-1], set[int]()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        inner = [each for values in node.values.values() for each in values]
        stack.extend(each for each in reversed(inner) if isinstance(each, LinkedObject))

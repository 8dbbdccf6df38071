"""JSON-LD as linked objects: trees in which each object stands in the place of every link to it, over all documents of a run.

Keys are compared by their local names in lower case, whatever prefix, IRI or vocabulary they are written with. Contexts are read
only for the words they give to `@id` and `@type`; one that stands elsewhere is never fetched.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from consignments.errors import MessageFault
from consignments.messages.configuration import load_table
from consignments.messages.content.paths import find_text
from consignments.messages.content.trees import TEXT, Node, decode_json
from consignments.messages.content.values import Doubts, clean_text, convert_weight, parse_number

OTHER_NAMES: dict[str, list[str]] = load_table("onerecord/keys")["names"]
"""What properties are called instead."""
KEYWORDS = ("@id", "@type", "@value", "@graph", "@list", "@set", "@reverse")
SOURCE = "@source"  # the key of the name of the document in which an object stands first
LINK_KEYS = frozenset(("@id", "@type", SOURCE, TEXT))  # all that a link says
MAX_OBJECTS = 2_000_000  # objects that one run may link; a shipment has a few dozen
MAX_IDENTIFIER_LENGTH = 2000
MAX_COMPARED = 50
PUNCTUATION = re.compile(r"[\s_\-]")
UN_LOCODE_LENGTH = 5
LINK = re.compile(r"(?:https?://|urn:|neone:|_:|internal:)\S+", re.IGNORECASE)


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
        self.roots: list[Node] = []
        self.last_source: str | None = None
        self._source = ""
        self._objects: dict[str, Node] = {}
        self._count = 0

    def add_document(self, content: bytes, source: str) -> None:
        """Add the objects of a JSON-LD document."""
        document = decode_json(content)
        if not isinstance(document, dict | list):
            raise MessageFault("not JSON-LD", got=type(document).__name__, expected="an object or a list")
        self._source = source
        try:
            for root in _flatten(document):
                if isinstance(root, dict):
                    contexts = [part for part in _flatten(root.get("@context")) if isinstance(part, dict)]
                    words = {
                        term: word  # what contexts give to keywords, such as `id` for `@id`
                        for context in contexts
                        for term, given in context.items()
                        for word in given
                        if word in KEYWORDS
                    }
                    self.roots.append(self._build_object(root, words))
        except RecursionError as error:
            raise MessageFault("nested too deep") from error
        self.last_source = source

    def link_objects(self) -> None:
        """Replace links by their objects, and add the names of properties that are called otherwise, and the texts of codes."""
        for node in list(walk_objects(self.roots)):
            for key, values in node.items():
                if not key.startswith("@"):
                    node[key] = [self._objects.get(find_link(value), value) for value in values]
            given = set(node)
            for name, others in OTHER_NAMES.items():
                other = next((each for each in (name, *others) if each in given), name)
                if other != name:
                    node[name] = node[other]
            codes = [*filter(None, map(clean_text, node.get("code", ()))), *map(get_code, node["@id"])]
            node[TEXT] = codes[:1]

    def _build_object(self, given: Node, words: dict[str, str]) -> Node:
        names = (parts for key, parts in given.items() if words.get(key, key) == "@id")
        identifier = next((parts[0] for parts in names if len(parts) == 1 and isinstance(parts[0], str)), "")
        identifier = identifier.strip()[:MAX_IDENTIFIER_LENGTH]
        built: Node = {"@id": [identifier] if identifier else [], "@type": [], SOURCE: [self._source]}
        self._count += 1
        if self._count > MAX_OBJECTS:
            raise MessageFault("too many linked objects", expected=f"at most {MAX_OBJECTS:,}")
        for key, value in given.items():
            keyword = words.get(key, key)
            parts = _flatten(value)
            if keyword == "@type":
                built["@type"] += (get_local_name(name) for name in parts if isinstance(name, str))
            elif keyword == "@graph":
                self.roots += (self._build_object(part, words) for part in parts if isinstance(part, dict))
            elif not keyword.startswith("@") and (name := get_local_name(key))[:1] not in ("", "@"):
                found = [each for part in parts if (each := self._build_value(part, words)) is not None]
                if found:
                    built.setdefault(name, []).extend(found)
        return built if is_link(built) or not identifier else self._register(identifier, built)

    def _build_value(self, value: Any, words: dict[str, str]) -> Any:
        if not isinstance(value, dict):
            return value
        plain = {words.get(key, key): part for key, part in value.items()}
        if "@value" in plain:
            parts = plain["@value"]
            return parts[0] if len(parts) == 1 and not isinstance(parts[0], dict | list) else None
        return self._build_object(value, words)

    def _register(self, identifier: str, built: Node) -> Node:
        """Join what several places say of one object; the first value of a key stays first."""
        known = self._objects.setdefault(identifier, built)
        for key, values in built.items() if known is not built else ():
            kept = known.setdefault(key, [])
            first = kept[:MAX_COMPARED]
            for value in values:  # not again the same object, or an equal text or number
                is_object = isinstance(value, dict)
                if not any(each is value or (not is_object and each == value) for each in first):
                    kept.append(value)
        return known


def _flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for part in value:
            yield from _flatten(part)
    elif isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("@list", "@set"):
        yield from _flatten(next(iter(value.values())))
    elif value is not None:
        yield value


def is_link(node: Node) -> bool:
    """Check whether an object says nothing of itself but its identifier and type."""
    return bool(node["@id"]) and node.keys() <= LINK_KEYS


def find_link(value: Any) -> str:
    """Find the identifier of the object that a value links to; empty if it is no link."""
    if isinstance(value, str):
        return value.strip() if LINK.fullmatch(value.strip()) else ""
    return value["@id"][0] if isinstance(value, dict) and is_link(value) else ""


def walk_objects(nodes: Iterable[Node], without: frozenset[str] = frozenset()) -> Iterator[Node]:
    """Yield objects and all that is in them but objects of some types, each once."""
    stack, seen = list(nodes)[::-1], set[int]()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        inner = [each for values in node.values() for each in values if isinstance(each, dict)]
        stack.extend(each for each in reversed(inner) if without.isdisjoint(each["@type"]))


def read_text(node: Node, path: str) -> str | None:
    """Read the first text, number or code on a path of properties."""
    return find_text([node], path)


def read_code(node: Node, path: str) -> str | None:
    """Read the first code on a path of properties, without the vocabulary that it is of."""
    text = read_text(node, path)
    return get_code(text) if text else None


def read_name(node: Node, path: str) -> str:
    """Read the local name of a code in small letters; empty if there is none."""
    return get_local_name(read_text(node, path) or "")


class NodeReader:
    """Reads the objects and amounts of properties; a link that leads nowhere and a value that cannot be used are doubts."""

    def __init__(self, doubts: Doubts) -> None:
        self.doubts = doubts

    def list_objects(self, node: Node, name: str) -> list[Node]:
        """List the objects of a property, each once."""
        found: dict[int, Node] = {}
        for value in node.get(name, ()):
            if isinstance(value, dict) and not is_link(value):
                found.setdefault(id(value), value)
            elif find_link(value):
                self.doubts.note("link_unresolved", name)
        return list(found.values())

    def find_object(self, node: Node, name: str) -> Node:
        """Find the first object of a property; an empty one if there is none."""
        return next(iter(self.list_objects(node, name)), {})

    def read_measure(
        self, node: Node, name: str, field: str | None, unit: str = "unit"
    ) -> tuple[float | None, str | None]:
        """Read the first number of a property, bare, typed, as text, or of a value object, and the code of its unit."""
        for value in node.get(name, ()):
            is_object = isinstance(value, dict)
            amount = next(iter(value.get("numericalvalue", ())), None) if is_object else value
            number = parse_number(clean_text(amount), self.doubts, field)
            if number is not None:
                return number, read_code(value, unit) if is_object else None
        return None, None

    def read_number(self, node: Node, name: str, field: str | None = None) -> float | None:
        """Read the first number of a property."""
        return self.read_measure(node, name, field)[0]

    def read_kilograms(self, node: Node, name: str, field: str) -> float | None:
        """Read a weight; one without a unit is kilograms, in doubt."""
        return convert_weight(*self.read_measure(node, name, field), self.doubts, field)

    def read_place(self, node: Node, name: str) -> str | None:
        """Read the IATA code of a location; of a UN/LOCODE the last three letters, as in air transport."""
        for value in node.get(name, ()):
            if not isinstance(value, str) or find_link(value):
                location = self.find_object({name: [value]}, name)
                if not location:
                    continue
                value = read_code(location, "locationcodes")
            code = (clean_text(value) or "").upper().replace(" ", "")
            if not code.isascii() or not code.isalnum():
                return None
            return code[2:] if len(code) == UN_LOCODE_LENGTH else code
        return None

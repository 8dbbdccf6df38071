"""Goods of ONE Record shipments: pieces with their products and items as the lines of a consignment."""

from collections.abc import Iterator
from typing import Any

from consignments.messages.content.trees import Node
from consignments.messages.content.values import Doubts, Fields, get_first, read_country
from consignments.messages.onerecord.graph import (
    find_object,
    get_code,
    list_objects,
    list_values,
    read_kilograms,
    read_measure,
    read_number,
    read_text,
)

ITEM_COLUMNS = ("description", "quantity", "net_weight_kg", "value", "hs_code", "origin_country")
MAX_PIECES = 20_000
"""Pieces that are looked at one by one; a shipment of more is not believed."""
MAX_PIECE_DEPTH = 5


def list_pieces(holders: list[Node], doubts: Doubts) -> list[Node]:
    """List the pieces of a shipment, else those that the lines of its waybill refer to; each once."""
    for holder in holders:
        pieces = list_objects(holder, "pieces", doubts)
        for line in _list_lines(holder, doubts):
            pieces += list_objects(line, "piecereferences", doubts)
        if pieces:
            return list({id(piece): piece for piece in pieces}.values())[:MAX_PIECES]
    return []


def _list_lines(holder: Node, doubts: Doubts) -> Iterator[Node]:
    """Yield the lines of a waybill and the waybill itself, each with its packages: they may refer to pieces."""
    for line in (*list_objects(holder, "waybilllineitems", doubts), holder):
        yield from (line, *list_objects(line, "lineitempackages", doubts))


def count_links(holders: list[Node], doubts: Doubts) -> int:
    """Count the pieces that a shipment lists and that the lines of its waybill refer to, known or not; the larger number."""
    listed = max((_count_values(holder, "pieces") for holder in holders), default=0)
    lines = (line for holder in holders for line in _list_lines(holder, Doubts()))
    referred = sum(_count_values(line, "piecereferences") for line in lines)
    if listed and referred and listed != referred:
        doubts.add("piece_count_mismatch")
    return max(listed, referred)


def _count_values(node: Node, name: str) -> int:
    links = (value for value in list_values(node, name) if isinstance(value, str | dict))
    return len({link if isinstance(link, str) else (*link["@id"], id(link))[0] for link in links})


def read_goods(waybill: Node | None, shipment: Node | None, doubts: Doubts) -> Fields:
    """Read description, lines, pieces and weight."""
    holders = [node for node in (shipment, waybill) if node is not None]
    pieces, lines = list_pieces(holders, doubts), list_objects(waybill, "waybilllineitems", doubts)
    items = _merge_items(_read_pieces(pieces, doubts, set(), 0))
    counted = _sum_known([read_number(line, "piececountforrate", doubts, "pieces") for line in lines])
    linked = max(len(pieces), count_links(holders, doubts))
    if counted is not None and linked and counted != linked:
        doubts.add("piece_count_mismatch")
    described = (read_text(node, "goodsdescription") for node in (*holders, *lines))
    coded = (_read_hs_code(node) for node in (*holders, *lines))
    return {
        "description": next(filter(None, described), None) or get_first(items, "description"),
        "hs_code": get_first(items, "hs_code") or next(filter(None, coded), None),
        "origin_country": get_first(items, "origin_country"),
        "items": items or None,
        "pieces": counted if counted is not None else float(linked) or None,
        "gross_weight_kg": _read_weight(holders, pieces, lines, doubts),
    }


def _sum_known(numbers: list[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def _read_weight(holders: list[Node], pieces: list[Node], lines: list[Node], doubts: Doubts) -> float | None:
    """Read the total; else add up all pieces, else all lines of the waybill."""
    for holder in holders:
        total = read_kilograms(holder, "totalgrossweight", doubts, "gross_weight_kg")
        if total is not None:
            return total
    for nodes, name in ((pieces, "grossweight"), (lines, "grossweightforrate")):
        total = _sum_known([read_kilograms(node, name, doubts, "gross_weight_kg") for node in nodes])
        if total is not None:
            return round(total, 9)
    return None


def _read_pieces(pieces: list[Node], doubts: Doubts, seen: set[int], depth: int) -> list[Fields]:
    """Read the lines of pieces and of those in them; each piece once, whatever links to it."""
    items: list[Fields] = []
    for piece in pieces:
        if id(piece) not in seen and len(seen) < MAX_PIECES:
            seen.add(id(piece))
            items += _read_piece(piece, doubts, seen, depth)
    return items


def _read_piece(piece: Node, doubts: Doubts, seen: set[int], depth: int) -> list[Fields]:
    """Read the lines of one piece: one for each item or product, else those of the pieces in it, else one for itself."""
    own = _read_product(piece, "goodsdescription", doubts)
    items = [_read_item(item, doubts) for item in list_objects(piece, "containeditems", doubts)]
    products = list_objects(piece, "contentproducts", doubts)
    items += [_read_product(each, "description", doubts) for each in products]
    if not items and depth < MAX_PIECE_DEPTH:
        inner = [each for each in list_objects(piece, "containedpieces", doubts) if each is not piece]
        if inner and all(id(each) in seen for each in inner):
            return []
        items = _read_pieces(inner, doubts, seen, depth + 1)
    if not items:
        items = [{"hs_code": own["hs_code"]}]
    for item in items:
        for name in ("description", "origin_country"):
            item[name] = item.get(name) or own[name]
        item.setdefault("quantity", 1.0)
    return items


def _read_item(item: Node, doubts: Doubts) -> Fields:
    product = find_object(item, "ofproduct", doubts)
    of_product = {} if product is None else _read_product(product, "description", doubts)
    own = _read_product(item, "description", doubts)
    own["description"] = own["description"] or read_text(item, "goodsdescription")
    quantity = read_number(item, "itemquantity", doubts, "items.quantity")
    price, _ = read_measure(item, "unitprice", "currencyunit", doubts, "items.value")
    count = quantity if quantity is not None else 1.0
    return {
        "description": of_product.get("description") or own["description"],
        "hs_code": of_product.get("hs_code") or own["hs_code"],
        "quantity": quantity,
        "value": None if price is None else round(price * count, 6),
        "net_weight_kg": read_kilograms(item, "netweight", doubts, "items.net_weight_kg"),
        "origin_country": own["origin_country"] or of_product.get("origin_country"),
    }


def _read_product(node: Node, described: str, doubts: Doubts) -> Fields:
    """Read what an object says of goods: description, tariff code and country of origin."""
    country = read_text(node, "productioncountry")
    country = country and get_code(country)
    return {
        "description": read_text(node, described),
        "hs_code": _read_hs_code(node),
        "origin_country": read_country(country, "items.origin_country", doubts),
    }


def _read_hs_code(node: Node) -> str | None:
    text = read_text(node, "hscode")
    return get_code(text) if text else None


def _merge_items(items: list[Fields]) -> list[Fields]:
    """Join equal lines of several pieces to one with their number."""
    merged: dict[tuple[Any, ...], Fields] = {}
    for item in items:
        line = {name: item.get(name) for name in ITEM_COLUMNS}
        key = tuple(value for name, value in line.items() if name != "quantity")
        known = merged.get(key)
        is_counted = line["net_weight_kg"] is None and line["value"] is None
        if known is not None and is_counted and None not in (known["quantity"], line["quantity"]):
            known["quantity"] += line["quantity"]
        else:
            merged[key if known is None else (*key, len(merged))] = line
    facts = set(ITEM_COLUMNS) - {"quantity"}
    return [item for item in merged.values() if any(item[name] is not None for name in facts)]

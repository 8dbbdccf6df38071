"""Goods of ONE Record shipments: pieces with their products and items as the lines of a consignment."""

from typing import Any

from consignments.messages.content.values import Doubts, Fields, get_first, read_country
from consignments.messages.onerecord.graph import LinkedObject, get_code, list_property, read_property
from consignments.messages.onerecord.parties import ObjectReader

ITEM_FACTS = ("description", "hs_code", "origin_country")
ITEM_COLUMNS = ("description", "quantity", "net_weight_kg", "value", "hs_code", "origin_country")
MAX_PIECES = 20_000
"""Pieces that are looked at one by one; a shipment of more is not believed."""
MAX_PIECE_DEPTH = 5


def list_pieces(reader: ObjectReader, holders: list[LinkedObject]) -> list[LinkedObject]:
    """List the pieces of a shipment, else those that the lines of its waybill refer to; each once."""
    for holder in holders:
        pieces = reader.list_objects(holder, "pieces")
        for line in (*reader.list_objects(holder, "waybilllineitems"), holder):
            pieces += reader.list_objects(line, "piecereferences")
            for package in reader.list_objects(line, "lineitempackages"):
                pieces += reader.list_objects(package, "piecereferences")
        unique = list({id(piece): piece for piece in pieces}.values())
        if unique:
            return unique[:MAX_PIECES]
    return []


def count_links(reader: ObjectReader, holders: list[LinkedObject]) -> int:
    """Count the pieces that a shipment lists and that the lines of its waybill refer to, known or not; the larger number."""
    listed = [_count_values(holder, "pieces") for holder in holders]
    quiet = ObjectReader(reader.graph, Doubts())
    lines = [line for holder in holders for line in (holder, *quiet.list_objects(holder, "waybilllineitems"))]
    packages = [package for line in lines for package in quiet.list_objects(line, "lineitempackages")]
    referred = sum(_count_values(node, "piecereferences") for node in (*lines, *packages))
    counts = {count for count in (max(listed, default=0), referred) if count}
    if len(counts) > 1:
        reader.doubts.add("piece_count_mismatch")
    return max(counts, default=0)


def _count_values(node: LinkedObject, name: str) -> int:
    values = node.values.get(name) or (list_property(node, name) if name == "pieces" else ())
    links = {value.identifier or str(id(value)) for value in values if isinstance(value, LinkedObject)}
    return len(links | {value for value in values if isinstance(value, str)})


def read_goods(reader: ObjectReader, waybill: LinkedObject | None, shipment: LinkedObject | None) -> Fields:
    """Read description, lines, pieces and weight."""
    holders = [node for node in (shipment, waybill) if node is not None]
    pieces = list_pieces(reader, holders)
    items = _merge_items(_read_pieces(reader, pieces, set(), 0))
    lines = reader.list_objects(waybill, "waybilllineitems")
    described = [read_property(node, "goodsdescription") for node in (*holders, *lines)]
    counted = _sum_known([reader.read_first_number(line, "piececountforrate", "pieces") for line in lines])
    linked = max(len(pieces), count_links(reader, holders))
    if counted is not None and linked and counted != linked:
        reader.doubts.add("piece_count_mismatch")
    return {
        "description": next((text for text in described if text), None) or get_first(items, "description"),
        "hs_code": get_first(items, "hs_code")
        or next(filter(None, (_read_hs_code(node) for node in (*holders, *lines))), None),
        "origin_country": get_first(items, "origin_country"),
        "items": items or None,
        "pieces": counted if counted is not None else (float(linked) if linked else None),
        "gross_weight_kg": _read_weight(reader, holders, pieces, lines),
    }


def _sum_known(numbers: list[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def _read_weight(
    reader: ObjectReader, holders: list[LinkedObject], pieces: list[LinkedObject], lines: list[LinkedObject]
) -> float | None:
    """Read the total; else add up all pieces, else all lines of the waybill."""
    for holder in holders:
        total = reader.read_kilograms(holder, "totalgrossweight", "gross_weight_kg")
        if total is not None:
            return total
    for nodes, name in ((pieces, "grossweight"), (lines, "grossweightforrate")):
        total = _sum_known([reader.read_kilograms(node, name, "gross_weight_kg") for node in nodes])
        if total is not None:
            return round(total, 9)
    return None


def _read_pieces(
    reader: ObjectReader, pieces: list[LinkedObject], seen: set[int], depth: int
) -> list[Fields]:
    """Read the lines of pieces and of those in them; each piece once, whatever links to it."""
    items: list[Fields] = []
    for piece in pieces:
        if id(piece) not in seen and len(seen) < MAX_PIECES:
            seen.add(id(piece))
            items += _read_piece(reader, piece, seen, depth)
    return items


def _read_piece(reader: ObjectReader, piece: LinkedObject, seen: set[int], depth: int) -> list[Fields]:
    """Read the lines of one piece: one for each item or product, else those of the pieces in it, else one for itself."""
    described = read_property(piece, "goodsdescription")
    country = _read_origin(reader, piece)
    items = [_read_item(reader, item) for item in reader.list_objects(piece, "containeditems")]
    items += [_read_product(reader, each) for each in reader.list_objects(piece, "contentproducts")]
    if not items and depth < MAX_PIECE_DEPTH:
        inner = [each for each in reader.list_objects(piece, "containedpieces") if each is not piece]
        if inner and all(id(each) in seen for each in inner):
            return []
        items = _read_pieces(reader, inner, seen, depth + 1)
    if not items:
        items = [{"hs_code": _read_hs_code(piece)}]
    for item in items:
        item["description"] = item.get("description") or described
        item["origin_country"] = item.get("origin_country") or country
        item.setdefault("quantity", 1.0)
    return items


def _read_item(reader: ObjectReader, item: LinkedObject) -> Fields:
    product = reader.find_object(item, "ofproduct")
    own = _read_product(reader, product) if product is not None else dict.fromkeys(ITEM_FACTS)
    quantity = reader.read_first_number(item, "itemquantity", "items.quantity")
    price = reader.read_amount(item, "unitprice", "items.value")
    count = quantity if quantity is not None else 1.0
    return {
        "description": own["description"] or read_property(item, "description", "goodsdescription"),
        "hs_code": own["hs_code"] or _read_hs_code(item),
        "quantity": quantity,
        "value": round(price.value * count, 6) if price else None,
        "net_weight_kg": reader.read_kilograms(item, "netweight", "items.net_weight_kg"),
        "origin_country": _read_origin(reader, item) or own["origin_country"],
    }


def _read_product(reader: ObjectReader, product: LinkedObject) -> Fields:
    return {
        "description": read_property(product, "description"),
        "hs_code": _read_hs_code(product),
        "origin_country": _read_origin(reader, product),
    }


def _read_hs_code(node: LinkedObject) -> str | None:
    text = read_property(node, "hscode")
    return get_code(text) if text else None


def _read_origin(reader: ObjectReader, node: LinkedObject) -> str | None:
    text = read_property(node, "productioncountry")
    return read_country(get_code(text) if text else None, "items.origin_country", reader.doubts)


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

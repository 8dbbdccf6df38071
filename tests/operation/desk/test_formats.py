"""Texts and numbers on the pages; every text of the templates is in the table, and every text of the table is used."""

import re
from typing import get_args

from consignments.exchange.documents import AnyMessage, Seizure, Warning
from consignments.records import Consignment, Result, get_fields
from features.goods.lexicon import SUBSTANCE_FAMILIES
from features.indicators.values import INDICATORS, SIDES
from operation.desk.formats import TEMPLATES, load_texts
from operation.desk.views.drafts import UNLISTED
from operation.hunts.hunt import CRITERIA, IN_HAND, NOT_INSPECTED
from serving.event_log.event_codec import ActionKind

SOURCES = "".join(path.read_text() for path in sorted(TEMPLATES.glob("*.html")))
NO_DRAFT = ("no_administration", "no_detection", "no_key", "counting", "changed")
STATES = ("open", "selected", "cancelled", "missed")
CODES = {
    "state": (*get_args(ActionKind), *get_args(Result), *STATES, IN_HAND, NOT_INSPECTED),
    "shared": (CRITERIA, *(f"{side}_{each.kind}" for side in SIDES for each in INDICATORS)),
    "message": [kind.__struct_config__.tag for kind in get_args(AnyMessage)],
    "document": {*Seizure.__struct_fields__, *Warning.__struct_fields__} - {*UNLISTED},
    "draft": (*NO_DRAFT, "nothing_chosen", "already_sent"),
    "action": get_args(ActionKind),
    "result": (*get_args(Result), "missed"),
    "family": SUBSTANCE_FAMILIES,
    "band": ("high", "elevated", "routine"),
    "proposal": ("inspect", "check", "release", "none"),
    "field": {each.name for each in get_fields(Consignment)} - {"received_at", "cancelled_at"},
}


def test_every_text_that_a_template_names_and_every_code_is_in_the_table() -> None:
    texts = load_texts()
    named = set(re.findall(r"\bt\('([a-z_]+\.[a-z_]+)'", SOURCES))
    assert len(named) > 80
    coded = {f"{section}.{code}" for section, codes in CODES.items() for code in codes}
    assert [name for name in sorted(named | coded) if name not in texts] == []

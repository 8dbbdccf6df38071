"""Reasons: themes whose contributions are exact, with facts in an officer's words and in an order that helps."""

import math

import numpy as np
import pytest
from support.described import REAL, row_with

from features.normalization.normal_forms import DeclaredTexts
from features.spec import Feature, Spec
from models.reasons.ranking import MANY_SMALL, NO_TEXTS, Reason, ReasonRanker
from models.reasons.sentences import ReasonContext

CHANNEL = "category.channel"
NAMES = {
    "channel": ["air_cargo", "postal"],
    "departure_country": ["cn", "nl"],
    "hs_heading": ["6109"],
    "service": ["ems", "letter"],
}
USUAL = {
    "2": {
        "history.consignee_phone.arrivals_30d": [1.0, 5.0, 9.0],
        "history.consignee.nps_rate": [0.05, 0.05, 0.06],
        "history.consignee_email.nps_rate": [0.05, 0.05, 0.06],
        "history.product.nps_rate": [0.03, 0.036, 0.06],
        "history.route.arrivals_30d": [100.0, 170.0, 500.0],
        "value.usd": [5.0, 20.0, 90.0],
        "value.gross_weight_kg": [0.5, 0.9, 2.0],
        "value.missing": [0.0, 0.0, 1.0],
        "parties.sender_email_missing": [0.0, 1.0, 1.0],
        "history.declarant.nps_rate": [0.01, 0.01, 0.02],
        "parties.account_age_days": [30.0, 317.0, 990.0],
        "value.postage_share": [0.2, 0.5, 1.0],
        "goods.described": [1.0, 1.0, 1.0],
        "goods.hs_present": [1.0, 1.0, 1.0],
        "route.transit_countries": [0.0, 1.0, 1.0],
    },
    "2 parties.sender_business 0": {
        "history.sender_network.arrivals_30d": [0.0, 0.0, 1.0], "parties.account_missing": [1.0, 1.0, 1.0],
    },
    "2 parties.sender_business 1": {"history.sender_phone.arrivals_30d": [0.0, 0.0, 0.0]},
    "2 category.service 1": {"value.postage_share": [1.0, 2.0, 4.0]},
    "2 category.departure_country 1": {"parties.sender_post_box": [0.0, 0.0, 1.0], "route.via_hub": [0.0, 0.0, 1.0]},
    "2 goods.text_family 1": {"value.usd": [5.0, 15.0, 30.0]},
    "2 parties.consignee_business 0": {"history.consignee_phone.arrivals_30d": [0.0, 0.0, 1.0]},
    "2 category.departure_country 2": {"history.route.new": [0.0, 0.0, 1.0], "history.route.arrivals_30d": [3.0, 9.0, 30.0]},
    "2 category.hs_heading 1": {"value.usd": [8.0, 15.0, 40.0]},
}  # fmt: skip
CONTEXT = ReasonContext(USUAL, NAMES)
POSTAL = {CHANNEL: 2.0}


def rank(
    facts: dict[str, tuple[float, float]],
    top: int = 9,
    declared: DeclaredTexts = NO_TEXTS,
    context: ReasonContext = CONTEXT,
    **options: bool,
) -> list[Reason]:
    """Rank features that are given as value and contribution; a value of NaN is a missing one."""
    values = {name: value for name, (value, _) in facts.items()}
    row = row_with(**{name.replace(".", "__"): value for name, value in (POSTAL | values).items()})
    contributions = np.zeros(len(REAL))
    for name, (_, contribution) in facts.items():
        contributions[REAL.get_column(name)] = contribution
    return ReasonRanker(REAL, context).rank(row, contributions, top, declared=declared, **options)


def give_texts(*args: object, **options: object) -> list[str]:
    return [fact.text for reason in rank(*args, **options) for fact in reason.facts]  # type: ignore[arg-type]


LINKED = {
    "history.sender_network.new": (0.0, 0.0),
    "history.sender_network.arrivals_30d": (5.0, 0.6),
    "history.sender_phone.arrivals_30d": (5.0, 0.0),
    "history.sender_phone.arrivals_ever": (5.0, 0.0),
    "parties.sender_business": (0.0, 0.0),
}
"""Five consignments with the telephone number of the sender, and no other ones of its network."""
PRETEXT = {"goods.pretext_words": (1.0, 0.6), "goods.names_specific": (0.0, 0.0)}


def test_a_reason_is_a_theme_with_the_exact_sum_of_its_features() -> None:
    (reason,) = rank(PRETEXT | {"goods.text_family": (0.0, -0.125), "goods.cover_plant": (1.0, 0.25)})
    assert (reason.code, reason.contribution, reason.direction) == ("goods", 0.725, "raises")
    assert [fact.code for fact in reason.facts] == ["pretext_use", "cover_goods"]
    assert (reason.text, reason.value, reason.usual) == (
        reason.facts[0].text, reason.facts[0].value, reason.facts[0].usual,
    )  # fmt: skip


def test_all_themes_add_up_whatever_is_missing() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        row = rng.integers(0, 4, len(REAL)).astype(np.float32)
        row[rng.random(len(REAL)) < 0.3] = np.nan
        contributions = rng.normal(size=len(REAL) + 1)
        reasons = ReasonRanker(REAL, CONTEXT).rank(row, contributions, 99, lowering=True)
        assert math.fsum(each.contribution for each in reasons) == pytest.approx(contributions[:-1].sum())
        texts = [fact.text for each in reasons for fact in each.facts]
        assert len(texts) == len(set(texts))
        assert all((each.direction == "raises") == (each.contribution > 0) for each in reasons)


KNOWN = {
    "history.consignee.new": (0.0, 0.0),
    "history.consignee_phone.nps_ever": (1.0, 0.0),
    "parties.consignee_business": (0.0, 0.0),
}


@pytest.mark.parametrize(
    ("finds", "arrivals", "text", "is_first"),
    [
        (3.0, 9.0, "NPS was found in 3 of 5 inspections of 9 earlier consignments to this consignee's name; usual: 1 in 20", True),
        (2.0, 30.0, "NPS was found in 2 of 5 inspections of 30 earlier consignments to this consignee's name; usual: 1 in 20", False),
        (5.0, 60.0, "NPS was found in 5 of 5 inspections of 60 earlier consignments to this consignee's name, but the name is common; usual: 1 in 20", False),
    ],
)  # fmt: skip
def test_finds_that_are_usual_or_of_a_common_name_are_not_first(
    finds: float, arrivals: float, text: str, is_first: bool
) -> None:
    found = {"history.consignee.nps_ever": (finds, 0.3), "history.consignee.arrivals_ever": (arrivals, 0.0)}
    reasons = rank(PRETEXT | KNOWN | found | {"history.consignee.inspections_ever": (5.0, 0.0)})
    assert [each.code for each in reasons] == (["finds", "goods"] if is_first else ["goods", "finds"])
    assert text in [each.text for each in reasons]


@pytest.mark.parametrize(
    ("inspected", "arrivals", "weight", "is_first"),
    [(6.0, 21.0, 0.3, True), (30.0, 40.0, 9.0, False), (2.0, 41.0, 0.3, False), (2.0, 41.0, 9.0, True)],
)
def test_finds_with_an_address_of_mail_are_compared_with_its_inspections(
    inspected: float, arrivals: float, weight: float, is_first: bool
) -> None:
    """Those among very many consignments come by their weight."""
    key = "history.consignee_email"
    found = {f"{key}.nps_ever": (2.0, weight), f"{key}.arrivals_ever": (arrivals, 0.0)}
    reasons = rank(PRETEXT | found | {f"{key}.inspections_ever": (inspected, 0.0)})
    assert (reasons[0].code == "finds") == is_first


@pytest.mark.parametrize(("earlier", "is_said"), [(49.0, True), (50.0, False)])
def test_how_busy_a_common_name_is_says_nothing(earlier: float, is_said: bool) -> None:
    busy = {"history.consignee.arrivals_30d": (40.0, 0.9), "history.consignee.arrivals_ever": (earlier, 0.0)}
    assert (rank(KNOWN | busy)[0].code == "parties") == is_said


@pytest.mark.parametrize(("inspections", "is_said"), [(9.0, False), (10.0, True)])
def test_finds_of_a_product_need_inspections(inspections: float, is_said: bool) -> None:
    product = {"history.product.nps_ever": (3.0, 0.4), "history.product.inspections_ever": (inspections, 0.0)}
    (reason,) = rank(product | {"history.product.nps_rate": (0.2, 0.0)})
    said = "NPS was found in 3 of 10 inspections of consignments of this product (HS code); usual: 1 in 28"
    assert (reason.text == said) == is_said


HUB = {"route.departure_is_hub": (1.0, 0.5), "route.departure_not_origin": (1.0, 0.0)}
FROM_NL = DeclaredTexts(departure_country="NL", sender_country="NL", origin_country="CN")
MISMATCH = {
    "goods.hs_text_mismatch": (1.0, 0.3),
    "goods.hs_family": (2.0, 0.0),
    "goods.text_family": (1.0, 0.0),
}
ONLY_GOODS = {"goods.vague_whole": (1.0, 0.4)}
COVER = {"goods.text_score": (2.0, 0.9), "goods.powder_words": (1.0, 0.4)}
TOKEN = {"value.zero_or_one": (1.0, 0.2), "value.usd": (1.1, 0.3), "value.declared": (1.0, 0.0)}
TOKEN |= {"category.hs_heading": (1.0, 0.0)}

LIGHT = {"value.usd": (0.86, 0.9), "value.gross_weight_kg": (0.257, 0.0)}
OF_PHONE = PRETEXT | {
    "history.sender.nps_ever": (1.0, 0.0), "history.sender.arrivals_ever": (20.0, 0.0),
    "history.sender_phone.nps_ever": (2.0, 0.2), "history.sender_phone.arrivals_ever": (4.0, 0.0),
    "history.sender_phone.any_offence_ever": (2.0, 0.0), "history.sender_phone.days_since_find": (12.0, 0.0),
}  # fmt: skip
RENAMED = {
    "history.sender.new": (1.0, 0.0), "history.sender_phone.counterparts": (1.0, 0.2),
    "history.sender_phone.arrivals_ever": (7.0, 0.0),
}  # fmt: skip
BUSY = {
    "history.consignee_phone.new": (0.0, 0.0), "history.consignee_phone.arrivals_7d": (2.0, 0.2),
    "history.consignee_phone.arrivals_30d": (4.0, 0.6), "parties.consignee_business": (0.0, 0.0),
}  # fmt: skip
QUIET = {
    "history.route.new": (0.0, 0.0), "history.route.arrivals_30d": (1.0, 0.6), "category.departure_country": (2.0, 0.0),
}  # fmt: skip
VALUE = {"value.usd": (2.0, 0.3), "value.usd_z": (-2.5, 0.4)}
WAY = {"route.via_hub": (1.0, 0.3), "route.legs": (2.0, 0.2), "route.departure_not_sender": (1.0, 0.3)}
MATCH = {"alerts.sender_indicators": (2.0, 0.0), "alerts.days_since_sender_indicator": (12.0, 0.0)}
LACKING = {"goods.hs_present": (0.0, 0.6)}
WORDED = {"goods.text_score": (1.0, 0.9), "value.gross_weight_kg": (0.31, 0.0)}
ORDINARY = ONLY_GOODS | {"goods.text_family": (1.0, 0.0), "goods.text_score": (1.0, 0.9)}

OF_NAME = {"history.sender.nps_ever": (1.0, 0.5), "history.sender.arrivals_ever": (2.0, 0.0)}
OF_NAME |= {"parties.sender_business": (0.0, 0.0)}
OF_NETWORK = {
    "history.sender_network.nps_ever": (2.0, 0.5), "history.sender_network.arrivals_ever": (6.0, 0.0),
    "history.sender_network.arrivals_30d": (4.0, 0.4), "parties.sender_business": (0.0, 0.0),
}  # fmt: skip
BY_PHONE = {"history.sender_phone.arrivals_ever": (3.0, 0.0), "history.sender_phone.arrivals_30d": (3.0, 0.4)}
OLD_FIND = {
    "history.sender_phone.nps_ever": (1.0, 0.2), "history.sender_phone.arrivals_ever": (5.0, 0.0),
    "history.sender_phone.any_offence_ever": (1.0, 0.0), "history.sender_phone.days_since_find": (91.0, 0.0),
}  # fmt: skip
SAYS_PRETEXT = "Description names goods that are often declared as a cover"
HINTED = dict.fromkeys(("goods.names_context", "goods.context_supported"), (1.0, 0.6))
HINTED |= {"goods.text_family": (1.0, 0.0)}
OF_CHINA = {"category.departure_country": (1.0, 0.0)}


@pytest.mark.parametrize(
    ("facts", "declared", "texts"),
    [
        ({"category.carrier": (0.0, 0.9)} | PRETEXT, DeclaredTexts(carrier="XY"), [SAYS_PRETEXT, "The carrier XY is rarely seen"]),
        ({"category.departure_country": (0.0, 0.9)} | PRETEXT, DeclaredTexts(departure_country="ET"), [SAYS_PRETEXT, "The country of departure, ET, is rarely seen"]),
        ({"parties.account_age_days": (950.0, 0.9)}, NO_TEXTS, []),
        ({"parties.account_age_days": (11.0, 0.9)}, NO_TEXTS, ["Shipper's account is 11 days old; usual for postal items: 317 days"]),
        ({"value.postage_share": (0.02, 0.9)}, NO_TEXTS, []),
        ({"value.postage_share": (3.0, 0.9)}, NO_TEXTS, ["Postage or freight is 3 times the declared value; usual for postal items: 0.5 times"]),
        ({"value.postage_share": (3.0, 0.9), "category.service": (1.0, 0.0)}, NO_TEXTS, []),
        ({"value.postage_share": (9.0, 0.9), "category.service": (1.0, 0.0)}, NO_TEXTS,
         ["Postage or freight is 9 times the declared value; usual for EMS items: 2 times"]),
        ({"parties.sender_post_box": (1.0, 0.9)} | OF_CHINA, NO_TEXTS, []),
        ({"parties.sender_post_box": (1.0, 0.9)} | PRETEXT, NO_TEXTS, [SAYS_PRETEXT, "Sender's address is a post box"]),
        ({"route.via_hub": (1.0, 0.9)} | OF_CHINA, NO_TEXTS, []),
        (OF_NAME | PRETEXT, NO_TEXTS, [SAYS_PRETEXT, "NPS was found in 1 of 2 earlier consignments under this sender's name, by the name alone"]),
        (OF_NAME | PRETEXT | {"history.sender_address.nps_ever": (0.0, 0.0)}, NO_TEXTS,
         [SAYS_PRETEXT, "NPS was found in 1 of 2 earlier consignments under this sender's name, but with another address"]),
        (OF_NAME | PRETEXT | {"history.sender_address.nps_ever": (1.0, 0.0)}, NO_TEXTS,
         ["NPS was found in 1 of 2 earlier consignments under this sender's name", SAYS_PRETEXT]),
        (OLD_FIND | PRETEXT, NO_TEXTS, [SAYS_PRETEXT, "NPS was found in 1 of 5 earlier consignments with this sender's telephone number, 91 days ago"]),
        (OLD_FIND | PRETEXT | {"history.sender_phone.arrivals_30d": (1.0, 0.0)}, NO_TEXTS,
         ["NPS was found in 1 of 5 earlier consignments with this sender's telephone number, 91 days ago", SAYS_PRETEXT]),
        ({"history.sender_phone.any_offence_ever": (1.0, 0.5), "history.sender_phone.nps_ever": (0.0, 0.0),
          "history.sender_phone.controlled_drug_ever": (0.0, 0.0), "history.sender_phone.arrivals_ever": (1.0, 0.0)}, NO_TEXTS,
         ["An offence other than drugs was found in the only earlier consignment with this sender's telephone number"]),
        (OF_NETWORK | BY_PHONE, NO_TEXTS,
         ["NPS was found in 2 of 6 earlier consignments linked to this sender by telephone number",
          "4 consignments linked to this sender by telephone number in the last 30 days; usual for private senders: 1 or fewer"]),
        (OF_NETWORK | BY_PHONE | {f"history.{key}.arrivals_ever": (3.0, 0.0) for key in ("sender_email", "account")}, NO_TEXTS,
         ["NPS was found in 2 of 6 earlier consignments linked to this sender by telephone number, e-mail address and account",
          "4 consignments linked to this sender by telephone number, e-mail address and account in the last 30 days; usual for private senders: 1 or fewer"]),
        (OF_NETWORK | {"history.sender.new": (1.0, 0.0)}, NO_TEXTS,
         ["NPS was found in 2 of 6 earlier consignments in this sender's building, under other names or spellings"]),
        (BUSY | {"history.pair.arrivals_30d": (4.0, 0.3), "history.consignee_network.arrivals_30d": (5.0, 0.6)}, NO_TEXTS,
         ["4 consignments between these two names in the last 30 days"]),
        (BY_PHONE | {"parties.sender_business": (1.0, 0.0)}, NO_TEXTS, []),
        (HINTED, DeclaredTexts("kava coffee beans", "290539"), []),
        (HINTED, DeclaredTexts("2C-B coffee", "290539"), ["A code or street name of a drug stands next to the chemical HS code 290539: “2C-B coffee”"]),
        (HINTED | {"goods.powder_words": (1.0, 0.0), "goods.text_family": (5.0, 0.0)}, DeclaredTexts("GBL powder", "290539"),
         ["A code or street name of a drug stands next to powder or crystals: “GBL powder”"]),
        (MISMATCH, DeclaredTexts("face powder | rice", "3304"), []),
        (WORDED | {"goods.cover_plant": (1.0, 0.0), "goods.hs_text_mismatch": (1.0, 0.0)}, DeclaredTexts("dried herbs"), ["The HS code and the description speak of different goods"]),
        (VALUE | {"goods.text_family": (1.0, 0.0)}, NO_TEXTS, ["Declared value is 2.00 USD; usual for food: 15.00 USD"]),
        (VALUE | {"goods.text_family": (1.0, 0.0), "goods.text_families": (2.0, 0.0)}, NO_TEXTS, ["Declared value is 2.00 USD; usual for postal items: 20.00 USD"]),
        (WORDED | {"value.gross_weight_kg": (0.535, 0.6)}, DeclaredTexts("bath salts 982 g"),
         ["982 g are described (“bath salts 982 g”), but the gross weight is 0.535 kg"]),
        (MISMATCH | {"goods.text_families": (2.0, 0.0)}, DeclaredTexts("cat toy | album", "380893"),
         ["The HS code 380893 is for pesticides or disinfectants, but none of the goods named is: “cat toy | album”"]),
        (MISMATCH | {"goods.text_family": (2.0, 0.0), "goods.text_families": (1.0, 0.0)}, DeclaredTexts("probiotic capsules", "293629"), []),
        (MISMATCH | {"goods.text_family": (3.0, 0.0), "goods.text_families": (1.0, 0.0)}, DeclaredTexts("herbal capsules", "210690"), []),
        ({"value.postage_share": (9.0, 0.9), "value.usd": (2.0, 0.3)}, DeclaredTexts("Documents assorted"), []),
        ({"goods.hs_typical": (1.0, 0.6), "goods.hs_family": (3.0, 0.0)} | VALUE, DeclaredTexts("", "121190"),
         ["Declared value is 2.00 USD; usual for postal items: 20.00 USD", "Some NPS fall under the same HS code: 121190 (medicinal or perfume plants)"]),
        (WORDED | {"goods.cover_supplement": (1.0, 0.5), "category.hs_heading": (1.0, 0.0)} | VALUE, DeclaredTexts("whey protein"),
         ["Declared value is 2.00 USD; usual for HS heading 6109 (T-shirts): 15.00 USD", "Description speaks of food supplements: “whey protein”"]),
        (BUSY | {"value.usd": (2.0, 0.1), "goods.text_family": (1.0, 0.0)}, NO_TEXTS,
         ["Declared value is 2.00 USD; usual for food: 15.00 USD",
          "4 consignments with this consignee's telephone number in the last 30 days; usual for private consignees: 1 or fewer"]),
        (OF_NETWORK | BY_PHONE | {"history.sender_network.arrivals_30d": (6.0, 0.4), "history.sender_phone.arrivals_30d": (0.0, 0.0)}, NO_TEXTS,
         ["NPS was found in 2 of 6 earlier consignments linked to this sender by telephone number"]),
        (TOKEN | {"value.zero_or_one": (0.0, 0.0), "goods.hs_text_mismatch": (1.0, 0.0)}, DeclaredTexts(currency="EUR"),
         ["Declared value is 1 EUR, or 1.10 USD; usual for postal items: 20.00 USD"]),
        (TOKEN, DeclaredTexts("picture postcards", currency="THB"), []),
        (ONLY_GOODS, DeclaredTexts("INV 41 ATTACHED"), ["Described only as “INV 41 ATTACHED” (invoice attached), which does not say what it is"]),
        ({"parties.account_missing": (1.0, 0.6), "parties.sender_business": (0.0, 0.0)}, NO_TEXTS, []),
        (WAY, DeclaredTexts(departure_country="HK", sender_country="CN"), ["The route passes a transit hub"]),
        ({"history.sender.new": (1.0, 0.6), "history.sender_network.arrivals_ever": (3.0, 0.0)} | PRETEXT, NO_TEXTS, [SAYS_PRETEXT]),
        ({"history.declarant.nps_ever": (3.0, 0.4), "history.declarant.inspections_ever": (20.0, 0.0), "history.declarant.nps_rate": (0.2, 0.0)}, NO_TEXTS, []),
        (TOKEN | {"value.zero_or_one": (1.0, 0.6), "value.declared": (0.0, 0.0)}, DeclaredTexts(currency="CNY"), ["Declared value is zero"]),
        (HUB | PRETEXT, FROM_NL, [SAYS_PRETEXT, "Dispatched from NL; the declared origin is CN"]),
        (HUB | {"route.departure_not_sender": (1.0, 0.0)}, FROM_NL._replace(sender_country="DE"),
         ["Dispatched from NL, but the country of the sender is DE"]),
        ({"parties.chemical_to_person": (1.0, 0.4)}, NO_TEXTS,
         ["A trader in chemicals or medicines sends to a private consignee"]),
        (MISMATCH | {"goods.text_families": (1.0, 0.0)}, DeclaredTexts("rice", "0901"),
         ["The HS code 0901 is for coffee, but the description speaks of food: “rice”"]),
        (MISMATCH | {"goods.text_families": (2.0, 0.0), "goods.pretext_words": (1.0, 0.6)}, NO_TEXTS,
         [SAYS_PRETEXT]),
        ({"goods.names_medicine": (1.0, 0.6)}, DeclaredTexts("ketamine test strips of paper"),
         ["Description names a medicine or industrial substance that is also abused: “ketamine test strips of paper”"]),
        (ONLY_GOODS | {"goods.hs_family": (1.0, 0.0)}, DeclaredTexts("gift", "0901"),
         ["Described only as “gift”, which does not say what it is; the HS code 0901 is for coffee"]),
        (ONLY_GOODS | {"goods.sample_words": (1.0, 0.0)}, DeclaredTexts("样品"), ["Described only as “样品” (sample), which does not say what it is"]),
        (ONLY_GOODS, DeclaredTexts("amostra"), ["Described only as “amostra” (sample), which does not say what it is"]),
        (ONLY_GOODS | {"goods.hs_text_mismatch": (1.0, 0.3)}, DeclaredTexts("clothes"),
         ["The HS code and the description speak of different goods",
          "Described only as “clothes”, which does not say what it is"]),
        (ONLY_GOODS | {"goods.admin_words": (1.0, 0.5)}, DeclaredTexts("as per invoice"),
         ["Description names freight or papers in place of goods: “as per invoice”"]),
        (COVER, DeclaredTexts("clay mask powder"), ["Description speaks of powder: “clay mask powder”"]),
        (COVER | {"goods.names_class": (1.0, 0.5), "goods.name_tier": (3.0, 0.0), "goods.chemistry_words": (1.0, 0.5)},
         DeclaredTexts("butylone powder, 25 g for ink cartridges"),
         ["Description has a name built like that of an NPS: “butylone powder, 25 g for ink cartridges”"]),
        ({"goods.cover_industrial": (1.0, 0.4), "goods.text_score": (2.0, 0.9)}, DeclaredTexts("ink cartridge set of 2"),
         ["Description speaks of industrial chemicals or plastics: “ink cartridge set of 2”"]),
        (TOKEN, DeclaredTexts(currency="EUR"), ["Declared value is only 1 EUR"]),
        (TOKEN | {"value.zero_or_one": (0.0, 0.0), "value.declared": (1.02, 0.0)}, DeclaredTexts(currency="EUR"),
         ["Declared value is 1.02 EUR, or 1.10 USD; usual for HS heading 6109 (T-shirts): 15.00 USD"]),
        ({"value.usd": (4.5, 0.3), "goods.pretext_words": (1.0, 0.6)}, NO_TEXTS,
         [SAYS_PRETEXT]),
        ({"route.via_hub": (1.0, 0.6), "history.route.new": (0.0, 0.0), "history.route.arrivals_30d": (2.0, 0.5),
          "category.departure_country": (2.0, 0.0)}, DeclaredTexts(route="AMS>DXB>ICN", departure_country="NL"),
         ["Routed via the transit hub AE (AMS > DXB > ICN)"]),
        (PRETEXT | {"parties.person_to_person": (1.0, 1.5)}, NO_TEXTS,
         [SAYS_PRETEXT, "Sender and consignee are private"]),
        ({"goods.hs_typical": (1.0, 0.6), "goods.hs_family": (1.0, 0.0)}, DeclaredTexts("", "0901"),
         ["Some NPS fall under the same HS code: 0901 (coffee)"]),
        *(
            ({"goods.hs_valid": (0.0, 0.6), "goods.hs_digits": (len(hs), 0.0)}, DeclaredTexts(hs=hs),
             [f"The HS code {hs} is not valid: {fault}"])
            for hs, fault in (("7318", "it has fewer than six digits"), ("9933110", "a digit is missing, or one too many"),
                              ("990000", "its heading does not exist"))
        ),
        (LIGHT, DeclaredTexts("ladies blouse 99 pcs"), ["99 pieces are described (“ladies blouse 99 pcs”): 2.6 g and 0.00869 USD each"]),
        (LIGHT | {"value.usd": (math.nan, 0.0), "value.gross_weight_kg": (0.257, 0.4)}, DeclaredTexts("cables x268"), ["268 pieces are described (“cables x268”): 0.959 g each"]),
        (LIGHT, DeclaredTexts("blouse 99 pcs | wool scarf"), ["Declared value is 0.86 USD; usual for postal items: 20.00 USD"]),
        (LIGHT, DeclaredTexts("blouse 000 pcs"), ["Declared value is 0.86 USD; usual for postal items: 20.00 USD"]),
        (LIGHT, DeclaredTexts("frame 4 x 100 cm, set of 20 g"), ["Declared value is 0.86 USD; usual for postal items: 20.00 USD"]),
        (MATCH | {"alerts.days_since_sender_indicator": (12.0, 1.5)}, NO_TEXTS,
         ["Sender matches a partner's seizure or warning of 12 days ago"]),
        (MATCH | {"alerts.sender_indicators": (2.0, 1.5)}, NO_TEXTS,
         ["2 identifiers of the sender are among the indicators of partners"]),
        (MATCH | {"alerts.indicator_strength": (0.8, 1.5)}, NO_TEXTS,
         ["Sender or consignee matches a partner's seizure or warning"]),
        ({"history.sender.nps_ever": (1.0, 0.4), "history.sender.arrivals_ever": (7.0, 0.0),
          "history.sender.inspections_ever": (1.0, 0.0)}, NO_TEXTS,
         ["NPS was found in the only inspection of 7 earlier consignments under this sender's name, by the name alone"]),
        (PRETEXT | {"history.sender.nps_ever": (1.0, 0.4), "history.sender.arrivals_ever": (2.0, 0.0),
                    "history.sender_address.nps_ever": (0.0, 0.0), "history.sender_phone.nps_ever": (0.0, 0.0)}, NO_TEXTS,
         [SAYS_PRETEXT,
          "NPS was found in 1 of 2 earlier consignments under this sender's name, but with another address and telephone number"]),
        (ORDINARY | {"value.zero_or_one": (1.0, 0.3)}, DeclaredTexts("rice", currency="EUR"), ["Declared value is 0 or 1"]),
        (MISMATCH | {"goods.text_families": (1.0, 0.0), "goods.cover_plant": (1.0, 0.4)}, DeclaredTexts("rice", "0901"),
         ["The HS code 0901 is for coffee, but the description speaks of food: “rice”"]),
        (PRETEXT | LINKED, NO_TEXTS, [SAYS_PRETEXT]),
        (PRETEXT | LINKED | {"history.sender_network.arrivals_30d": (6.0, 0.6)}, NO_TEXTS,
         [SAYS_PRETEXT,
          "6 consignments linked to this sender by telephone number in the last 30 days; usual for private senders: 1 or fewer"]),
        (WORDED | {"goods.cover_plant": (1.0, 0.0)}, DeclaredTexts("moringa leaves"), ["Description speaks of tea, herbs or seeds: “moringa leaves”"]),
        (WORDED | {"value.usd": (2.9, 0.6), "value.gross_weight_kg": (0.31, 0.6)}, DeclaredTexts("chocolate 547 pcs"),
         ["547 pieces are described (“chocolate 547 pcs”): 0.567 g and 0.0053 USD each"]),
        (WORDED | {"goods.sample_words": (1.0, 0.0)}, DeclaredTexts("PET FOOD SAMPLE"), []),
        *((WORDED, DeclaredTexts(goods), [f"Described only as “{goods}” ({meaning}), which does not say what it is"])
          for goods, meaning in (("GODS", "goods"), ("VAROOR", "goods"), ("cadeau", "gift"), ("general carog", "general cargo"))),
        ({"alerts.goods": (1.0, 0.6)}, DeclaredTexts("screen protector"), ["An active operation alert names goods like “screen protector”"]),
        (OF_PHONE, NO_TEXTS,
         ["NPS was found in 2 of 4 earlier consignments with this sender's telephone number, the last 12 days ago",
          SAYS_PRETEXT]),
        (RENAMED | {"history.sender_phone.nps_ever": (2.0, 0.5)}, NO_TEXTS,
         ["NPS was found in 2 of 7 earlier consignments with this sender's telephone number",
          "Sender's name, or its spelling, is new in consignments with this sender's telephone number"]),
        (PRETEXT | RENAMED, NO_TEXTS,
         ["Sender's name, or its spelling, is new, but 7 consignments came earlier with this sender's telephone number",
          SAYS_PRETEXT]),
        (BUSY, NO_TEXTS,
         ["4 consignments with this consignee's telephone number in the last 30 days; usual for private consignees: 1 or fewer"]),
        (QUIET, DeclaredTexts(route="AMS>ICN"), []),
        (VALUE | {"category.hs_heading": (1.0, 0.0)}, NO_TEXTS, ["Declared value is 2.00 USD; usual for HS heading 6109 (T-shirts): 15.00 USD"]),
        (VALUE | {"category.hs_heading": (1.0, 0.0), "goods.text_family": (0.0, 0.0)}, DeclaredTexts("mug"),
         ["Declared value is 2.00 USD; usual for postal items: 20.00 USD"]),
        (VALUE, DeclaredTexts("greeting card"), []),
        *(({"goods.cover_industrial": (1.0, 0.5)}, DeclaredTexts(goods), texts)
          for goods, texts in (("PLASTIC FOOD BOX", []),
                               ("plastic resin", ["Description speaks of industrial chemicals or plastics: “plastic resin”"]))),
        (WAY, DeclaredTexts(route="PEK>DXB>ICN", departure_country="CN", sender_country="US"),
         ["Dispatched from CN, but the country of the sender is US", "Routed via the transit hub AE (PEK > DXB > ICN)"]),
        (WAY, NO_TEXTS, ["Dispatched from another country than the sender's address", "The route passes a transit hub"]),
        ({"history.route.new": (1.0, 0.5), "history.route.counterparts": (0.0, 0.5), "route.via_hub": (1.0, 0.1)}, NO_TEXTS,
         ["The route passes a transit hub", "No earlier consignment on this route is known"]),
        ({"goods.names_specific": (1.0, 2.0), "goods.names_disguised": (1.0, 1.0)}, DeclaredTexts("pure 4 - C M C"),
         ["Description names a known NPS: “pure 4 - C M C”",
          "A substance name is written in disguise: spaced out, or with digits or letters of other scripts"]),
        *(
            (ONLY_GOODS, DeclaredTexts(goods), [f"Described only as “{quoted}”, which does not say what it is"])
            for goods, quoted in (("call +44 20 7946 0958", "call …"), ("a.b@mail.example resin", "… resin"),
                                  ("CAS 71368-80-4", "CAS 71368-80-4"), ("GOODS", "GOODS"))
        ),
        (LACKING, DeclaredTexts("gel pens"), ["Not given: HS code; rare for postal items"]),
        ({"value.missing": (1.0, 0.6)}, NO_TEXTS, []),
        (LACKING | {"value.missing": (1.0, 0.6), "parties.sender_email_missing": (1.0, 0.0)}, NO_TEXTS, ["Not given: HS code and value; rare for postal items"]),
        *(({"parties.sender_business": (0.0, 0.0), "parties.sale_by_person": (1.0, 0.6)}, DeclaredTexts(sender_name=name), texts)
          for name, texts in (("Coral Suply", []), ("Joan Miller", ["Declared a sale, but the sender's name has no mark of a firm"]))),
        *((BY_PHONE | {"parties.sender_business": (0.0, 0.0)}, DeclaredTexts(sender_name=name), texts)
          for name, texts in (("NEWARK FALCONSUPPLY", []), ("Joan Miller", ["3 consignments with this sender's telephone number in the last 30 days"]))),
        ({"goods.names_medicine": (1.0, 0.6), "goods.name_tier": (2.0, 0.6)}, DeclaredTexts("1,4-butanediol"),
         ["Description names a medicine or industrial substance that is also abused: “1,4-butanediol”"]),
        ({"value.gross_weight_kg": (0.06, 0.9)}, NO_TEXTS, []),
        (LINKED | {"history.sender_network.nps_ever": (2.0, 0.3), "history.sender_network.arrivals_ever": (5.0, 0.0)}, NO_TEXTS,
         ["NPS was found in 2 of 5 earlier consignments linked to this sender by telephone number"]),
        (BUSY | MISMATCH, DeclaredTexts("rice", "0901"),
         ["The HS code 0901 is for coffee, but the description speaks of food: “rice”",
          "4 consignments with this consignee's telephone number in the last 30 days; usual for private consignees: 1 or fewer"]),
        (QUIET | {"route.transit_countries": (1.0, 0.6)}, DeclaredTexts(route="BKK>AMS>NRT"), []),
        *((QUIET | {"history.route.new": (1.0, 0.6), "route.transit_countries": (count, 0.0)}, DeclaredTexts(route="BKK>AMS>NRT"), texts)
          for count, texts in ((0.0, ["No earlier consignment on this route is known"]), (1.0, ["The route BKK > AMS > NRT passes a third country"]))),
    ],
)  # fmt: skip
def test_what_an_officer_reads(
    facts: dict[str, tuple[float, float]], declared: DeclaredTexts, texts: list[str]
) -> None:
    assert give_texts(facts, declared=declared) == texts


@pytest.mark.parametrize("arrivals", [2.0, 40.0])
def test_a_transit_hub_is_behind_what_contradicts(arrivals: float) -> None:
    way = {"route.via_hub": (1.0, 0.6), "route.departure_not_sender": (1.0, 0.3)}
    traffic = {"history.route.arrivals_30d": (arrivals, 0.0), "category.departure_country": (2.0, 0.0)}
    assert [fact.code for fact in rank(way | traffic)[0].facts] == ["countries_disagree", "detour"]


@pytest.mark.parametrize("contribution", [0.9, 4.0])
@pytest.mark.parametrize(("name", "value"), [("phone.new", 1.0), ("address.counterparts", 8.0)])
def test_neither_a_first_consignment_nor_the_number_of_names_is_the_first_reason(
    contribution: float, name: str, value: float
) -> None:
    new = {f"history.consignee_{name}": (value, contribution), "parties.consignee_business": (0.0, 0.0)}
    assert [each.code for each in rank(PRETEXT | new)] == ["goods", "parties"]
    assert rank(new)[0].code == MANY_SMALL


def test_finds_at_the_usual_rate_are_not_said() -> None:
    found = {"history.consignee.nps_ever": (1.0, 0.3), "history.consignee.inspections_ever": (5.0, 0.0)}
    for arrivals, codes in ((19.0, ["goods", "finds"]), (20.0, ["goods"])):
        earlier = {"history.consignee.arrivals_ever": (arrivals, 0.0)}
        assert [each.code for each in rank(PRETEXT | KNOWN | found | earlier)] == codes


def test_what_is_missing_is_said_once_and_what_others_lack_too_is_not_said() -> None:
    missing = {
        "goods.described": (0.0, 0.2), "goods.names_specific": (math.nan, 0.3), "goods.characters": (math.nan, 0.1),
        "value.missing": (1.0, 0.1), "parties.sender_email_missing": (1.0, 0.4),
        "parties.sender_address_missing": (1.0, 0.0), "parties.sender_city_missing": (1.0, 0.0),
        "parties.sender_postcode_missing": (1.0, 0.0),
    }  # fmt: skip
    (reason,) = rank(missing)
    assert (reason.code, reason.text, round(reason.contribution, 9)) == (
        "missing", "Not given: description, value and sender's address; rare for postal items", 1.1,
    )  # fmt: skip


def test_a_party_of_which_nothing_is_given_is_one_missing_detail() -> None:
    parts = ("name", "address", "city", "postcode", "phone")
    missing = {f"parties.sender_{part}_missing": (1.0, 0.2) for part in parts}
    assert give_texts(missing | LACKING) == [
        "Not given: HS code and the sender (name, address and telephone number); rare for postal items"
    ]


def test_missing_details_are_behind_what_can_be_checked() -> None:
    missing = {"goods.hs_present": (0.0, 1.5)}
    assert [each.code for each in rank(PRETEXT | missing)] == ["goods", "missing"]
    assert [each.code for each in rank({"value.zero_or_one": (1.0, 0.6), "value.declared": (0.0, 0.0)} | missing)] == [
        "value", "missing",
    ]  # fmt: skip


def test_what_contributes_much_without_a_fact_that_stands_out_is_many_small_reasons() -> None:
    small = {
        "value.usd": (18.0, 0.9),
        "history.route.arrivals_90d": (60.0, 0.4),
        "parties.person_to_person": (1.0, 0.09),
    }
    for ordinary in (
        {**QUIET, "history.route.arrivals_30d": (64.0, 0.6)},
        {**VALUE, "value.usd": (18.0, 0.3)},
    ):
        assert rank(ordinary)[0].code == MANY_SMALL
    (reason,) = rank(small)
    assert (reason.code, reason.text) == (
        MANY_SMALL, "No single reason: many small ones (value and weight, route and identifiers, the parties)",
    )  # fmt: skip
    assert reason.contribution == pytest.approx(1.39)
    assert [fact.code for fact in reason.facts] == ["kind_of_parties"]
    assert {each.code for each in rank(small, lowering=True)} == {
        "finds", "links", "goods", "value", "parties", "route", "missing",
    }  # fmt: skip


def test_what_can_be_checked_on_the_parcel_comes_before_many_small_reasons_unless_it_lowers_the_score() -> (
    None
):
    facts = MISMATCH | {"parties.person_to_person": (1.0, 0.9), "goods.hs_text_mismatch": (1.0, 0.0)}
    declared = DeclaredTexts("ginseng tea", "9503")
    (reason,) = rank(facts, declared=declared)
    assert reason.text == (
        "The HS code 9503 is for toys or games, but the description speaks of food: “ginseng tea” (otherwise many small reasons)"
    )
    assert (reason.code, reason.contribution) == (MANY_SMALL, pytest.approx(0.9))
    assert [fact.code for fact in reason.facts] == ["hs_text_mismatch", "kind_of_parties"]
    (reason,) = rank(facts | {"goods.hs_text_mismatch": (1.0, -0.1)}, declared=declared)
    assert reason.text == "No single reason: many small ones (the parties)"


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        (0.0, "Not given: description (otherwise many small reasons)"),
        (-0.1, "No single reason: many small ones (the parties)"),
    ],
)
def test_a_gap_of_the_declaration_comes_before_many_small_reasons_also_if_it_is_usual(
    weight: float, text: str
) -> None:
    often_lacking = CONTEXT._replace(usual={"2": {"goods.described": [0.0, 1.0, 1.0]}})
    facts = {"goods.described": (0.0, weight), "parties.person_to_person": (1.0, 0.9)}
    assert [each.text for each in rank(facts, context=often_lacking)] == [text]


def test_another_offence_than_drugs_comes_by_its_weight() -> None:
    key = "history.sender_phone"
    found = {
        f"{key}.any_offence_ever": (1.0, 0.3),
        f"{key}.nps_ever": (0.0, 0.0),
        f"{key}.arrivals_ever": (2.0, 0.0),
    }
    found |= {f"{key}.controlled_drug_ever": (0.0, 0.0)}
    assert [each.code for each in rank(PRETEXT | found)] == ["goods", "finds"]


def test_no_more_reasons_than_asked_for_and_none_without_a_contribution() -> None:
    two = PRETEXT | {"route.via_hub": (1.0, 0.5)}
    assert [len(rank(two, top)) for top in (0, 1, 2, 9)] == [0, 1, 2, 2]
    assert rank({"goods.pretext_words": (1.0, 0.0)}) == []


def test_all_themes_are_listed_with_the_texts_of_their_features() -> None:
    listed = {each.code: each for each in ReasonRanker(REAL).list_codes()}
    assert sum(len(each.features) for each in listed.values()) == len(REAL)
    assert "_ties" not in str(listed["links"])
    (pretext,) = (each for each in listed["goods"].features if each.name == "goods.pretext_words")
    assert (pretext.fact, pretext.texts["one"][:21]) == ("pretext_use", "Description names goo")


def test_a_feature_of_a_declared_column_is_a_fact_of_the_goods() -> None:
    spec = Spec([Feature("column.tax_rate", "number", "goods")])
    (reason,) = ReasonRanker(spec).rank(np.array([8.0], np.float32), np.array([0.5]), 3)
    assert (reason.code, reason.text) == ("goods", "Tax rate: 8")

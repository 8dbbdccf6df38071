"""How names, addresses and phones are mangled: each way does what it says, and a party's own way lasts."""

import numpy as np
import pytest
from support.cases import read_cases

from training.simulation import spelling
from training.simulation.parameters import load_parameters

GROUPS = (("Mohammed", "Muhammad"), ("Street", "St", "Str"))
SHORT_FORMS = load_parameters().spelling.short_forms


def create_writer(networks, lasting=0.0, **chances):
    given = {"lasting": (lasting, lasting), "by_networks": 2.0, "variants": GROUPS, "titles": ("Mr",)}
    given["city_names"] = {"Göteborg": "Gothenburg"}
    noise = load_parameters().replace(hard={"spelling": given | chances}).hard.spelling
    return spelling.SpellingWriter(noise, np.random.default_rng(1), np.array(networks))


@pytest.mark.parametrize("case", read_cases("mangled_texts"))
def test_each_way_of_mangling_does_what_it_says(case):
    """Each line has a way, what it is given, a text and maybe groups of variants and draws, and what it writes."""
    given = [*case["given"], *([SHORT_FORMS] if case["way"] == "shorten_text" else [])]
    assert getattr(spelling, case["way"])(*given) == case["written"]


@pytest.mark.parametrize("case", read_cases("distorted_texts"))
def test_a_distortion_that_is_sure_is_written(case):
    writer = create_writer([False], **{case["chance"]: 1.0})
    written = writer.write(case["column"], np.array([case["text"]], dtype=object), np.array([1]))
    assert written.tolist() == [case["written"]]


def test_an_address_may_be_in_care_of_a_name_and_a_missing_one_stays_missing():
    addresses, names = (np.array(texts, dtype=object) for texts in (["1 Main Road", ""], ["Emma", "Jack"]))
    written = create_writer([False, False], care_of=1.0).add_care_of(addresses, np.array([1, 2]), names)
    assert written.tolist() == ["c/o Emma, 1 Main Road", ""]


def test_networks_mangle_more_often_than_honest_people():
    count = 4000
    writer = create_writer([True] * count + [False] * count, order=0.2)
    names = np.array(["Emma Taylor"] * 2 * count, dtype=object)
    changed = writer.write("name", names, np.arange(2 * count)) != names
    assert (changed[:count].mean(), changed[count:].mean()) == pytest.approx((0.4, 0.2), abs=0.03)


def test_a_party_that_lasts_is_mangled_as_always_and_another_is_not():
    names, ids = np.array(["Emma Taylor"] * 50, dtype=object), np.repeat(np.arange(25), 2)
    steady = create_writer([False] * 50, lasting=1.0, order=0.5).write("name", names, ids)
    assert (steady[::2] == steady[1::2]).all()
    assert len(set(steady)) == 2
    fresh = create_writer([False] * 50, lasting=0.0, order=0.5).write("name", names, ids)
    assert (fresh[::2] != fresh[1::2]).any()

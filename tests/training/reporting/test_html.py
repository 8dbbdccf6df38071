"""How metrics are written in pages, and how large a page may be."""

import pytest

from training.gate.report import GateReport, Recommendation
from training.reporting.html import create_environment, label_cells, render_page


def test_a_narrow_screen_names_each_cell_of_a_row():
    page = '<table class="cards"><thead><tr><th>part</th><th class="left">95&nbsp;% <b>interval</b></th></tr></thead>'
    page += (
        '<tbody><tr><td>all</td><td class="main">1 to 2</td></tr><tr><td>few</td><td class="main">–</td></tr></tbody>'
        "</table><table><td>3</td></table>"
    )
    found = label_cells(page)
    empty = '<td data-empty data-label="95&nbsp;% interval" class="main">–</td>'
    assert empty in found, "lists of ten dashes"
    assert '<td data-label="95&nbsp;% interval" class="main">1 to 2</td>' in found
    assert found.endswith("<table><td>3</td></table>")


def test_what_is_not_known_of_a_consignment_leaves_no_blank():
    page = create_environment().from_string('{% from "macros.html" import known %}{{ known(texts) }}postal')
    assert page.render(texts=["–", "0.205 kg", "–"]) == "0.205 kg · postal"


def test_a_forced_version_has_its_own_colour_and_says_once_what_holds():
    for way, kind in (("forced", "forced"), ("better", "promoted")):
        decided = Recommendation("promoted", way, "Forced: 9 rules hold. Record 1.", ("9 rules hold.",))
        page = render_page("gate.html", gate=GateReport({}, decided), links={})
        assert f'<section class="verdict {kind}">' in page
        assert page.count("9 rules hold.") == 1


def test_a_page_too_heavy_to_send_is_refused():
    recommended = Recommendation("wait", "", "x" * 2_000_001, ())
    with pytest.raises(ValueError, match="more than 2,000,000"):
        render_page("gate.html", gate=GateReport({}, recommended), links={})

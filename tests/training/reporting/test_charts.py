"""Claims about every chart of a page."""

import os
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np

from training.reporting import charts
from training.reporting.charts import Chart, draw_rows, set_rows

TEXT = "{http://www.w3.org/2000/svg}text"
LONG = "Area under the ROC curve, difference between the version in service and the new one, by office"


def draw(**fields):
    chart = Chart("Bars <of> something", "Read <it> so.", **fields)
    with chart.draw() as axes:
        axes.barh([0, 1], [0.1, 0.2], label="a & b")
        set_rows(axes, [0, 1], ["short", LONG])
    return chart


def list_texts(chart):
    return [each.text for each in ElementTree.fromstring(chart.svg).iter(TEXT)]


def test_a_chart_has_a_role_a_label_and_a_caption_and_escapes_them():
    root = ElementTree.fromstring(draw().render())
    picture = root.find("{http://www.w3.org/2000/svg}svg")
    assert (picture.attrib["role"], picture.attrib["aria-label"]) == ("img", "Bars <of> something")
    assert root.find("figcaption").text == "Read <it> so."


def test_titles_and_names_that_are_wider_than_the_chart_are_wrapped():
    texts = list_texts(draw(title=LONG))
    assert max(map(len, texts)) <= 48
    assert " ".join(LONG.split()[:3]) in " ".join(texts)


def test_the_first_and_the_last_row_of_intervals_keep_off_the_edges(monkeypatch):
    limits = []
    monkeypatch.setattr(
        charts, "set_rows", lambda axes, *_: limits.append((*axes.get_ylim(), *axes.get_xlim()))
    )
    values = np.array([5.0, 6.0])
    draw_rows(Chart("Rows", "Read so."), ["one", "two"], [values, values - 1, values + 1], 5.5)
    ((low, high, left, _),) = limits
    assert low < -1.5
    assert high > 0.5
    assert left <= 0, "a length shows a share only from zero on"


def test_a_user_without_a_home_sees_nothing_of_the_cache_of_matplotlib():
    words = [sys.executable, "-c", "import training.reporting.charts, matplotlib.font_manager"]
    environment = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    done = subprocess.run(words, env=environment | {"HOME": "/proc/none"}, capture_output=True, check=True)
    assert done.stderr == b""

"""Axes enclose what they show, and words in plots stay words."""

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from kgrec_core.report.plots import Dot, bars, dots, lines, ticks

NUMBER = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 6))


@given(NUMBER, NUMBER)
def test_ticks_enclose_and_rise(a, b):
    low, high = sorted((a, b))
    found = ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert found[0] <= low + slack and found[-1] >= high - slack
    assert found == sorted(set(found)) and 2 <= len(found) <= 8


def test_dots_place_means_between_bounds_in_order():
    plot = dots([Dot("floor", 0.2, 0.1, 0.3), Dot("after", 0.4, 0.35, 0.45)])
    first, second = (float(x) for x in re.findall(r'cx="([\d.]+)"', plot))
    bars_ = [(float(a), float(b)) for a, b in re.findall(r'x1="([\d.]+)" y1="\d+" x2="([\d.]+)" y2="\d+" class="interval"', plot)]
    assert bars_[0][0] < first < bars_[0][1] < bars_[1][0] < second < bars_[1][1]
    assert 'class="zero"' not in plot and 'class="zero"' in dots([Dot("gain", 0.1, -0.1, 0.3)], signed=True)


def test_words_stay_words():
    bad = "<b>&\"'</b>"
    for plot in (dots([Dot(bad, 1, 0, 2)]), lines({bad: [(1, 2.0), (2, 1.0)]}, bad), bars([bad], {bad: [0.5]}, bad)):
        root = ElementTree.fromstring(plot)
        assert bad in [e.text for e in root.iter("text")] and not list(root.iter("b"))


def test_one_point_is_drawn():
    assert ElementTree.fromstring(lines({"loss": [(4, 5.4)]}, "step")).find("circle") is not None

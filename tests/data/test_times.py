"""Written times against Python's own datetime."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_core.data.moments import microseconds
from kgrec_core.data.times import micros, refuse_reading
from kgrec_core.errors import KgrecError

UTC = dt.UTC
moments = st.datetimes(dt.datetime(1974, 1, 1), dt.datetime(2100, 1, 1))


def read(values, **how) -> list[int | None]:
    series = values if isinstance(values, pl.Series) else pl.Series("date", values)
    return micros(series, lambda i: f"orders.csv row {i + 2}", "data.relations.buys", **how).to_list()


def exact(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1)


@given(st.lists(moments, min_size=1, max_size=5), st.sampled_from([" ", "T"]))
def test_iso_text_is_read_as_utc(found, gap):
    want = [exact(m.replace(tzinfo=UTC)) for m in found]
    assert read([m.isoformat(gap) for m in found]) == want
    assert read(pl.Series("date", found, dtype=pl.Datetime("ms"))) == [w // 1000 * 1000 for w in want]
    assert read([m.replace(tzinfo=UTC).isoformat(gap) for m in found]) == want


@given(moments, st.sampled_from(["Europe/London", "Asia/Shanghai", "America/New_York"]))
def test_a_zone_is_applied_to_what_has_none(moment, zone):
    aware = moment.replace(tzinfo=ZoneInfo(zone), fold=0)
    there = aware.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == moment
    if there:
        assert read([moment.isoformat(" ")], zone=zone) == [exact(aware.astimezone(UTC))]
    else:
        with pytest.raises(KgrecError, match=f"does not exist in {zone}"):
            read([moment.isoformat(" ")], zone=zone)


@given(moments.filter(lambda m: m.year != 1976).map(lambda m: m.replace(microsecond=0)))
def test_the_unit_of_unix_times_is_told_by_their_size(moment):
    """But for 1976, whose milliseconds may be a day and a minute: 193709040000."""
    second = exact(moment.replace(tzinfo=UTC)) // 1_000_000
    want = [second * 1_000_000]
    for values in ([second], [str(second)], [float(second)], [f"{second}.0"], [second * 1000], [second * 1_000_000]):
        assert read(values) == want


def test_mixed_forms_empty_values_and_explicit_formats():
    day = exact(dt.datetime(2024, 3, 1, tzinfo=UTC))
    assert read(["2024-03-01", None, "2024-03-01 00:01", "", "2024-03-01T00:00:00.5"]) == [day, None, day + 60_000_000, None, day + 500_000]
    assert read(["2024-03-01T02:00:00+02:00", "2024-02-29 19:00:00-0500", "2024-03-01T00:00Z"]) == [day] * 3
    assert read(["2024-03-01T02:00:00+02:00", "2024-03-01 08:00:00"], zone="Asia/Shanghai") == [day, day]
    assert read(["01/03/2024 00:00"], form="%d/%m/%Y %H:%M") == [day]
    assert read(["20240301"], form="%Y%m%d") == read([20240301], form="%Y%m%d") == [day]
    assert read([278479019.123109]) == [278479019_123109]  # times a million a float falls just below
    assert read(["2020-10-25 01:30:00"], zone="Europe/London") == [exact(dt.datetime(2020, 10, 25, 0, 30, tzinfo=UTC))]  # the first 01:30
    assert read([7, 0], form="s") == [7_000_000, 0]
    assert read(pl.Series("date", [dt.date(2024, 3, 1), None])) == [day, None]
    assert read([None, None]) == [None, None]


@pytest.mark.parametrize(
    ("values", "how", "message"),
    [
        (["2024-03-01", "soon"], {}, 'orders.csv row 3: date "soon" is no time'),
        ([193709040000], {}, 'orders.csv row 2: date "193709040000" can be ms or %Y%m%d%H%M'),
        (["2024-02-30"], {}, 'orders.csv row 2: date "2024-02-30" is no time'),
        (["24.12.2024 18:30"], {}, 'or set data.relations.buys.time_format = "%d.%m.%Y %H:%M"$'),
        (["24.12.2024 18:30:05"], {}, 'or set data.relations.buys.time_format = "%d.%m.%Y %H:%M:%S"$'),
        (["1/3/2024"], {}, 'or set data.relations.buys.time_format = "%d/%m/%Y" or "%m/%d/%Y"$'),
        (["some day"], {}, "or set data.relations.buys.time_format$"),
        ([20240301, 5], {}, 'date "20240301" is too small to be told as a unix time; set data.relations.buys.time_format'),
        ([1.7e9, float("nan")], {}, "orders.csv row 3"),
        (["1", "x"], {"form": "ms"}, 'orders.csv row 3: date "x" is no unix time'),
        (["01/03/2024", "2024-03-01"], {"form": "%d/%m/%Y"}, 'orders.csv row 3: date "2024-03-01" does not follow'),
        (["2024-03-01T00:00Z", "2024-03-01 00:00"], {}, "row 2 and row 3"),
        (["1700000000", "soon"], {}, 'orders.csv row 3: date "soon" is no unix time'),
        ([True], {}, "holds Boolean, which is no time"),
    ],
)
def test_what_is_no_time_is_refused_with_its_row(values, how, message):
    with pytest.raises(KgrecError, match=message):
        read(values, **how)


DAY = exact(dt.datetime(2024, 5, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2024-05-01 12:30:00 UTC", 12.5),
        ("2024-05-01 12:30:00 GMT", 12.5),
        ("2024-05-01 12:30:00.000 +0000", 12.5),
        ("Wed, 01 May 2024 12:30:00 -0000", 12.5),
        ("Wed, 01 May 2024 12:30:00 EST", 17.5),
        ("1 May 2024 12:30 CST", 18.5),
        ("2024-05-01 12:00:00 JST", 3),
        ("2024-05-01 12:00 CEST", 10),
        ("2024-05-01 5:00 PM", 17),
        ("May 1, 2024 12:00 a.m.", 0),
        ("2024/5/1 17:00", 17),
        ("2024年5月1日 12:30", 12.5),
        ("Wed May 01 12:30:00 +0000 2024", 12.5),
        ("1714557600000000000", 10),
        ("20240501123000", 12.5),
    ],
)
def test_a_table_and_a_single_value_say_the_same_time(text, hour):
    assert read([text]) == [DAY + int(hour * 3_600_000_000)] == [microseconds(text, UTC)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2024-05-01 12:00 BST", "zone BST, which several countries have"),
        ("2024-05-01 12:00 QQQ", "zone QQQ, which is unknown"),
        ("05/01/2024 5:00 PM", "is no time"),
        ("2024-05-01 17:00 PM", "is no time of a clock with 12 hours"),
        ("202405011230", "can be ms or %Y%m%d%H%M"),
        ("4611686018427387904", "between 1973 and 2100"),
        ("1e300", "between 1973 and 2100"),
        ("-1e400", "is no unix time|years 1 to 9999"),
        ("0000-01-01", "is no time|years 1 to 9999"),
    ],
)
def test_two_readings_are_refused_by_table_and_single_value(text, reason):
    with pytest.raises(KgrecError, match=rf"orders.csv row 2.*({reason})"):
        read([text])
    with pytest.raises(ValueError, match=reason):
        microseconds(text, UTC)


def test_units_do_not_mix_and_words_for_nothing_are_none():
    with pytest.raises(KgrecError, match="a time in ms and another value one in s"):
        read([253402300799, 1714557600])
    assert read(["2024-05-01", "NaT", "n/a", "-"]) == [DAY, None, None, None]
    assert read([9e18], form="ns") and read(["20240501"]) == [DAY]
    with pytest.raises(KgrecError, match="years 1 to 9999"):
        read([1e300], form="s")


@pytest.mark.parametrize("form", ["nonsense", "%H:%M", "%d %B", "%Q", "", "%"])
def test_a_format_that_tells_no_year_is_refused_whatever_the_times_say(form):
    for values in (["2024-05-01"], ["12:30"], [None], []):
        with pytest.raises(KgrecError, match=rf'time_format = "{form}" tells no year; write s, ms, us, ns or a format such as'):
            read(values, form=form)


@pytest.mark.parametrize(
    "form", ["%Y", "%d/%m/%Y %H:%M", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S %#z", "%b %d %Y %I:%M %p", "%d.%m.%y", "%s"]
)
def test_a_format_that_tells_one_is_not(form):
    refuse_reading("Europe/London", form, "data")

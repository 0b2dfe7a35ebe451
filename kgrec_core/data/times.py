"""Written times -> int64 microseconds UTC."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import polars as pl
from polars.exceptions import PolarsError

from kgrec_core.data.moments import UNITS, unit, when
from kgrec_core.data.table import shown
from kgrec_core.errors import KgrecError

EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_800_000_000  # the years 1 to 9999
_DAY, _MINUTE, _SECOND = "%Y-%m-%d", "%Y-%m-%d{}%H:%M", "%Y-%m-%d{}%H:%M:%S%.f"
_NAIVE = [_SECOND.format(" "), _SECOND.format("T"), _DAY, _MINUTE.format(" "), _MINUTE.format("T")]
_AWARE = [f"{form.format(gap)}{zone}" for form in (_SECOND, _MINUTE) for gap in " T" for zone in ("%#z", " %#z")]
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$")
_ZONE = r":\d\d.*(?:[Zz]|[+-]\d\d:?(?:\d\d)?)$"
_DAY_FIRST = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{4}(?:(?P<m> \d{1,2}:\d\d)(?P<s>:\d\d)?)?$")
_SOME = datetime(2024, 5, 17, 13, 4, 5)  # no series: polars' threads, once there, do not survive a fork
_NOTHING = ("", "nan", "nat", "null", "none", "n/a", "#n/a", "<na>", "-")


def micros(values: pl.Series, place: Callable[[int], str], setting: str, zone: str | None = None, form: str | None = None) -> pl.Series:
    """Int64 microseconds UTC; null stays null, as do words for nothing (NaT, NULL, n/a).

    values: dates or datetimes; ISO text ("2024-05-01", "2024-05-01 12:30", "2024-05-01T12:30:00.5+02:00") and what else tells its order
        ("1 May 2024 5:00 PM EST"), or numbers where the first value is one: unix times in s, ms, us or ns, or dates such as 20240501,
        whichever alone puts the largest between 1973 and 2100; else nothing is guessed.
    zone: what values without a zone are in, e.g. "Europe/London"; None = UTC, and then values with and without a zone do not mix. Of an
        hour that a clock change repeats, the first is taken.
    form: "s", "ms", "us", "ns", or a strftime format such as "%d/%m/%Y %H:%M"; "%Y" alone means the first of January.
    place: index -> "orders.csv row 812". setting: the recipe table that asked.

    Raises KgrecError with file, row, value and remedy; also for what lies outside the years 1 to 9999.
    """
    refuse_reading(zone, form, setting)
    found = _read(values, place, setting, zone, form)
    far = ((found < EARLIEST) | (found >= LATEST)).fill_null(False)
    _refuse(far, values.alias(values.name), place, f"lies outside the years 1 to 9999; correct it or set {setting}.time_format")
    return found


def refuse_reading(zone: str | None, form: str | None, setting: str) -> None:
    """Raises KgrecError for what is no name of a time zone, and for a format that finds no year in what it writes itself."""
    if zone is not None:
        _refuse_zone(zone, setting)
    if form is None or form in UNITS:
        return
    try:
        some = pl.Series([_SOME], dtype=pl.Datetime("us", "UTC")).dt.to_string(form.replace("%#z", "%z"))
        same = _parsed(some, [form])[0].year == _SOME.year
    except (PolarsError, AttributeError):
        same = False
    if not same:
        raise KgrecError(f'{setting}.time_format = "{form}" tells no year; write s, ms, us, ns or a format such as "%d.%m.%Y %H:%M"')


def _refuse_zone(zone: str, setting: str) -> None:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = get_close_matches(zone, available_timezones(), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        raise KgrecError(f'{setting}.time_zone = "{zone}" is no time zone{hint} give a name like "UTC" or "Europe/London"') from None


def _read(values: pl.Series, place: Callable[[int], str], setting: str, zone: str | None, form: str | None) -> pl.Series:
    if values.dtype.is_temporal() and values.dtype != pl.Duration and values.dtype != pl.Time:
        found = values.cast(pl.Datetime("us", getattr(values.dtype, "time_zone", None)))
        return _utc(found, values, place, setting, zone)
    if values.dtype == pl.Null or values.null_count() == len(values):
        return values.cast(pl.Int64)
    if values.dtype.is_integer() and form not in (None, *UNITS):  # 20240501 as a number
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        values = values.str.strip_chars()
        values = values.set(values.str.to_lowercase().is_in(_NOTHING), None)
    elif not values.dtype.is_numeric():
        raise KgrecError(f"{place(0)}: {values.name} holds {values.dtype}, which is no time; name another column")
    if values.null_count() == len(values):
        return pl.Series(values.name, [None] * len(values), pl.Int64)
    first = str(values.drop_nulls().head(1).item())
    if values.dtype.is_numeric() or form in UNITS or (form is None and _NUMBER.match(first)):
        return _number(values, place, setting, form)
    if form is None:
        return _text(values, place, setting, zone)
    found = _parsed(values, [form])
    _refuse(found.is_null() & values.is_not_null(), values, place, f'does not follow {setting}.time_format = "{form}"; correct one of them')
    return _utc(found, values, place, setting, zone)


def _text(values: pl.Series, place: Callable[[int], str], setting: str, zone: str | None) -> pl.Series:
    aware = values.str.contains(_ZONE).fill_null(False)
    found = _parsed(values.set(~aware, None), _AWARE).cast(pl.Int64)
    naive = _parsed(values.set(aware, None), _NAIVE)
    left = found.is_null() & naive.is_null() & values.is_not_null()
    if left.any():  # what is not ISO, each spelling once
        spelled = {text: _spelled(text) for text in values.filter(left).unique()}
        wrong = {text: said for text, said in spelled.items() if isinstance(said, str)}
        odd = left & values.is_in(list(wrong))
        if odd.any():
            said = wrong[values[odd.arg_max()]]
            form = _forms(values[odd.arg_max()])
            remedy = f"write ISO times (2024-05-01 12:30:00) or unix times, or set {setting}.time_format{form}"
            _refuse(odd, values, place, said if ";" in said else f"{said}; {remedy}")
        moments = {text: at for text, at in spelled.items() if not isinstance(at, str)}
        with_zone = {text: round(at.timestamp()) * 1_000_000 + at.microsecond for text, at in moments.items() if at.tzinfo}
        without = {text: at for text, at in moments.items() if not at.tzinfo}
        rest = values.set(~left, None)
        found = found.zip_with(found.is_not_null(), rest.replace_strict(with_zone, default=None, return_dtype=pl.Int64))
        naive = naive.zip_with(naive.is_not_null(), rest.replace_strict(without, default=None, return_dtype=pl.Datetime("us")))
    aware, plain = found.is_not_null(), naive.is_not_null()
    if aware.any() and plain.any() and zone is None:
        first, second = sorted((aware.arg_max(), plain.arg_max()))
        other = place(second).rpartition(" ")[2]
        raise KgrecError(
            f'{place(first)} and row {other}: {values.name} "{values[first]}" and "{values[second]}", one with a time zone and one without; '
            f'set {setting}.time_zone to what those without mean, e.g. "UTC"'
        )
    return found.zip_with(aware, _utc(naive, values, place, setting, zone))


def _forms(text: str) -> str:
    """What a time_format for a text may be, ' = "%d.%m.%Y"'; with bars day or month may come first. Empty for another text."""
    found = _DAY_FIRST.match(text)
    if found is None:
        return ""
    clock, gap = (" %H:%M" if found["m"] else "") + (":%S" if found["s"] else ""), found[1]
    orders = ("%d/%m/%Y", "%m/%d/%Y") if gap == "/" else (f"%d{gap}%m{gap}%Y",)
    return " = " + " or ".join(f'"{order}{clock}"' for order in orders)


def _spelled(text: str):
    """The datetime, or why it is none."""
    try:
        return when(text)
    except (ValueError, OverflowError) as error:
        return str(error) if str(error).startswith(("is ", "names ")) else "is no time"


def _number(values: pl.Series, place: Callable[[int], str], setting: str, form: str | None) -> pl.Series:
    whole = values.dtype.is_integer() or (values.dtype == pl.String and values.drop_nulls().str.contains(r"^[+-]?\d+$").all())
    numbers = values.cast(pl.Int64 if whole else pl.Float64, strict=False)
    finite = numbers.is_not_null() if whole else numbers.is_finite().fill_null(False)
    _refuse(~finite & values.is_not_null(), values, place, f"is no unix time; correct it or set {setting}.time_format")
    largest = numbers.abs().max()
    if form not in UNITS and largest is not None:
        try:
            form = unit(float(largest), float(numbers.min()))
        except ValueError as error:
            told = str(error).replace("time_format", f"{setting}.time_format")
            raise KgrecError(f'{place(at := numbers.abs().arg_max())}: {values.name} "{values[at]}" {told}') from None
        if form not in UNITS:
            text = numbers.cast(pl.Int64).cast(pl.String)
            found = _parsed(text, [form])
            _refuse(found.is_null() & values.is_not_null(), values, place, f'is no date of the form "{form}"; set {setting}.time_format')
            return found.cast(pl.Int64)
    size = UNITS[form or "s"]
    far = (numbers.cast(pl.Float64) * size).abs() > float(LATEST)
    _refuse(far.fill_null(False), values, place, f"lies outside the years 1 to 9999; correct it or set {setting}.time_format")
    return (numbers // 1000 if size < 1 else numbers * int(size)) if whole else (numbers * size).round().cast(pl.Int64)


def _parsed(values: pl.Series, forms: list[str]) -> pl.Series:
    """Naive or UTC datetimes by the first format that fits; null where none does."""
    found = values.str.to_datetime(forms[0], time_unit="us", strict=False)
    for form in forms[1:]:
        left = found.is_null() & values.is_not_null()
        if not left.any():
            break
        found = found.zip_with(~left, values.set(~left, None).str.to_datetime(form, time_unit="us", strict=False))
    return found


def _utc(found: pl.Series, values: pl.Series, place: Callable[[int], str], setting: str, zone: str | None) -> pl.Series:
    if found.dtype.time_zone is not None or zone in (None, "UTC"):
        return found.cast(pl.Int64)
    try:
        moved = found.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    except PolarsError as error:
        raise KgrecError(f'{setting}.time_zone = "{zone}": {str(error).splitlines()[0]}') from error
    _refuse(
        moved.is_null() & found.is_not_null(),
        values,
        place,
        f"does not exist in {zone}, the clock skips it; correct it or {setting}.time_zone",
    )
    return moved.cast(pl.Int64)


def _refuse(odd: pl.Series, values: pl.Series, place: Callable[[int], str], reason: str) -> None:
    if odd.any():
        first = odd.arg_max()
        raise KgrecError(f'{place(first)}: {values.name} "{shown(values[first])}" {reason}')

"""Written times -> int64 microseconds UTC."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from zoneinfo import available_timezones

import polars as pl
from polars.exceptions import PolarsError

from kgrec_core.errors import KgrecError

UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_DAY, _MINUTE, _SECOND = "%Y-%m-%d", "%Y-%m-%d{}%H:%M", "%Y-%m-%d{}%H:%M:%S%.f"
_NAIVE = [_SECOND.format(" "), _SECOND.format("T"), _DAY, _MINUTE.format(" "), _MINUTE.format("T")]
_AWARE = [f"{form.format(gap)}{zone}" for form in (_SECOND, _MINUTE) for gap in " T" for zone in ("%#z", " %#z")]
_NUMBER = re.compile(r"\d+(\.\d+)?$")
_ZONE = r":\d\d.*(?:[Zz]|[+-]\d\d:?(?:\d\d)?)$"


def micros(values: pl.Series, place: Callable[[int], str], setting: str, zone: str | None = None, form: str | None = None) -> pl.Series:
    """Int64 microseconds UTC; null stays null.

    values: dates or datetimes; ISO text ("2024-05-01", "2024-05-01 12:30", "2024-05-01T12:30:00.5+02:00"), or unix times where the
        first value is a number: the largest says the unit: below 1e11 seconds, below 1e14 milliseconds, else microseconds; below 1e8 (3 March 1973) nothing
        is guessed.
    zone: what values without a zone are in, e.g. "Europe/London"; None = UTC, and then values with and without a zone do not mix. Of an
        hour that a clock change repeats, the first is taken.
    form: "s", "ms", "us", or a strftime format such as "%d/%m/%Y %H:%M".
    place: index -> "orders.csv row 812". setting: the recipe table that asked.

    Raises KgrecError with file, row, value and remedy.
    """
    if zone is not None and zone not in available_timezones():
        near = get_close_matches(zone, available_timezones(), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        raise KgrecError(f'{setting}.time_zone = "{zone}" is no time zone{hint} give a name like "UTC" or "Europe/London"')
    name = values.name
    if values.dtype.is_temporal() and values.dtype != pl.Duration and values.dtype != pl.Time:
        found = values.cast(pl.Datetime("us", getattr(values.dtype, "time_zone", None)))
        return _utc(found, values, place, setting, zone)
    if values.dtype == pl.Null or values.null_count() == len(values):
        return values.cast(pl.Int64)
    if values.dtype.is_integer() and form not in (None, *UNITS):  # 20240501 as a number
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        values = values.set(values == "", None)
    elif not values.dtype.is_numeric():
        raise KgrecError(f'{place(0)}: {name} "{values[0]}" is no time; name another column')
    first = str(values.drop_nulls().head(1).item()) if values.null_count() < len(values) else "0"
    if values.dtype.is_numeric() or form in UNITS or (form is None and _NUMBER.match(first)):
        return _unix(values, place, setting, form)
    if form is not None:
        found = _parsed(values, [form])
        _refuse(
            found.is_null() & values.is_not_null(), values, place, f'does not follow {setting}.time_format = "{form}"; correct one of them'
        )
        return _utc(found, values, place, setting, zone)
    aware = values.str.contains(_ZONE).fill_null(False)
    plain = ~aware & values.is_not_null()
    if not aware.any():
        found = _parsed(values, _NAIVE)
    elif plain.any() and zone is None:
        first, second = sorted((aware.arg_max(), plain.arg_max()))
        other = place(second).rpartition(" ")[2]
        raise KgrecError(
            f'{place(first)} and row {other}: {name} "{values[first]}" and "{values[second]}", one with a time zone and one without; '
            f'set {setting}.time_zone to what those without mean, e.g. "UTC"'
        )
    else:
        found = _utc(_parsed(values.set(plain, None), _AWARE), values, place, setting, None)
        if plain.any():
            found = found.zip_with(aware, _utc(_parsed(values.set(aware, None), _NAIVE), values, place, setting, zone))
    _refuse(
        found.is_null() & values.is_not_null(),
        values,
        place,
        f"is no time; write ISO times (2024-05-01 12:30:00) or unix times, or set {setting}.time_format",
    )
    return found if found.dtype == pl.Int64 else _utc(found, values, place, setting, zone)


def _unix(values: pl.Series, place: Callable[[int], str], setting: str, form: str | None) -> pl.Series:
    whole = values.dtype.is_integer() or (values.dtype == pl.String and values.str.contains(r"^-?\d+$").all())
    numbers = values.cast(pl.Int64 if whole else pl.Float64, strict=False)
    finite = numbers.is_not_null() if whole else numbers.is_finite().fill_null(False)
    _refuse(~finite & values.is_not_null(), values, place, f"is no unix time; correct it or set {setting}.time_format")
    largest = numbers.abs().max()
    if form not in UNITS and largest is not None:
        if largest < 1e8:
            first = numbers.abs().arg_max()
            raise KgrecError(
                f'{place(first)}: {values.name} "{values[first]}" is too small to be told as a unix time; '
                f'set {setting}.time_format = "s", "ms", "us" or a format such as "%Y%m%d"'
            )
        form = "s" if largest < 1e11 else "ms" if largest < 1e14 else "us"
    scaled = numbers * UNITS[form or "s"]
    return scaled if whole else scaled.round().cast(pl.Int64)


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
        raise KgrecError(f'{place(first)}: {values.name} "{values[first]}" {reason}')

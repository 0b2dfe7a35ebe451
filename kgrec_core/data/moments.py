"""One written time -> a moment: what people and feeds write beside ISO, and what a number can mean. Nothing is guessed: two readings are refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

UNITS = {"s": 1_000_000.0, "ms": 1_000.0, "us": 1.0, "ns": 0.001}  # microseconds in one
COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # digits -> format
FIRST, LAST = 1e8, 4_102_444_800.0  # 3 March 1973 and 1 January 2100 in seconds: a unix time's unit is told within them
_OFFSETS = {
    "UTC GMT UT Z WET": 0, "WEST CET": 60, "CEST EET": 120, "EEST MSK": 180, "PKT": 300, "WIB": 420, "HKT SGT AWST": 480, "JST KST": 540,
    "AEST": 600, "AEDT": 660, "NZST": 720, "NZDT": 780, "BRT": -180, "EDT": -240, "EST CDT": -300, "MDT": -360, "MST PDT": -420,
    "PST AKDT": -480, "AKST": -540, "HST": -600,
}  # fmt: skip
ZONES = {name: minutes for names, minutes in _OFFSETS.items() for name in names.split()}
_SOME = datetime(2024, 5, 17, 13, 45, 30, tzinfo=UTC)  # a day that no format mistakes for another
SEVERAL = {"BST", "IST", "CST", "AST", "SST", "ADT", "ECT", "GST"}  # of several countries
_MONTHS = {
    name: number for number, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}
_DATES = (
    r"(?P<y>\d{4})(?P<sep>[-/.])(?P<m>\d{1,2})(?P=sep)(?P<d>\d{1,2})",
    r"(?P<y>\d{4})\s*年\s*(?P<m>\d{1,2})\s*月\s*(?P<d>\d{1,2})\s*日",
    r"(?:[A-Za-z]{3,9}\.?,?\s+)?(?P<d>\d{1,2})(?:st|nd|rd|th)?[\s-]+(?P<m>[A-Za-z]{3,9})\.?,?[\s-]+(?P<y>\d{4}|\d{2})",
    r"(?:[A-Za-z]{3,9}\.?,?\s+)?(?P<m>[A-Za-z]{3,9})\.?\s+(?P<d>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<y>\d{4})",
)
_CLOCK = r"(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2})(?:[.,](?P<f>\d{1,9}))?)?(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
_ZONE = r"(?P<zone>(?:UTC|GMT)?[+-]\d{2}:?(?:\d{2})?|[A-Za-z]{1,5})"
_FORMS = [re.compile(rf"{date}(?:(?:\s*[T,]\s*|\s+|\s+at\s+){_CLOCK}(?:\s*{_ZONE})?)?(?:\s*\([\w ]+\))?$") for date in _DATES]
_STAMP = re.compile(rf"[A-Za-z]{{3}} (?P<m>[A-Za-z]{{3}}) +(?P<d>\d{{1,2}}) {_CLOCK} {_ZONE} (?P<y>\d{{4}})$")


def when(text: str) -> datetime:
    """What "Wed, 01 May 2024 12:30:00 GMT", "2024-05-01 5:00 PM EST", "May 1, 2024" or "2024年5月1日" says; without a zone it has none.

    Raises ValueError with the reason: an order of day and month that is not told, a zone that nobody or several countries have.
    """
    text = " ".join(text.split())
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass  # the forms below may know it
    found = next((match for form in (*_FORMS, _STAMP) if (match := form.match(text))), None)
    if found is None:
        raise ValueError("is no time")
    of = {"h": None, **found.groupdict()}
    month = int(of["m"]) if of["m"].isdigit() else _MONTHS.get(of["m"][:3].lower(), 0)
    year = int(of["y"]) + (0 if len(of["y"]) == 4 else 2000 if int(of["y"]) < 50 else 1900)
    if of["h"] is None:
        return datetime(year, month, int(of["d"]))
    hour = int(of["h"])
    if of["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("is no time of a clock with 12 hours")
        hour = hour % 12 + 12 * (of["half"] in "Pp")
    moment = datetime(year, month, int(of["d"]), hour, int(of["min"]), int(of["s"] or 0), int((of["f"] or "0")[:6].ljust(6, "0")))
    return moment.replace(tzinfo=_zone(of["zone"], by_mail=not of["m"].isdigit())) if of["zone"] else moment


def microseconds(text: str, zone: tzinfo | None = None, form: str | None = None) -> int:
    """As `kgrec_core.data.times.micros`, of one value. Raises ValueError with the reason."""
    if re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", text) and (form is None or form in UNITS):
        if abs(float(text)) > 1e300:  # 1e400 is infinite, which no arithmetic takes
            raise ValueError("lies outside the years 1 to 9999")
        of = form if form in UNITS else unit(float(text), float(text))
        if of not in UNITS:
            return microseconds(text, zone, of)
        scaled = int(text) * 1000 // round(1000 / UNITS[of]) if text.lstrip("+-").isdigit() and UNITS[of] < 1 else None
        found = (
            scaled if scaled is not None else int(text) * int(UNITS[of]) if text.lstrip("+-").isdigit() else round(float(text) * UNITS[of])
        )
        return _within(found)
    if form in UNITS:
        raise ValueError(f"is no unix time in {form}")
    try:
        moment = datetime.strptime(text, form) if form else when(text)
    except ValueError as error:
        raise ValueError(f'does not follow the format "{form}"' if form else _short(error)) from None
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError("has no time zone")
        moment = moment.replace(tzinfo=zone)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return _within((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def refuse_form(form: str | None) -> None:
    """Raises ValueError for what is neither a unit of unix times nor a strftime format that tells at least a year, a month and a day."""
    if form is None or form in UNITS:
        return
    try:
        same = datetime.strptime(_SOME.strftime(form), form).date() == _SOME.date()
    except ValueError:
        same = False
    if not same:
        raise ValueError(f'time_format = "{form}" tells no day; write s, ms, us, ns or a format such as "%d.%m.%Y %H:%M"')


def unit(largest: float, smallest: float) -> str:
    """What numbers between these are: a key of UNITS by their size, or a format of COMPACT. Raises ValueError with the remedy.

    The largest must lie between 1973 and 2100 in just one of them, and no other may be a smaller unit's.
    """
    found = [name for name, size in UNITS.items() if FIRST <= largest * size / 1e6 <= LAST]
    digits = len(str(int(largest))) if largest < 1e15 else 0
    if (
        digits in COMPACT
        and digits == len(str(int(abs(smallest))))
        and largest == int(largest)
        and (_reads(largest, digits) and _reads(smallest, digits))
    ):
        found.append(COMPACT[digits])
    remedy = 'set time_format = "s", "ms", "us", "ns" or a format such as "%Y%m%d"'
    if not found:
        why = "is too small to be told as a unix time" if largest < FIRST else "is no time between 1973 and 2100 in any unit"
        raise ValueError(f"{why}; {remedy}")
    if len(found) > 1:
        raise ValueError(f"can be {' or '.join(found)}; {remedy}")
    smaller = [
        name for name, size in UNITS.items() if found[0] in UNITS and size > UNITS[found[0]] and FIRST <= smallest * size / 1e6 <= LAST
    ]
    if smaller:
        raise ValueError(f"is a time in {found[0]} and another value one in {smaller[-1]}; write all in one unit, or {remedy}")
    return found[0]


def _reads(number: float, digits: int) -> bool:
    try:
        return 1900 <= datetime.strptime(str(int(number)), COMPACT[digits]).year < 2100
    except ValueError:
        return False


def _zone(name: str, by_mail: bool) -> tzinfo:
    """by_mail: written as RFC 2822 has it, where CST is that of the United States."""
    word = name.upper().removeprefix("UTC").removeprefix("GMT") if re.search(r"\d", name) else name.upper()
    if word[:1] in "+-":
        digits = word[1:].replace(":", "").ljust(4, "0")
        minutes = int(digits[:2]) * 60 + int(digits[2:])
        return timezone(timedelta(minutes=-minutes if word[0] == "-" else minutes))
    if word == "CST" and by_mail:
        return timezone(timedelta(hours=-6))
    if word not in ZONES:
        raise ValueError(
            f"names the zone {name}, which {'several countries have' if word in SEVERAL else 'is unknown'}; write an offset such as +01:00"
        )
    return timezone(timedelta(minutes=ZONES[word]))


def _within(found: int) -> int:
    if not -62_135_596_800_000_000 <= found < 253_402_300_800_000_000:
        raise ValueError("lies outside the years 1 to 9999")
    return found


def _short(error: ValueError) -> str:
    said = str(error)
    return said if said.startswith(("is ", "names ", "has ", "can ")) else "is no time"

"""Feeds lose nothing, repeat nothing and stop for nothing: however the bytes come, and wherever one is cut off."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kgrec_finance.articles.sample import TWEETS
from kgrec_finance.feeds.events import Reader, Seen
from kgrec_finance.feeds.follow import follow

from kgrec_core import KgrecError

NOW = "2024-05-01T12:00:00Z"


def line(id: int | str, text: str = "Up.", time: str = NOW, **more) -> str:
    return json.dumps({"id": str(id), "text": text, "time": time, **more}, ensure_ascii=False)


def put(path, *lines: str, end: str = "\n") -> None:
    with path.open("ab") as file:
        file.write(("\n".join(lines) + end).encode())


def ids(source, offset=None, **settings) -> list[str]:
    return [event.id for event, _ in follow(source, offset, wait=False, **settings)]


def refused(path) -> list[str]:
    return [json.loads(row)["reason"] for row in path.read_text().splitlines()] if path.exists() else []


# --- events -----------------------------------------------------------------------------------------------------------
def test_an_event(tmp_path):
    put(tmp_path / "a.jsonl", line(1, "Up\n 3 %.", headline="Apple", company="AAPL|MSFT", sentiment="positive"))
    ((event, _),) = follow(tmp_path / "a.jsonl", wait=False)
    assert event.id == "1" and event.time == 1_714_564_800_000_000 and event.text == "Apple. Up 3 %."
    assert event.companies == ("AAPL", "MSFT") and event.raw["sentiment"] == "positive"


def test_settings_are_checked(tmp_path):
    with pytest.raises(KgrecError, match='time_zone = "Moon" is no time zone'):
        Reader(time_zone="Moon")
    with pytest.raises(KgrecError, match="no field of an event is called 'txt'; did you mean 'text'"):
        Reader({"txt": "a"})
    with pytest.raises(KgrecError, match="there is no file"):
        ids(tmp_path / "none.jsonl")
    put(tmp_path / "a.jsonl", line(1))
    with pytest.raises(KgrecError, match="is none of a file"):
        ids(tmp_path / "a.jsonl", '{"ids": []}')
    with pytest.raises(KgrecError, match="no form of a feed is called 'xml'"):
        ids(tmp_path / "a.jsonl", form="xml")


# --- what is no event -------------------------------------------------------------------------------------------------
def test_bad_lines_go_to_the_dead_letters_and_the_stream_goes_on(tmp_path):
    path, dead = tmp_path / "a.jsonl", tmp_path / "dead.jsonl"
    put(
        path,
        line(1),
        '{"id": "2", "text": "broken',
        "[1, 2]",
        line(3, ""),
        line(4, "  \n "),
        line(5, time="2024-05-01 12:00:00"),
        line(6, time="2999-01-01T00:00:00Z"),
        line(7, time="1970-01-01T00:00:00Z"),
        json.dumps({"id": "8", "text": "No time."}),
        "",
        line(1, "The same id."),
        line("long", "x" * 1_000_000),
        json.dumps({"id": "half", "text": "\ud83d", "time": NOW}),
        line(9),
    )
    with path.open("ab") as file:
        file.write(b'{"id": "latin", "text": "\xe9"}\n' + line(10).encode() + b"\n")
    events = [event for event, _ in follow(path, wait=False, dead_letters=dead)]
    assert [event.id for event in events] == ["1", "long", "half", "9", "10"]
    assert len(events[1].text) == len(events[1].raw["text"]) == 20_000
    assert events[2].text == "?"
    reasons = refused(dead)
    for reason, part in zip(
        reasons, ["broken JSON", "no JSON object", "empty", "empty", "no time zone; set time_zone", "future", "older than 1990", "no time", "not UTF-8"],
        strict=True,
    ):  # fmt: skip
        assert part in reason
    first = json.loads(dead.read_text().splitlines()[0])
    assert first["source"] == str(path) and first["at"] == len(line(1)) + 1 and first["line"] == '{"id": "2", "text": "broken'
    assert ids(path, time_zone="UTC") == ["1", "5", "long", "half", "9", "10"]


def test_a_line_that_never_ends_costs_no_memory_and_no_event(tmp_path, monkeypatch):
    monkeypatch.setattr("kgrec_finance.feeds.follow.LONGEST", 1000)
    monkeypatch.setattr("kgrec_finance.feeds.lines.BLOCK", 256)
    path, dead = tmp_path / "a.jsonl", tmp_path / "dead.jsonl"
    put(path, line(1), line(2, "x" * 5000), line(3))
    assert ids(path, dead_letters=dead) == ["1", "3"] and refused(dead) == ["the line is longer than 1,000 bytes"]
    offsets = [offset for _, offset in follow(path, wait=False)]
    assert ids(path, offsets[0]) == ["3"] and json.loads(offsets[1])["at"] == path.stat().st_size


def test_what_was_refused_last_is_not_written_again_after_a_restart(tmp_path):
    path, dead = tmp_path / "a.jsonl", tmp_path / "dead.jsonl"
    put(path, line(1), "{broken")
    _, offset = next(follow(path, wait=False, dead_letters=dead))
    for _ in range(2):
        assert ids(path, offset, dead_letters=dead) == []
    assert len(refused(dead)) == 1
    put(path, "{broken")
    assert ids(path, offset, dead_letters=dead) == [] and len(refused(dead)) == 2, "the same words elsewhere are another line"


def test_dead_letters_that_cannot_be_written_stop_the_stream(tmp_path):
    put(tmp_path / "a.jsonl", "{", line(1))
    with pytest.raises(KgrecError, match="cannot be written"):
        ids(tmp_path / "a.jsonl", dead_letters=tmp_path / "no" / "dead.jsonl")


def test_a_clock_that_goes_backwards_makes_nothing_the_future():
    clock = iter([1_714_564_800_000_000, 0])
    reader = Reader(now=lambda: next(clock))
    assert [reader.event({"id": i, "text": "Up.", "time": NOW}).id for i in (1, 2)] == ["1", "2"]


def test_duplicates_are_known_across_a_restart(tmp_path):
    path, seen = tmp_path / "a.jsonl", Seen(3)
    put(path, line(1), line(2), line(1), line(3), line(2))
    assert ids(path, seen=seen) == ["1", "2", "3"]
    again = Seen.of(json.loads(json.dumps(seen.state())), 3)
    assert not again.add("2") and again.add("4") and len(again) == 3
    assert again.add("1"), "forgotten after three others"
    same = [event.id for event, _ in follow(path, wait=False) if event.id]
    assert same == ["1", "2", "3"]
    put(tmp_path / "b.jsonl", json.dumps({"text": "Up.", "time": NOW}), json.dumps({"time": NOW, "text": "Up."}))
    assert len(ids(tmp_path / "b.jsonl")) == 1, "without an id, time and text are one"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.sampled_from('a"\n,卡é{'), max_size=6), min_size=1, max_size=6), st.integers(0, 5), st.data())
def test_any_restart_goes_on_exactly(tmp_path_factory, texts, number, data):
    folder = tmp_path_factory.mktemp("feed")
    path = folder / "a.jsonl"
    put(path, *(line(i, f"x{text}") for i, text in enumerate(texts)))
    everything = list(follow(path, wait=False))
    assert [event.id for event, _ in everything] == [str(i) for i in range(len(texts))]
    at = data.draw(st.integers(0, len(texts) - 1))
    rest = list(follow(path, everything[at][1], wait=False))
    assert rest == everything[at + 1 :]


def test_a_line_without_its_end_is_waited_for(tmp_path):
    path, dead = tmp_path / "a.jsonl", tmp_path / "dead.jsonl"
    put(path, line(1), line(2)[:10], end="")
    found = list(follow(path, wait=False, dead_letters=dead))
    assert [event.id for event, _ in found] == ["1"] and not dead.exists()
    put(path, line(2)[10:], line(3), end="")
    assert ids(path, found[0][1], dead_letters=dead) == ["2", "3"], "a last line that is whole needs no end"
    assert not dead.exists()


def test_tail(tmp_path):
    """Written byte by byte, renamed and started anew while it is read: every event once, in order, none torn."""
    path, dead = tmp_path / "a.jsonl", tmp_path / "dead.jsonl"
    path.touch()

    def writer() -> None:
        for part in range(3):
            with path.open("ab", buffering=0) as file:
                for number in range(5):
                    row = (line(f"{part}-{number}", "卡" * 50) + "\n").encode()
                    for at in range(0, len(row), 40):
                        file.write(row[at : at + 40])
                        time.sleep(0.0005)
                if part == 1:
                    file.write(b'{"id": "torn')
            if part < 2:
                time.sleep(0.05)
                for number in (2, 1):
                    old = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
                    if old.exists():
                        os.rename(old, path.with_name(f"{path.name}.{number}"))
                path.touch()

    thread = threading.Thread(target=writer)
    thread.start()
    found, until = [], time.monotonic() + 20
    for event, offset in follow(path, poll=0.002, dead_letters=dead, stop=lambda: time.monotonic() > until):
        found.append((event.id, offset))
        if event.id == "2-4":
            break
    thread.join()
    expected = [f"{part}-{number}" for part in range(3) for number in range(5)]
    assert [id for id, _ in found] == expected
    assert refused(dead) == ["the source stopped within the line"]
    for at in (2, 7, 12):
        assert ids(path, found[at][1]) == expected[at + 1 :], "a restart after two rotations goes through the old files"


def test_a_file_that_is_cut_is_read_from_its_start(tmp_path):
    path = tmp_path / "a.jsonl"
    put(path, line(1), line(2))
    last = list(follow(path, wait=False))[-1][1]
    path.write_text(line(3) + "\n")
    assert ids(path, last) == ["3"]
    seen, until, found = [], time.monotonic() + 10, follow(path, poll=0.002, stop=lambda: time.monotonic() > until)
    seen.append(next(found)[0].id)
    path.write_text("")
    put(path, line(4))
    seen.append(next(found)[0].id)
    assert seen == ["3", "4"]


def test_stop_ends_the_waiting(tmp_path):
    put(tmp_path / "a.jsonl", line(1))
    assert [event.id for event, _ in follow(tmp_path / "a.jsonl", poll=0.001, stop=lambda: True)] == ["1"]
    put(tmp_path / "a.csv", "id,text,time", f"1,Up,{NOW}", "2,Do", end="")
    assert [event.id for event, _ in follow(tmp_path / "a.csv", poll=0.001, stop=lambda: True)] == ["1"], "half a line is no event"


def test_standard_input(monkeypatch, tmp_path):
    data = io.BytesIO(f"{line(1)}\n{line(2)}\n{line(3)[:9]}".encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(data))
    assert ids("-", dead_letters=tmp_path / "dead.jsonl") == ["1", "2"]
    assert refused(tmp_path / "dead.jsonl") == ["the source stopped within the line"]


def test_packed_files(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(f"{line(1)}\n{line(2)}\n".encode()))
    found = list(follow(tmp_path / "a.jsonl.gz"))
    assert [event.id for event, _ in found] == ["1", "2"] and ids(tmp_path / "a.jsonl.gz", found[0][1]) == ["2"]


def test_the_embedded_stream(tmp_path):
    dead = tmp_path / "dead.jsonl"
    events = [event for event, _ in follow(TWEETS, columns={"time": "created_at"}, wait=False, dead_letters=dead)]
    assert len(events) == 5_371 and not dead.exists()
    times = [event.time for event in events]
    assert times == sorted(times) and {name for event in events for name in event.companies or ()} >= {"WMT", "KO", "CAT"}


# --- CSV --------------------------------------------------------------------------------------------------------------
def test_csv(tmp_path):
    path, dead = tmp_path / "a.csv", tmp_path / "dead.jsonl"
    put(
        path,
        "\ufeffid;headline;time",
        f'1;"A ""b""; c\nd";{NOW}',
        "",
        f"2;x;{NOW};4",
        f"3;y;{NOW}",
        f'4;5" screen;{NOW}',
        f"5;z;{NOW}",
        f'6;"w";{NOW}',
    )
    found = list(follow(path, wait=False, dead_letters=dead))
    assert [(event.id, event.text) for event, _ in found] == [("1", 'A "b"; c d'), ("3", "y"), ("5", "z"), ("6", "w")]
    assert refused(dead) == ["4 fields where the header has 3", "a quote is not closed"]
    for at, (_, offset) in enumerate(found):
        assert ids(path, offset) == [event.id for event, _ in found[at + 1 :]]


def test_csv_tail_waits_for_an_open_quote(tmp_path):
    path = tmp_path / "a.csv"
    put(path, "id,text,time", '1,"Up', end="\n")
    until = time.monotonic() + 10
    found = follow(path, poll=0.002, stop=lambda: time.monotonic() > until)
    threading.Timer(0.05, put, [path, f'and down",{NOW}']).start()
    assert next(found)[0].text == "Up and down"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.sampled_from('ab"\n,;卡'), min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=6))
def test_what_csv_can_write_is_read(tmp_path_factory, texts):
    import csv

    path = tmp_path_factory.mktemp("feed") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([["id", "text", "time"], *([i, t, NOW] for i, t in enumerate(texts))])
    found = list(follow(path, wait=False))
    assert [(event.id, event.text) for event, _ in found] == [(str(i), " ".join(t.split())) for i, t in enumerate(texts)]
    assert [event.id for event, _ in follow(path, found[0][1], wait=False)] == [str(i) for i in range(1, len(texts))]

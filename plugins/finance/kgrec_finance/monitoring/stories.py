"""Articles that tell the same story count as one: copies, retweets and lightly edited versions, in event time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from kgrec_core import DAY
from kgrec_core.domain import damage
from kgrec_core.parts import Recent


class Story(NamedTuple):
    """id: of its first article. size: how many articles of it came within the window, this one too; 1 = it is new."""

    id: str
    size: int


class Stories:
    """threshold: similarity from which two texts tell the same story (`near_duplicates`). window: microseconds a story is remembered
    after its last article. `state()` is for JSON, `Stories.of(state)` goes on where it was taken."""

    def __init__(self, threshold: float = 0.8, window: int = 3 * DAY) -> None:
        self._recent = Recent(threshold, window)
        self._story: dict[str, str] = {}  # article -> its story
        self._known: dict[str, list[int]] = {}  # story -> [size, time of its latest article]
        self._swept = 0

    def add(self, id: str, text: str, time: int) -> Story:
        """The story of an article; times (microseconds) may come in any order. One older than the window is compared, not remembered."""
        other = self._recent.add(id, text, time)
        story = id if other is None else self._story.get(str(other), str(other))
        known = self._known.setdefault(story, [0, time])
        known[0], known[1] = known[0] + 1, max(known[1], time)
        self._story[id] = story
        self._sweep(time)
        return Story(story, known[0])

    def known(self, id: str, text: str, time: int, story: Story) -> None:
        """An article whose story was found before; articles in the order in which they were added."""
        self._recent.add(id, text, time)
        self._story[id] = story.id
        size, latest = self._known.get(story.id, (0, time))
        self._known[story.id] = [max(size, story.size), max(latest, time)]

    def state(self) -> dict[str, Any]:
        return {"recent": self._recent.state(), "story": self._story, "known": self._known, "swept": self._swept}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """Raises KgrecError where it is another thing."""
        new = cls.__new__(cls)
        with damage("this is no state of Stories", "start anew with Stories()"):
            new._recent = Recent.of(state["recent"])
            new._story, new._swept = dict(state["story"]), int(state["swept"])
            new._known = {story: [int(size), int(time)] for story, (size, time) in state["known"].items()}
        return new

    def _sweep(self, time: int) -> None:
        """Forget stories whose latest article has left the window; done once a tenth of it."""
        window = self._recent.window
        if time < self._swept + window // 10:
            return
        self._swept = time
        gone = {story for story, (_, latest) in self._known.items() if latest < time - window}
        self._known = {story: known for story, known in self._known.items() if story not in gone}
        self._story = {article: story for article, story in self._story.items() if story not in gone}

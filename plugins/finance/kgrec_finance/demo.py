"""What `kgrec finance demo` fits and shows: some of the embedded headlines, then four months of tweets as they came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kgrec_finance.articles.classify import Classify, classify, told
from kgrec_finance.articles.sample import TWEETS, TWEETS_COMPANIES
from kgrec_finance.monitoring.session import Replay, replay

if TYPE_CHECKING:
    from kgrec_core.domain import Run

FEW = {"data": {"headlines": 2500}, "train": {"epochs": 2.0, "contrastive": 0.25}}  # minutes, not the best figures
SHOWN = ("Infosys falls as TCS gains on strong order book", "Gold flat ahead of Fed meeting")


@dataclass(frozen=True)
class Demo:
    """Fit some of the embedded headlines, show figures, classify two headlines, and watch four months of tweets as they came.

    until: watch the tweets before this day.

    Example: kgrec finance demo --run runs/demo data.headlines=5000
    """

    until: str = field(default="2015-11-01", metadata={"option": "--to", "metavar": "DATE"})

    def layer(self) -> dict[str, Any]:
        return FEW

    def shown(self, run: Run) -> dict[str, Any]:
        """Two headlines classified, and the alerts of the tweets by the run's model, as they opened."""
        state = run.folder.with_name(f"{run.folder.name}.tweets.sqlite")
        for old in (state.with_suffix(".jsonl"), *state.parent.glob(f"{state.name}*")):  # of an earlier demo
            old.unlink(missing_ok=True)
        watched = Replay(
            file=str(TWEETS),
            companies=TWEETS_COMPANIES,
            columns={"time": "created_at"},
            state=state,
            sinks=(str(state.with_suffix(".jsonl")),),
            until=self.until,
        )
        alerts = [change for change in replay(run, watched) if change["what"] == "open"]
        return {"classified": classify(run.snapshot, [Classify(text, like=1) for text in SHOWN]), "alerts": alerts, "state": str(state)}

    def told(self, run: Run, shown: dict[str, Any]) -> str:
        lines = [f"\n> {one.text}\n{told(one)}" for one in shown["classified"]]
        lines.append(
            "\ntweets of July to October 2015 as the monitor meets them (a profit warning of Walmart on October 14, floods of spam):"
        )
        lines += [f"  {alert['sentence']}" for alert in shown["alerts"]]
        first = shown["alerts"][0]["episode"] if shown["alerts"] else "ALERT"
        return "\n".join(
            [
                *lines,
                f"\nrun folder: {run.folder}; alerts: {len(shown['alerts'])}, in {shown['state']}",
                f'next: kgrec finance classify "{SHOWN[0]}" --run {run.folder}',
                f"      kgrec finance explain {first} --state {shown['state']}",
                f"      kgrec finance report --state {shown['state']}",
            ]
        )

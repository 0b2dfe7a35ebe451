"""The options of `fit` for a news desk's own files, and the recipe layer that they give."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kgrec_core import KgrecError
from kgrec_core.domain import column_names, match
from kgrec_finance.articles.columns import KNOWN

SPLIT = {"by": "random", "group": "group", "test": 0.2, "validation": 0.2}  # of a file without a column split


@dataclass(frozen=True)
class Files:
    """Without a file the embedded sample is learned. A fifth of the articles is the test, unless the file has a column `split`.

    articles: text or title, and sentiment, topic, entity_sentiment.
    companies: id or name; ticker, aliases, sector, suppliers.
    labels: what labels mean: task, label, text.

    Example: kgrec finance fit --run runs/news --articles news.csv --companies companies.csv train.epochs=2
    """

    articles: Path | None = None
    companies: Path | None = None
    labels: Path | None = None

    def layer(self) -> dict[str, Any]:
        """Empty where no file is given. Raises KgrecError without articles, and for a file that cannot be read."""
        given = {name: str(path.absolute()) for name, path in asdict(self).items() if path}
        if not given:
            return {}
        if self.articles is None:
            raise KgrecError("--companies and --labels belong to your own articles; name them with --articles FILE")
        columns = match(KNOWN["articles"], "articles", column_names(self.articles, "data.articles"), {})
        return {"data": {"use": "news", **given}, "split": {"by": "column", "column": "split"} if "split" in columns else SPLIT}

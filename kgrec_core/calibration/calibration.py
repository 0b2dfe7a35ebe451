"""How sure an answer is, and from which certainty on it may be given when only so many answers may be wrong.

A third of the queries, drawn at random, learns P(correct) from the scores; the others, which P has not seen, test thresholds: so
what a threshold promises does not rest on the queries that made it (Learn then Test, Angelopoulos et al. 2021, with split
fixed-sequence testing). Few scores need few examples, while each query more in the test lets more be answered.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kgrec_core.calibration.curves import METHODS, Floats, chance, fitted
from kgrec_core.errors import KgrecError

log = logging.getLogger("kgrec")
SMALLEST = 60  # queries, both parts together
GRID = 200  # thresholds that can be tested
NEVER = 2.0  # a threshold that no probability reaches
TELLS = 0.2  # by how much more often a query that something answers must reach a threshold, to tell how many have no answer
UNSURE = 0.5  # wrong answers that a curve counts for at least, beside tests, where it is sure of none (Jeffreys)
BEYOND = (0.9999, 0.999, 0.998, 0.995, 0.99, 0.98, 0.97, 0.96, 0.95)  # thresholds beyond all that were tested


class Guarantee(NamedTuple):
    """A threshold and what was seen of it in the testing part.

    threshold: answer where P >= threshold; above 1 = never. answered, wrong: of `tested` queries, those included that nothing answers.
    bound: upper confidence bound of the share of wrong ones among the answered; 1 where nothing is answered or was tested.
    share: of the queries, those that nothing answers, for which this holds; None = none was seen, so it holds where there are none.
    """

    threshold: float
    answered: int
    wrong: int
    tested: int
    bound: float
    share: float | None = None

    def __str__(self) -> str:
        if self.threshold > 1:
            return f"never answers: no threshold keeps the budget on {self.tested:,} queries"
        if not self.tested:
            return f"answers from P = {self.threshold:.3f} on, by what was right elsewhere; nothing was tested here, so nothing is promised"
        if not self.answered:
            return f"answers from P = {self.threshold:.3f} on, by what was right elsewhere; none of {self.tested:,} tested was so sure"
        share, mix = self.answered / self.tested, "where every query has an answer here; how many have none is not known"
        if self.share is not None:
            mix = f"where {self.share:.0%} of the queries have no answer here"
        seen = f"answers {share:.0%} from P = {self.threshold:.3f} on, {self.wrong:,} of {self.answered:,} wrong, at most {self.bound:.1%}"
        return f"{seen}, {mix}"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """P(correct) as a function of the scores, and the counts that thresholds are tested by; plain numbers, as JSON.

    method: "logistic" (P = sigmoid of the weighted, standardised scores; Platt 1999), "isotonic" (a step-like function of that
        weighted sum, linear between `knots`, and a hundredth of the logistic curve) or "constant" (all or none of the learning third were right).
    counts: (threshold, answered and expected wrong by P in the learning third, answered and wrong in the testing part, and of the
        queries that nothing answers those that would get an answer), strictest first. tested, strangers: queries of the testing part that
        something answers, and that nothing does. share: of strangers among the queries to come. pseudo: tests that P itself is worth,
        where it was not learned here alone (`kgrec_core.calibration.prior`). learned: whether the model learned from the queries that
        this is of. log_loss: cross-validated, by method. budget, confidence: those of `answers_from`.
    """

    method: str
    mean: list[float]
    scale: list[float]
    weights: list[float]
    bias: float
    knots: list[list[float]]
    counts: list[list[float]]
    tested: int
    log_loss: dict[str, float]
    budget: float | None = None
    confidence: float = 0.95
    strangers: int = 0
    share: float | None = None
    pseudo: float = 0.0
    learned: bool = False

    def probability(self, scores: ArrayLike) -> Floats:
        """(n,) P(correct) of (n, f) or (n,) scores; 0 where a score is not finite (nothing was found).

        Raises KgrecError for another number of features.
        """
        x = _features(scores)
        if x.shape[1] != len(self.weights):
            raise KgrecError(
                f"calibration: {x.shape[1]} scores per query, but it was fitted on {len(self.weights)}; give those or fit again"
            )
        found = np.isfinite(x).all(1)
        each = (np.where(found[:, None], x, 0) - self.mean) / self.scale * np.asarray(self.weights)
        total = each.sum(1) + self.bias  # no product of matrices: a row is summed the same way, to the bit, whatever rows are beside it
        return np.where(found, chance(self.method, self.knots, total), 0)

    def threshold(self, budget: float | None = None, *, confidence: float | None = None) -> float:
        """The P from which on to answer; see `guarantee`. Above 1 = never, with a warning. Without a budget, its own."""
        found = self.guarantee(budget, confidence=confidence)
        if found.threshold > 1:
            log.warning("calibration %s; allow more errors or give it more validation queries", found)
        return found.threshold

    def guarantee(self, budget: float | None = None, *, confidence: float | None = None, share: float | None = None) -> Guarantee:
        """The lowest threshold at which at most `budget` (a share, e.g. .03) of the answers are wrong, with this confidence.

        For queries like those it was fitted on, a threshold breaks the budget in at most 1 - confidence of all fits,
        provided the budget was not picked by looking at the outcome. share: of queries that nothing answers, where it is expected to be
        another than `self.share`.
        The learning third says where to begin: at the threshold that should keep the budget most clearly. From there lower ones are
        tested in turn by the one-sided Clopper-Pearson bound, until the first one fails. A P that comes from elsewhere counts as
        `pseudo` further tests; where nothing was tested, every single answer must be as sure as the budget wants them on average.
        Raises KgrecError for a budget, confidence or share that is none, and for a share where no query was seen that nothing answers.
        """
        budget, confidence = self.budget if budget is None else budget, self.confidence if confidence is None else confidence
        for name, part in (("budget", budget), ("confidence", confidence)):
            if part is None or not 0 < part < 1:
                raise KgrecError(f"calibration: {name} = {part} is no share between 0 and 1; e.g. a budget of .03, a confidence of .95")
        mix = self.share if share is None else share
        if share is not None and not 0 <= share < 1:
            raise KgrecError(f"calibration: share = {share} of queries that nothing answers is no share; give one from 0 to below 1")
        if self.pseudo and not self.tested:
            return Guarantee(1 - budget, 0, 0, 0, 1.0, mix)
        if share and not self.strangers:
            raise KgrecError(
                f"calibration: no query was seen that nothing answers, so nothing can be said of {share:.0%} of them; "
                "keep some among the validation queries"
            )
        counts, tested = self._mixed(mix or 0.0)
        found = Guarantee(NEVER, 0, 0, tested, 1.0, mix)
        if self.pseudo:  # beyond what was tested P alone speaks
            counts = np.array([[t, 1, 1 - t, 0, 0] for t in BEYOND if t > counts[0, 0]] + counts.tolist())
        for threshold, expected_of, expected, answered, wrong in counts if self.pseudo else counts[_start(counts, budget) :]:
            least = min(UNSURE, self.pseudo) if answered else 0.0  # of what was not tested no share is told
            likely = max(least, self.pseudo * expected / max(expected_of, 1e-9))
            bound = upper_bound(wrong, answered, confidence, likely, self.pseudo - likely)
            if bound > budget and not self.pseudo:
                break
            if bound <= budget:
                found = Guarantee(threshold, round(answered), round(wrong), tested, bound, mix)
        return found

    def _mixed(self, share: float) -> tuple[Floats, int]:
        """(thresholds, 5) counts of a test with so large a share of strangers, and how many queries it has: all, or of those that
        something answers fewer where there are not strangers enough."""
        counts = np.array(self.counts, np.float64)
        if counts.shape[1] == 5 or not self.strangers:
            return counts[:, :5], self.tested
        counts, rate, mine = counts[:, :5], counts[:, 5] / self.strangers, self.share or 0.0
        each = share / (1 - share)  # strangers per query that something answers; those of `self.share` are in what P says
        by_p, wanted = rate * (each - mine / (1 - mine)) * (1 - mine) * counts[-1, 1], each * self.tested
        fewer = min(1.0, self.strangers / wanted) if wanted else 1.0
        counts = counts * [1, 1, 1, fewer, fewer] + np.column_stack([0 * rate, by_p, by_p, *[rate * wanted * fewer] * 2])
        return counts, round((self.tested + wanted) * fewer)

    def strangers_among(self, reached: int, asked: int, threshold: float, confidence: float = 0.95) -> tuple[float, float] | None:
        """Between which shares of the queries asked nothing answers, by how many of them reached this threshold; None = it cannot tell.

        What was tested says how many of either kind reach it; fewer do where more of the queries have no answer.
        """
        at = [row for row in self.counts if row[0] <= threshold + 1e-12]
        if not asked or not self.strangers or not self.tested or not at:
            return None
        inside, outside = at[0][3] / self.tested, at[0][5] / self.strangers
        if inside - outside < TELLS:
            return None
        low, high = 1 - upper_bound(asked - reached, asked, confidence), upper_bound(reached, asked, confidence)
        return tuple(float(np.clip((inside - rate) / (inside - outside), 0, 1)) for rate in (high, low))

    @property
    def answers_from(self) -> float:
        """The threshold of its own budget; 0 without one: everything is answered."""
        return 0.0 if self.budget is None else self.guarantee().threshold

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, state: Any) -> Calibration:
        """Raises KgrecError where the state was not written by `to_json`."""
        try:
            found = cls(**state)
            width = {len(found.mean), len(found.scale), len(found.weights)}
            counts = np.array(found.counts, np.float64)
            knots = [np.array(side, np.float64) for side in found.knots]
            sound = len(width) == 1 and counts.ndim == 2 and counts.shape[1] in (5, 6) and found.method in METHODS
            sound = sound and len(knots) == 2 and len(knots[0]) == len(knots[1]) > 0
            numbers = np.concatenate([found.mean, found.scale, found.weights, [found.bias], *knots, counts.ravel()]).astype(np.float64)
            sound = sound and bool(np.isfinite(numbers).all()) and min(found.scale) > 0
        except (TypeError, ValueError, AttributeError) as error:
            raise KgrecError(f"calibration: the saved state cannot be read ({error}); fit again") from None
        if not sound:
            raise KgrecError("calibration: the saved state is damaged; fit again")
        return found


def calibrate(
    scores: ArrayLike,
    correct: ArrayLike,
    budget: float | None = None,
    *,
    scope: ArrayLike | None = None,
    share: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Calibration:
    """Learn P(correct) and count what thresholds would let through.

    scores: (n, f) features of n answers, or (n,) of one (top score, margin to the second, agreement of channels); must be from
    models that have not learned from these queries (out-of-fold). correct: (n,) bool; an answer to a query that has none is
    wrong. Rows with a score that is not finite count as unanswered. budget: see `Calibration.guarantee`; a warning says where it
    cannot be kept. scope: (n,) bool, whether something answers the query at all; None = all of them. share: of queries that nothing
    answers, among those to come; None = as here. seed: of the drawing.

    Of logistic and isotonic regression, that with the lower cross-validated log loss is taken.
    Raises KgrecError for fewer than 60 usable queries and for shapes that do not fit.
    """
    x, y = _features(scores), np.asarray(correct, bool)
    if y.shape != x.shape[:1]:
        raise KgrecError(f"calibrate: {len(x):,} rows of scores, but `correct` has shape {y.shape}; give one bool per row")
    found = np.isfinite(x).all(1)
    if found.sum() < SMALLEST:
        raise KgrecError(
            f"calibrate: {int(found.sum()):,} answered queries are too few to learn from, at least {SMALLEST} are needed; widen split.validation"
        )
    known = np.ones(len(y), bool) if scope is None else np.asarray(scope, bool)
    third = np.random.default_rng(seed).permutation(len(y)) % 3 == 0
    learn, test = third & found, ~third & found
    fields = fitted(x[learn], y[learn])
    sizes = {"tested": int((~third & known).sum()), "strangers": int((~third & ~known).sum())}
    mix = share if share is not None or known.all() else float(1 - known[~third].mean())
    bare = Calibration(**fields, counts=[[0.0] * 6], **sizes, share=mix, budget=budget, confidence=confidence)
    p, q, strange = (bare.probability(x[part]) for part in (learn, test & known, test & ~known))
    thresholds = np.unique(np.quantile(p, np.linspace(0, 1, GRID), method="lower"))[::-1]
    counts = [[t, *_passed(p, 1 - p, t), *_passed(q, ~y[test & known], t), float((strange >= t).sum())] for t in thresholds.tolist()]
    made = Calibration(**{**bare.to_json(), "counts": counts})
    if budget is not None:
        made.threshold()
    return made


def upper_bound(wrong: float, answered: float, confidence: float, likely_wrong: float = 0, likely_right: float = 0) -> float:
    """One-sided upper confidence bound of a share (Clopper & Pearson 1934); 1 where nothing was answered.

    likely_wrong, likely_right: what is believed beforehand, as so many tests; then it is the upper bound of the posterior.
    """
    from scipy.stats import beta

    if likely_wrong + likely_right:
        return float(beta.ppf(confidence, wrong + likely_wrong + 1e-9, answered - wrong + likely_right + 1e-9))
    return 1.0 if wrong >= answered else float(beta.ppf(confidence, wrong + 1, answered - wrong))


def _start(counts: Floats, budget: float) -> int:
    """Where the distance to the budget is the most standard errors: P speaks for the expected errors, it is less noisy than counts."""
    answered = np.maximum(counts[:, 1], 1)
    return int(np.argmax((budget - counts[:, 2] / answered) * np.sqrt(answered)))


def _features(scores: ArrayLike) -> Floats:
    x = np.asarray(scores, np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or not x.shape[1]:
        raise KgrecError(f"calibration: scores have shape {x.shape}; give (n,) or (n, features)")
    return x


def _passed(p: Floats, wrong: NDArray, threshold: float) -> tuple[float, float]:
    passed = p >= threshold
    return float(passed.sum()), float(wrong[passed].sum())


# --- how good the probabilities are -------------------------------------------------------------------------------------
def auroc(score: ArrayLike, in_scope: ArrayLike) -> float:
    """The chance that a query in scope scores above one out of scope, ties half (Mann-Whitney); NaN where one kind is missing."""
    from scipy.stats import rankdata

    inside = np.asarray(in_scope, bool)
    n, m = int(inside.sum()), int((~inside).sum())
    return float((rankdata(score)[inside].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")

"""How sure a first answer is where few questions or none say so: what other FAQs taught, seen against this one's own questions.

Every known question asks the run without its own entry: how near a wrong entry comes here, by this model, is the scale on which answers
are measured, so a cosine of .8 means what it means among these questions. On that scale one logistic curve holds for FAQs and models that it
has not seen (examples/benchmarks/prior.py). Where known questions have siblings, they ask again without themselves: the curve is then
bent towards what is right here (a Gaussian prior around it), and with 60 of them thresholds are tested on questions whose entry the curve has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kgrec_core.calibration.calibration import GRID, SMALLEST, Calibration
from kgrec_core.calibration.confidence import features, right
from kgrec_core.graph import Ragged
from kgrec_core.interfaces import Hits

Role = Literal["question", "text", "words"]
ROLES: tuple[Role, ...] = ("question", "text", "words")
# (roles of the channels) -> (weights of how near it is and how far ahead, role by role; bias), learned as examples/benchmarks/prior.py does.
CURVES: Mapping[tuple[Role, ...], tuple[tuple[float, ...], float]] = {
    ("question",): ((0.410, 0.917), -0.427),
    ("text",): ((0.183, 0.860), 0.408),
    ("words",): ((0.235, 0.598), -0.025),
    ("question", "text"): ((0.481, 0.810, -0.005, 0.908), -0.260),
    ("question", "words"): ((0.342, 0.915, 0.082, 0.608), -0.632),
    ("text", "words"): ((0.140, 0.784, 0.154, 0.549), 0.085),
    ("question", "text", "words"): ((0.414, 0.829, 0.005, 0.829, 0.047, 0.556), -0.441),
}
LEAST, SIBLINGS = 8, 20  # known questions that make a scale; questions with siblings that bend the curve
FOLDS, TRUST, PSEUDO = 5, 2.0, 40.0  # of entries; of the Gaussian prior, in questions; questions that the curve counts as in a test


def calibrated(
    hits: Hits, targets: Ragged, roles: Mapping[str, Role], again: NDArray[np.bool_], share: float, seed: int = 0
) -> Calibration | None:
    """From known questions, each asked as if it were not known. None where they or their channels are too few.

    hits: what is found for n of them, deeper than there are targets; their columns are channels, without columns it is one channel.
    targets: the entries that they lead to. roles: channel -> what it compares, "" where it is one channel: the query with known questions
    ("question", a cosine), with a candidate's text ("text", a cosine), or their words ("words").
    again: (n,) which of them found their entry honestly: it has other questions, and nothing has learned from this one.
    share: of the questions to come, how many nothing here answers; they look like questions whose entry is taken away.
    """
    found, strange, correct = features(hits), features(without(hits, targets)), right(hits, targets)
    channels, kinds = sorted(hits.columns), {}
    for name in sorted(roles, key=lambda name: (ROLES.index(roles[name]), name)):  # the first channel of a role speaks for it
        kinds.setdefault(roles[name], 2 + 2 * channels.index(name) if name else 0)
    strange = strange[np.isfinite(strange).all(1)]
    if len(strange) < LEAST or not kinds:
        return None
    curve, bias = CURVES[tuple(kinds)]
    columns = [place + n for place in kinds.values() for n in (0, 1)]
    mean, scale, weights = np.zeros(found.shape[1]), np.ones(found.shape[1]), np.zeros(found.shape[1])
    for place in kinds.values():
        mean[place] = np.median(strange[:, place])
        scale[place : place + 2] = max(float(strange[:, place].std()), 1e-6)
    learned, counts, tested = np.array([*curve, bias]), [[0.0] * 6], 0
    again = again & np.isfinite(found).all(1)
    if again.sum() >= SIBLINGS:
        asked, others = (((of - mean) / scale)[:, columns] for of in (found[again], strange))
        learned = _bent(asked, correct[again], others, share, np.array([*curve, bias]))
        if again.sum() >= SMALLEST:
            entry, tested = targets.rows[targets.indptr[:-1][again]], int(again.sum())
            counts = _tested(asked, correct[again], others, entry, share, np.array([*curve, bias]), seed)
    weights[columns] = learned[:-1]
    numbers = {"mean": mean.tolist(), "scale": scale.tolist(), "weights": weights.tolist(), "bias": float(learned[-1])}
    told = {"counts": counts, "tested": tested, "strangers": len(strange) if tested else 0, "share": share, "pseudo": PSEUDO}
    return Calibration(method="logistic", knots=[[0.0], [0.5]], log_loss={}, **numbers, **told)


def without(hits: Hits, targets: Ragged) -> Hits:
    """The hits with each query's targets taken out."""
    n = len(hits.rows)
    width = max(int(hits.rows.max(initial=0)), int(targets.rows.max(initial=0))) + 2
    gone = np.isin(np.arange(n)[:, None] * width + hits.rows, targets.owner * width + targets.rows)
    order = np.argsort(gone, axis=1, kind="stable")

    def moved(values: NDArray, fill: float) -> NDArray:
        return np.take_along_axis(np.where(gone, fill, values), order, 1)

    return Hits(moved(hits.rows, -1), moved(hits.scores, -np.inf), {name: moved(of, np.nan) for name, of in hits.columns.items()})


def _tested(x: NDArray, y: NDArray, strange: NDArray, entry: NDArray, share: float, curve: NDArray, seed: int) -> list[list[float]]:
    """The counts of a Calibration by curves that have not seen a question's entry."""
    from scipy.special import expit

    rng = np.random.default_rng(seed)
    _, number = np.unique(entry, return_inverse=True)
    fold, other = rng.permutation(number.max() + 1)[number] % FOLDS, rng.permutation(len(strange)) % FOLDS
    p, q = np.zeros(len(x)), np.zeros(len(strange))
    for n in range(FOLDS):
        bent = _bent(x[fold != n], y[fold != n], strange[other != n], share, curve)
        p[fold == n], q[other == n] = (expit(of @ bent[:-1] + bent[-1]) for of in (x[fold == n], strange[other == n]))
    thresholds = np.unique(np.quantile(p, np.linspace(0, 1, GRID), method="lower"))[::-1]
    rows = []
    for t in thresholds.tolist():
        passed, out = p >= t, float((q >= t).sum())
        mixed = share / (1 - share) * len(x) / len(strange) * out
        by_p, seen = (passed.sum() + mixed, (1 - p[passed]).sum() + mixed), (passed.sum(), (~y[passed]).sum())
        rows.append([t, *map(float, (*by_p, *seen)), out])
    return rows


def _bent(x: NDArray, y: NDArray, strange: NDArray, share: float, curve: NDArray) -> NDArray[np.float64]:
    """The curve that is most probable by what is right here (y) and what is not (strange), and by what it was elsewhere."""
    from scipy.optimize import minimize
    from scipy.special import expit

    every, is_right = np.vstack([x, strange]), np.concatenate([y, np.zeros(len(strange))])
    weight = np.concatenate([np.ones(len(x)), np.full(len(strange), share / (1 - share) * len(x) / len(strange))])
    trust = np.full(len(curve), TRUST)
    trust[-1] /= 4  # the bias says how many are right, which differs most from FAQ to FAQ

    def loss(now: NDArray) -> tuple[float, NDArray]:
        total, away = every @ now[:-1] + now[-1], now - curve
        slope = weight * (expit(total) - is_right)
        value = (weight * (np.logaddexp(0, total) - is_right * total)).sum() + 0.5 * (trust * away**2).sum()
        return float(value), np.append(every.T @ slope, slope.sum()) + trust * away

    return minimize(loss, curve, jac=True, method="L-BFGS-B").x

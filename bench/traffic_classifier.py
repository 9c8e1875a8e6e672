"""What a classifier learns of topics from sizes and times: gradient boosting or logistic regression, the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SUMS = 8 + 2 * 9  # of the features
FIRST = 110  # reads of an answer that are shown one by one
RESAMPLED = 1000


@dataclass(frozen=True, slots=True)
class Learned:
    """On answers that the classifier was not shown; each with the range of 95 % of resampled test sets."""

    accuracy: tuple[float, float, float]
    auprc: tuple[float, float, float]
    baseline: float  # of both, by guessing
    by: str


def features(seen: Sequence[tuple[float, int]]) -> np.ndarray:
    """Of one answer: counts and sums, the spread of sizes and of gaps, and the first ones in their order."""
    times, sizes = np.array([at for at, _ in seen]), np.array([float(size) for _, size in seen])
    gaps = np.diff(times, prepend=0.0)
    levels = np.linspace(0, 1, 9)
    whole = [len(seen), sizes.sum(), times[-1], times[0], sizes.mean(), sizes.std(), gaps.mean(), gaps.std()]
    spread = [*np.quantile(sizes, levels), *np.quantile(gaps, levels)]
    return np.array([*whole, *spread, *_first(sizes), *_first(gaps)])


def _first(values: np.ndarray) -> np.ndarray:
    shown = np.zeros(FIRST)
    shown[: len(values)] = values[:FIRST]
    return shown


def learned(
    train: Sequence[Sequence[tuple[float, int]]], test: Sequence[Sequence[tuple[float, int]]], topics: Sequence[int]
) -> Learned:
    """Train on the one, test on the other; `topics` (0 or 1) are those of both, in their order."""
    shown, asked = np.array([features(one) for one in train]), np.array([features(one) for one in test])
    right = np.array(topics)
    of_train, of_test = right[: len(train)], right[len(train) :]
    models = {
        "boosting": HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, max_leaf_nodes=7, random_state=0),
        "regression": make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000)),
        "regression on sums": make_pipeline(
            ColumnTransformer([("sums", StandardScaler(), slice(0, SUMS))]), LogisticRegression(max_iter=2000)
        ),
    }
    told = [
        _told(name, model.fit(shown, of_train).predict_proba(asked)[:, 1], of_test) for name, model in models.items()
    ]
    return max(told, key=lambda one: one.auprc[0])


def _told(name: str, said: np.ndarray, right: np.ndarray) -> Learned:
    chance = np.random.default_rng(0)
    accuracies, auprcs = [], []
    for _ in range(RESAMPLED):
        drawn = chance.integers(0, len(right), len(right))
        if 0 < right[drawn].sum() < len(drawn):
            accuracies.append(float(((said[drawn] > 0.5) == right[drawn]).mean()))
            auprcs.append(float(average_precision_score(right[drawn], said[drawn])))
    accuracy = float(((said > 0.5) == right).mean())
    auprc = float(average_precision_score(right, said))
    return Learned(_range(accuracy, accuracies), _range(auprc, auprcs), float(right.mean()), name)


def _range(value: float, resampled: list[float]) -> tuple[float, float, float]:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return round(value, 3), round(float(low), 3), round(float(high), 3)

"""Statistics of the harness: pure functions from samples to intervals and verdicts.

``analyse(results)`` computes everything a report shows. Nothing here reads a clock, a file or the environment.
"""

from crossfade.harness.stats.analysis import (
    Analysis,
    Comparison,
    Curve,
    Ladder,
    Lost,
    RatePoint,
    Summary,
    analyse,
    log_ratios,
    summarise,
)
from crossfade.harness.stats.failures import Failures
from crossfade.harness.stats.latency import Percentiles, distribution, percentiles
from crossfade.harness.stats.lines import Line, fit
from crossfade.harness.stats.pairs import (
    ALPHA,
    Interval,
    Verdict,
    equivalent,
    holm,
    interval,
    midmean,
    p_beyond,
    rounds_needed,
    verdict,
)
from crossfade.harness.stats.shape import Shape, classify
from crossfade.harness.stats.shares import clopper_pearson, sign_test
from crossfade.harness.stats.student import beta_cdf, beta_quantile, t_cdf, t_quantile

__all__ = [
    "ALPHA",
    "Analysis",
    "Comparison",
    "Curve",
    "Failures",
    "Interval",
    "Ladder",
    "Line",
    "Lost",
    "Percentiles",
    "RatePoint",
    "Shape",
    "Summary",
    "Verdict",
    "analyse",
    "beta_cdf",
    "beta_quantile",
    "classify",
    "clopper_pearson",
    "distribution",
    "equivalent",
    "fit",
    "holm",
    "interval",
    "log_ratios",
    "midmean",
    "p_beyond",
    "percentiles",
    "rounds_needed",
    "sign_test",
    "summarise",
    "t_cdf",
    "t_quantile",
    "verdict",
]

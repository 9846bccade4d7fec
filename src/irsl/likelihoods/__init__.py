"""What a response is: the densities of one response given the logit of its item-response curve.

Every likelihood here has the form log f(y | eta) = sum_s T_s(y) A_s(eta) + h(y), with eta = a (theta - b): all that the
calibration engine needs of the data are products with T_s (docs/mathematics.md, section 2).
"""

from irsl.likelihoods.base import ExponentialForm, Likelihood
from irsl.likelihoods.beta import Beta
from irsl.likelihoods.beta_binomial import BetaBinomial
from irsl.likelihoods.binomial import Binomial
from irsl.likelihoods.logit_normal_binomial import LogitNormalBinomial
from irsl.likelihoods.statistics import SufficientStatistics

WITH_PARAMETER: dict[str, type[Likelihood]] = {
    own.name: own for own in (BetaBinomial, LogitNormalBinomial, Beta)
}  # by name, those with a parameter of their own, which a scale keeps under `parameter_name`

__all__ = [
    "WITH_PARAMETER",
    "Beta",
    "BetaBinomial",
    "Binomial",
    "ExponentialForm",
    "Likelihood",
    "LogitNormalBinomial",
    "SufficientStatistics",
]

"""What a response is: the densities of one response given the logit of its item-response curve.

Every likelihood here has the form log f(y | eta) = T(y) A(eta) + n C(eta) + h(y), with eta = a (theta - b): all that
the calibration engine needs of the data are products with T and n (docs/mathematics.md, section 2).
"""

from irsl.likelihoods.base import Likelihood, SufficientStatistics
from irsl.likelihoods.beta import Beta
from irsl.likelihoods.binomial import Binomial

__all__ = ["Beta", "Binomial", "Likelihood", "SufficientStatistics"]

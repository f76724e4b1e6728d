#include "base/student_t.hpp"

#include <cmath>
#include <limits>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// The continued fraction of the incomplete beta function, by Lentz's method (Numerical Recipes, 6.4).
double beta_fraction(double a, double b, double x) {
    constexpr int kMostTerms = 10'000;  // it takes about sqrt(max(a, b)) of them
    constexpr double kTiny = 1e-300;
    constexpr double kPrecision = std::numeric_limits<double>::epsilon();
    const auto kept_from_zero = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
    double c = 1.0;
    double d = 1.0 / kept_from_zero(1.0 - (a + b) * x / (a + 1.0));
    double fraction = d;
    for (int m = 1; m <= kMostTerms; ++m) {
        const double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / kept_from_zero(1.0 + even * d);
        c = kept_from_zero(1.0 + even / c);
        fraction *= d * c;
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / kept_from_zero(1.0 + odd * d);
        c = kept_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if (std::abs(d * c - 1.0) <= kPrecision) break;
    }
    return fraction;
}

/// The regularised incomplete beta function I_x(a, b). @param y  1 - x, which the caller has more exactly
double incomplete_beta(double a, double b, double x, double y) {
    if (x <= 0.0) return 0.0;
    if (y <= 0.0) return 1.0;
    const double front =
        std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log(y));
    if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(a, b, x) / a;
    return 1.0 - front * beta_fraction(b, a, y) / b;
}

/// The share of the distribution beyond t on either side.
double two_tails(double t, double degrees_of_freedom) {
    const double whole = degrees_of_freedom + t * t;
    return incomplete_beta(degrees_of_freedom / 2.0, 0.5, degrees_of_freedom / whole, t * t / whole);
}

}  // namespace

double student_t_quantile(double share, double degrees_of_freedom) {
    if (!(share > 0.0 && share < 1.0)) throw UsageError("a quantile's share lies between 0 and 1");
    if (!(degrees_of_freedom > 0.0) || !std::isfinite(degrees_of_freedom))
        throw UsageError("degrees of freedom are more than 0");
    if (share == 0.5) return 0.0;
    const double wanted = 2.0 * (share < 0.5 ? share : 1.0 - share);
    double low = 0.0, high = 1.0;
    while (std::isfinite(high) && two_tails(high, degrees_of_freedom) > wanted) {
        low = high;
        high *= 2.0;
    }
    for (;;) {  // until low and high are adjacent
        const double middle = low + (high - low) / 2.0;
        if (middle <= low || middle >= high) break;
        (two_tails(middle, degrees_of_freedom) > wanted ? low : high) = middle;
    }
    return share < 0.5 ? -low : low;
}

}  // namespace musicsteer

#include "experiments/calibrate/kl_cap_search.hpp"

#include <algorithm>
#include <cmath>

#include "base/numbers.hpp"

namespace musicsteer {
namespace {

constexpr int kMaxTries = 12;
constexpr double kNearEnough = 0.75;  // of the cap
constexpr double kAimedAt = 0.88;     // of the cap, to land between the two

}  // namespace

KlCapSearch::KlCapSearch(double first_strength, double max_kl_nats)
    : max_kl_nats_(max_kl_nats), next_(first_strength) {}

void KlCapSearch::take(double kl) {
    ++tries_;
    if (kl <= max_kl_nats_) {
        within_ = next_;
        within_kl_ = kl;
        done_ = kl >= kNearEnough * max_kl_nats_;
    } else {
        beyond_ = next_;
        beyond_kl_ = kl;
    }
    done_ = done_ || tries_ >= kMaxTries;
    const double aim = kAimedAt * max_kl_nats_;
    if (beyond_ == 0.0) {
        const double factor = within_kl_ > 0.0 ? std::sqrt(aim / within_kl_) : 10.0;
        next_ = within_ * std::clamp(factor, 1.1, 10.0);
    } else if (within_ == 0.0) {
        next_ = beyond_ * std::clamp(std::sqrt(aim / beyond_kl_), 0.1, 0.7);
    } else {
        next_ = between();
    }
    next_ = rounded_to_digits(next_, kStrengthDigits);
}

/// Where the root of KL, assumed linear, reaches the aim.
double KlCapSearch::between() const {
    double share = 0.5;
    if (std::isfinite(beyond_kl_)) {
        const double low = std::sqrt(within_kl_);
        share = (std::sqrt(kAimedAt * max_kl_nats_) - low) / (std::sqrt(beyond_kl_) - low);
    }
    return within_ + (beyond_ - within_) * std::clamp(share, 0.1, 0.9);
}

}  // namespace musicsteer

#pragma once

#include <limits>

namespace musicsteer {

/// Digits of the strengths that a search tries, so that the strength tried is the one written down.
inline constexpr int kStrengthDigits = 4;

/// Finds, in a few tries, the strength on one side of 0 that costs almost a given KL, but not more: try
/// next(), then report its cost to take(). KL grows about as the square of strength.
class KlCapSearch {
  public:
    /// @param first_strength  its sign is the side
    KlCapSearch(double first_strength, double max_kl_nats);

    bool done() const { return done_; }
    double next() const { return next_; }
    /// @param kl  at next(); infinite if clips failed
    void take(double kl);
    /// The strongest within the cap; 0 if none.
    double edge() const { return within_; }

  private:
    double between() const;

    double max_kl_nats_;
    double next_;
    double within_ = 0.0;
    double within_kl_ = 0.0;
    double beyond_ = 0.0;  ///< 0: none yet
    double beyond_kl_ = std::numeric_limits<double>::infinity();
    int tries_ = 0;
    bool done_ = false;
};

}  // namespace musicsteer

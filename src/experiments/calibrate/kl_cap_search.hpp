#pragma once

#include <limits>

namespace musicsteer {

/// Digits of the strengths that a search tries, so that what is tried is what is written down.
inline constexpr int kStrengthDigits = 4;

/// Finds the strength on one side of 0 that costs nearly, but not more than, a given KL, in a few tries:
/// next() is to be tried, take() tells what it cost. KL grows about as the square of strength.
class KlCapSearch {
  public:
    /// @param first_strength  its sign is the side
    KlCapSearch(double first_strength, double max_kl);

    bool done() const { return done_; }
    double next() const { return next_; }
    /// @param kl  at next(); infinite where clips failed
    void take(double kl);
    /// The strongest that was within the cap; 0 if none was.
    double edge() const { return within_; }

  private:
    double between() const;

    double max_kl_;
    double next_;
    double within_ = 0.0;
    double within_kl_ = 0.0;
    double beyond_ = 0.0;  ///< 0: none yet
    double beyond_kl_ = std::numeric_limits<double>::infinity();
    int tries_ = 0;
    bool done_ = false;
};

}  // namespace musicsteer

#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace musicsteer {

/// How a strength changes along a clip: a factor for each frame position p, where 0 is the start token.
/// It depends only on p, so hooks that are called for several columns, or not at all, do not shift it.
class Schedule {
  public:
    /// Always 1.
    Schedule() = default;
    /// "constant", "decay,FACTOR,FLOOR", "linear,START,END" or "window,FROM,TO,..." @throws UsageError
    static Schedule parse(const std::string& text);

    bool is_constant() const { return kind_ == Kind::kConstant; }
    /// The inverse of parse, with every default.
    std::string text() const;
    /// @param num_frames  N of the clip, over which linear schedules run; later positions count as the last
    double at(std::int64_t position, std::int64_t num_frames, double frame_rate_hz) const;

  private:
    enum class Kind {
        kConstant,
        kDecay,   ///< first_ to the power of p, at least second_
        kLinear,  ///< from first_ at p = 0 to second_ at p = N - 1
        kWindow,  ///< 1 within windows_, 0 elsewhere
    };

    Kind kind_ = Kind::kConstant;
    double first_ = 1.0;
    double second_ = 1.0;
    std::vector<std::pair<double, double>> windows_;  ///< seconds, [from, to)
};

/// Frames drawn at random: each independently with `probability`.
struct RandomFrames {
    double probability = 1.0;
    std::uint64_t seed = 0;

    bool all() const { return probability >= 1.0; }
    /// Frame p is drawn if u(p) < probability, where u(p) is the (p + 1)-th number of SplitMix64 seeded with
    /// `seed`, its upper 53 bits as a fraction.
    bool contains(std::int64_t position) const;
};

/// How strongly a vector steers along a clip.
struct Course {
    Schedule schedule{};
    RandomFrames frames{};
    double ramp_in_s = 0.0;  ///< time over which strength rises from 0 by a raised cosine; 0: at once

    bool is_constant() const { return schedule.is_constant() && frames.all() && ramp_in_s == 0.0; }
    /// The factor of the strength at a position. @param num_frames, frame_rate_hz  as of Schedule::at
    double at(std::int64_t position, std::int64_t num_frames, double frame_rate_hz) const;
};

}  // namespace musicsteer

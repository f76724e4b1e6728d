#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/statistics.hpp"
#include "experiments/measure_target.hpp"

namespace musicsteer {

/// What study and calibrate let steering cost by default, in nats a code (docs/finding-settings.md).
inline constexpr double kDefaultMaxKl = 0.5;

/// Clips come in pairs, unsteered and steered, that share prompt and seed; each pair has a seed of its own.
struct PairRange {
    std::size_t first = 0;
    std::size_t count = 0;
};

/// Measurements on the clips of some pairs with the same steering.
struct Observation {
    std::vector<std::vector<double>> values;  ///< [target][pair]; NaN if the measure is undefined
    std::vector<double> kl;                   ///< [pair] nats a code; infinite if a clip failed
};

/// Makes clips. @param strengths  of each observation, one for each vector
/// @return one observation for each of them, all of the same pairs
using Observe = std::function<std::vector<Observation>(const std::vector<std::vector<double>>& strengths,
                                                       PairRange pairs)>;

/// The effect of steering on one measure.
struct TargetOutcome {
    double unsteered = 0.0;  ///< mean over the pairs' unsteered clips
    double wanted = 0.0;
    Estimate value;             ///< mean over the steered clips
    Estimate change;            ///< (steered - unsteered) / scale
    Estimate gap;               ///< (steered - wanted) / scale
    std::size_t undefined = 0;  ///< pairs left out because the measure is undefined on a clip
};

/// The result of one set of strengths, in the search or the check.
struct CalibrationStep {
    std::string stage;  ///< unsteered, edge, ladder, refine, check
    std::vector<double> strengths;
    std::vector<TargetOutcome> outcomes;  ///< [target]; none for edge, which only measures KL
    double kl_nats = 0.0;
    PairRange pairs;
    std::int64_t expected_clips = 0;  ///< of the whole calibration, as known at that point
};

struct CalibrationOptions {
    double max_kl_nats = kDefaultMaxKl;  ///< cap on the cost, nats a code
    double tolerance = 0.05;             ///< of the measure's scale (measure_target.hpp)
    std::size_t probe_pairs = 8;
    std::size_t coarse_pairs = 16;
    std::size_t pairs = 48;             ///< of the search, initially
    std::size_t max_pairs = 512;        ///< limit of the search; equal to pairs: it never grows
    std::size_t check_pairs = 96;       ///< fewest of the check, which the search never uses
    std::size_t max_check_pairs = 512;  ///< equal to check_pairs: no more, however many the search needed
    int rounds = 4;                     ///< of refinement, for each number of pairs
    double first_strength = 0.05;
    std::function<void(const CalibrationStep&)> on_step;  ///< after each

    /// @throws UsageError
    void validate() const;
    /// Usual number of clips of a search for this many vectors, for showing progress.
    std::int64_t expected_clips(std::size_t vectors) const;
};

struct Calibration {
    std::vector<double> strengths;                  ///< found; if unreachable, the best tried
    std::vector<std::pair<double, double>> ranges;  ///< [vector] strengths within the cap, each alone
    bool reachable = false;                         ///< within the cap, as far as the search can tell
    bool met = false;                               ///< on the pairs of the check, cap included
    bool unsure = false;                            ///< not missed, but an interval is too wide to tell
    CalibrationStep searched;                       ///< at the best strengths of the search
    CalibrationStep checked;                        ///< on held-out pairs; empty if unreachable
    Estimate checked_kl;
    std::vector<CalibrationStep> steps;  ///< all results, in order
};

/// Finds the strengths at which the measures' means meet their targets, under a cap on KL.
///
/// First it finds, for each vector and sign, the strength that uses up the cap. Then it measures the dose
/// response of each vector alone on a ladder of strengths between these edges, made monotone for its own
/// target. The strengths are solved for jointly, tried on all pairs of the search, and corrected by the
/// results, a few times. If chance alone could move the results by more than the tolerance allows, this is
/// repeated with as many pairs as needed, up to max_pairs. The result is checked once, on as many pairs (from
/// max_pairs on) that the search never used.
/// @throws UsageError; @throws InputError if a measure is undefined on most clips
Calibration calibrate(const std::vector<MeasureTarget>& targets, const CalibrationOptions& options,
                      const Observe& observe);

}  // namespace musicsteer

#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>

#include "directions/direction_methods.hpp"

namespace musicsteer {

/// Cohen's d with the pooled standard deviation; 0 if it is undefined (one value a side, no spread).
/// @param positive  [n] float64 @param negative  [m] float64
double cohens_d(const at::Tensor& positive, const at::Tensor& negative);

/// Mean silhouette coefficient (Rousseeuw 1987) of two groups of numbers: 1 far apart, 0 on top of each
/// other, below 0 mixed up. A group of one counts as 0. @param positive  [n] float64 @param negative  [m]
/// float64
double silhouette(const at::Tensor& positive, const at::Tensor& negative);

/// How well a direction separates prompts that it was not fitted to.
struct HeldOutStatistics {
    double cohens_d = 0.0;
    double silhouette = 0.0;
    double accuracy = 0.0;    ///< share on the right side of the middle between the other prompts' means
    std::optional<double> r;  ///< Pearson's, with the prompts' numbers; only if there are numbers that differ
};

/// Leaves out prompt i of both sides (they share a seed, and a sentence if they are paired), fits to the
/// rest, and projects the left-out prompts on the direction, measured from the middle between the means of
/// the rest. In sample, a direction would separate even noise: with 100 prompts a side and 1024 numbers each,
/// Cohen's d is 4.5.
/// @param fit  maps a training set to a direction [D] of length 1
/// @return nothing if a side has one prompt only
std::optional<HeldOutStatistics> leave_one_out(const TrainingSet& set,
                                               const std::function<at::Tensor(const TrainingSet&)>& fit);

}  // namespace musicsteer

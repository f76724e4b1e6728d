#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "directions/directions.hpp"

namespace musicsteer {

/// How a direction is found from pooled activations.
enum class DirectionMethod {
    kMeanDiff,   ///< difference of the sides' means (Facchiano et al., arXiv 2504.04479)
    kPca,        ///< first principal component of the pairs' differences (repeng's pca_diff)
    kPcaCenter,  ///< the same without taking out the mean difference (repeng's pca_center)
    kLogistic,   ///< weights of a logistic probe with an L2 penalty (Panda et al., arXiv 2506.10225)
    kRidge,      ///< weights of a ridge regression on the prompts' numbers
    kRfm,        ///< top eigenvector of a recursive feature machine's AGOP (MusicRFM, arXiv 2510.19127)
    kRandom,     ///< a random direction: the control
};
/// "mean-diff", "pca", "pca-center", "logistic", "ridge", "rfm", "random". @throws UsageError
DirectionMethod parse_direction_method(const std::string& name);
std::string to_text(DirectionMethod method);

struct MethodOptions {
    DirectionMethod method = DirectionMethod::kMeanDiff;
    /// Of logistic (scikit-learn's 1 / C), ridge (its alpha), rfm (added to the kernel's diagonal). The
    /// default depends on the method.
    std::optional<double> regularization;
    std::int64_t rfm_iterations = 5;
    double rfm_bandwidth = 1.0;     ///< of the kernel, in median distances between prompts
    std::uint64_t random_seed = 0;  ///< of kRandom

    /// @throws UsageError
    void validate() const;
    bool is_regularized() const;
    double effective_regularization() const;
    /// The method's settings, as JSON for a file's metadata; "" for mean-diff, which has no settings.
    std::string settings_json() const;
};

/// Activations that a direction is fitted to, at one hook point.
struct TrainingSet {
    at::Tensor positive;         ///< [n, D] float64, one row for each prompt
    at::Tensor negative;         ///< [m, D] float64
    at::Tensor positive_values;  ///< [n] float64, or undefined
    at::Tensor negative_values;  ///< [m] float64, or undefined
    bool paired = false;         ///< row i of one side belongs with row i of the other

    bool has_values() const { return positive_values.defined(); }
};

/// @throws UsageError if the method needs pairs, numbers or more prompts than there are. Call it before
/// anything is generated.
void check_usable(const MethodOptions& options, const PromptRelations& relations, std::int64_t positives,
                  std::int64_t negatives);

/// The direction of length 1 that points from the negative side to the positive one, or from small numbers
/// to large ones; zeros if the activations don't differ. Not for kRandom.
/// @return [D] float64
at::Tensor fit_direction(const TrainingSet& set, const MethodOptions& options);

/// The direction by any method except kRandom, scaled to the norm of the difference in means, with its
/// statistics. @throws InputError if activations are not finite or give no direction; UsageError
Direction find_direction(const PooledSide& positive, const PooledSide& negative,
                         const PromptRelations& relations, const MethodOptions& options);

/// The statistics of a vector that was not fitted to these activations, so nothing is held out.
/// @param vector  [D] float32
DirectionStats direction_statistics_of(const at::Tensor& vector, const PooledSide& positive,
                                       const PooledSide& negative, const PromptRelations& relations);

}  // namespace musicsteer

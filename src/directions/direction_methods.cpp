#include "directions/direction_methods.hpp"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "directions/direction_fits.hpp"
#include "directions/direction_statistics.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::array<std::pair<DirectionMethod, const char*>, 7> kMethods = {{
    {DirectionMethod::kMeanDiff, "mean-diff"},
    {DirectionMethod::kPca, "pca"},
    {DirectionMethod::kPcaCenter, "pca-center"},
    {DirectionMethod::kLogistic, "logistic"},
    {DirectionMethod::kRidge, "ridge"},
    {DirectionMethod::kRfm, "rfm"},
    {DirectionMethod::kRandom, "random"},
}};

at::Tensor stacked(const TrainingSet& set) {
    return at::cat({set.positive, set.negative});
}

/// 1 for each positive prompt, -1 for each negative one.
at::Tensor labels_of(const TrainingSet& set) {
    return at::cat(
        {at::ones({set.positive.size(0)}, at::kDouble), at::full({set.negative.size(0)}, -1.0, at::kDouble)});
}

at::Tensor values_of(const TrainingSet& set) {
    return at::cat({set.positive_values, set.negative_values});
}

at::Tensor mean_difference(const TrainingSet& set) {
    return set.positive.mean(0) - set.negative.mean(0);
}

/// Eigenvectors have no definite sign.
at::Tensor pointing_along(const at::Tensor& direction, const at::Tensor& guide) {
    return direction.dot(guide).item<double>() < 0.0 ? -direction : direction;
}

at::Tensor pair_component(const TrainingSet& set, bool centred) {
    at::Tensor differences = set.positive - set.negative;
    if (centred) differences = differences - differences.mean(0);
    return pointing_along(first_component(differences), mean_difference(set));
}

at::Tensor rfm_direction(const TrainingSet& set, const MethodOptions& options) {
    const at::Tensor targets = set.has_values() ? values_of(set) : labels_of(set);
    const at::Tensor rows = centred_and_scaled(stacked(set));
    const at::Tensor component = rfm_component(
        rows, targets, {options.effective_regularization(), options.rfm_bandwidth, options.rfm_iterations});
    return pointing_along(component, rows.t().matmul(targets - targets.mean()));
}

/// The same set in coordinates of the space that its rows span, with the mean row as origin. Fits and
/// projections are the same there, and cheaper if there are fewer rows than D.
struct CompactSet {
    TrainingSet set;
    at::Tensor basis;  ///< [D, at most n + m], orthonormal columns
};

CompactSet compact(const TrainingSet& set) {
    at::Tensor rows = stacked(set);
    rows = rows - rows.mean(0);
    CompactSet result{set, at::Tensor()};
    if (rows.size(0) < rows.size(1)) {
        const auto [basis, triangle] = at::linalg_qr(rows.t(), "reduced");
        result.basis = basis;
        rows = triangle.t().contiguous();
    } else {
        result.basis = at::eye(rows.size(1), at::kDouble);
    }
    result.set.positive = rows.narrow(0, 0, set.positive.size(0));
    result.set.negative = rows.narrow(0, set.positive.size(0), set.negative.size(0));
    return result;
}

void check_count(const std::vector<double>& values, const PooledSide& side) {
    if (static_cast<std::int64_t>(values.size()) == side.means.size(0)) return;
    throw InputError("expected a number for each of " + std::to_string(side.means.size(0)) +
                     " prompts, found " + std::to_string(values.size()));
}

TrainingSet training_set(const PooledSide& positive, const PooledSide& negative,
                         const PromptRelations& relations) {
    TrainingSet set;
    set.positive = positive.means.to(at::kDouble);
    set.negative = negative.means.to(at::kDouble);
    set.paired = relations.paired && set.positive.size(0) == set.negative.size(0);
    if (relations.has_values()) {
        check_count(relations.positive_values, positive);
        check_count(relations.negative_values, negative);
        set.positive_values = at::tensor(relations.positive_values, at::kDouble);
        set.negative_values = at::tensor(relations.negative_values, at::kDouble);
    }
    return set;
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
    return normalized(a.to(at::kDouble)).dot(normalized(b.to(at::kDouble))).item<double>();
}

void add_held_out(DirectionStats& stats, const std::optional<HeldOutStatistics>& held_out) {
    if (!held_out) return;
    stats.cohens_d = held_out->cohens_d;
    stats.silhouette = held_out->silhouette;
    stats.accuracy = held_out->accuracy;
    stats.r = held_out->r;
}

at::Tensor fitted(const TrainingSet& set, const MethodOptions& options) {
    switch (options.method) {
        case DirectionMethod::kMeanDiff:
            return normalized(mean_difference(set));
        case DirectionMethod::kPca:
            return pair_component(set, /*centred=*/true);
        case DirectionMethod::kPcaCenter:
            return pair_component(set, /*centred=*/false);
        case DirectionMethod::kLogistic:
            return normalized(
                logistic_weights(stacked(set), labels_of(set), options.effective_regularization()));
        case DirectionMethod::kRidge:
            return normalized(
                ridge_weights(stacked(set), values_of(set), options.effective_regularization()));
        case DirectionMethod::kRfm:
            return rfm_direction(set, options);
        case DirectionMethod::kRandom:
            break;
    }
    throw UsageError("a random direction is not fitted to anything");
}

void check_values(const PromptRelations& relations) {
    std::vector<double> all = relations.positive_values;
    all.insert(all.end(), relations.negative_values.begin(), relations.negative_values.end());
    const auto [least, most] = std::minmax_element(all.begin(), all.end());
    if (*least == *most)
        throw UsageError("the prompts' numbers are all the same, so there is nothing to fit");
}

}  // namespace

DirectionMethod parse_direction_method(const std::string& name) {
    std::vector<std::string> names;
    for (const auto& [method, known] : kMethods) {
        if (name == known) return method;
        names.emplace_back(known);
    }
    std::string list;
    for (const std::string& known : names) list += (list.empty() ? "" : ", ") + known;
    throw UsageError("unknown method " + in_quotes(name) + " (known: " + list + ")" +
                     did_you_mean(name, names));
}

std::string to_text(DirectionMethod method) {
    for (const auto& [known, name] : kMethods)
        if (known == method) return name;
    throw UsageError("unknown method");
}

bool MethodOptions::is_regularized() const {
    return method == DirectionMethod::kLogistic || method == DirectionMethod::kRidge ||
           method == DirectionMethod::kRfm;
}

double MethodOptions::effective_regularization() const {
    if (regularization) return *regularization;
    if (method == DirectionMethod::kRfm) return 1e-3;
    return method == DirectionMethod::kRidge ? 0.5 : 0.01;
}

void MethodOptions::validate() const {
    constexpr std::int64_t kMaxIterations = 100;
    if (regularization && !(*regularization > 0.0 && std::isfinite(*regularization)))
        throw UsageError("regularization must be a number above 0");
    if (rfm_iterations < 1 || rfm_iterations > kMaxIterations) {
        throw UsageError("rfm iterations: expected 1 to " + std::to_string(kMaxIterations) + ", found " +
                         std::to_string(rfm_iterations));
    }
    if (!(rfm_bandwidth > 0.0 && std::isfinite(rfm_bandwidth)))
        throw UsageError("rfm bandwidth must be a number above 0");
}

std::string MethodOptions::settings_json() const {
    if (method == DirectionMethod::kMeanDiff) return "";
    nlohmann::json settings = nlohmann::json::object();
    if (is_regularized()) settings["regularization"] = effective_regularization();
    if (method == DirectionMethod::kRfm) {
        settings["iterations"] = rfm_iterations;
        settings["bandwidth"] = rfm_bandwidth;
    }
    if (method == DirectionMethod::kRandom) settings["seed"] = random_seed;
    return settings.dump();
}

void check_usable(const MethodOptions& options, const PromptRelations& relations, std::int64_t positives,
                  std::int64_t negatives) {
    options.validate();
    const std::string name = to_text(options.method);
    if (options.method == DirectionMethod::kPca || options.method == DirectionMethod::kPcaCenter) {
        if (!relations.paired) {
            throw UsageError("method " + name +
                             " needs paired prompts: a prompt set with \"pairing\": \"index\"");
        }
        if (positives != negatives || positives < 2) {
            throw UsageError("method " + name + " needs at least 2 pairs, found " +
                             std::to_string(positives) + " and " + std::to_string(negatives) + " prompts");
        }
    }
    if (options.method == DirectionMethod::kRidge) {
        if (!relations.has_values()) {
            throw UsageError(
                "method ridge needs a number for every prompt (\"value\" in the prompt set), "
                "or recordings with --value");
        }
        check_values(relations);
    }
    if (options.method == DirectionMethod::kRfm && relations.has_values()) check_values(relations);
}

at::Tensor fit_direction(const TrainingSet& set, const MethodOptions& options) {
    try {
        return fitted(set, options);
    } catch (const c10::Error&) {
        throw ModelError("method " + to_text(options.method) +
                         ": the equations have no solution; more regularization may help");
    }
}

Direction find_direction(const PooledSide& positive, const PooledSide& negative,
                         const PromptRelations& relations, const MethodOptions& options) {
    Direction direction = difference_in_means(positive, negative);
    check_usable(options, relations, positive.means.size(0), negative.means.size(0));
    const TrainingSet whole = training_set(positive, negative, relations);
    const CompactSet small = compact(whole);
    const auto fit = [&](const TrainingSet& set) { return fit_direction(set, options); };
    DirectionStats& stats = direction.stats;
    stats.cosine_to_mean_diff = stats.norm > 0.0 ? 1.0 : 0.0;
    if (options.method != DirectionMethod::kMeanDiff) {
        const at::Tensor unit = small.basis.matmul(fit(small.set));
        if (!(unit.norm().item<double>() > 0.0)) {
            throw InputError("method " + to_text(options.method) +
                             " finds no direction: the activations do not differ");
        }
        const at::Tensor difference = mean_difference(whole);
        stats.cosine_to_mean_diff = cosine(unit, difference);
        direction.vector = (unit * stats.norm).to(at::kFloat);
        stats.effect_size = cohens_d(whole.positive.matmul(unit), whole.negative.matmul(unit));
    }
    add_held_out(stats, leave_one_out(small.set, fit));
    return direction;
}

DirectionStats direction_statistics_of(const at::Tensor& vector, const PooledSide& positive,
                                       const PooledSide& negative, const PromptRelations& relations) {
    const Direction difference = difference_in_means(positive, negative);
    const TrainingSet set = training_set(positive, negative, relations);
    const at::Tensor unit = normalized(vector.to(at::kDouble));
    DirectionStats stats;
    stats.norm = vector.to(at::kDouble).norm().item<double>();
    stats.mean_residual_norm = difference.stats.mean_residual_norm;
    stats.effect_size = cohens_d(set.positive.matmul(unit), set.negative.matmul(unit));
    stats.cosine_to_mean_diff = cosine(unit, difference.vector);
    add_held_out(stats, leave_one_out(set, [&](const TrainingSet&) { return unit; }));
    return stats;
}

at::Tensor normalized(const at::Tensor& vector) {
    const double norm = vector.norm().item<double>();
    return norm > 0.0 ? vector / norm : at::zeros_like(vector);
}

at::Tensor centred_and_scaled(const at::Tensor& rows) {
    const at::Tensor centred = rows - rows.mean(0);
    const double length = centred.square().sum(1).mean().sqrt().item<double>();
    return length > 0.0 ? centred / length : centred;
}

}  // namespace musicsteer

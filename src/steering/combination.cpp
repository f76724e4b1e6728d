#include "steering/combination.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "base/numbers.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr double kNegligible = 1e-6;  // share of a vector's length that rounding leaves of one in the span

std::string cosine_text(double cosine) {
    return to_text(std::round(cosine * 1000.0) / 1000.0);
}

/// Orthonormal basis of everything injected at one hook point so far, [D] float64.
using Basis = std::vector<at::Tensor>;

at::Tensor without_span(const at::Tensor& vector, const Basis& basis) {
    at::Tensor rest = vector;
    for (const at::Tensor& axis : basis) rest = rest - rest.dot(axis) * axis;
    return rest;
}

void orthogonalize(Injection& injection, const at::Tensor& rest, double length, const std::string& name) {
    const double share = rest.norm().item<double>() / length;  // the sine of the angle to the span
    const double cosine = std::sqrt(std::max(0.0, 1.0 - share * share));
    if (cosine > kNearlyParallel) {
        throw UsageError(name + ": hardly anything is left of it at " + injection.point.name() +
                         " once it is orthogonalized to the vectors before it (cosine " +
                         cosine_text(cosine) + ", more than 0.95): leave one out");
    }
    if (injection.mask.defined() &&
        rest.masked_select(injection.mask.logical_not()).abs().sum().item<double>() > 0.0) {
        throw UsageError(name + ": orthogonalized, it would spread to other heads at " +
                         injection.point.name() + ": choose the same heads for both vectors");
    }
    injection.vector = rest.to(at::kFloat);
}

double cosine_of(const at::Tensor& a, const at::Tensor& b) {
    const double lengths = a.norm().item<double>() * b.norm().item<double>();
    return lengths == 0.0 ? 0.0 : a.dot(b).item<double>() / lengths;
}

std::map<HookPoint, const Injection*> by_point(const SteeringPlan& plan) {
    std::map<HookPoint, const Injection*> injections;
    for (const Injection& injection : plan) injections[injection.point] = &injection;
    return injections;
}

}  // namespace

SteeringPlan combine_parts(std::span<const ResolvedSteering> parts) {
    SteeringPlan combined;
    std::map<HookPoint, Basis> bases;
    for (const ResolvedSteering& part : parts) {
        for (Injection injection : part.plan) {
            Basis& basis = bases[injection.point];
            const at::Tensor vector = injection.vector.to(at::kDouble);
            const double length = vector.norm().item<double>();
            const at::Tensor rest = without_span(vector, basis);
            if (part.setting.orthogonalize.value_or(false) && !basis.empty() && length > 0.0)
                orthogonalize(injection, rest, length, part.setting.file);
            const double left = rest.norm().item<double>();
            if (left > kNegligible * length) basis.push_back(rest / left);
            combined.push_back(std::move(injection));
        }
    }
    return combined;
}

std::vector<ParallelParts> find_parallel_parts(std::span<const ResolvedSteering> parts) {
    std::vector<ParallelParts> found;
    for (std::size_t j = 1; j < parts.size(); ++j) {
        const auto later = by_point(parts[j].plan);
        for (std::size_t i = 0; i < j; ++i) {
            ParallelParts pair{i, j};
            for (const auto& [point, injection] : by_point(parts[i].plan)) {
                const auto other = later.find(point);
                if (other == later.end() || parts[j].setting.orthogonalize.value_or(false)) continue;
                const double cosine = cosine_of(injection->vector, other->second->vector);
                if (std::abs(cosine) <= kNearlyParallel) continue;
                ++pair.places;
                if (std::abs(cosine) <= std::abs(pair.cosine)) continue;
                pair.point = point;
                pair.cosine = cosine;
            }
            if (pair.places > 0) found.push_back(pair);
        }
    }
    return found;
}

}  // namespace musicsteer

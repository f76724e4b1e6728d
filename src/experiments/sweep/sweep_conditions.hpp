#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bundle/manifest.hpp"
#include "experiments/sweep/sweep_plan.hpp"

namespace musicsteer {

/// The grid of a request's steering axes, resolved against its vector files: each way of steering once, in
/// the order vectors, strategies, source layers, layers, sites, rows, units.
///
/// What an item of the layers axis means, by strategy:
///   per-layer   each of its layers gets its own vector; `all` is every layer that has one
///   one-to-all  the source layer's vector goes into all of its layers
///   single      one layer at a time: an item with several layers gives a condition for each
/// Source layers do not concern per-layer.
/// @throws UsageError, InputError
std::vector<SweepCondition> resolve_conditions(const SweepRequest& request, const Manifest& manifest,
                                               const std::function<void(const std::string&)>& on_warning);

}  // namespace musicsteer

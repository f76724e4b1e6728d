#pragma once

#include <span>
#include <vector>

#include "generation/generation_session.hpp"
#include "steering/applied_vector.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer {

/// A section of a steering file with its vector files, read.
struct AppliedSection {
    SteeringSection section;  ///< once it is resolved, its settings say all that was decided
    std::vector<AppliedVector> vectors;
};

/// @throws InputError, UsageError as load_vectors
std::vector<AppliedSection> load_sections(const std::vector<SteeringSection>& sections);
/// Holds them to the model, as resolve_vectors does.
void resolve_sections(std::vector<AppliedSection>& sections, const Manifest& manifest,
                      const OnWarning& on_warning);
/// What a session makes of resolved sections.
std::vector<RequestSection> request_sections(std::span<const AppliedSection> sections,
                                             const Manifest& manifest);
std::vector<RequestSection> without_steering(std::vector<RequestSection> sections);
/// What is left to say of them where nothing is steered: prompts.
std::vector<SteeringSection> without_steering(std::vector<SteeringSection> sections);

}  // namespace musicsteer

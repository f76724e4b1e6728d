#pragma once

#include <span>
#include <vector>

#include "generation/generation_session.hpp"
#include "steering/applied_vector.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer {

/// A section of a steering file with its vector files loaded.
struct AppliedSection {
    SteeringSection section;  ///< after resolving, its settings have every default filled in
    std::vector<AppliedVector> vectors;
};

/// @throws InputError, UsageError as load_vectors
std::vector<AppliedSection> load_sections(const std::vector<SteeringSection>& sections);
/// Resolves them for the model, as resolve_vectors does.
void resolve_sections(std::vector<AppliedSection>& sections, const Manifest& manifest,
                      const OnWarning& on_warning);
/// The session's form of resolved sections.
std::vector<RequestSection> request_sections(std::span<const AppliedSection> sections,
                                             const Manifest& manifest);
std::vector<RequestSection> without_steering(std::vector<RequestSection> sections);
/// The same without steering, for unsteered clips: only prompts are left.
std::vector<SteeringSection> without_steering(std::vector<SteeringSection> sections);

}  // namespace musicsteer

#include "steering/sections.hpp"

namespace musicsteer {

std::vector<AppliedSection> load_sections(const std::vector<SteeringSection>& sections) {
    std::vector<AppliedSection> applied;
    for (const SteeringSection& section : sections)
        applied.push_back({section, load_vectors(section.steering.value_or(std::vector<SteeringSetting>()))});
    return applied;
}

void resolve_sections(std::vector<AppliedSection>& sections, const Manifest& manifest,
                      const OnWarning& on_warning) {
    for (AppliedSection& applied : sections) {
        resolve_vectors(applied.vectors, manifest, on_warning);
        if (!applied.section.steering) continue;
        applied.section.steering->clear();
        for (const AppliedVector& vector : applied.vectors)
            applied.section.steering->push_back(vector.resolved.setting);
    }
}

std::vector<RequestSection> request_sections(std::span<const AppliedSection> sections,
                                             const Manifest& manifest) {
    std::vector<RequestSection> requests;
    for (const AppliedSection& applied : sections) {
        RequestSection& request = requests.emplace_back();
        request.first_frame = manifest.frames_of(applied.section.at_s);
        request.prompt = applied.section.prompt;
        if (applied.section.steering) request.steering = combined_plan(applied.vectors);
    }
    return requests;
}

std::vector<RequestSection> without_steering(std::vector<RequestSection> sections) {
    for (RequestSection& section : sections) section.steering.reset();
    return sections;
}

std::vector<SteeringSection> without_steering(std::vector<SteeringSection> sections) {
    std::erase_if(sections, [](const SteeringSection& section) { return !section.prompt; });
    for (SteeringSection& section : sections) section.steering.reset();
    return sections;
}

}  // namespace musicsteer

#include "steering/applied_vector.hpp"

#include <cmath>

#include "base/numbers.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"
#include "steering/combination.hpp"

namespace musicsteer {
namespace {

/// A file named by a steering file must be the one it was made with.
void check_sha256(const SteeringSetting& setting, const std::string& file, const std::string& expected,
                  const std::string& found) {
    if (expected.empty() || expected == found) return;
    throw InputError(file + " is not the vector file that " +
                     (setting.origin ? setting.origin->path : std::string("it")) +
                     " was made with (its SHA-256 differs): restore that file, or make the other again");
}

/// Runs `action`. If the setting came from a file, errors name that file.
template <typename Action>
void naming_origin(const SteeringSetting& setting, Action action) {
    if (!setting.origin) return action();
    try {
        action();
    } catch (const Error& error) {
        throw InputError(setting.origin->path + ": " + error.what());
    }
}

void warn_of_alpha(const SteeringSetting& setting, const OnWarning& on_warning) {
    if (!setting.alpha || !setting.alpha_range || setting.alpha_range->contains(*setting.alpha)) return;
    on_warning("alpha " + to_text(*setting.alpha) + " is outside the range that " + setting.origin->path +
               " recommends, " + to_text(setting.alpha_range->low) + " to " +
               to_text(setting.alpha_range->high));
}

std::vector<ResolvedSteering> parts_of(const std::vector<AppliedVector>& vectors) {
    std::vector<ResolvedSteering> parts;
    for (const AppliedVector& vector : vectors) parts.push_back(vector.resolved);
    return parts;
}

void warn_of_parallel_vectors(const std::vector<AppliedVector>& vectors, const OnWarning& on_warning) {
    const std::vector<ResolvedSteering> parts = parts_of(vectors);
    for (const ParallelParts& pair : find_parallel_parts(parts)) {
        const std::string count =
            pair.places > 1 ? std::to_string(pair.places) + " hook points, such as " : "";
        on_warning(parts[pair.first].setting.file + " and " + parts[pair.second].setting.file + " nearly " +
                   (pair.cosine > 0 ? "coincide" : "oppose") + " at " + count + pair.point.name() +
                   " (cosine " + to_text(rounded_to_digits(pair.cosine, 3)) +
                   "): what one does, the other does " + (pair.cosine > 0 ? "as well" : "backwards"));
    }
}

}  // namespace

AppliedVector AppliedVector::load(const SteeringSetting& asked) {
    if (asked.alpha && !std::isfinite(*asked.alpha)) throw UsageError("alpha must be a finite number");
    AppliedVector vector;
    vector.setting = asked;
    SteeringSetting& setting = vector.setting;
    naming_origin(setting, [&] {
        vector.vectors = VectorFile::load(setting.file);
        const std::string sha256 = sha256_of_file(setting.file);
        check_sha256(setting, setting.file, setting.sha256, sha256);
        setting.sha256 = sha256;
        if (!setting.gate) return;
        vector.gate_vectors = VectorFile::load(setting.gate->file);
        const std::string gate_sha256 = sha256_of_file(setting.gate->file);
        check_sha256(setting, setting.gate->file, setting.gate->sha256, gate_sha256);
        setting.gate->sha256 = gate_sha256;
    });
    return vector;
}

void AppliedVector::resolve(const Manifest& manifest) {
    naming_origin(setting, [&] {
        vectors.check_fits(manifest, setting.file);
        std::optional<Gate> gate;
        if (setting.gate) {
            gate_vectors->check_fits(manifest, setting.gate->file);
            gate = setting.gate->with_direction(*gate_vectors, manifest.decoder.num_layers);
        }
        resolved = resolve_steering(vectors, setting, manifest.decoder, gate);
    });
}

std::vector<AppliedVector> load_vectors(const std::vector<SteeringSetting>& settings) {
    std::vector<AppliedVector> vectors;
    for (const SteeringSetting& setting : settings) vectors.push_back(AppliedVector::load(setting));
    return vectors;
}

std::vector<std::string> vector_files(const std::vector<AppliedVector>& vectors) {
    std::vector<std::string> files;
    for (const AppliedVector& vector : vectors) {
        files.push_back(vector.setting.file);
        if (vector.setting.gate) files.push_back(vector.setting.gate->file);
    }
    return files;
}

void warn_of_other_weights(const AppliedVector& vector, const Manifest& manifest,
                           const OnWarning& on_warning) {
    const std::optional<SettingOrigin>& origin = vector.setting.origin;
    if (origin && !origin->weights_sha256.empty() && origin->weights_sha256 != manifest.weights_sha256) {
        on_warning(
            origin->path + " was found on other weights (" + origin->model_name + ") than this model's (" +
            manifest.model_name +
            "): its strengths may mean nothing here; `musicsteer inspect BUNDLE --base BUNDLE` says how "
            "far two models' weights differ");
    } else if (!vector.vectors.same_weights(manifest)) {
        on_warning(
            vector.setting.file + " was extracted from other weights (" +
            vector.vectors.provenance.model_name + ") than this model's (" + manifest.model_name +
            "): its directions may mean nothing here; `musicsteer inspect BUNDLE --base BUNDLE` says how "
            "far two models' weights differ");
    }
}

void warn_of_strength(const AppliedVector& vector, const OnWarning& on_warning) {
    constexpr double kMaxPush = 10.0;  // in mean residual norms; useful strengths are below 1
    bool any = false;
    double most = 0.0;
    std::int64_t layer = 0;
    for (const Injection& injection : vector.resolved.plan) {
        const double norm = injection.vector.norm().item<double>();
        any = any || norm > 0.0;
        const bool adds = injection.mode == SteeringMode::kAdd || injection.mode == SteeringMode::kAddRenorm;
        const auto stats = vector.vectors.stats.find(injection.point.name());
        if (!adds || stats == vector.vectors.stats.end() || !(stats->second.mean_residual_norm > 0.0))
            continue;
        const double push = std::abs(injection.strength) * norm / stats->second.mean_residual_norm;
        if (push <= most) continue;
        most = push;
        layer = injection.point.layer();
    }
    const std::string& file = vector.setting.file;
    if (!any) on_warning(file + ": its vectors are zero: they steer nothing");
    if (most <= kMaxPush) return;
    on_warning(file + ": alpha " + to_text(*vector.resolved.setting.alpha) + " pushes layer " +
               std::to_string(layer) + " by " + to_text(rounded_to_digits(most, 2)) +
               " times its mean activation norm: expect noise");
}

void resolve_vectors(std::vector<AppliedVector>& vectors, const Manifest& manifest,
                     const OnWarning& on_warning) {
    for (AppliedVector& vector : vectors) {
        vector.resolve(manifest);
        warn_of_other_weights(vector, manifest, on_warning);
        warn_of_alpha(vector.setting, on_warning);
        warn_of_strength(vector, on_warning);
    }
    warn_of_parallel_vectors(vectors, on_warning);
}

SteeringPlan combined_plan(const std::vector<AppliedVector>& vectors) {
    return combine_parts(parts_of(vectors));
}

}  // namespace musicsteer

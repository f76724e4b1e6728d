#include "applied_vectors.hpp"

#include <cmath>

#include "base/errors.hpp"
#include "base/logging.hpp"
#include "base/numbers.hpp"
#include "io/sha256.hpp"
#include "steering/steering_combination.hpp"

namespace musicsteer::cli {
namespace {

/// A file that a preset or steering file names must be the one that it was made with.
void check_sha256(const SteerSetting& setting, const std::string& file, const std::string& expected,
                  const std::string& found) {
    if (expected.empty() || expected == found) return;
    throw InputError(file + " is not the vector file that " +
                     (setting.origin ? setting.origin->path : std::string("it")) +
                     " was made with (its SHA-256 differs): restore that file, or make the other again");
}

void load_vector(AppliedVector& vector) {
    SteerSetting& setting = vector.setting;
    try {
        vector.vectors = VectorFile::load(setting.file);
        vector.sha256 = sha256_of_file(setting.file);
        check_sha256(setting, setting.file, setting.sha256.value_or(""), vector.sha256);
        if (!setting.gate) return;
        vector.gate_vectors = VectorFile::load(setting.gate->file);
        const std::string sha256 = sha256_of_file(setting.gate->file);
        check_sha256(setting, setting.gate->file, setting.gate->sha256, sha256);
        setting.gate->sha256 = sha256;
    } catch (const InputError& error) {
        if (!setting.origin) throw;
        throw InputError(setting.origin->path + ": " + error.what());
    }
}

void warn_of_other_weights(const AppliedVector& vector, const Manifest& manifest) {
    const std::optional<SettingOrigin>& origin = vector.setting.origin;
    if (origin && !origin->weights_sha256.empty() && origin->weights_sha256 != manifest.weights_sha256) {
        log_warn(origin->path + " was found on other weights (" + origin->model_name +
                 ") than this model's (" + manifest.model_name + "): its strengths may mean nothing here");
    } else if (!vector.vectors.same_weights(manifest)) {
        log_warn(vector.setting.file + " was extracted from other weights (" +
                 vector.vectors.provenance.model_name + ") than this model's (" + manifest.model_name +
                 "): its directions may mean nothing here");
    }
}

void resolve_vector(AppliedVector& vector, const Manifest& manifest) {
    const SteerSetting& setting = vector.setting;
    try {
        vector.vectors.check_fits(manifest, setting.file);
        vector.spec = setting.spec(manifest.decoder.num_layers);
        if (std::optional<Gate>& gate = vector.spec.effect.gate) {
            vector.gate_vectors->check_fits(manifest, gate->file);
            gate->take_direction(*vector.gate_vectors, manifest.decoder.num_layers);
        }
        vector.resolve(manifest.decoder);
    } catch (const Error& error) {
        if (!setting.origin) throw;
        throw InputError(setting.origin->path + ": " + error.what());
    }
}

std::vector<SteeringPart> parts_of(const std::vector<AppliedVector>& vectors) {
    std::vector<SteeringPart> parts;
    for (const AppliedVector& vector : vectors) parts.push_back({vector.setting.file, vector.resolved.plan});
    return parts;
}

void warn_of_parallel_vectors(const std::vector<AppliedVector>& vectors) {
    const std::vector<SteeringPart> parts = parts_of(vectors);
    for (const ParallelParts& pair : find_parallel_parts(parts)) {
        const std::string count =
            pair.places > 1 ? std::to_string(pair.places) + " hook points, such as " : "";
        log_warn(parts[pair.first].name + " and " + parts[pair.second].name + " nearly " +
                 (pair.cosine > 0 ? "coincide" : "oppose") + " at " + count + pair.point.name() +
                 " (cosine " + to_text(rounded_to_digits(pair.cosine, 3)) +
                 "): what one does, the other does " + (pair.cosine > 0 ? "as well" : "backwards"));
    }
}

}  // namespace

std::vector<AppliedVector> load_vectors(const std::vector<SteerSetting>& settings) {
    std::vector<AppliedVector> vectors;
    for (const SteerSetting& setting : settings) {
        if (setting.alpha && !std::isfinite(*setting.alpha))
            throw UsageError("alpha must be a finite number");
        AppliedVector vector;
        vector.setting = setting;
        load_vector(vector);
        vectors.push_back(std::move(vector));
    }
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

void resolve_vectors(std::vector<AppliedVector>& vectors, const Manifest& manifest) {
    for (AppliedVector& vector : vectors) {
        resolve_vector(vector, manifest);
        warn_of_other_weights(vector, manifest);
    }
    warn_of_parallel_vectors(vectors);
}

SteeringPlan combined_plan(const std::vector<AppliedVector>& vectors) {
    return combine_parts(parts_of(vectors));
}

void AppliedVector::resolve(const DecoderDims& dims) {
    resolved = resolve_steering(vectors, spec, dims, setting.file);
}

AppliedSteering AppliedVector::applied() const {
    return AppliedSteering::of(setting.file, sha256, vectors.provenance, spec, resolved);
}

}  // namespace musicsteer::cli

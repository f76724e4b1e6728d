#include "directions/extraction_progress.hpp"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "io/json_differences.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

std::size_t count_clips(const ActivationFile& activations) {
    std::int64_t clips = 0;
    for (const auto* side : {&activations.positive, &activations.negative})
        if (!side->empty()) clips += side->begin()->second.means.size(0);
    return static_cast<std::size_t>(clips);
}

/// Settings that must agree for finished batches to be reused.
std::string settings_of(const Provenance& provenance, const ExecutionShape& shape,
                        std::span<const HookPoint> points, const std::string& device) {
    nlohmann::json json = provenance_metadata(provenance, "musicsteer-activations");
    json["batch_size"] = shape.batch_size;
    json["threads"] = shape.threads;
    json["device"] = device;
    for (const HookPoint& point : points) json["points"].push_back(point.name());
    return json.dump();
}

}  // namespace

ExtractionProgress::ExtractionProgress(const ResumeOptions& options) : options_(options) {
    if (options.progress_file.empty() || !std::filesystem::exists(options.progress_file)) return;
    try {
        earlier_ = ActivationFile::load(options.progress_file);
    } catch (const InputError& error) {
        say(std::string("starting again: ") + error.what());
    }
}

std::int64_t ExtractionProgress::batch_size() const {
    if (!earlier_) return 0;
    const auto settings = nlohmann::json::parse(earlier_->unfinished, nullptr, false);
    return settings.is_object() ? settings.value("batch_size", std::int64_t{0}) : 0;
}

std::size_t ExtractionProgress::resume(ActivationFile& activations, const ExecutionShape& shape,
                                       std::span<const HookPoint> points, std::size_t total) {
    activations.unfinished = settings_of(activations.provenance, shape, points, options_.device);
    if (!earlier_) return 0;
    const std::size_t done = count_clips(*earlier_);
    if (earlier_->unfinished != activations.unfinished) {
        if (options_.on_other_progress == Overwrite::kAllow) return 0;
        throw OutputError(options_.progress_file.string() + ": holds " + std::to_string(done) +
                          " clips of an unfinished extraction, with other settings (" +
                          json_differences(nlohmann::json::parse(earlier_->unfinished),
                                           nlohmann::json::parse(activations.unfinished)) +
                          "): finish it first, choose another --out, or give --force to drop it");
    }
    activations.positive = std::move(earlier_->positive);
    activations.negative = std::move(earlier_->negative);
    earlier_.reset();
    say("resuming after " + std::to_string(done) + " of " + std::to_string(total) + " clips");
    return done;
}

void ExtractionProgress::save(const ActivationFile& activations) const {
    if (!options_.progress_file.empty()) activations.save(options_.progress_file, Overwrite::kAllow);
}

void ExtractionProgress::say(const std::string& message) const {
    if (options_.on_message) options_.on_message(message);
}

}  // namespace musicsteer

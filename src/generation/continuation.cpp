#include "generation/continuation.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "audio/audio_conversion.hpp"
#include "base/numbers.hpp"
#include "io/safetensors.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// "4s" or "4"
double parse_time(std::string text) {
    const std::string typed = text;
    if (text.ends_with('s')) text.pop_back();
    const std::optional<double> time_s = parse_number(text);
    if (!time_s || !std::isfinite(*time_s) || *time_s <= 0.0)
        throw UsageError("--continue-from " + typed + ": expected a time in seconds above 0, such as 4s");
    return *time_s;
}

std::string weights_in(const TensorFile& file) {
    const auto settings = file.metadata.find("settings");
    if (settings == file.metadata.end()) return "";
    const nlohmann::json parsed =
        nlohmann::json::parse(settings->second, nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_object() || !parsed.contains("model") || !parsed["model"].is_object()) return "";
    const auto weights = parsed["model"].find("weights_sha256");
    return weights != parsed["model"].end() && weights->is_string() ? weights->get<std::string>() : "";
}

}  // namespace

std::optional<Continuation> Continuation::open(const std::string& file, const std::string& from) {
    if (file.empty()) {
        if (!from.empty()) throw UsageError("--continue-from needs a --continue FILE");
        return std::nullopt;
    }
    Continuation continuation;
    if (!from.empty()) continuation.from_s_ = parse_time(from);
    continuation.record_.file = file;
    if (std::filesystem::path(file).extension() == ".safetensors") {
        const TensorFile tensors = load_tensors(file);
        const auto codes = tensors.tensors.find("codes");
        if (codes == tensors.tensors.end() || codes->second.dim() != 3 || codes->second.size(0) == 0)
            continuation.refuse("expected codes [clips, K, frames], as --save-codes writes them");
        continuation.codes_ = codes->second.to(at::kLong);
        continuation.weights_sha256_ = weights_in(tensors);
    } else {
        continuation.recording_ = read_audio(file);
    }
    continuation.record_.sha256 = sha256_of_file(file);
    return continuation;
}

void Continuation::refuse(const std::string& reason) const {
    throw UsageError("--continue " + record_.file + ": " + reason);
}

std::string Continuation::seconds(std::int64_t frames, const Manifest& manifest) const {
    return to_text(static_cast<double>(frames) / manifest.codec.frame_rate_hz) + " s";
}

void Continuation::cut(const Manifest& manifest, std::int64_t num_frames, std::size_t clips,
                       const std::function<void(const std::string&)>& on_warning) {
    if (recording_) {
        const std::int64_t channels = manifest.decoder.channels * manifest.codec.channels;
        *recording_ = converted(*recording_, manifest.codec.sample_rate_hz, channels);
        record_.frames = recording_->frames() / manifest.codec.hop_length;
    } else {
        record_.frames = codes_.size(2);
        if (codes_.size(1) != manifest.decoder.num_codebooks) {
            refuse("its codes have " + std::to_string(codes_.size(1)) + " codebooks, the model's " +
                   std::to_string(manifest.decoder.num_codebooks));
        }
        if (codes_.size(0) > 1 && codes_.size(0) != static_cast<std::int64_t>(clips)) {
            refuse("it has the codes of " + std::to_string(codes_.size(0)) + " clips, and this call makes " +
                   std::to_string(clips) + ": make as many, in the same order, or save the codes of one");
        }
        if (!weights_sha256_.empty() && weights_sha256_ != manifest.weights_sha256)
            on_warning(record_.file + ": the codes were made by another model");
    }
    if (from_s_) {
        const std::int64_t wanted = manifest.frames_of(*from_s_);
        if (wanted > record_.frames)
            refuse("it ends at " + seconds(record_.frames, manifest) + ", before --continue-from");
        record_.frames = wanted;
    }
    if (record_.frames < 1) refuse("too short: less than one frame of the codec");
    if (record_.frames >= num_frames) {
        refuse(seconds(record_.frames, manifest) + " of it are kept, so a --duration of " +
               seconds(num_frames, manifest) +
               " leaves nothing to add; --duration counts from the start of the file");
    }
}

void Continuation::give_to(std::vector<SessionRequest>& requests, const Model& model) {
    if (recording_) {
        const std::int64_t samples = record_.frames * model.manifest().codec.hop_length;
        const at::Tensor interleaved = at::from_blob(
            recording_->samples.data(), {recording_->frames(), recording_->channels}, at::kFloat);
        codes_ = model.codec.encode(interleaved.narrow(0, 0, samples).t().contiguous().unsqueeze(0));
        recording_.reset();
    }
    const at::Tensor kept = codes_.narrow(2, 0, record_.frames);
    for (std::size_t i = 0; i < requests.size(); ++i)
        requests[i].forced_codes = kept[kept.size(0) == 1 ? 0 : static_cast<std::int64_t>(i)];
}

}  // namespace musicsteer

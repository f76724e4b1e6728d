#include "bundle/manifest.hpp"

#include <algorithm>
#include <cmath>

#include "base/numbers.hpp"
#include "base/size_limits.hpp"
#include "io/file_format.hpp"
#include "io/input_file.hpp"
#include "io/json_view.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxCodebooks = 64;
constexpr std::int64_t kMaxTokens = std::int64_t{1} << 24;
constexpr double kMaxWindow_s = 3600;
constexpr std::int64_t kMaxPositions = std::int64_t{1} << 24;

void check_format(const JsonView& root) {
    FileFormat{"musicsteer-bundle", Manifest::kFormatVersion}.check(root);
    const auto version = root.at("format_version").integer(1, kMaxWidth);
    if (version < Manifest::kOldestFormat) {
        root.fail("written for an older musicsteer (format version " + std::to_string(version) +
                  ", this one reads from " + std::to_string(Manifest::kOldestFormat) +
                  " on); export the checkpoint again with 'musicsteer export'");
    }
}

DecoderDims read_decoder(const JsonView& view) {
    DecoderDims dims;
    dims.num_layers = view.at("num_layers").integer(1, kMaxLayers);
    dims.hidden_size = view.at("hidden_size").integer(1, kMaxWidth);
    dims.num_heads = view.at("num_heads").integer(1, kMaxWidth);
    dims.head_size = view.at("head_size").integer(1, kMaxWidth);
    dims.ffn_size = view.at("ffn_size").integer(1, kMaxWidth);
    dims.activation = view.at("activation").text();
    dims.num_codebooks = view.at("num_codebooks").integer(1, kMaxCodebooks);
    dims.codebook_size = view.at("codebook_size").integer(1, kMaxTokens);
    dims.start_token = view.at("start_token").integer(0, dims.codebook_size);
    dims.max_positions = view.at("max_positions").integer(1, kMaxPositions);
    dims.channels = view.at("channels").integer(1, 2);
    for (const JsonView& delay : view.at("delays").items()) {
        dims.delays.push_back(delay.integer(0, dims.max_positions - 1));
    }
    return dims;
}

CodecDims read_codec(const JsonView& view) {
    CodecDims dims;
    dims.sample_rate_hz = view.at("sample_rate_hz").integer(1, 1'000'000);
    dims.frame_rate_hz = view.at("frame_rate_hz").number();
    dims.hop_length = view.at("hop_length").integer(1, kMaxWidth);
    dims.num_codebooks = view.at("num_codebooks").integer(1, kMaxCodebooks);
    dims.codebook_size = view.at("codebook_size").integer(1, kMaxTokens);
    dims.channels = view.at("channels").integer(1, 2);
    dims.lstm_layers = view.at("lstm_layers").integer(0, kMaxLayers);
    dims.lstm_width = view.at("lstm_width").integer(dims.lstm_layers > 0 ? 1 : 0, kMaxWidth);
    return dims;
}

/// None for models with cross-attention to the text.
std::optional<MelodyDims> read_melody(const JsonView& conditioning) {
    const JsonView type = conditioning.at("type");
    if (type.text() == "cross") return std::nullopt;
    if (type.text() != "prefix") {
        type.fail("expected 'cross' (text by cross-attention) or 'prefix' (melody and text), found " +
                  in_quotes(type.text()) + ", which this musicsteer cannot run");
    }
    MelodyDims dims;
    dims.num_chroma = conditioning.at("num_chroma").integer(kPitchClasses, kPitchClasses);
    dims.chroma_length = conditioning.at("chroma_length").integer(1, kMaxPositions);
    const JsonView framing = conditioning.at("chroma");
    dims.framing.sample_rate_hz = framing.at("sample_rate_hz").integer(1, 1'000'000);
    dims.framing.fft_size = framing.at("fft_size").integer(16, 1 << 20);
    dims.framing.hop_length = framing.at("hop_length").integer(1, 1 << 20);
    dims.framing.longest_s = framing.at("longest_s").number();
    if (!(dims.framing.longest_s > 0)) framing.at("longest_s").fail("expected more than 0 seconds");
    return dims;
}

TextDims read_text(const JsonView& conditioning, const JsonView& text_encoder) {
    TextDims dims;
    dims.hidden_size = conditioning.at("text_hidden_size").integer(1, kMaxWidth);
    dims.vocab_size = text_encoder.at("vocab_size").integer(1, kMaxTokens);
    dims.pad_token_id = text_encoder.at("pad_token_id").integer(0, dims.vocab_size - 1);
    dims.eos_token_id = text_encoder.at("eos_token_id").integer(0, dims.vocab_size - 1);
    return dims;
}

void read_defaults(const JsonView& view, Manifest& manifest) {
    manifest.default_guidance_scale = view.at("guidance_scale").number();
    manifest.default_top_k = view.at("top_k").integer(0, kMaxTokens);
    manifest.default_temperature = view.at("temperature").number();
    if (manifest.default_temperature < 0)
        view.at("temperature").fail("expected 0 or more, found a negative number");
}

void read_window(const JsonView& root, Manifest& manifest) {
    const std::optional<JsonView> view = root.find("window_s");
    if (!view) return;
    manifest.window_s = view->number();
    if (!(manifest.window_s * manifest.codec.frame_rate_hz >= 0.5) || manifest.window_s > kMaxWindow_s) {
        view->fail("expected seconds from one frame to " + to_text(kMaxWindow_s) + ", found " +
                   to_text(manifest.window_s));
    }
}

std::map<std::string, std::string> read_texts(const JsonView& view) {
    std::map<std::string, std::string> result;
    for (const auto& [key, value] : view.members()) result.emplace(key, value.text());
    return result;
}

/// @param folder  put before the names, such as "directions/"
std::map<std::string, FileRecord> read_files(const JsonView& view, const std::string& folder = "") {
    std::map<std::string, FileRecord> files;
    for (const auto& [name, record] : view.members()) {
        const bool plain_name = !name.empty() && name != "." && name != ".." &&
                                name.find('/') == std::string::npos && name.find('\\') == std::string::npos &&
                                name.find('\0') == std::string::npos;
        if (!plain_name) record.fail("expected the name of a file in the bundle's own folder");
        const std::string sha256 = record.at("sha256").text();
        if (sha256.size() != 64 || sha256.find_first_not_of("0123456789abcdef") != std::string::npos) {
            record.at("sha256").fail("expected 64 lower-case hexadecimal digits, found " + in_quotes(sha256));
        }
        files[folder + name] = {sha256, record.at("bytes").unsigned_integer()};
    }
    return files;
}

std::string product(std::int64_t a, std::int64_t b) {
    return std::to_string(a) + " x " + std::to_string(b) + " = " + std::to_string(a * b);
}

void check_decoder(const DecoderDims& dims, const JsonView& view) {
    if (dims.num_heads * dims.head_size != dims.hidden_size) {
        view.fail("num_heads x head_size is " + product(dims.num_heads, dims.head_size) +
                  ", but hidden_size is " + std::to_string(dims.hidden_size));
    }
    if (std::ssize(dims.delays) != dims.num_codebooks) {
        view.at("delays").fail("expected one delay for each of " + std::to_string(dims.num_codebooks) +
                               " codebooks, found " + std::to_string(dims.delays.size()));
    }
    if (dims.num_codebooks % dims.channels != 0) {
        view.at("num_codebooks")
            .fail("expected an even number for 2 channels, found " + std::to_string(dims.num_codebooks));
    }
}

void check_codec(const CodecDims& codec, const DecoderDims& decoder, const JsonView& view) {
    if (codec.num_codebooks * decoder.channels != decoder.num_codebooks) {
        view.at("num_codebooks")
            .fail(product(codec.num_codebooks, decoder.channels) +
                  " codebooks for all channels, but the decoder writes " +
                  std::to_string(decoder.num_codebooks));
    }
    if (codec.codebook_size < decoder.codebook_size) {
        view.at("codebook_size")
            .fail("the decoder writes codes below " + std::to_string(decoder.codebook_size) +
                  ", the codec knows " + std::to_string(codec.codebook_size));
    }
    if (decoder.channels == 2 && codec.channels != 1) {
        view.at("channels")
            .fail("expected 1, for a stereo decoder's channels are decoded one by one; found 2");
    }
    // transformers rounds the frame rate up to a whole number.
    const double exact = static_cast<double>(codec.sample_rate_hz) / static_cast<double>(codec.hop_length);
    if (!(codec.frame_rate_hz > 0) || std::abs(codec.frame_rate_hz - exact) >= 1.0) {
        view.at("frame_rate_hz")
            .fail("expected about sample_rate_hz / hop_length = " + std::to_string(exact) + ", found " +
                  std::to_string(codec.frame_rate_hz));
    }
}

}  // namespace

std::int64_t DecoderDims::max_delay() const {
    return delays.empty() ? 0 : *std::max_element(delays.begin(), delays.end());
}

std::int64_t Manifest::frames_of(double duration_s) const {
    constexpr double kMaxFrames = 1e9;
    const double frames = std::round(duration_s * codec.frame_rate_hz);
    if (!(frames >= 0) || !(frames <= kMaxFrames)) {
        throw UsageError("duration: expected seconds from 0 to " +
                         std::to_string(static_cast<std::int64_t>(kMaxFrames / codec.frame_rate_hz)) +
                         ", found " + to_text(duration_s));
    }
    return static_cast<std::int64_t>(frames);
}

std::int64_t Manifest::max_frames() const {
    return decoder.max_positions - decoder.max_delay();
}

Manifest Manifest::parse(const std::string& json, const std::string& origin) {
    const JsonDocument document(json, origin);
    const JsonView root = document.root();
    check_format(root);
    Manifest manifest;
    const JsonView model = root.at("model");
    manifest.model_name = model.at("name").text();
    manifest.source = model.at("source").text();
    manifest.architecture = model.at("architecture").text();
    manifest.weights_sha256 = model.at("weights_sha256").text();
    manifest.licence = model.at("licence").text();
    manifest.licence_note = model.at("licence_note").text();
    manifest.melody = read_melody(root.at("conditioning"));
    manifest.text = read_text(root.at("conditioning"), root.at("text_encoder"));
    manifest.decoder = read_decoder(root.at("decoder"));
    check_decoder(manifest.decoder, root.at("decoder"));
    manifest.codec = read_codec(root.at("codec"));
    check_codec(manifest.codec, manifest.decoder, root.at("codec"));
    read_window(root, manifest);
    read_defaults(root.at("generation_defaults"), manifest);
    manifest.precision = read_texts(root.at("precision"));
    for (const char* module : {"decoder", "text_encoder", "codec"}) root.at("precision").at(module);
    manifest.files = read_files(root.at("files"));
    for (const char* name : {"decoder.pt", "text_encoder.pt", "codec.pt", "tokenizer.json"})
        root.at("files").at(name);
    if (const auto directions = root.find("directions"))
        manifest.files.merge(read_files(*directions, "directions/"));
    manifest.versions = read_texts(root.at("versions"));
    for (const JsonView& capability : root.at("capabilities").items())
        manifest.capabilities.push_back(capability.text());
    return manifest;
}

Manifest Manifest::load(const fs::path& bundle) {
    std::error_code ignored;
    const fs::file_status status = fs::status(bundle, ignored);
    if (!fs::exists(status)) {
        throw InputError(bundle.string() + ": no such folder; 'musicsteer export' makes a model bundle");
    }
    if (!fs::is_directory(status))
        throw InputError(bundle.string() + ": expected the folder of a model bundle, found a file");
    const fs::path path = bundle / "manifest.json";
    if (!fs::exists(path, ignored)) {
        const bool checkpoint = fs::exists(bundle / "config.json", ignored);
        throw InputError(bundle.string() +
                         (checkpoint
                              ? ": a checkpoint, not a model bundle; export it with 'musicsteer export'"
                              : ": no manifest.json, so this is not a model bundle"));
    }
    return parse(read_text_file(path), path.string());
}

}  // namespace musicsteer

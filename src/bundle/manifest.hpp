#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "audio/chroma.hpp"

namespace musicsteer {

/// Sizes of the decoder; the letters are those of docs/architecture.md.
struct DecoderDims {
    std::int64_t num_layers = 0;
    std::int64_t hidden_size = 0;  ///< D
    std::int64_t num_heads = 0;    ///< H
    std::int64_t head_size = 0;    ///< D / H
    std::int64_t ffn_size = 0;
    std::string activation;
    std::int64_t num_codebooks = 0;  ///< K
    std::int64_t codebook_size = 0;  ///< V: tokens a head can predict
    std::int64_t start_token = 0;    ///< also the pad token of the delay pattern
    std::int64_t max_positions = 0;
    std::vector<std::int64_t> delays;  ///< [K], in frames
    std::int64_t channels = 1;         ///< 2 for stereo: codebooks of left and right interleaved

    std::int64_t max_delay() const;
};

struct TextDims {
    std::int64_t vocab_size = 0;
    std::int64_t pad_token_id = 0;
    std::int64_t eos_token_id = 1;
    std::int64_t hidden_size = 0;  ///< Dt
};

/// How a melody checkpoint gets a melody: as chroma, in a prefix that also holds the text.
struct MelodyDims {
    std::int64_t num_chroma = 12;
    std::int64_t chroma_length = 0;  ///< frames in the prefix: shorter melodies are repeated, longer ones cut
    ChromaFraming framing;
};

struct CodecDims {
    std::int64_t sample_rate_hz = 0;
    double frame_rate_hz = 0.0;
    std::int64_t hop_length = 0;
    std::int64_t num_codebooks = 0;
    std::int64_t codebook_size = 0;
    std::int64_t channels = 1;
    std::int64_t lstm_layers = 0;
    std::int64_t lstm_width = 0;
};

struct FileRecord {
    std::string sha256;
    std::uint64_t bytes = 0;
};

/// What a model bundle says about itself (manifest.json).
struct Manifest {
    static constexpr int kFormatVersion = 5;
    /// Older bundles have other modules and must be exported again.
    static constexpr int kOldestFormat = 5;

    std::string model_name;
    std::string source;        ///< where the checkpoint came from: a folder or a hub id
    std::string architecture;  ///< the checkpoint's class in transformers
    std::string weights_sha256;
    std::string licence;
    std::string licence_note;
    DecoderDims decoder;
    TextDims text;
    std::optional<MelodyDims> melody;  ///< only in models with a prefix; the others cross-attend to the text
    CodecDims codec;
    double window_s =
        30.0;  ///< length of the clips that the model was trained on; 30 s for bundles that don't say
    double default_guidance_scale = 3.0;
    std::int64_t default_top_k = 250;
    double default_temperature = 1.0;
    std::map<std::string, std::string> precision;  ///< module -> "f32" | ...
    std::map<std::string, FileRecord> files;       ///< path in the bundle -> hash and size
    std::map<std::string, std::string> versions;   ///< library -> version at export
    std::vector<std::string> capabilities;

    /// Frames of a clip: round(seconds x frame rate), so 0 for less than half a frame.
    /// @throws UsageError if the duration is negative, not finite, or beyond a billion frames.
    std::int64_t frames_of(double duration_s) const;
    /// The longest clip whose N + max delay steps fit into the position table, in frames.
    std::int64_t max_frames() const;
    /// Cache slots in front of the codes for melody and text; 0 without a prefix.
    std::int64_t prefix_slots(std::int64_t text_length) const {
        return melody ? melody->chroma_length + text_length : 0;
    }
    /// Whether self-attention's keys and values are stored in float16, which is more precise than weights in
    /// bf16 or int8.
    bool cache_is_half() const { return precision.at("decoder") != "f32"; }

    /// Reads and checks BUNDLE/manifest.json.
    /// Unknown keys and capabilities are ignored, since a newer bundle may have more.
    /// @throws InputError if it is missing, not JSON, of a newer format or one older than kOldestFormat,
    /// lacks a field, has sizes that contradict each other, or has an unknown kind of conditioning.
    static Manifest load(const std::filesystem::path& bundle);
    /// @param origin  named in messages.
    static Manifest parse(const std::string& json, const std::string& origin);
};

}  // namespace musicsteer

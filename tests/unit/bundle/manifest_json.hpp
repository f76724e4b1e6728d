#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace musicsteer {

/// A manifest that is right in everything: a small stereo model.
inline nlohmann::json valid_manifest() {
    const nlohmann::json file = {{"sha256", std::string(64, 'a')}, {"bytes", 10}};
    return {
        {"format", "musicsteer-bundle"},
        {"format_version", 5},
        {"oldest_reader", 1},
        {"capabilities", {"cross-attention-text", "codec-encode"}},
        {"model",
         {{"name", "tiny"},
          {"source", "models/tiny"},
          {"architecture", "MusicgenForConditionalGeneration"},
          {"weights_sha256", std::string(64, 'b')},
          {"licence", "MIT"},
          {"licence_note", ""}}},
        {"decoder",
         {{"num_layers", 4},
          {"hidden_size", 48},
          {"num_heads", 6},
          {"head_size", 8},
          {"ffn_size", 100},
          {"activation", "gelu"},
          {"num_codebooks", 4},
          {"codebook_size", 64},
          {"start_token", 64},
          {"max_positions", 500},
          {"delays", {0, 0, 1, 3}},
          {"channels", 2}}},
        {"conditioning", {{"type", "cross"}, {"text_hidden_size", 32}}},
        {"text_encoder", {{"vocab_size", 100}, {"pad_token_id", 0}, {"eos_token_id", 1}}},
        {"codec",
         {{"sample_rate_hz", 16000},
          {"frame_rate_hz", 50.0},
          {"hop_length", 320},
          {"num_codebooks", 2},
          {"codebook_size", 64},
          {"channels", 1},
          {"lstm_layers", 2},
          {"lstm_width", 16}}},
        {"window_s", 8},
        {"generation_defaults", {{"guidance_scale", 3.0}, {"top_k", 250}, {"temperature", 1.0}}},
        {"precision", {{"decoder", "f32"}, {"text_encoder", "f32"}, {"codec", "f32"}}},
        {"files",
         {{"decoder.pt", file}, {"text_encoder.pt", file}, {"codec.pt", file}, {"tokenizer.json", file}}},
        {"versions", {{"musicsteer", "0.1.0"}, {"torch", "2"}, {"transformers", "5"}, {"tokenizers", "0"}}},
    };
}

}  // namespace musicsteer

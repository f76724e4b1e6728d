#pragma once

// Small tokenizer.json documents for tests, and character maps in SentencePiece's format.

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/tokenizer.hpp"

namespace musicsteer::test {

using nlohmann::json;
using Ids = std::vector<std::int64_t>;
using Vocab = std::vector<std::pair<std::string, double>>;

/// A tokenizer.json of the shape that a bundle has: <pad> 0, </s> 1, <unk> 2; the given pieces have the ids
/// from 3 on.
inline json document(const Vocab& pieces) {
    json result = json::parse(R"({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": null,
        "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": false,
                  "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0]]}})");
    for (const auto& [piece, score] : pieces) result["model"]["vocab"].push_back({piece, score});
    return result;
}

inline json added_token(const std::string& content, std::uint32_t id) {
    return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
            {"rstrip", false}, {"normalized", false}, {"special", true}};
}

inline json& metaspace(json& document) {
    return document["pre_tokenizer"]["pretokenizers"][1];
}

inline Tokenizer parse(const json& document) {
    return Tokenizer::parse(document.dump(), "test.json");
}

inline Ids encode(const json& document, const std::string& text) {
    return parse(document).encode(text);
}

inline std::string base64(const std::string& bytes) {
    static const char* const kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t bits = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
        }
        for (std::size_t k = 0; k < 4; ++k) {
            text += i + k > bytes.size() ? '=' : kDigits[bits >> (18 - 6 * k) & 63U];
        }
    }
    return text;
}

inline std::string u32(std::uint32_t value) {
    std::string bytes;
    for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> 8 * i & 0xFFU);
    return bytes;
}

/// A character map in SentencePiece's format. Each node of its trie has 256 units of its own.
inline std::string charsmap(const std::map<std::string, std::string>& rules) {
    std::string replacements;
    std::map<std::string, std::uint32_t> nodes{{"", 256}};  // key prefix -> first unit of its node
    std::map<std::string, std::uint32_t> values;
    for (const auto& [key, replacement] : rules) {
        for (std::size_t n = 1; n <= key.size(); ++n) {
            nodes.emplace(key.substr(0, n), 256 * (static_cast<std::uint32_t>(nodes.size()) + 1));
        }
        values[key] = static_cast<std::uint32_t>(replacements.size());
        replacements += replacement + '\0';
    }
    std::vector<std::uint32_t> units(256 * (nodes.size() + 1));
    units[0] = nodes[""] << 10;
    for (const auto& [key, node] : nodes) {
        if (key.empty()) continue;
        const auto label = static_cast<unsigned char>(key.back());
        const std::uint32_t edge = nodes[key.substr(0, key.size() - 1)] ^ label;
        units[edge] = (edge ^ node) << 10 | (values.contains(key) ? 1U << 8 : 0U) | label;
        if (values.contains(key)) units[node] = 1U << 31 | values[key];
    }
    std::string bytes = u32(static_cast<std::uint32_t>(4 * units.size()));
    for (const std::uint32_t unit : units) bytes += u32(unit);
    return bytes + replacements;
}

inline json precompiled(const std::string& charsmap_bytes) {
    return {{"type", "Precompiled"}, {"precompiled_charsmap", base64(charsmap_bytes)}};
}

}  // namespace musicsteer::test

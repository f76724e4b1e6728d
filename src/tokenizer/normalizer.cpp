#include "tokenizer/normalizer.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

#include "tokenizer/utf8.hpp"

namespace musicsteer::tokenizer {

namespace {

/// The lower case letter of one that came after Unicode 15.0, which utf8proc 2.8 has, up to 17; 0 if it is
/// none.
char32_t new_lower_case(char32_t c) {
    if (c >= 0x10D50 && c <= 0x10D65) return c + 0x20;  // Garay
    if (c >= 0x16EA0 && c <= 0x16EB8) return c + 0x1B;  // Beria Erfe
    switch (c) {
        case 0xA7CB:
            return 0x264;
        case 0xA7DC:
            return 0x19B;
        case 0x1C89:
        case 0xA7CC:
        case 0xA7CE:
        case 0xA7D2:
        case 0xA7D4:
        case 0xA7DA:
            return c + 1;
        default:
            return 0;
    }
}

}  // namespace

void Strip::normalize(TrackedText& text) const {
    std::size_t first = text.bytes.size();  // of the characters that are not white space
    std::size_t last_end = 0;
    for (std::size_t at = 0; at < text.bytes.size();) {
        const CodePoint c = decode_utf8(text.bytes, at);
        if (!is_white_space(c.value)) {
            first = std::min(first, at);
            last_end = at + c.bytes;
        }
        at += c.bytes;
    }
    const std::size_t begin = left ? first : 0;
    const std::size_t end = right ? last_end : text.bytes.size();
    text = text.slice(begin, std::max(begin, end));
}

void ReplaceText::normalize(TrackedText& text) const {
    TrackedText result;
    std::size_t copied = 0;
    for (;;) {
        const std::size_t match = text.bytes.find(pattern, copied);
        if (match == std::string::npos) break;
        const std::size_t end = match + pattern.size();
        result.append(text, copied, match);
        result.append(content, text.origins[end - 1]);
        copied = end;
    }
    if (copied == 0) return;
    result.append(text, copied, text.bytes.size());
    text = std::move(result);
}

void ReplaceSpaces::normalize(TrackedText& text) const {
    TrackedText result;
    const std::string_view bytes = text.bytes;
    std::size_t run_begin = 0;
    std::size_t run_length = 0;  // in characters
    const auto close_run = [&](std::size_t end) {
        if (run_length >= shortest_run) {
            result.append(content, text.origins[end - 1]);
        } else {
            result.append(text, run_begin, end);
        }
        run_length = 0;
    };
    for (std::size_t at = 0; at < bytes.size();) {
        const CodePoint c = decode_utf8(bytes, at);
        if (any_white_space ? is_white_space(c.value) : c.value == ' ') {
            if (run_length++ == 0) run_begin = at;
        } else {
            if (run_length > 0) close_run(at);
            result.append(text, at, at + c.bytes);
        }
        at += c.bytes;
    }
    if (run_length > 0) close_run(bytes.size());
    text = std::move(result);
}

void Lowercase::normalize(TrackedText& text) const {
    TrackedText result;
    for (std::size_t at = 0; at < text.bytes.size();) {
        const CodePoint c = decode_utf8(text.bytes, at);
        std::string lower;
        constexpr char32_t kCapitalIWithDot = 0x130;  // the only one whose lower case is two characters
        if (c.value == kCapitalIWithDot) {
            lower = "i\u0307";
        } else if (const char32_t letter = new_lower_case(c.value)) {
            append_utf8(lower, letter);
        } else {
            append_utf8(lower,
                        static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.value))));
        }
        result.append(lower, text.origins[at]);
        at += c.bytes;
    }
    text = std::move(result);
}

Normalizer::Normalizer(const ConfigView& view) {
    add(view);
}

void Normalizer::add(const ConfigView& view) {
    const std::string& type = view.at("type").text();
    if (type == "Sequence") {
        const ConfigView steps = view.at("normalizers");
        for (std::size_t i = 0; i < steps.size(); ++i) add(steps.at(i));
    } else if (type == "Precompiled") {
        const ConfigView charsmap = view.at("precompiled_charsmap");
        steps_.emplace_back(PrecompiledCharsmap(charsmap.text(), charsmap.place()));
    } else if (type == "Strip") {
        steps_.emplace_back(Strip{view.at("strip_left").boolean(), view.at("strip_right").boolean()});
    } else if (type == "Replace") {
        add_replace(view);
    } else if (type == "Lowercase") {
        steps_.emplace_back(Lowercase{});
    } else {
        view.at("type").unsupported("the normaliser " + type);
    }
}

void Normalizer::add_replace(const ConfigView& view) {
    const std::string content = view.at("content").text();
    const ConfigView pattern = view.at("pattern");
    if (const auto text = pattern.find("String")) {
        if (text->text().empty()) text->expect("a text that is not empty");
        steps_.emplace_back(ReplaceText{text->text(), content});
        return;
    }
    const ConfigView regex = pattern.at("Regex");
    const std::string& expression = regex.text();
    const bool any_white_space = expression.starts_with("\\s");
    if (expression == "\\s{2,}" || expression == " {2,}") {
        steps_.emplace_back(ReplaceSpaces{2, any_white_space, content});
    } else if (expression == "\\s+" || expression == " +") {
        steps_.emplace_back(ReplaceSpaces{1, any_white_space, content});
    } else {
        regex.unsupported("the regular expression '" + expression + "'");
    }
}

void Normalizer::normalize(TrackedText& text) const {
    for (const auto& step : steps_) {
        if (text.empty()) return;
        std::visit([&](const auto& s) { s.normalize(text); }, step);
    }
}

}  // namespace musicsteer::tokenizer

#include "tokenizer/pre_tokenizer.hpp"

#include <utility>

#include "tokenizer/utf8.hpp"

namespace musicsteer::tokenizer {

namespace {

Metaspace read_metaspace(const ConfigView& view) {
    Metaspace step;
    const ConfigView replacement = view.at("replacement");
    step.replacement = replacement.text();
    if (step.replacement.empty() || decode_utf8(step.replacement, 0).bytes != step.replacement.size()) {
        replacement.expect("one character");
    }
    const auto scheme = view.find("prepend_scheme");
    if (scheme) {
        const std::string& name = scheme->text();
        if (name == "first") {
            step.prepend = Metaspace::Prepend::kFirst;
        } else if (name == "never") {
            step.prepend = Metaspace::Prepend::kNever;
        } else if (name != "always") {
            scheme->expect("\"always\", \"first\" or \"never\"");
        }
    }
    // The older spelling. True says nothing beyond the scheme, as in `tokenizers`.
    if (const auto add_prefix_space = view.find("add_prefix_space"); add_prefix_space) {
        if (!add_prefix_space->boolean()) {
            if (scheme && step.prepend != Metaspace::Prepend::kNever) {
                add_prefix_space->expect("true, as prepend_scheme is \"" + scheme->text() + "\",");
            }
            step.prepend = Metaspace::Prepend::kNever;
        }
    }
    if (const auto cut = view.find("split")) step.cut = cut->boolean();
    return step;
}

}  // namespace

std::vector<TrackedText> WhitespaceSplit::split(const TrackedText& text) const {
    std::vector<TrackedText> words;
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.bytes.size();) {
        const CodePoint c = decode_utf8(text.bytes, at);
        if (is_white_space(c.value)) {
            if (begin < at) words.push_back(text.slice(begin, at));
            begin = at + c.bytes;
        }
        at += c.bytes;
    }
    if (begin < text.bytes.size()) words.push_back(text.slice(begin, text.bytes.size()));
    return words;
}

std::vector<TrackedText> Metaspace::split(TrackedText text) const {
    TrackedText marked;
    const bool at_start = text.origins.front() == 0;
    const bool wanted = prepend == Prepend::kAlways || (prepend == Prepend::kFirst && at_start);
    const bool has_mark = text.bytes.front() == ' ' || text.bytes.starts_with(replacement);
    if (wanted && !has_mark) marked.append(replacement, text.origins.front());
    for (std::size_t i = 0; i < text.bytes.size(); ++i) {
        if (text.bytes[i] == ' ') {
            marked.append(replacement, text.origins[i]);
        } else {
            marked.append(text, i, i + 1);
        }
    }
    if (!cut) return {std::move(marked)};

    std::vector<TrackedText> words;
    std::size_t begin = 0;
    while (begin < marked.bytes.size()) {
        const std::size_t next = marked.bytes.find(replacement, begin + 1);
        const std::size_t end = next == std::string::npos ? marked.bytes.size() : next;
        words.push_back(marked.slice(begin, end));
        begin = end;
    }
    return words;
}

PreTokenizer::PreTokenizer(const ConfigView& view) {
    add(view);
}

void PreTokenizer::add(const ConfigView& view) {
    const std::string& type = view.at("type").text();
    if (type == "Sequence") {
        const ConfigView steps = view.at("pretokenizers");
        for (std::size_t i = 0; i < steps.size(); ++i) add(steps.at(i));
    } else if (type == "WhitespaceSplit") {
        steps_.emplace_back(WhitespaceSplit{});
    } else if (type == "Metaspace") {
        steps_.emplace_back(read_metaspace(view));
    } else {
        view.at("type").unsupported("the pre-tokenizer " + type);
    }
}

std::vector<TrackedText> PreTokenizer::split(const TrackedText& text) const {
    if (text.empty()) return {};
    std::vector<TrackedText> words{text};
    for (const auto& step : steps_) {
        std::vector<TrackedText> finer;
        for (TrackedText& word : words) {
            auto parts = std::visit([&](const auto& s) { return s.split(std::move(word)); }, step);
            for (TrackedText& part : parts) finer.push_back(std::move(part));
        }
        words = std::move(finer);
    }
    return words;
}

}  // namespace musicsteer::tokenizer

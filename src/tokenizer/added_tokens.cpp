#include "tokenizer/added_tokens.hpp"

#include <algorithm>
#include <utility>

#include "tokenizer/utf8.hpp"

namespace musicsteer::tokenizer {

namespace {

/// Start of the character that ends at byte `end`.
std::size_t previous_character(std::string_view text, std::size_t end) {
    do {
        --end;
    } while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
    return end;
}

std::size_t skip_space_left(std::string_view text, std::size_t at) {
    while (at > 0) {
        const std::size_t begin = previous_character(text, at);
        if (!is_white_space(decode_utf8(text, begin).value)) break;
        at = begin;
    }
    return at;
}

std::size_t skip_space_right(std::string_view text, std::size_t at) {
    while (at < text.size()) {
        const CodePoint c = decode_utf8(text, at);
        if (!is_white_space(c.value)) break;
        at += c.bytes;
    }
    return at;
}

AddedToken read_token(const ConfigView& view) {
    AddedToken token;
    view.at("id").index();  // must be there, but has no say
    token.content = view.at("content").text();
    token.single_word = view.at("single_word").boolean();
    token.lstrip = view.at("lstrip").boolean();
    token.rstrip = view.at("rstrip").boolean();
    token.normalized = view.at("normalized").boolean();
    view.at("special").boolean();
    return token;
}

}  // namespace

AddedTokens::AddedTokens(const ConfigView& view, const Unigram& model, const Normalizer& normalizer) {
    for (std::size_t i = 0; i < view.size(); ++i) {
        AddedToken token = read_token(view.at(i));
        if (!token.content.empty()) add(std::move(token), model);
    }
    std::vector<std::pair<std::string, std::uint32_t>> raw;
    std::vector<std::pair<std::string, std::uint32_t>> normalized;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
        const AddedToken& token = tokens_[i];
        TrackedText spelling(token.content);
        if (token.normalized) normalizer.normalize(spelling);
        auto& spellings = token.normalized ? normalized : raw;
        const bool taken = std::any_of(spellings.begin(), spellings.end(),
                                       [&](const auto& other) { return other.first == spelling.bytes; });
        if (taken || spelling.empty()) {
            view.unsupported("the token '" + token.content + "', which " +
                             (taken ? "another one is after" : "is nothing after") + " normalisation,");
        }
        spellings.emplace_back(std::move(spelling.bytes), static_cast<std::uint32_t>(i));
    }
    raw_spellings_ = PieceTrie(raw);
    normalized_spellings_ = PieceTrie(normalized);
}

void AddedTokens::add(AddedToken token, const Unigram& model) {
    const auto same = std::find_if(tokens_.begin(), tokens_.end(),
                                   [&](const AddedToken& other) { return other.content == token.content; });
    if (same != tokens_.end()) {
        token.id = same->id;
        *same = std::move(token);
        return;
    }
    const auto in_model = model.id_of(token.content);
    const auto first_free = static_cast<std::uint32_t>(model.size());
    token.id = in_model ? *in_model : std::max(first_free, last_id() ? *last_id() + 1 : 0);
    tokens_.push_back(std::move(token));
}

std::vector<Part> AddedTokens::split(std::string_view text, const Normalizer& normalizer) const {
    std::vector<Part> raw;
    split_at(raw_spellings_, TrackedText(text), raw);
    std::vector<Part> parts;
    for (Part& part : raw) {
        if (part.id) {
            parts.push_back(std::move(part));
            continue;
        }
        normalizer.normalize(part.text);
        split_at(normalized_spellings_, part.text, parts);
    }
    return parts;
}

void AddedTokens::split_at(const PieceTrie& spellings, const TrackedText& text,
                           std::vector<Part>& parts) const {
    const std::string_view bytes = text.bytes;
    std::size_t done = 0;  // all before this byte is in `parts`
    for (std::size_t at = 0; at < bytes.size();) {
        std::size_t length = 0;
        std::uint32_t longest = 0;
        spellings.find_prefixes(bytes, at, [&](std::size_t found_length, std::uint32_t token) {
            length = found_length;
            longest = token;
        });
        if (length == 0) {
            ++at;
            continue;
        }
        const AddedToken& token = tokens_[longest];
        std::size_t begin = at;
        std::size_t end = at + length;
        at = end;
        if (token.single_word && !stands_alone(bytes, begin, end)) continue;
        if (token.lstrip) begin = skip_space_left(bytes, begin);
        if (token.rstrip) end = skip_space_right(bytes, end);
        if (done < begin) parts.push_back({text.slice(done, begin), std::nullopt});
        parts.push_back({TrackedText(), token.id});
        done = end;
    }
    if (done < bytes.size()) parts.push_back({text.slice(done, bytes.size()), std::nullopt});
}

bool AddedTokens::stands_alone(std::string_view text, std::size_t begin, std::size_t end) const {
    const auto is_word_at = [&](std::size_t at) { return is_word_character(decode_utf8(text, at).value); };
    const bool free_left = begin == 0 || !is_word_at(previous_character(text, begin));
    const bool free_right = end == text.size() || !is_word_at(end);
    return free_left && free_right;
}

std::optional<std::uint32_t> AddedTokens::id_of(std::string_view content) const {
    for (const AddedToken& token : tokens_) {
        if (token.content == content) return token.id;
    }
    return std::nullopt;
}

const std::string* AddedTokens::content_of(std::uint32_t id) const {
    for (const AddedToken& token : tokens_) {
        if (token.id == id) return &token.content;
    }
    return nullptr;
}

std::optional<std::uint32_t> AddedTokens::last_id() const {
    std::optional<std::uint32_t> last;
    for (const AddedToken& token : tokens_) last = std::max(last.value_or(0), token.id);
    return last;
}

}  // namespace musicsteer::tokenizer

#include "tokenizer/tokenizer.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "io/json_view.hpp"
#include "musicsteer/errors.hpp"
#include "tokenizer/added_tokens.hpp"
#include "tokenizer/precompiled_charsmap.hpp"
#include "tokenizer/unigram.hpp"
#include "tokenizer/utf8.hpp"

namespace musicsteer {

using nlohmann::json;
using tokenizer::AddedToken;
using tokenizer::PrecompiledCharsmap;
using tokenizer::Unigram;

namespace {

constexpr std::string_view kWordMark = "\u2581";

std::optional<PrecompiledCharsmap> read_normalizer(const JsonView& view) {
    if (view.is_null()) return std::nullopt;  // the identity
    view.at("type").expect_equal("Precompiled");
    return PrecompiledCharsmap(view.at("precompiled_charsmap"));
}

Unigram read_model(const JsonView& view) {
    view.at("type").expect_equal("Unigram");
    view.at("byte_fallback").expect_equal(false);
    std::vector<tokenizer::ScoredPiece> pieces;
    const JsonView vocab = view.at("vocab");
    for (const JsonView& entry : vocab.items()) {
        const std::vector<JsonView> pair = entry.items();
        if (pair.size() != 2) {
            entry.fail("expected a piece and its score, found a list of " + std::to_string(pair.size()));
        }
        pieces.push_back({pair[0].text(), pair[1].number()});
    }
    if (pieces.empty()) vocab.fail("expected pieces and their scores, found an empty list");
    const std::int64_t unk_id = view.at("unk_id").integer(0, static_cast<std::int64_t>(pieces.size()) - 1);
    return {std::move(pieces), static_cast<std::uint32_t>(unk_id)};
}

/// The pre-tokenizer and the template are fixed: words_of and encode implement them.
/// @returns the id of </s>
std::uint32_t check_fixed_parts(const JsonView& root, const Unigram& model) {
    const JsonView pre_tokenizer = root.at("pre_tokenizer");
    pre_tokenizer.at("type").expect_equal("Sequence");
    pre_tokenizer.expect_equal(json::parse(R"({"type": "Sequence", "pretokenizers": [
        {"type": "WhitespaceSplit"},
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}]})"));
    const JsonView post_processor = root.at("post_processor");
    post_processor.at("type").expect_equal("TemplateProcessing");
    post_processor.at("single").expect_equal(json::parse(R"([
        {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}])"));
    const auto end_id = model.id_of("</s>");
    if (!end_id) root.at("model").at("vocab").fail("expected the piece </s>, found none");
    post_processor.at("special_tokens").at("</s>").at("ids").expect_equal(json::array({*end_id}));
    return *end_id;
}

std::vector<AddedToken> read_added_tokens(const JsonView& view, const Unigram& model) {
    std::vector<AddedToken> tokens;
    std::size_t next_id = model.size();
    for (const JsonView& entry : view.items()) {
        entry.at("single_word").expect_equal(false);
        entry.at("normalized").expect_equal(false);
        AddedToken token;
        token.content = entry.at("content").text();
        token.lstrip = entry.at("lstrip").boolean();
        token.rstrip = entry.at("rstrip").boolean();
        const auto piece = model.id_of(token.content);
        token.id = piece ? *piece : static_cast<std::uint32_t>(next_id++);
        entry.at("id").expect_equal(token.id);
        tokens.push_back(std::move(token));
    }
    return tokens;
}

/// The words of a text, each with a mark in front. A mark inside a word starts a new word.
std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    const auto add = [&](std::string_view word) {
        if (word.empty()) return;
        std::string marked(word);
        if (!word.starts_with(kWordMark)) marked.insert(0, kWordMark);
        for (std::size_t begin = 0; begin < marked.size();) {
            const std::size_t end = std::min(marked.find(kWordMark, begin + 1), marked.size());
            words.push_back(marked.substr(begin, end - begin));
            begin = end;
        }
    };
    std::size_t word_begin = 0;
    for (std::size_t at = 0; at < text.size();) {
        const tokenizer::CodePoint c = tokenizer::decode_utf8(text, at);
        if (tokenizer::is_white_space(c.value)) {
            add(text.substr(word_begin, at - word_begin));
            word_begin = at + c.bytes;
        }
        at += c.bytes;
    }
    add(text.substr(word_begin));
    return words;
}

}  // namespace

struct Tokenizer::Parts {
    explicit Parts(const JsonView& root)
        : charsmap(read_normalizer(root.at("normalizer"))),
          model(read_model(root.at("model"))),
          added_tokens(read_added_tokens(root.at("added_tokens"), model)),
          end_id(check_fixed_parts(root, model)) {
        for (const AddedToken& token : added_tokens.tokens()) {
            if (token.id >= model.size()) beyond_model.push_back(token.content);
        }
    }

    std::optional<PrecompiledCharsmap> charsmap;
    Unigram model;
    tokenizer::AddedTokens added_tokens;
    std::int64_t end_id;
    std::vector<std::string>
        beyond_model;  ///< added tokens that are not pieces; their ids follow the model's
};

Tokenizer::Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

Tokenizer Tokenizer::load(const std::filesystem::path& tokenizer_json) {
    std::ifstream file(tokenizer_json, std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    if (!file.is_open() || file.bad()) {
        throw InputError(tokenizer_json.string() + ": cannot be read; export the checkpoint again");
    }
    return parse(text, tokenizer_json.string());
}

Tokenizer Tokenizer::parse(const std::string& text, const std::string& origin) {
    const JsonDocument document(text, origin);
    return Tokenizer(std::make_shared<const Parts>(document.root()));
}

std::vector<std::int64_t> Tokenizer::encode(std::string_view utf8_text) const {
    if (const auto bad = find_invalid_utf8(utf8_text)) {
        throw InputError("the text is not UTF-8 at byte " + std::to_string(*bad) +
                         "; save or pass it as UTF-8");
    }
    std::vector<std::int64_t> ids;
    for (const tokenizer::Part& part : parts_->added_tokens.split(utf8_text)) {
        if (part.id) {
            ids.push_back(*part.id);
            continue;
        }
        const std::string normal =
            parts_->charsmap ? parts_->charsmap->normalize(part.text) : std::string(part.text);
        for (const std::string& word : words_of(normal)) parts_->model.encode(word, ids);
    }
    ids.push_back(parts_->end_id);
    return ids;
}

const std::string& Tokenizer::piece(std::int64_t id) const {
    if (id < 0 || static_cast<std::size_t>(id) >= vocab_size()) {
        throw InputError("token id " + std::to_string(id) + " should be from 0 to " +
                         std::to_string(vocab_size() - 1));
    }
    const auto index = static_cast<std::size_t>(id);
    const Unigram& model = parts_->model;
    return index < model.size() ? model.piece(index) : parts_->beyond_model[index - model.size()];
}

std::size_t Tokenizer::vocab_size() const {
    return parts_->model.size() + parts_->beyond_model.size();
}

}  // namespace musicsteer

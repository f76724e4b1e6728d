#include "tokenizer/tokenizer.hpp"

#include <fstream>
#include <iterator>
#include <tuple>
#include <utility>

#include "base/errors.hpp"
#include "tokenizer/added_tokens.hpp"
#include "tokenizer/config_view.hpp"
#include "tokenizer/normalizer.hpp"
#include "tokenizer/pre_tokenizer.hpp"
#include "tokenizer/unigram.hpp"
#include "tokenizer/utf8.hpp"

namespace musicsteer {

using tokenizer::ConfigView;
using Ids = std::vector<std::int64_t>;

namespace {

tokenizer::Unigram read_model(const ConfigView& view) {
    const std::string& type = view.at("type").text();
    if (type != "Unigram") view.at("type").unsupported("the model " + type);

    const ConfigView vocab = view.at("vocab");
    std::vector<tokenizer::ScoredPiece> pieces;
    pieces.reserve(vocab.size());
    for (std::size_t id = 0; id < vocab.size(); ++id) {
        const auto& entry = vocab.value()[id];
        // Tens of thousands of entries: a view, which spells out its place, only for one that is wrong.
        if (!entry.is_array() || entry.size() != 2) vocab.at(id).expect("a piece and its score");
        if (!entry[0].is_string()) vocab.at(id).at(0).expect("a text");
        if (!entry[1].is_number()) vocab.at(id).at(1).expect("a number");
        pieces.push_back({entry[0].get<std::string>(), entry[1].get<double>()});
    }
    if (pieces.empty()) vocab.expect("a list of pieces and their scores");
    if (pieces.size() > INT32_MAX) vocab.expect("fewer than 2^31 pieces");

    tokenizer::Unigram::Options options;
    const ConfigView unk_id = view.at("unk_id");
    if (unk_id.index() >= pieces.size())
        unk_id.expect("less than the " + std::to_string(pieces.size()) + " pieces");
    options.unk_id = static_cast<std::uint32_t>(unk_id.index());
    if (const auto byte_fallback = view.find("byte_fallback"))
        options.byte_fallback = byte_fallback->boolean();
    return {std::move(pieces), options};
}

/// @returns what the post-processor puts around a text's ids: before and after
std::pair<Ids, Ids> read_template(const ConfigView& view, std::size_t vocab_size) {
    const std::string& type = view.at("type").text();
    if (type != "TemplateProcessing") view.at("type").unsupported("the post-processor " + type);

    const ConfigView single = view.at("single");
    const ConfigView special_tokens = view.at("special_tokens");
    Ids before, after;
    bool seen_text = false;
    for (std::size_t i = 0; i < single.size(); ++i) {
        const ConfigView piece = single.at(i);
        if (const auto sequence = piece.find("Sequence")) {
            const ConfigView id = sequence->at("id");
            if (id.text() != "A") id.expect("\"A\", the only text there is,");
            if (seen_text) single.unsupported("a template with the text in it twice");
            seen_text = true;
            continue;
        }
        const ConfigView ids = special_tokens.at(piece.at("SpecialToken").at("id").text()).at("ids");
        for (std::size_t k = 0; k < ids.size(); ++k) {
            if (ids.at(k).index() >= vocab_size) ids.at(k).expect("less than " + std::to_string(vocab_size));
            (seen_text ? after : before).push_back(static_cast<std::int64_t>(ids.at(k).index()));
        }
    }
    if (!seen_text) single.unsupported("a template without the text");
    return {before, after};
}

}  // namespace

struct Tokenizer::Parts {
    explicit Parts(const ConfigView& root) : model(read_model(root.at("model"))) {
        if (const auto view = root.find("normalizer")) normalizer = tokenizer::Normalizer(*view);
        if (const auto view = root.find("pre_tokenizer")) pre_tokenizer = tokenizer::PreTokenizer(*view);
        if (const auto view = root.find("added_tokens")) {
            added_tokens = tokenizer::AddedTokens(*view, model, normalizer);
        }
        vocab_size = model.size();
        if (const auto last = added_tokens.last_id())
            vocab_size = std::max<std::size_t>(vocab_size, *last + 1UL);
        if (const auto view = root.find("post_processor"))
            std::tie(before, after) = read_template(*view, vocab_size);
    }

    tokenizer::Unigram model;
    tokenizer::Normalizer normalizer;
    tokenizer::PreTokenizer pre_tokenizer;
    tokenizer::AddedTokens added_tokens;
    Ids before, after;  ///< what is put around a text's ids
    std::size_t vocab_size = 0;
};

Tokenizer::Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

Tokenizer Tokenizer::load(const std::filesystem::path& tokenizer_json) {
    std::ifstream file(tokenizer_json, std::ios::binary);
    std::string json(std::istreambuf_iterator<char>(file), {});
    if (!file.is_open() || file.bad()) {
        throw InputError(tokenizer_json.string() +
                         ": cannot be read; a model needs its tokenizer.json, which transformers writes with "
                         "save_pretrained");
    }
    return parse(json, tokenizer_json.string());
}

Tokenizer Tokenizer::parse(const std::string& json, const std::string& origin) {
    const nlohmann::json document = tokenizer::parse_json(json, origin);
    return Tokenizer(std::make_shared<const Parts>(ConfigView(document, origin + ": tokenizer")));
}

std::vector<std::int64_t> Tokenizer::encode(std::string_view utf8_text) const {
    if (const auto bad = tokenizer::find_invalid_utf8(utf8_text)) {
        throw InputError("the text is not UTF-8 at byte " + std::to_string(*bad) +
                         "; save or pass it as UTF-8");
    }
    std::vector<std::int64_t> ids = parts_->before;
    for (const tokenizer::Part& part : parts_->added_tokens.split(utf8_text, parts_->normalizer)) {
        if (part.id) {
            ids.push_back(*part.id);
            continue;
        }
        for (const auto& word : parts_->pre_tokenizer.split(part.text)) parts_->model.encode(word.bytes, ids);
    }
    ids.insert(ids.end(), parts_->after.begin(), parts_->after.end());
    return ids;
}

const std::string& Tokenizer::piece(std::int64_t id) const {
    if (id < 0 || static_cast<std::size_t>(id) >= vocab_size()) {
        throw InputError("token id " + std::to_string(id) + " should be from 0 to " +
                         std::to_string(vocab_size() - 1));
    }
    const auto index = static_cast<std::size_t>(id);
    if (index < parts_->model.size()) return parts_->model.piece(index);
    return *parts_->added_tokens.content_of(static_cast<std::uint32_t>(index));
}

std::optional<std::int64_t> Tokenizer::id_of(std::string_view piece) const {
    if (const auto id = parts_->added_tokens.id_of(piece)) return *id;
    if (const auto id = parts_->model.id_of(piece)) return *id;
    return std::nullopt;
}

std::size_t Tokenizer::vocab_size() const {
    return parts_->vocab_size;
}

std::int64_t Tokenizer::unk_id() const {
    return parts_->model.unk_id();
}

}  // namespace musicsteer

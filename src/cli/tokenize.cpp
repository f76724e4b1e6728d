#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/prompt_set.hpp"
#include "tokenizer/tokenizer.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kTokenizeExample = R"(
Example:
  musicsteer tokenize --model bundle "fast piano music" "slow piano music")";

struct TokenizeFlags {
    ModelOptions model;
    std::vector<std::string> texts;
    std::string file;
    bool json = false;
};

void print(const Tokenizer& tokenizer, const std::string& text, bool as_json) {
    const std::vector<std::int64_t> ids = tokenizer.encode(text);
    std::vector<std::string> pieces;
    for (const std::int64_t id : ids) pieces.push_back(tokenizer.piece(id));
    if (as_json) {
        std::cout << nlohmann::json{{"text", text}, {"ids", ids}, {"pieces", pieces}}.dump() << '\n';
        return;
    }
    for (std::size_t i = 0; i < ids.size(); ++i) std::cout << (i ? " " : "") << ids[i];
    std::cout << '\t';
    for (std::size_t i = 0; i < pieces.size(); ++i) std::cout << (i ? " " : "") << pieces[i];
    std::cout << '\n';
}

void run(const TokenizeFlags& options) {
    apply_log_level(options.model.log_level);
    std::vector<std::string> texts = options.texts;
    if (!options.file.empty()) {
        if (!texts.empty()) throw UsageError("give texts or --file, not both");
        texts = load_texts(options.file);
    } else if (texts.empty()) {
        throw UsageError("nothing to tokenize: give texts or --file");
    }
    const Bundle bundle = open_bundle(options.model);
    const Tokenizer tokenizer = Tokenizer::load(bundle.file("tokenizer.json"));
    for (const std::string& text : texts) print(tokenizer, text, options.json);
}

}  // namespace

void add_tokenize(CLI::App& app, Context& context) {
    const auto options = std::make_shared<TokenizeFlags>();
    CLI::App* command = app.add_subcommand("tokenize", "Show the token ids that a prompt becomes");
    command->footer(kTokenizeExample);
    add_model_options(*command, options->model);
    command->add_option("text", options->texts, "Texts");
    command->add_option("--file", options->file,
                        "Texts from a file: one per line, or a file of prompts as for generate");
    command->add_flag("--json", options->json, "One JSON object per text");
    command->callback([options, &context] { context.action = [options] { run(*options); }; });
}

}  // namespace musicsteer::cli

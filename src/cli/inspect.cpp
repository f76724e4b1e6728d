#include "inspection/inspect.hpp"

#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli.hpp"
#include "directions/provenance.hpp"
#include "io/input_file.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "program/installation.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer::cli {
namespace {

using nlohmann::json;

constexpr const char* kInspectExample = R"(
Examples:
  musicsteer inspect bundle
  musicsteer inspect fine-tune --base bundle
  musicsteer inspect tempo.safetensors --json
  musicsteer inspect prompts/tempo.json
  musicsteer inspect steering.json)";

struct InspectFlags {
    std::string path;
    std::string base;
    bool as_json = false;
    bool no_verify = false;
};

/// A JSON file: a steering file, a prompt list or a prompt set.
inspection::Report inspect_json(const std::string& path) {
    std::ifstream file(path);
    const json content = json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (content.is_object() && (content.contains("steering") || content.contains("sections")) &&
        !content.contains("prompt") && content.value("format", json(kSteeringFormat)) == kSteeringFormat)
        return inspection::inspect_steering(path, content);
    if (content.is_object() && content.contains("prompts")) return inspection::inspect_prompt_list(path);
    return inspection::inspect_prompt_set(path);
}

/// A safetensors file begins with the length of its header and a brace; a prompt set is JSON text.
bool looks_like_tensors(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    char head[9] = {};
    file.read(head, sizeof head);
    return std::filesystem::path(path).extension() == ".safetensors" ||
           (file.gcount() == 9 && head[8] == '{' && head[7] == 0);
}

inspection::Report inspect(const InspectFlags& options) {
    if (!std::filesystem::exists(options.path)) throw InputError(options.path + ": does not exist");
    if (std::filesystem::is_directory(options.path))
        return inspection::inspect_bundle(options.path, options.base, !options.no_verify);
    if (!options.base.empty())
        throw UsageError("--base has no effect here: " + options.path + " is not a bundle");
    if (options.no_verify)
        throw UsageError("--no-verify has no effect here: " + options.path + " is not a bundle");
    if (!looks_like_tensors(options.path)) {
        refuse_other_formats(InputFile(options.path));
        return inspect_json(options.path);
    }
    const TensorFileInfo info = read_tensor_info(options.path);
    if (format_of(info.metadata) == "musicsteer-vectors") return inspection::inspect_vectors(options.path);
    return inspection::inspect_tensors(options.path, info);
}

void run(const InspectFlags& options) {
    const inspection::Report report = inspect(options);
    if (options.as_json) {
        std::cout << report.data.dump(2) << '\n';
    } else {
        report.print(std::cout);
    }
}

}  // namespace

void add_inspect(CLI::App& app, Context& context) {
    const auto options = std::make_shared<InspectFlags>();
    CLI::App* command =
        app.add_subcommand("inspect", "Describe a bundle, vector file, prompt set or steering file");
    command->footer(kInspectExample);
    command
        ->add_option("path", options->path,
                     "Bundle folder, .safetensors file, prompt set (a file, or by name, such as tempo), "
                     "or\nsteering file")
        ->required()
        ->transform(find_prompt_set);
    command->add_option(
        "--base", options->base,
        "Bundle of the model that this one was fine-tuned from: say how far the weights have\n"
        "moved, layer by layer");
    command->add_flag("--json", options->as_json, "Print everything as JSON");
    command->add_flag("--no-verify", options->no_verify, "Don't check the hashes of a bundle's files");
    command->callback([options, &context] { context.action = [options] { run(*options); }; });
}

}  // namespace musicsteer::cli

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/logging.hpp"
#include "cli.hpp"
#include "directions/vector_algebra.hpp"
#include "inspection/vector_table.hpp"
#include "io/atomic_file.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/hook_point.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kVectorExample = R"(
Examples:
  musicsteer vector add tempo.safetensors brightness.safetensors --out fast-and-bright.safetensors
  musicsteer vector scale tempo.safetensors --by -0.5 --out slower.safetensors
  musicsteer vector orthogonalize tempo.safetensors brightness.safetensors --out tempo-only.safetensors
  musicsteer vector cosine tempo.safetensors brightness.safetensors
  musicsteer vector random tempo.safetensors --seed 1 --out control.safetensors

'musicsteer import' makes vector files of other tools' vectors.)";

struct VectorFlags {
    std::vector<std::string> files;
    std::string out;
    std::string log_level = "info";
    std::string concept_name;
    bool force = false;
    bool json = false;
    double by = 1.0;
    double norm = 1.0;
    std::uint64_t seed = 0;
};

using Shared = std::shared_ptr<VectorFlags>;

Overwrite overwrite_of(const VectorFlags& options) {
    return options.force ? Overwrite::kAllow : Overwrite::kRefuse;
}

std::vector<VectorSource> load_sources(const VectorFlags& options) {
    std::vector<VectorSource> sources;
    for (const std::string& file : options.files) sources.push_back(VectorSource::load(file));
    const auto weights = [](const VectorSource& source) { return source.vectors.provenance.weights_sha256; };
    const auto precision = [](const VectorSource& source) { return source.vectors.provenance.precision; };
    for (const VectorSource& source : sources) {
        if (weights(source) != weights(sources.front())) {
            log_warn(source.file + " was extracted from other weights than " + sources.front().file +
                     ": their directions may have nothing in common");
        } else if (precision(source) != precision(sources.front())) {
            log_warn(source.file + " was extracted in another precision than " + sources.front().file +
                     ": their difference includes that of the precisions");
        }
    }
    return sources;
}

void save(const VectorFlags& options, VectorFile vectors) {
    if (!options.concept_name.empty()) vectors.provenance.concept_name = options.concept_name;
    vectors.save(options.out, overwrite_of(options));
    inspection::print_vector_table(std::cout, vectors);
    std::cout << "wrote " << options.out << '\n';
}

/// A subcommand that makes a vector file from vector files.
using Operation =
    std::function<VectorFile(const VectorFlags& options, const std::vector<VectorSource>& sources)>;

void run_operation(const VectorFlags& options, const Operation& operation) {
    apply_log_level(options.log_level);
    check_writable(options.out, overwrite_of(options), options.files);
    const std::vector<VectorSource> sources = load_sources(options);
    save(options, operation(options, sources));
}

void run_cosine(const VectorFlags& options) {
    apply_log_level(options.log_level);
    const std::vector<VectorSource> sources = load_sources(options);
    const auto cosines = vector_cosines(sources[0], sources[1]);
    if (options.json) {
        std::cout << nlohmann::json(cosines).dump(2) << '\n';
        return;
    }
    for (const HookPoint& point : HookPoint::all(sources[0].vectors.provenance.num_layers)) {
        const auto found = cosines.find(point.name());
        if (found == cosines.end()) continue;
        char line[96];
        std::snprintf(line, sizeof line, "%-32s %8.4f\n", point.name().c_str(), found->second);
        std::cout << line;
    }
}

CLI::App* add_part(CLI::App& parent, const Shared& options, const std::string& name,
                   const std::string& description, int files, const std::string& files_help) {
    CLI::App* part = parent.add_subcommand(name, description);
    CLI::Option* positional = part->add_option("files", options->files, files_help)->required();
    if (files > 0) {
        positional->expected(files);
    } else {
        positional->expected(2, 1000);
    }
    add_log_level(*part, options->log_level);
    return part;
}

void add_out(CLI::App& part, VectorFlags& options, const std::string& help) {
    part.add_option("-o,--out", options.out, help)->required();
    part.add_flag("--force", options.force, "Replace a file that exists");
}

CLI::App* add_operation(CLI::App& parent, Context& context, const Shared& options, const std::string& name,
                        const std::string& description, int files, const std::string& files_help,
                        Operation operation) {
    CLI::App* part = add_part(parent, options, name, description, files, files_help);
    add_out(*part, *options, "Vector file to write (safetensors)");
    part->add_option("--concept", options->concept_name, "Name of the result's concept [from its sources]");
    part->callback([options, &context, operation = std::move(operation)] {
        context.action = [options, operation] { run_operation(*options, operation); };
    });
    return part;
}

void add_algebra(CLI::App& command, Context& context, const Shared& options) {
    add_operation(command, context, options, "add", "The sum of vector files", 0, "Two or more vector files",
                  [](const VectorFlags&, const auto& sources) { return add_vectors(sources); });
    add_operation(command, context, options, "sub", "The first vector file minus the second", 2,
                  "Two vector files",
                  [](const VectorFlags&, const auto& s) { return subtract_vectors(s[0], s[1]); });
    add_operation(command, context, options, "scale", "A vector file times a number", 1, "Vector file",
                  [](const VectorFlags& o, const auto& s) { return scale_vectors(s[0], o.by); })
        ->add_option("--by", options->by, "The number; below 0 swaps the labels")
        ->required();
    add_operation(command, context, options, "normalize", "The same directions, all of one length", 1,
                  "Vector file",
                  [](const VectorFlags& o, const auto& s) { return normalize_vectors(s[0], o.norm); })
        ->add_option("--norm", options->norm, "Their length")
        ->capture_default_str();
    add_operation(command, context, options, "orthogonalize",
                  "The first vector file without its projection on the others", 0,
                  "The vector file, and one or more to make it orthogonal to",
                  [](const VectorFlags&, const auto& sources) {
                      return orthogonalize_vectors(sources.front(), std::span(sources).subspan(1));
                  });
    add_operation(command, context, options, "random",
                  "Random directions with the norms of a vector file: the control for any claim about it", 1,
                  "Vector file that gives the norms",
                  [](const VectorFlags& o, const auto& s) { return random_vectors(s[0], o.seed); })
        ->add_option("--seed", options->seed, "Another seed gives other directions")
        ->check(whole_number())
        ->capture_default_str();
}

void add_cosine(CLI::App& command, Context& context, const Shared& options) {
    CLI::App* cosine = add_part(command, options, "cosine", "The cosine of two vector files, by hook point",
                                2, "Two vector files");
    cosine->add_flag("--json", options->json, "JSON: hook point -> cosine");
    cosine->callback([options, &context] { context.action = [options] { run_cosine(*options); }; });
}

}  // namespace

void add_vector(CLI::App& app, Context& context) {
    const auto options = std::make_shared<VectorFlags>();
    CLI::App* command = app.add_subcommand("vector", "Compute with vector files");
    command->footer(kVectorExample);
    command->require_subcommand(1);
    add_algebra(*command, context, options);
    add_cosine(*command, context, options);
}

}  // namespace musicsteer::cli

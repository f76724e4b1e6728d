#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/numbers.hpp"
#include "base/printable.hpp"
#include "cli.hpp"
#include "directions/prompt_confounds.hpp"
#include "directions/provenance.hpp"
#include "io/json_view.hpp"
#include "io/safetensors.hpp"
#include "io/sha256.hpp"
#include "model/bundle.hpp"
#include "model/memory.hpp"
#include "model/weight_change.hpp"
#include "model_options.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/prompt_set.hpp"
#include "musicsteer/vector_file.hpp"
#include "program/installation.hpp"
#include "steering/bundle_directions.hpp"
#include "steering/setting_fields.hpp"
#include "steering/setting_json.hpp"
#include "steering/steering_file.hpp"
#include "vector_table.hpp"

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

/// Findings as JSON, and how they are printed.
struct Report {
    json data;
    std::function<void(std::ostream&)> print;
};

void print_field(std::ostream& out, const std::string& name, const std::string& value) {
    if (value.empty()) return;
    const std::string key = printable(name);
    out << key << std::string(key.size() < 18 ? 18 - key.size() : 1, ' ') << printable(value) << '\n';
}

json decoder_json(const DecoderDims& d) {
    return {{"num_layers", d.num_layers},
            {"hidden_size", d.hidden_size},
            {"num_heads", d.num_heads},
            {"head_size", d.head_size},
            {"ffn_size", d.ffn_size},
            {"activation", d.activation},
            {"num_codebooks", d.num_codebooks},
            {"codebook_size", d.codebook_size},
            {"start_token", d.start_token},
            {"max_positions", d.max_positions},
            {"delays", d.delays},
            {"channels", d.channels}};
}

/// Says how far the weights are from another bundle's.
void add_changes(Report& report, const Bundle& bundle, const Bundle& base) {
    const std::vector<WeightChange> changes = weight_changes(bundle, base);
    const std::string name = base.manifest().model_name;
    json& data = report.data["weight_changes"];
    data["base"] = {{"name", name}, {"weights_sha256", base.manifest().weights_sha256}};
    for (const WeightChange& change : changes) data["relative"][change.part] = change.relative;
    report.print = [print = report.print, changes, name](std::ostream& out) {
        print(out);
        out << "\nweights against " << printable(name) << ", relative change:\n";
        for (const WeightChange& change : changes)
            print_field(out, change.part, to_text(rounded_to_digits(100.0 * change.relative, 2)) + " %");
    };
}

std::string signed_percent(double change) {
    const double percent = std::round(100.0 * change) + 0.0;  // "+0", not "-0"
    return (percent < 0 ? "" : "+") + to_text(percent) + " %";
}

/// "-0.3 to 0.2, 0.2 by default; per-layer, layers 0-4, rows both; onsets -47 % at -0.3, +31 % at 0.2"
std::string direction_text(const std::string& name, const SteeringFile& file) {
    const SteeringSetting& setting = file.settings.front();
    std::string text;
    if (const auto& range = setting.alpha_range)
        text = "alpha " + to_text(range->low) + " to " + to_text(range->high);
    if (setting.alpha) text += (text.empty() ? "alpha " : ", by default ") + to_text(*setting.alpha);
    for (const SettingField& field : setting_fields()) {
        if (field.key != std::string_view("alpha") && field.is_set(setting))
            text += "; " + field.flag() + " " + field.print(setting);
    }
    if (file.evidence.is_null()) return text;
    const JsonView evidence(file.evidence, name, "evidence");
    const auto ends = evidence.find("ends");
    if (!ends) return text;
    std::string separator = "; " + evidence.at("measure").text() + " ";
    for (const JsonView& end : ends->items()) {
        text += separator + signed_percent(end.at("change").number()) + " at " +
                to_text(end.at("alpha").number());
        separator = ", ";
    }
    return text;
}

/// @throws InputError naming the file that is not a steering file
std::map<std::string, SteeringFile> directions_of(const std::string& bundle) {
    std::map<std::string, SteeringFile> files;
    for (const std::string& name : direction_names(bundle)) {
        SteeringFile file = SteeringFile::load(direction_file(bundle, name));
        if (!file.settings.empty()) files.emplace(name, std::move(file));
    }
    return files;
}

json directions_json(const std::map<std::string, SteeringFile>& directions) {
    json result = json::object();
    for (const auto& [name, file] : directions) {
        result[name] = {{"steering", recommended_json(file.settings.front())}, {"evidence", file.evidence}};
    }
    return result;
}

Report inspect_bundle(const InspectFlags& options) {
    BundleOptions bundle_options;
    bundle_options.verify = !options.no_verify;
    const Bundle bundle = Bundle::open(options.path, bundle_options);
    // Compiles the modules, so that inspect refuses what generate refuses; runs nothing.
    for (const char* module : {"text_encoder.pt", "decoder.pt", "codec.pt"}) bundle.load_module(module);
    const Manifest& m = bundle.manifest();
    const std::map<std::string, SteeringFile> directions = directions_of(options.path);
    json files = json::object();
    for (const auto& [name, record] : m.files)
        files[name] = {{"bytes", record.bytes}, {"sha256", record.sha256}};
    Report report;
    report.data = {
        {"kind", "bundle"},
        {"model",
         {{"name", m.model_name},
          {"source", m.source},
          {"weights_sha256", m.weights_sha256},
          {"licence", m.licence},
          {"licence_note", m.licence_note}}},
        {"decoder", decoder_json(m.decoder)},
        {"text_encoder", {{"vocab_size", m.text.vocab_size}, {"hidden_size", m.text.hidden_size}}},
        {"codec",
         {{"sample_rate_hz", m.codec.sample_rate_hz},
          {"frame_rate_hz", m.codec.frame_rate_hz},
          {"num_codebooks", m.codec.num_codebooks},
          {"codebook_size", m.codec.codebook_size},
          {"channels", m.codec.channels}}},
        {"conditioning", m.melody ? "prefix" : "cross"},
        {"window_s", m.window_s},
        {"max_duration_s", static_cast<double>(m.max_frames()) / m.codec.frame_rate_hz},
        {"precision", m.precision},
        {"directions", directions_json(directions)},
        {"files", files},
        {"hashes_verified", !options.no_verify},
        {"versions", m.versions},
    };
    report.print = [m = bundle.manifest(), directions, verified = !options.no_verify](std::ostream& out) {
        print_field(out, "model bundle", m.model_name + " (from " + m.source + ")");
        print_field(out, "weights", m.weights_sha256);
        print_field(out, "licence", m.licence);
        print_field(out, "", m.licence_note);
        print_field(out, "decoder",
                    std::to_string(m.decoder.num_layers) + " layers of " +
                        std::to_string(m.decoder.hidden_size) + ", " + std::to_string(m.decoder.num_heads) +
                        " heads, ffn " + std::to_string(m.decoder.ffn_size) + " " + m.decoder.activation);
        print_field(out, "conditioning",
                    m.melody ? "text and melody, in a prefix" : "text, by cross-attention");
        print_field(
            out, "codebooks",
            std::to_string(m.decoder.num_codebooks) + " of " + std::to_string(m.decoder.codebook_size));
        print_field(out, "audio",
                    std::string(m.decoder.channels * m.codec.channels == 2 ? "stereo" : "mono") + ", " +
                        std::to_string(m.codec.sample_rate_hz) + " Hz, " + to_text(m.codec.frame_rate_hz) +
                        " frames/s");
        print_field(out, "trained on", "clips of " + to_text(m.window_s) + " s");
        print_field(out, "longest window",
                    to_text(static_cast<double>(m.max_frames()) / m.codec.frame_rate_hz) + " s");
        print_field(out, "code", "checked: it only computes, and cannot reach files");
        for (const auto& [name, file] : directions)
            print_field(out, "--steer " + name, direction_text(name, file));
        for (const auto& [name, record] : m.files) {
            print_field(out, name,
                        format_bytes(record.bytes) + "  sha256 " + record.sha256 +
                            (verified ? "  verified" : "  not verified"));
        }
    };
    if (!options.base.empty()) add_changes(report, bundle, Bundle::open(options.base, bundle_options));
    return report;
}

json provenance_json(const Provenance& p) {
    json data = {{"concept", p.concept_name},
                 {"labels", {{"positive", p.positive_label}, {"negative", p.negative_label}}},
                 {"method", p.method},
                 {"model", p.model_name},
                 {"weights_sha256", p.weights_sha256},
                 {"prompts_sha256", p.prompts_sha256},
                 {"positions", p.positions},
                 {"rows", p.rows},
                 {"duration_s", p.duration_s},
                 {"guidance_scale", p.guidance_scale},
                 {"top_k", p.top_k},
                 {"top_p", p.top_p},
                 {"temperature", p.temperature},
                 {"seed", p.seed},
                 {"counts", {{"positive", p.positive_count}, {"negative", p.negative_count}}},
                 {"num_layers", p.num_layers},
                 {"hidden_size", p.hidden_size}};
    if (!p.precision.empty()) data["precision"] = p.precision;
    if (!p.method_settings.empty()) data["method_settings"] = json::parse(p.method_settings);
    if (!p.value_name.empty()) data["value"] = p.value_name;
    if (!p.recordings.empty()) data["recordings"] = json::parse(p.recordings);
    if (!p.melody_sha256.empty()) data["melody_sha256"] = p.melody_sha256;
    return data;
}

std::string method_text(const Provenance& p) {
    std::string text = p.method;
    const json settings = p.method_settings.empty() ? json::object() : json::parse(p.method_settings);
    for (const auto& [key, value] : settings.items()) text += ", " + key + " " + value.dump();
    return text;
}

/// "orthogonalize of tempo.safetensors, brightness.safetensors"
std::string made_from_text(const std::string& made_from) {
    try {
        const json content = json::parse(made_from);
        std::string text = content.at("operation").get<std::string>() + " of ", separator;
        for (const json& source : content.at("sources")) {
            text += separator + source.at("file").get<std::string>();
            separator = ", ";
        }
        const json settings = content.value("settings", json::object());
        for (const auto& [key, value] : settings.items()) text += "; " + key + " " + value.dump();
        return text;
    } catch (const json::exception&) {
        return made_from;
    }
}

/// "f32", or "decoder int8, codec f32" where modules differ.
std::string precision_text(const std::map<std::string, std::string>& precision) {
    std::string text;
    bool is_one = true;
    for (const auto& [module, kind] : precision) {
        is_one = is_one && kind == precision.begin()->second;
        text += (text.empty() ? "" : ", ") + module + " " + kind;
    }
    return is_one && !precision.empty() ? precision.begin()->second : text;
}

Report inspect_vectors(const std::string& path) {
    const VectorFile vectors = VectorFile::load(path);
    Report report;
    report.data = provenance_json(vectors.provenance);
    report.data["kind"] = "vectors";
    report.data["sha256"] = sha256_of_file(path);
    for (const auto& [name, stats] : vectors.stats) {
        report.data["layers"][name] = direction_stats_json(stats);
    }
    report.print = [vectors, sha256 = report.data["sha256"].get<std::string>()](std::ostream& out) {
        const Provenance& p = vectors.provenance;
        print_field(out, "vector file", p.concept_name + ": " + p.positive_label + " - " + p.negative_label);
        print_field(out, "sha256", sha256);
        print_field(out, "method", method_text(p));
        print_field(out, "numbers", p.value_name);
        if (!p.made_from.empty()) print_field(out, "made from", made_from_text(p.made_from));
        print_field(out, "model",
                    p.model_name + ", " + std::to_string(p.num_layers) + " layers of " +
                        std::to_string(p.hidden_size));
        print_field(out, "weights", p.weights_sha256);
        print_field(out, "precision", precision_text(p.precision));
        if (p.positive_count + p.negative_count > 0) {  // vectors made from vectors have none of their own
            print_field(out, p.recordings.empty() ? "prompts" : "recordings",
                        std::to_string(p.positive_count) + " + " + std::to_string(p.negative_count) +
                            (p.prompts_sha256.empty() ? "" : ", sha256 " + p.prompts_sha256));
        }
        print_field(out, "melody", p.melody_sha256.empty() ? "" : "sha256 " + p.melody_sha256);
        print_field(out, "recorded",
                    "positions " + p.positions + ", rows " + p.rows + ", " + to_text(p.duration_s) +
                        " s, seed " + std::to_string(p.seed));
        print_field(out, "sampling",
                    "guidance " + to_text(p.guidance_scale) + ", top-k " + std::to_string(p.top_k) +
                        ", top-p " + to_text(p.top_p) + ", temperature " + to_text(p.temperature));
        out << '\n';
        print_vector_table(out, vectors);
    };
    return report;
}

/// Activations, recordings, codes, and other safetensors files: tensors and metadata.
Report inspect_tensors(const std::string& path, const TensorFileInfo& info) {
    const std::string format = format_of(info.metadata);
    Report report;
    report.data = {{"kind", format.empty() ? "safetensors" : format.substr(format.find('-') + 1)},
                   {"sha256", sha256_of_file(path)},
                   {"metadata", info.metadata},
                   {"tensors", json::object()}};
    for (const auto& [name, tensor] : info.tensors) {
        report.data["tensors"][name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}};
    }
    report.print = [data = report.data](std::ostream& out) {
        print_field(out, "safetensors file", data["kind"].get<std::string>());
        print_field(out, "sha256", data["sha256"].get<std::string>());
        for (const auto& [key, value] : data["metadata"].items())
            print_field(out, key, value.get<std::string>());
        for (const auto& [name, tensor] : data["tensors"].items()) {
            print_field(out, name, tensor["dtype"].get<std::string>() + " " + tensor["shape"].dump());
        }
    };
    return report;
}

void print_setting(std::ostream& out, const SteeringSetting& setting) {
    out << '\n';
    print_field(out, "vector file", setting.file);
    if (!setting.sha256.empty()) print_field(out, "sha256", setting.sha256);
    if (!setting.concept_name.empty()) {
        print_field(out, "concept",
                    setting.concept_name + ": " + setting.positive_label + " - " + setting.negative_label);
    }
    for (const SettingField& field : setting_fields()) {
        if (field.is_set(setting)) print_field(out, field.flag(), field.print(setting));
    }
    if (setting.alpha_range) {
        print_field(
            out, "found to work",
            "alpha " + to_text(setting.alpha_range->low) + " to " + to_text(setting.alpha_range->high));
    }
}

void print_section(std::ostream& out, const SteeringSection& section) {
    out << '\n';
    print_field(out, "from", to_text(section.at_s) + " s on");
    if (section.prompt) print_field(out, "prompt", *section.prompt);
    if (!section.steering) return;
    if (section.steering->empty()) print_field(out, "steering", "none");
    for (const SteeringSetting& setting : *section.steering) print_setting(out, setting);
}

Report inspect_steering(const std::string& path, const json& content) {
    const SteeringFile file = SteeringFile::load(path);  // its error says what is wrong
    Report report;
    report.data = {{"kind", "steering"}, {"sha256", sha256_of_file(path)}};
    for (const char* key : {"steering", "sections", "model", "evidence"}) {
        if (content.contains(key)) report.data[key] = content[key];
    }
    report.print = [file, sha256 = report.data["sha256"].get<std::string>()](std::ostream& out) {
        print_field(out, "steering", counted(file.settings.size(), "vector"));
        if (!file.sections.empty()) print_field(out, "sections", counted(file.sections.size(), "section"));
        print_field(out, "sha256", sha256);
        if (!file.model_name.empty()) print_field(out, "made on", file.model_name);
        for (const SteeringSetting& setting : file.settings) print_setting(out, setting);
        for (const SteeringSection& section : file.sections) print_section(out, section);
        if (file.evidence.is_null()) return;
        out << '\n';
        for (const auto& [key, value] : file.evidence.items())
            print_field(out, key, value.is_string() ? value.get<std::string>() : value.dump());
    };
    return report;
}

json confounds_json(const PromptConfounds& confounds) {
    json words = json::array();
    for (const OneSidedWord& word : confounds.one_sided_words)
        words.push_back({{"word", word.word}, {"positive", word.positive}, {"negative", word.negative}});
    return {
        {"concept_words", confounds.concept_words},
        {"one_sided_words", std::move(words)},
        {"mean_words", {{"positive", confounds.positive_length}, {"negative", confounds.negative_length}}},
        {"unequal_lengths", confounds.unequal_lengths},
        {"repeated_texts", confounds.repeated_texts}};
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
    return text;
}

/// What else differs between the sides and so becomes part of the vector.
void print_confounds(std::ostream& out, const PromptSet& set, const PromptConfounds& confounds) {
    print_field(out, "concept's words", joined(confounds.concept_words));
    if (confounds.empty()) {
        print_field(out, "confounds",
                    "none found: no other word of one side only, equal lengths, no repeats");
        return;
    }
    std::string words;
    for (const OneSidedWord& word : confounds.one_sided_words) {
        words += (words.empty() ? "" : ", ") + word.word + " (" +
                 std::to_string(word.positive + word.negative) + " " +
                 (word.positive > 0 ? set.positive.label : set.negative.label) + ")";
    }
    print_field(out, "one side only", words);
    if (confounds.unequal_lengths) {
        print_field(out, "unequal lengths",
                    to_text(rounded_to_digits(confounds.positive_length, 3)) + " words in " +
                        set.positive.label + ", " + to_text(rounded_to_digits(confounds.negative_length, 3)) +
                        " in " + set.negative.label + ", on average");
    }
    print_field(out, "repeated", joined(confounds.repeated_texts));
    print_field(out, "",
                "what else differs between the sides becomes part of the vector (prompts/README.md)");
}

/// A JSON file: a steering file, a prompt list or a prompt set.
Report inspect_json(const std::string& path) {
    Report report;
    std::ifstream file(path);
    const json content = json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (content.is_object() && (content.contains("steering") || content.contains("sections")) &&
        !content.contains("prompt") && content.value("format", json(kSteeringFormat)) == kSteeringFormat)
        return inspect_steering(path, content);
    if (content.is_object() && content.contains("prompts")) {
        const std::vector<Prompt> prompts = load_prompt_list(path);
        report.data = {
            {"kind", "prompt list"}, {"sha256", sha256_of_file(path)}, {"prompts", prompts.size()}};
        report.print = [prompts, path](std::ostream& out) {
            print_field(out, "prompt list", counted(prompts.size(), "prompt"));
            print_field(out, "sha256", sha256_of_file(path));
            print_field(out, "first", prompts.front().text);
        };
        return report;
    }
    const PromptSet set = PromptSet::load(path);
    const PromptConfounds confounds = find_confounds(set);
    const auto side_json = [](const PromptSide& side) {
        return json{{"label", side.label}, {"prompts", side.prompts.size()}};
    };
    report.data = {{"kind", "prompt set"},
                   {"sha256", set.sha256},
                   {"concept", set.concept_name},
                   {"description", set.description},
                   {"positive", side_json(set.positive)},
                   {"negative", side_json(set.negative)},
                   {"paired", set.paired},
                   {"confounds", confounds_json(confounds)}};
    report.print = [set, confounds](std::ostream& out) {
        print_field(out, "prompt set", set.concept_name + (set.paired ? " (paired)" : ""));
        print_field(out, "sha256", set.sha256);
        print_field(out, "description", set.description);
        for (const PromptSide* side : {&set.positive, &set.negative}) {
            print_field(out, side == &set.positive ? "positive" : "negative",
                        side->label + ", " + counted(side->prompts.size(), "prompt") + ", first: \"" +
                            side->prompts.front().text + "\"");
        }
        print_confounds(out, set, confounds);
    };
    return report;
}

/// A safetensors file begins with the length of its header and a brace; a prompt set is JSON text.
bool looks_like_tensors(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    char head[9] = {};
    file.read(head, sizeof head);
    return std::filesystem::path(path).extension() == ".safetensors" ||
           (file.gcount() == 9 && head[8] == '{' && head[7] == 0);
}

Report inspect(const InspectFlags& options) {
    if (!std::filesystem::exists(options.path)) throw InputError(options.path + ": does not exist");
    if (std::filesystem::is_directory(options.path)) return inspect_bundle(options);
    if (!options.base.empty())
        throw UsageError("--base has no effect here: " + options.path + " is not a bundle");
    if (options.no_verify)
        throw UsageError("--no-verify has no effect here: " + options.path + " is not a bundle");
    if (!looks_like_tensors(options.path)) {
        refuse_other_formats(InputFile(options.path));
        return inspect_json(options.path);
    }
    const TensorFileInfo info = read_tensor_info(options.path);
    if (format_of(info.metadata) == "musicsteer-vectors") return inspect_vectors(options.path);
    return inspect_tensors(options.path, info);
}

void run(const InspectFlags& options) {
    const Report report = inspect(options);
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

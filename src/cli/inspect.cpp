#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/errors.hpp"
#include "base/numbers.hpp"
#include "cli.hpp"
#include "directions/prompt_set.hpp"
#include "directions/vector_file.hpp"
#include "io/safetensors.hpp"
#include "io/sha256.hpp"
#include "model/bundle.hpp"
#include "model/memory.hpp"
#include "model_options.hpp"
#include "steering/preset.hpp"
#include "steering/steering_file.hpp"
#include "vector_table.hpp"

namespace musicsteer::cli {
namespace {

using nlohmann::json;

constexpr const char* kInspectExample = R"(
Examples:
  musicsteer inspect bundle
  musicsteer inspect tempo.safetensors --json
  musicsteer inspect prompts/tempo.json
  musicsteer inspect preset.json)";

struct InspectFlags {
    std::string path;
    bool as_json = false;
    bool no_verify = false;
};

/// What was found, for machines; and how it is printed for people.
struct Report {
    json data;
    std::function<void(std::ostream&)> print;
};

void print_field(std::ostream& out, const std::string& name, const std::string& value) {
    if (value.empty()) return;
    out << name << std::string(name.size() < 18 ? 18 - name.size() : 1, ' ') << value << '\n';
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

Report inspect_bundle(const InspectFlags& options) {
    BundleOptions bundle_options;
    bundle_options.verify = !options.no_verify;
    const Manifest m = Bundle::open(options.path, bundle_options).manifest();
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
        {"max_duration_s", static_cast<double>(m.max_frames()) / m.codec.frame_rate_hz},
        {"precision", m.precision},
        {"files", files},
        {"hashes_verified", !options.no_verify},
        {"versions", m.versions},
    };
    report.print = [m, verified = !options.no_verify](std::ostream& out) {
        print_field(out, "model bundle", m.model_name + " (from " + m.source + ")");
        print_field(out, "weights", m.weights_sha256);
        print_field(out, "licence", m.licence);
        print_field(out, "", m.licence_note);
        print_field(out, "decoder",
                    std::to_string(m.decoder.num_layers) + " layers of " +
                        std::to_string(m.decoder.hidden_size) + ", " + std::to_string(m.decoder.num_heads) +
                        " heads, ffn " + std::to_string(m.decoder.ffn_size) + " " + m.decoder.activation);
        print_field(
            out, "codebooks",
            std::to_string(m.decoder.num_codebooks) + " of " + std::to_string(m.decoder.codebook_size));
        print_field(out, "audio",
                    std::string(m.decoder.channels * m.codec.channels == 2 ? "stereo" : "mono") + ", " +
                        std::to_string(m.codec.sample_rate_hz) + " Hz, " + to_text(m.codec.frame_rate_hz) +
                        " frames/s");
        print_field(out, "longest clip",
                    to_text(static_cast<double>(m.max_frames()) / m.codec.frame_rate_hz) + " s");
        for (const auto& [name, record] : m.files) {
            print_field(out, name,
                        format_bytes(record.bytes) + "  sha256 " + record.sha256 +
                            (verified ? "  verified" : "  not verified"));
        }
    };
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
    if (!p.method_settings.empty()) data["method_settings"] = json::parse(p.method_settings);
    if (!p.value_name.empty()) data["value"] = p.value_name;
    if (!p.recordings.empty()) data["recordings"] = json::parse(p.recordings);
    return data;
}

std::string method_text(const Provenance& p) {
    std::string text = p.method;
    const json settings = p.method_settings.empty() ? json::object() : json::parse(p.method_settings);
    for (const auto& [key, value] : settings.items()) text += ", " + key + " " + value.dump();
    return text;
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
        if (!p.made_from.empty()) print_field(out, "made from", p.made_from);
        print_field(out, "model",
                    p.model_name + ", " + std::to_string(p.num_layers) + " layers of " +
                        std::to_string(p.hidden_size));
        print_field(out, "weights", p.weights_sha256);
        print_field(out, p.recordings.empty() ? "prompts" : "recordings",
                    std::to_string(p.positive_count) + " + " + std::to_string(p.negative_count) +
                        ", sha256 " + p.prompts_sha256);
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

/// Activations, recordings, codes, and safetensors files of others: tensors and metadata as they are.
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

/// What differs from adding the vector whole, at every frame and layer alike.
void print_effect(std::ostream& out, const json& steering) {
    for (const char* key : {"mode", "value", "schedule", "probability", "frame_seed", "weights", "heads",
                            "gate", "gate_file", "orthogonalize"}) {
        if (!steering.contains(key)) continue;
        const json& value = steering[key];
        print_field(out, key, value.is_string() ? value.get<std::string>() : value.dump());
    }
}

void print_entry(std::ostream& out, const PresetEntry& entry) {
    const AppliedSteering& steering = entry.steering;
    out << '\n';
    print_field(out, "vector file", steering.file);
    print_field(out, "sha256", steering.sha256);
    print_field(out, "concept",
                steering.concept_name + ": " + steering.positive_label + " - " + steering.negative_label);
    print_field(out, "alpha",
                to_text(steering.alpha) + ", from " + to_text(entry.lowest_alpha) + " to " +
                    to_text(entry.highest_alpha));
    const std::string source =
        steering.source_layer ? ", source layer " + std::to_string(*steering.source_layer) : "";
    print_field(out, "applied",
                to_text(steering.strategy) + source + ", layers " + json(steering.layers).dump() + " at " +
                    to_text(steering.site) + ", rows " + to_text(steering.rows) + ", unit " +
                    to_text(steering.unit));
    print_effect(out, steering_json(steering));
}

Report inspect_preset(const std::string& path) {
    const Preset preset = Preset::load(path);
    Report report;
    report.data = {{"kind", "preset"},
                   {"sha256", sha256_of_file(path)},
                   {"model", {{"name", preset.model_name}, {"weights_sha256", preset.weights_sha256}}},
                   {"steering", json::array()},
                   {"evidence", preset.evidence}};
    for (const PresetEntry& entry : preset.entries) {
        json steering = steering_json(entry.steering);
        steering["alpha_range"] = {entry.lowest_alpha, entry.highest_alpha};
        report.data["steering"].push_back(std::move(steering));
    }
    report.print = [preset, sha256 = report.data["sha256"].get<std::string>()](std::ostream& out) {
        print_field(out, "preset for", preset.model_name);
        print_field(out, "weights", preset.weights_sha256);
        print_field(out, "sha256", sha256);
        for (const PresetEntry& entry : preset.entries) print_entry(out, entry);
        out << '\n';
        for (const auto& [key, value] : preset.evidence.items())
            print_field(out, key, value.is_string() ? value.get<std::string>() : value.dump());
    };
    return report;
}

Report inspect_steering(const std::string& path, const json& content) {
    const SteeringFile file = SteeringFile::load(path);  // says what is wrong with it
    Report report;
    report.data = {
        {"kind", "steering"}, {"sha256", sha256_of_file(path)}, {"steering", content.at("steering")}};
    if (content.contains("model")) report.data["model"] = content["model"];
    report.print = [data = report.data, model = file.model_name](std::ostream& out) {
        print_field(out, "steering", std::to_string(data["steering"].size()) + " vectors");
        print_field(out, "sha256", data["sha256"].get<std::string>());
        if (!model.empty()) print_field(out, "made on", model);
        for (const json& entry : data["steering"]) {
            out << '\n';
            for (const auto& [key, value] : entry.items())
                print_field(out, key, value.is_string() ? value.get<std::string>() : value.dump());
        }
    };
    return report;
}

/// JSON of ours: a preset, a steering file, a prompt list or a prompt set.
Report inspect_json(const std::string& path) {
    Report report;
    std::ifstream file(path);
    const json content = json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (content.is_object() && content.value("format", json()) == kPresetFormat) return inspect_preset(path);
    if (content.is_object() && content.contains("steering") && !content.contains("prompt") &&
        content.value("format", json(kSteeringFormat)) == kSteeringFormat)
        return inspect_steering(path, content);
    if (content.is_object() && content.contains("prompts")) {
        const std::vector<Prompt> prompts = load_prompt_list(path);
        report.data = {
            {"kind", "prompt list"}, {"sha256", sha256_of_file(path)}, {"prompts", prompts.size()}};
        report.print = [prompts, path](std::ostream& out) {
            print_field(out, "prompt list", std::to_string(prompts.size()) + " prompts");
            print_field(out, "sha256", sha256_of_file(path));
            print_field(out, "first", prompts.front().text);
        };
        return report;
    }
    const PromptSet set = PromptSet::load(path);
    const auto side_json = [](const PromptSide& side) {
        return json{{"label", side.label}, {"prompts", side.prompts.size()}};
    };
    report.data = {{"kind", "prompt set"},
                   {"sha256", set.sha256},
                   {"concept", set.concept_name},
                   {"description", set.description},
                   {"positive", side_json(set.positive)},
                   {"negative", side_json(set.negative)},
                   {"paired", set.paired}};
    report.print = [set](std::ostream& out) {
        print_field(out, "prompt set", set.concept_name + (set.paired ? " (paired)" : ""));
        print_field(out, "sha256", set.sha256);
        print_field(out, "description", set.description);
        for (const PromptSide* side : {&set.positive, &set.negative}) {
            print_field(out, side == &set.positive ? "positive" : "negative",
                        side->label + ", " + std::to_string(side->prompts.size()) + " prompts, first: \"" +
                            side->prompts.front().text + "\"");
        }
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
    if (!looks_like_tensors(options.path)) return inspect_json(options.path);
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
    CLI::App* command = app.add_subcommand("inspect",
                                           "Say what a bundle, vector file, other tensor file, prompt set, "
                                           "steering file or preset is, and where it is from");
    command->footer(kInspectExample);
    command
        ->add_option("path", options->path,
                     "Bundle folder, .safetensors file, or JSON: a prompt set, a steering file or a preset")
        ->required();
    command->add_flag("--json", options->as_json, "JSON, with everything");
    command->add_flag("--no-verify", options->no_verify, "Don't check the hashes of a bundle's files");
    command->callback([options, &context] { context.action = [options] { run(*options); }; });
}

}  // namespace musicsteer::cli

#include <nlohmann/json.hpp>

#include "base/numbers.hpp"
#include "directions/provenance.hpp"
#include "inspection/inspect.hpp"
#include "inspection/vector_table.hpp"
#include "io/sha256.hpp"
#include "musicsteer/vector_file.hpp"

namespace musicsteer::inspection {
namespace {

using nlohmann::json;

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

}  // namespace

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

}  // namespace musicsteer::inspection

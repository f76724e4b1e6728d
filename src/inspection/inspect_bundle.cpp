#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/numbers.hpp"
#include "base/printable.hpp"
#include "bundle/bundle.hpp"
#include "bundle/weight_change.hpp"
#include "inspection/inspect.hpp"
#include "io/json_view.hpp"
#include "model/memory.hpp"
#include "steering/bundle_directions.hpp"
#include "steering/setting_fields.hpp"
#include "steering/setting_json.hpp"
#include "steering/steering_file.hpp"

namespace musicsteer::inspection {
namespace {

using nlohmann::json;

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

}  // namespace

Report inspect_bundle(const std::string& path, const std::string& base, bool verify) {
    BundleOptions options;
    options.verify = verify;
    const Bundle bundle = Bundle::open(path, options);
    // Compiles the modules, so that inspect refuses what generate refuses; runs nothing.
    for (const char* module : {"text_encoder.pt", "decoder.pt", "codec.pt"}) bundle.load_module(module);
    const Manifest& m = bundle.manifest();
    const std::map<std::string, SteeringFile> directions = directions_of(path);
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
        {"hashes_verified", verify},
        {"versions", m.versions},
    };
    report.print = [m = bundle.manifest(), directions, verified = verify](std::ostream& out) {
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
    if (!base.empty()) add_changes(report, bundle, Bundle::open(base, options));
    return report;
}

}  // namespace musicsteer::inspection

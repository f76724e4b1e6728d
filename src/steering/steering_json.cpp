#include "steering/steering_json.hpp"

#include <nlohmann/json.hpp>

#include "base/errors.hpp"

namespace musicsteer {
namespace {}  // namespace

nlohmann::json effect_json(const SteeringEffect& effect) {
    nlohmann::json result = nlohmann::json::object();
    if (effect.mode != SteeringMode::kAdd) result["mode"] = to_text(effect.mode);
    if (effect.value) result["value"] = *effect.value;
    if (!effect.schedule.is_constant()) result["schedule"] = effect.schedule.text();
    if (!effect.frames.all()) {
        result["probability"] = effect.frames.probability;
        result["frame_seed"] = effect.frames.seed;
    }
    if (!effect.weights.is_uniform()) result["weights"] = effect.weights.text();
    if (!effect.heads.empty()) result["heads"] = effect.heads;
    if (effect.gate) {
        result["gate"] = effect.gate->condition();
        result["gate_file"] = effect.gate->file;
        result["gate_sha256"] = effect.gate->sha256;
    }
    if (effect.orthogonalize) result["orthogonalize"] = true;
    return result;
}

SteeringEffect read_effect(const JsonView& view) {
    SteeringEffect effect;
    if (const auto mode = view.find("mode")) effect.mode = parse_steering_mode(mode->text());
    if (const auto value = view.find("value")) effect.value = value->number();
    if (const auto schedule = view.find("schedule")) effect.schedule = Schedule::parse(schedule->text());
    if (const auto probability = view.find("probability")) effect.frames.probability = probability->number();
    if (const auto seed = view.find("frame_seed")) effect.frames.seed = seed->unsigned_integer();
    if (const auto weights = view.find("weights")) effect.weights = LayerWeights::parse(weights->text());
    if (const auto heads = view.find("heads")) {
        for (const JsonView& head : heads->items()) effect.heads.push_back(head.integer(0, kMaxHeads));
        if (effect.heads.empty()) heads->fail("expected at least one head, found none");
    }
    effect.gate = read_gate(view);
    if (const auto flag = view.find("orthogonalize")) effect.orthogonalize = flag->boolean();
    return effect;
}

std::optional<Gate> read_gate(const JsonView& view) {
    const auto condition = view.find("gate");
    if (!condition) {
        if (const auto file = view.find("gate_file"))
            file->fail("makes sense with a gate, and there is none");
        return std::nullopt;
    }
    const std::string file = view.at("gate_file").text();
    if (file.empty()) view.at("gate_file").fail("expected the path of a vector file, found ''");
    Gate gate = Gate::parse(file, condition->text());
    if (const auto sha256 = view.find("gate_sha256")) gate.sha256 = read_sha256(*sha256);
    return gate;
}

std::string read_sha256(const JsonView& view) {
    constexpr std::size_t kDigits = 64;
    std::string digits = view.text();
    const bool well_formed =
        digits.size() == kDigits && digits.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!well_formed) view.fail("expected a SHA-256 (64 digits 0-9, a-f), found " + in_quotes(digits));
    return digits;
}

std::string seen_from(const std::filesystem::path& folder, const std::string& file) {
    std::error_code ignored;
    const auto target = std::filesystem::weakly_canonical(file, ignored);
    const auto base = std::filesystem::weakly_canonical(folder.empty() ? "." : folder, ignored);
    return target.lexically_proximate(base).generic_string();
}

std::string reached_from(const std::filesystem::path& folder, const std::string& file) {
    return (folder / file).lexically_normal().string();  // an absolute path stays as it is
}

nlohmann::json steering_json_seen_from(const std::filesystem::path& folder, const AppliedSteering& steering) {
    nlohmann::json entry = steering_json(steering);
    for (const char* key : {"file", "gate_file"}) {
        if (entry.contains(key)) entry[key] = seen_from(folder, entry[key].get<std::string>());
    }
    return entry;
}

}  // namespace musicsteer

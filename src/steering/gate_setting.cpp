#include "musicsteer/gate_setting.hpp"

#include <ATen/ATen.h>

#include "base/numbers.hpp"
#include "generation/injection.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/vector_file.hpp"

namespace musicsteer {
namespace {

constexpr std::size_t kMaxNamed = 4;

/// "decoder.0.resid_post, decoder.1.resid_post and 22 more"
std::string names_of(const VectorFile& vectors) {
    std::string text;
    std::size_t named = 0;
    for (const auto& [name, direction] : vectors.directions) {
        if (named++ == kMaxNamed) break;
        text += (text.empty() ? "" : ", ") + name;
    }
    if (vectors.directions.size() <= kMaxNamed) return text;
    return text + " and " + std::to_string(vectors.directions.size() - kMaxNamed) + " more";
}

}  // namespace

GateSetting GateSetting::parse(const std::string& file, const std::string& condition) {
    const std::size_t sign = condition.find_first_of("<>");
    const auto threshold =
        sign == std::string::npos ? std::nullopt : parse_number(std::string_view(condition).substr(sign + 1));
    if (!threshold || sign == 0 || file.empty()) {
        throw UsageError("gate " + in_quotes(condition) +
                         ": expected FILE@HOOK_POINT<COSINE or >COSINE, such as "
                         "tempo.safetensors@decoder.12.resid_post<0.3");
    }
    if (*threshold < -1.0 || *threshold > 1.0)
        throw UsageError("gate " + in_quotes(condition) + ": the cosine must be between -1 and 1");
    GateSetting gate;
    gate.file = file;
    gate.point_name = condition.substr(0, sign);
    gate.below = condition[sign] == '<';
    gate.threshold = *threshold;
    return gate;
}

GateSetting GateSetting::parse(const std::string& text) {
    const std::size_t at_sign = text.rfind('@');
    if (at_sign == std::string::npos) return parse("", text);  // its error says what is expected
    return parse(text.substr(0, at_sign), text.substr(at_sign + 1));
}

std::string GateSetting::condition() const {
    return point_name + (below ? "<" : ">") + to_text(threshold);
}

Gate GateSetting::with_direction(const VectorFile& vectors, std::int64_t num_layers) const {
    const HookPoint point = HookPoint::parse(point_name, num_layers);
    const auto found = vectors.directions.find(point_name);
    if (found == vectors.directions.end()) {
        throw UsageError("gate " + condition() + ": " + file + " has no direction there (it has " +
                         names_of(vectors) + ")");
    }
    if (found->second.norm().item<double>() == 0.0)
        throw UsageError("gate " + condition() + ": the direction of " + file + " there is zero");
    return {point, found->second, below, threshold};
}

}  // namespace musicsteer

#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "musicsteer/setting.hpp"

namespace musicsteer {

class JsonView;

/// A field of the steering setting that a sweep can vary.
struct SteeringAxis {
    const char* field;  ///< key of the setting
    const char* key;    ///< of a plan file; as a flag, with dashes
    const char* help;
};

/// Every axis except alpha, the outermost first.
std::span<const SteeringAxis> steering_axes();

/// The values of each axis. An axis without values has its default.
struct SteeringAxes {
    std::vector<double> alphas;
    /// By the setting's key, as typed. Each value of `layers` is one condition: "all", "4", "2-5",
    /// "0,2".
    std::map<std::string, std::vector<std::string>> values;

    bool empty() const { return alphas.empty() && values.empty(); }
    /// Adds the axes of `other` that are missing here.
    void complete_with(const SteeringAxes& other);
    /// The values of an axis, or "not given" as its only one.
    std::vector<std::optional<std::string>> values_or_default(const std::string& field) const;

    /// A setting's values, each as the only value of its axis.
    static SteeringAxes of(const SteeringSetting& setting);
    /// The axes in a plan file's object. @throws InputError
    static SteeringAxes read(const JsonView& view);
};

/// A flag's list, "all,4,2-5,0+2" -> one value for each condition; + joins layers that are steered together.
/// @throws UsageError
std::vector<std::string> parse_axis(const SteeringAxis& axis, const std::string& text);

/// @throws UsageError for a value that the field refuses
void set_field(SteeringSetting& setting, const std::string& field, const std::string& value);

}  // namespace musicsteer

#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "io/json_view.hpp"
#include "musicsteer/setting.hpp"

namespace musicsteer {

/// One setting of a vector's application. Flags, `FILE:key=value`, JSON, the schema, `inspect` and the
/// reference of settings follow from the table of these.
struct SettingField {
    const char* key;         ///< "source_layer" in JSON; "source-layer" when typed
    const char* value_name;  ///< of the flag, as --help has it
    const char* help;
    const char* json_type;  ///< of the value in JSON, as a JSON Schema has it
    bool (*is_set)(const SteeringSetting& setting);
    /// @throws UsageError without the key's name
    void (*parse)(SteeringSetting& setting, const std::string& text);
    std::string (*print)(const SteeringSetting& setting);
    /// Takes the field from a JSON object that may hold it. @throws InputError with the place
    void (*read)(SteeringSetting& setting, const JsonView& entry, const char* key);
    /// Puts the field, which is set, into a JSON object.
    void (*write)(const SteeringSetting& setting, nlohmann::json& entry, const char* key);

    /// As it is typed: "source-layer".
    std::string flag() const;
};

std::span<const SettingField> setting_fields();

}  // namespace musicsteer

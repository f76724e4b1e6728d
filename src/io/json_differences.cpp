#include "io/json_differences.hpp"

#include <nlohmann/json.hpp>
#include <set>

namespace musicsteer {
namespace {

using nlohmann::json;

std::string differences(const json& before, const json& after, const std::string& place) {
    std::string text;
    std::set<std::string> keys;
    for (const auto& [key, value] : before.items()) keys.insert(key);
    for (const auto& [key, value] : after.items()) keys.insert(key);
    for (const std::string& key : keys) {
        const json old_value = before.contains(key) ? before.at(key) : json();
        const json new_value = after.contains(key) ? after.at(key) : json();
        if (old_value == new_value) continue;
        std::string part = place + key + " was " + old_value.dump() + " and is " + new_value.dump();
        if (old_value.is_object() && new_value.is_object())
            part = differences(old_value, new_value, place + key + ".");
        text += (text.empty() ? "" : ", ") + part;
    }
    return text;
}

}  // namespace

std::string json_differences(const json& before, const json& after) {
    return differences(before, after, "");
}

}  // namespace musicsteer

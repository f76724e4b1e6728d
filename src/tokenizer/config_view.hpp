#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace musicsteer::tokenizer {

/// Parses JSON, its decimal numbers as `tokenizers` does: serde_json rounds twice, so that one in seven of a
/// T5 vocabulary's scores differs in its last bit from the nearest double, and ties between pieces fall
/// otherwise. `origin` names the text in messages.
/// @throws InputError if it is not JSON, or is nested more than 64 deep.
nlohmann::json parse_json(const std::string& text, const std::string& origin);

/// A value in a tokenizer.json that knows its place, for messages. Every getter throws InputError, with
/// place, what was expected and what is there.
class ConfigView {
  public:
    /// `value` must outlive the view.
    ConfigView(const nlohmann::json& value, std::string place) : value_(&value), place_(std::move(place)) {}

    /// The member of an object, or of an array.
    ConfigView at(const std::string& name) const;
    ConfigView at(std::size_t index) const;

    /// The member of an object, unless it is missing or null.
    std::optional<ConfigView> find(const std::string& name) const;

    std::size_t size() const;  ///< of an array
    const std::string& text() const;
    bool boolean() const;
    double number() const;
    std::size_t index() const;  ///< an integer, 0 or more

    const nlohmann::json& value() const { return *value_; }
    const std::string& place() const { return place_; }

    /// Throws "PLACE should be EXPECTED and is FOUND; ...".
    [[noreturn]] void expect(const std::string& expected) const;

    /// Throws "PLACE: WHAT; ..." for something that another tokenizer may have but that is not supported.
    [[noreturn]] void unsupported(const std::string& what) const;

  private:
    const nlohmann::json* value_;
    std::string place_;
};

}  // namespace musicsteer::tokenizer

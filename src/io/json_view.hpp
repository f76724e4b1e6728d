#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace musicsteer {

/// The offset of the first byte that is not UTF-8, if there is one.
std::optional<std::size_t> find_invalid_utf8(std::string_view bytes);

/// Checks that `bytes` are UTF-8. @throws InputError "ORIGIN: not UTF-8 at byte offset 17; ..."
void check_utf8(std::string_view bytes, const std::string& origin);

/// `bytes` without the byte-order mark that some editors add.
std::string_view without_byte_order_mark(std::string_view bytes);

/// A value of a JSON document with its place in it, so that every error says where:
/// "tempo.json: negative.prompts[3]: expected text, found a number". All readers throw InputError.
/// The document must outlive it.
class JsonView {
  public:
    JsonView(const nlohmann::json& value, const std::string& origin, std::string place = "")
        : value_(&value), origin_(&origin), place_(std::move(place)) {}

    /// The member with that key, which must exist.
    JsonView at(const std::string& key) const;
    std::optional<JsonView> find(const std::string& key) const;
    bool is_object() const { return value_->is_object(); }
    bool is_list() const { return value_->is_array(); }
    bool is_text() const { return value_->is_string(); }
    bool is_null() const { return value_->is_null(); }

    std::string text() const;
    bool boolean() const;
    /// A whole number within [least, most].
    std::int64_t integer(std::int64_t least,
                         std::int64_t most = std::numeric_limits<std::int64_t>::max()) const;
    /// A finite number.
    double number() const;
    /// A whole number of up to 64 bits.
    std::uint64_t unsigned_integer() const;
    std::vector<JsonView> items() const;
    std::vector<std::pair<std::string, JsonView>> members() const;

    /// Refuses unknown keys of an object, and suggests the nearest known one.
    void refuse_unknown_keys(const std::vector<std::string>& known) const;
    /// Refuses any other value, naming the first place inside that differs.
    void expect_equal(const nlohmann::json& expected) const;
    [[noreturn]] void fail(const std::string& what) const;
    const std::string& place() const { return place_; }

  private:
    [[noreturn]] void fail_expected(const std::string& expected) const;

    const nlohmann::json* value_;
    const std::string* origin_;
    std::string place_;
};

/// Parsed JSON text. Stricter than nlohmann's parser: invalid UTF-8, duplicate keys and nesting deeper than
/// any of our files are refused.
class JsonDocument {
  public:
    /// @throws InputError naming the origin and line and column.
    JsonDocument(std::string_view text, std::string origin);

    JsonView root() const { return JsonView(value_, origin_); }

  private:
    std::string origin_;
    nlohmann::json value_;
};

}  // namespace musicsteer

#include "io/json_view.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string kind_of(const json& value) {
    switch (value.type()) {
        case json::value_t::object:
            return "an object";
        case json::value_t::array:
            return "a list";
        case json::value_t::string:
            return "text";
        case json::value_t::boolean:
            return value.get<bool>() ? "true" : "false";
        case json::value_t::null:
            return "null";
        default:
            return "a number";
    }
}

// Keys that are words are written bare: decoder.delays, but files['decoder.pt'].
std::string member_place(const std::string& place, const std::string& key) {
    const bool word = !key.empty() && std::all_of(key.begin(), key.end(), [](char letter) {
        return letter == '_' || letter == '$' || (letter >= '0' && letter <= '9') ||
               (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    });
    if (!word) return place + "[" + in_quotes(key) + "]";
    return place.empty() ? key : place + "." + key;
}

// "[json.exception.parse_error.101] parse error at line 1, column 2: ...; last read: '...'" -> the readable
// part.
std::string reason_of(const json::exception& error) {
    std::string reason = error.what();
    if (const auto end = reason.find("] "); end != std::string::npos) reason.erase(0, end + 2);
    constexpr std::string_view kStart = "parse error at ";
    if (reason.starts_with(kStart)) reason.erase(0, kStart.size());
    if (const auto start = reason.find("; last read: "); start != std::string::npos) reason.erase(start);
    return reason;
}

// Refuses what json::parse accepts. json::parse with a callback could do the same, but at each end of an
// object it walks the enclosing object, which takes minutes if that has 100,000 members.
class StrictChecker : public nlohmann::json_sax<json> {
  public:
    explicit StrictChecker(const std::string& origin) : origin_(origin) {}

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return open(); }
    bool end_object() override { return close(); }
    bool start_array(std::size_t) override { return open(); }
    bool end_array() override { return close(); }

    bool key(string_t& key) override {
        if (keys_.back().insert(key).second) return true;
        throw InputError(origin_ + ": the key " + in_quotes(key) + " appears twice in one object");
    }

    bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
        throw InputError(origin_ + ": not JSON: " + reason_of(error));
    }

  private:
    bool open() {
        constexpr std::size_t kMaxDepth = 64;
        if (keys_.size() > kMaxDepth)
            throw InputError(origin_ + ": nested deeper than " + std::to_string(kMaxDepth) + " levels");
        keys_.emplace_back();
        return true;
    }
    bool close() {
        keys_.pop_back();
        return true;
    }

    const std::string& origin_;
    std::vector<std::set<std::string>> keys_;  // of each open object; empty for arrays
};

json parse_strictly(std::string_view text, const std::string& origin) {
    StrictChecker checker(origin);
    json::sax_parse(text, &checker);
    return json::parse(text);
}

}  // namespace

std::optional<std::size_t> find_invalid_utf8(std::string_view bytes) {
    const auto* data = reinterpret_cast<const utf8proc_uint8_t*>(bytes.data());
    std::size_t offset = 0;
    while (offset < bytes.size()) {
        utf8proc_int32_t codepoint = 0;
        const auto length =
            utf8proc_iterate(data + offset, static_cast<utf8proc_ssize_t>(bytes.size() - offset), &codepoint);
        if (length <= 0) return offset;
        offset += static_cast<std::size_t>(length);
    }
    return std::nullopt;
}

void check_utf8(std::string_view bytes, const std::string& origin) {
    if (const auto offset = find_invalid_utf8(bytes)) {
        throw InputError(origin + ": not UTF-8 at byte offset " + std::to_string(*offset) +
                         "; save the file as UTF-8 text");
    }
}

std::string_view without_byte_order_mark(std::string_view bytes) {
    return bytes.starts_with(kByteOrderMark) ? bytes.substr(kByteOrderMark.size()) : bytes;
}

JsonDocument::JsonDocument(std::string_view text, std::string origin) : origin_(std::move(origin)) {
    check_utf8(text, origin_);
    value_ = parse_strictly(without_byte_order_mark(text), origin_);
}

void JsonView::fail(const std::string& what) const {
    throw InputError(*origin_ + ": " + (place_.empty() ? "" : place_ + ": ") + what);
}

void JsonView::fail_expected(const std::string& expected) const {
    fail("expected " + expected + ", found " + kind_of(*value_));
}

std::optional<JsonView> JsonView::find(const std::string& key) const {
    if (!value_->is_object()) fail_expected("an object");
    const auto found = value_->find(key);
    if (found == value_->end()) return std::nullopt;
    return JsonView(*found, *origin_, member_place(place_, key));
}

JsonView JsonView::at(const std::string& key) const {
    const auto found = find(key);
    if (!found) throw InputError(*origin_ + ": " + member_place(place_, key) + ": missing");
    return *found;
}

std::string JsonView::text() const {
    if (!value_->is_string()) fail_expected("text");
    return value_->get<std::string>();
}

bool JsonView::boolean() const {
    if (!value_->is_boolean()) fail_expected("true or false");
    return value_->get<bool>();
}

std::int64_t JsonView::integer(std::int64_t least, std::int64_t most) const {
    const std::string expected =
        "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
    if (!value_->is_number()) fail_expected(expected);
    const bool fits = value_->is_number_integer() &&
                      !(value_->is_number_unsigned() &&
                        value_->get<std::uint64_t>() >
                            static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    if (!fits || value_->get<std::int64_t>() < least || value_->get<std::int64_t>() > most) {
        fail("expected " + expected + ", found " + value_->dump());
    }
    return value_->get<std::int64_t>();
}

std::uint64_t JsonView::unsigned_integer() const {
    if (!value_->is_number()) fail_expected("a whole number");
    if (!value_->is_number_unsigned()) fail("expected a whole number of 0 or more, found " + value_->dump());
    return value_->get<std::uint64_t>();
}

double JsonView::number() const {
    if (!value_->is_number()) fail_expected("a number");
    return value_->get<double>();
}

std::vector<JsonView> JsonView::items() const {
    if (!value_->is_array()) fail_expected("a list");
    std::vector<JsonView> result;
    result.reserve(value_->size());
    for (std::size_t i = 0; i < value_->size(); ++i) {
        result.emplace_back((*value_)[i], *origin_, place_ + "[" + std::to_string(i) + "]");
    }
    return result;
}

std::vector<std::pair<std::string, JsonView>> JsonView::members() const {
    if (!value_->is_object()) fail_expected("an object");
    std::vector<std::pair<std::string, JsonView>> result;
    result.reserve(value_->size());
    for (const auto& [key, value] : value_->items()) {
        result.emplace_back(key, JsonView(value, *origin_, member_place(place_, key)));
    }
    return result;
}

void JsonView::refuse_unknown_keys(const std::vector<std::string>& known) const {
    for (const auto& [key, value] : members()) {
        if (std::find(known.begin(), known.end(), key) != known.end()) continue;
        fail("unknown key " + in_quotes(key) + did_you_mean(key, {known.begin(), known.size()}));
    }
}

void JsonView::expect_equal(const json& expected) const {
    if (expected.is_object()) {
        for (const auto& [key, value] : members()) {
            if (!expected.contains(key)) fail("unknown key " + in_quotes(key));
        }
        for (const auto& [key, value] : expected.items()) at(key).expect_equal(value);
    } else if (expected.is_array()) {
        const std::vector<JsonView> found = items();
        if (found.size() != expected.size()) {
            fail("expected a list of " + std::to_string(expected.size()) + ", found one of " +
                 std::to_string(found.size()));
        }
        for (std::size_t i = 0; i < found.size(); ++i) found[i].expect_equal(expected[i]);
    } else if (*value_ != expected) {
        fail("expected " + expected.dump() + ", found " +
             (value_->is_structured() ? kind_of(*value_) : value_->dump()));
    }
}

}  // namespace musicsteer

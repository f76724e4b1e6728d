#include "tokenizer/config_view.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <utility>
#include <vector>

#include "base/errors.hpp"

namespace musicsteer::tokenizer {

using nlohmann::json;

namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr int kMaxPower = 308;

const std::array<double, kMaxPower + 1>& powers_of_ten() {
    static const auto powers = [] {
        std::array<double, kMaxPower + 1> p{};
        for (int i = 0; i <= kMaxPower; ++i) {
            p[static_cast<std::size_t>(i)] = std::strtod(("1e" + std::to_string(i)).c_str(), nullptr);
        }
        return p;
    }();
    return powers;
}

/// significand x 10^exponent with serde_json's two roundings.
double scale(std::uint64_t significand, std::int64_t exponent) {
    auto value = static_cast<double>(significand);
    while (exponent < -kMaxPower && value != 0) {
        value /= powers_of_ten()[kMaxPower];
        exponent += kMaxPower;
    }
    if (value == 0) return value;
    if (exponent > kMaxPower) return std::numeric_limits<double>::infinity();
    const double power = powers_of_ten()[static_cast<std::size_t>(std::abs(exponent))];
    return exponent >= 0 ? value * power : value / power;
}

/// The value serde_json gives to a number that is not an integer, or too large for one; `text` is valid JSON.
double serde_number(const std::string& text) {
    const bool negative = text.front() == '-';
    std::size_t at = negative ? 1 : 0;
    std::uint64_t significand = 0;
    std::int64_t exponent = 0;
    bool full = false;      // the significand has no room for the next digit, nor for any after it
    bool fraction = false;  // past the decimal point
    const auto is_digit = [&] { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
    for (; is_digit() || (at < text.size() && text[at] == '.'); ++at) {
        if (text[at] == '.') {
            // Digits after the point that come after dropped digits before it still go in, if they fit.
            fraction = true;
            full = false;
            continue;
        }
        const auto digit = static_cast<std::uint64_t>(text[at] - '0');
        full = full || significand > (UINT64_MAX - digit) / 10;
        if (!full) significand = significand * 10 + digit;
        if (full != fraction) exponent += full ? 1 : -1;
    }
    if (at < text.size()) {  // e or E
        ++at;
        const bool shrinks = text[at] == '-';
        if (text[at] == '-' || text[at] == '+') ++at;
        std::int64_t power = 0;
        constexpr std::int64_t kBeyondAnyDouble = 1'000'000'000;
        for (; is_digit(); ++at) power = std::min(power * 10 + (text[at] - '0'), kBeyondAnyDouble);
        exponent += shrinks ? -power : power;
    }
    const double value = scale(significand, exponent);
    return negative ? -value : value;
}

/// Builds the document as nlohmann's own parser would, but for the numbers.
class Builder : public nlohmann::json_sax<json> {
  public:
    Builder(json& root, const std::string& origin) : root_(root), origin_(origin) {}

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(number_integer_t value) override { return add(value); }
    bool number_unsigned(number_unsigned_t value) override { return add(value); }
    bool number_float(number_float_t, const string_t& text) override {
        const double value = serde_number(text);
        if (!std::isfinite(value)) throw InputError(origin_ + ": the number " + text + " is too large");
        return add(value);
    }
    bool string(string_t& value) override { return add(std::move(value)); }
    bool binary(binary_t&) override { return false; }  // JSON text has none
    bool key(string_t& name) override {
        key_ = std::move(name);
        return true;
    }
    bool start_object(std::size_t) override { return open(json::object()); }
    bool start_array(std::size_t) override { return open(json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception&) override {
        throw InputError(
            origin_ + ": is not JSON at byte " + std::to_string(byte) +
            "; the file is damaged, download it again or save the tokenizer again with transformers");
    }

  private:
    template <typename Value>
    bool add(Value&& value) {
        place() = std::forward<Value>(value);
        return true;
    }

    bool open(json&& container) {
        if (open_.size() == kMaxDepth) {
            throw InputError(origin_ + ": is nested more than " + std::to_string(kMaxDepth) +
                             " deep, which no tokenizer.json is");
        }
        json& here = place();
        here = std::move(container);
        open_.push_back(&here);
        return true;
    }

    bool close() {
        open_.pop_back();
        return true;
    }

    /// Where the next value goes. It stays valid while the value is open: a container grows only after that.
    json& place() {
        if (open_.empty()) return root_;
        json& parent = *open_.back();
        if (parent.is_object()) return parent[key_];
        return parent.emplace_back();
    }

    json& root_;
    const std::string& origin_;
    std::vector<json*> open_;
    std::string key_;
};

std::string describe(const json& value) {
    constexpr std::size_t kLongestShown = 40;
    if (value.is_string() || value.is_number() || value.is_boolean()) {
        std::string shown = value.dump(-1, ' ', true);
        if (shown.size() > kLongestShown) shown = shown.substr(0, kLongestShown) + "...";
        return value.is_string() ? "the text " + shown : shown;
    }
    if (value.is_array()) return "an array of " + std::to_string(value.size());
    return value.is_null() ? "null" : "an object";
}

}  // namespace

json parse_json(const std::string& text, const std::string& origin) {
    json root;
    Builder builder(root, origin);
    json::sax_parse(text, &builder);
    return root;
}

ConfigView ConfigView::at(const std::string& name) const {
    if (!value_->is_object()) expect("an object");
    const auto member = value_->find(name);
    if (member == value_->end()) {
        throw InputError(place_ + ": has no \"" + name +
                         "\"; the file is damaged or not a tokenizer.json, save it again with transformers");
    }
    return {*member, place_ + "." + name};
}

ConfigView ConfigView::at(std::size_t index) const {
    if (index >= size()) expect("an array of more than " + std::to_string(index));
    return {(*value_)[index], place_ + "[" + std::to_string(index) + "]"};
}

std::optional<ConfigView> ConfigView::find(const std::string& name) const {
    if (!value_->is_object()) expect("an object");
    const auto member = value_->find(name);
    if (member == value_->end() || member->is_null()) return std::nullopt;
    return ConfigView(*member, place_ + "." + name);
}

std::size_t ConfigView::size() const {
    if (!value_->is_array()) expect("an array");
    return value_->size();
}

const std::string& ConfigView::text() const {
    if (!value_->is_string()) expect("a text");
    return value_->get_ref<const std::string&>();
}

bool ConfigView::boolean() const {
    if (!value_->is_boolean()) expect("true or false");
    return value_->get<bool>();
}

double ConfigView::number() const {
    if (!value_->is_number()) expect("a number");
    return value_->get<double>();
}

std::size_t ConfigView::index() const {
    if (!value_->is_number_unsigned()) expect("a whole number, 0 or more");
    return value_->get<std::size_t>();
}

void ConfigView::expect(const std::string& expected) const {
    throw InputError(place_ + ": should be " + expected + " and is " + describe(*value_) +
                     "; the file is damaged or not a tokenizer.json, save it again with transformers");
}

void ConfigView::unsupported(const std::string& what) const {
    throw InputError(place_ + ": " + what +
                     " is not supported; T5's own tokenizer, as published MusicGen checkpoints have it, is");
}

}  // namespace musicsteer::tokenizer

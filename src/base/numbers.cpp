#include "base/numbers.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <set>
#include <string_view>

#include "musicsteer/errors.hpp"
namespace musicsteer {
namespace {

constexpr std::int64_t kMaxAlphas = 10'000;

[[noreturn]] void fail_seeds(const std::string& whole, const std::string& what) {
    throw UsageError("seeds " + in_quotes(whole) + ": " + what);
}

[[noreturn]] void fail_alphas(const std::string& whole, const std::string& what) {
    throw UsageError("alphas " + in_quotes(whole) + ": " + what);
}

std::uint64_t parse_seed(std::string_view text, const std::string& whole) {
    std::uint64_t seed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
    if (error != std::errc() || end != text.data() + text.size() || text.empty()) {
        fail_seeds(whole, error == std::errc::result_out_of_range
                              ? "a seed is at most 18446744073709551615"
                              : "expected whole numbers such as 7, 1,2,9 or 0:8");
    }
    return seed;
}

void append_seeds(std::string_view item, const std::string& whole, std::vector<std::uint64_t>& seeds) {
    const std::size_t colon = item.find(':');
    if (colon == std::string_view::npos) {
        seeds.push_back(parse_seed(item, whole));
        return;
    }
    const std::uint64_t first = parse_seed(item.substr(0, colon), whole);
    const std::uint64_t last = parse_seed(item.substr(colon + 1), whole);
    if (first >= last) fail_seeds(whole, "the range is empty (FIRST:LAST leaves LAST out)");
    if (last - first > kMaxClips) fail_seeds(whole, "more than a million seeds");
    for (std::uint64_t seed = first; seed < last; ++seed) seeds.push_back(seed);
}

/// mantissa x 10^exponent
struct Decimal {
    std::int64_t mantissa = 0;
    int exponent = 0;
};

/// "-0.25" -> {-25, -2}; nothing if it is not such a number or has too many digits.
std::optional<Decimal> parse_decimal(std::string_view text) {
    constexpr std::size_t kMaxDigits = 15;
    constexpr int kMaxExponent = 300;
    Decimal decimal;
    const bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    std::size_t digits = 0;
    bool after_point = false;
    while (!text.empty() && text.front() != 'e' && text.front() != 'E') {
        const char letter = text.front();
        text.remove_prefix(1);
        if (letter == '.' && !after_point) {
            after_point = true;
        } else if (letter >= '0' && letter <= '9' && ++digits <= kMaxDigits) {
            decimal.mantissa = decimal.mantissa * 10 + (letter - '0');
            decimal.exponent -= after_point ? 1 : 0;
        } else {
            return std::nullopt;
        }
    }
    if (digits == 0) return std::nullopt;
    if (negative) decimal.mantissa = -decimal.mantissa;
    if (text.empty()) return decimal;
    text.remove_prefix(text.size() > 1 && text[1] == '+' ? 2 : 1);  // the e
    int exponent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exponent);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    if (exponent < -kMaxExponent || exponent > kMaxExponent) return std::nullopt;
    decimal.exponent += exponent;
    return decimal;
}

/// The double nearest to the decimal: the same as if the number were typed.
double to_double(const Decimal& decimal) {
    const std::string text = std::to_string(decimal.mantissa) + "e" + std::to_string(decimal.exponent);
    return std::strtod(text.c_str(), nullptr);
}

Decimal parse_alpha(std::string_view text, const std::string& whole) {
    const auto decimal = parse_decimal(text);
    if (!decimal || !std::isfinite(to_double(*decimal)))
        fail_alphas(whole, "expected numbers such as 0.5, -1,0,1 or the range -2:2:0.5");
    return *decimal;
}

/// The number's mantissa for a smaller exponent; nothing if it does not fit.
std::optional<std::int64_t> mantissa_at(Decimal decimal, int exponent) {
    for (; decimal.exponent > exponent; --decimal.exponent) {
        if (__builtin_mul_overflow(decimal.mantissa, std::int64_t{10}, &decimal.mantissa)) {
            return std::nullopt;
        }
    }
    return decimal.mantissa;
}

void append_range(std::string_view item, const std::string& whole, std::vector<double>& alphas) {
    const std::size_t first_colon = item.find(':');
    const std::size_t second_colon = item.find(':', first_colon + 1);
    if (second_colon == std::string_view::npos) fail_alphas(whole, "a range needs a step: FIRST:LAST:STEP");
    const Decimal first = parse_alpha(item.substr(0, first_colon), whole);
    const Decimal last = parse_alpha(item.substr(first_colon + 1, second_colon - first_colon - 1), whole);
    const Decimal step = parse_alpha(item.substr(second_colon + 1), whole);
    const int exponent = std::min({first.exponent, last.exponent, step.exponent});
    const auto low = mantissa_at(first, exponent);
    const auto high = mantissa_at(last, exponent);
    const auto stride = mantissa_at(step, exponent);
    std::int64_t width = 0;
    if (!low || !high || !stride || __builtin_sub_overflow(*high, *low, &width)) {
        fail_alphas(whole, "the range's numbers are too far apart in size");
    }
    if (*stride <= 0) fail_alphas(whole, "the step must be more than 0");
    if (width < 0) fail_alphas(whole, "the range is empty (it runs from low to high)");
    if (width / *stride >= kMaxAlphas) fail_alphas(whole, "more than 10000 values");
    for (std::int64_t i = 0; i <= width / *stride; ++i) {
        alphas.push_back(to_double({*low + i * *stride, exponent}));
    }
}

}  // namespace

double rounded_to_digits(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    return std::strtod(text, nullptr);
}

std::optional<double> parse_number(std::string_view text) {
    double number = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number))
        return std::nullopt;
    return number;
}

std::string counted(std::size_t count, const std::string& what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string to_text(double number) {
    std::array<char, 32> digits{};
    const auto result = std::to_chars(digits.data(), digits.data() + digits.size(), number);
    return {digits.data(), result.ptr};
}

std::vector<std::string> split_list(const std::string& text, const std::string& what) {
    std::vector<std::string> items;
    std::size_t start = 0;
    while (start <= text.size()) {
        const std::size_t comma = std::min(text.find(',', start), text.size());
        items.push_back(text.substr(start, comma - start));
        if (items.back().empty()) throw UsageError(what + " " + in_quotes(text) + ": an item is empty");
        start = comma + 1;
    }
    return items;
}

std::vector<std::uint64_t> parse_seeds(const std::string& text) {
    std::vector<std::uint64_t> seeds;
    for (const std::string& item : split_list(text, "seeds")) append_seeds(item, text, seeds);
    return seeds;
}

std::vector<double> parse_alphas(const std::string& text) {
    std::vector<double> alphas;
    for (const std::string& item : split_list(text, "alphas")) {
        if (item.find(':') == std::string::npos) {
            alphas.push_back(to_double(parse_alpha(item, text)));
        } else {
            append_range(item, text, alphas);
        }
    }
    return alphas;
}

std::vector<std::int64_t> parse_indices(const std::string& text, const std::string& what, std::int64_t count,
                                        const std::string& too_large) {
    const auto fail = [&](const std::string& why) {
        throw UsageError(what + " " + in_quotes(text) + ": " + why);
    };
    const auto parse_one = [&](std::string_view item) {
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), number);
        if (error == std::errc::invalid_argument || end != item.data() + item.size())
            fail("expected numbers and ranges such as 2-5,7, or all");
        if (error == std::errc::result_out_of_range || number < 0 || number >= count) fail(too_large);
        return number;
    };
    std::set<std::int64_t> numbers;
    std::size_t start = 0;
    while (start <= text.size()) {
        const std::size_t comma = std::min(text.find(',', start), text.size());
        const std::string_view item = std::string_view(text).substr(start, comma - start);
        const std::size_t dash = item.find('-', 1);
        const std::int64_t first = parse_one(item.substr(0, dash));
        const std::int64_t last = dash == std::string_view::npos ? first : parse_one(item.substr(dash + 1));
        if (last < first) fail("a range runs from low to high");
        for (std::int64_t number = first; number <= last; ++number) numbers.insert(number);
        start = comma + 1;
    }
    return {numbers.begin(), numbers.end()};
}

std::string to_text(const std::vector<std::int64_t>& numbers) {
    std::string text;
    for (const std::int64_t number : numbers)
        text.append(text.empty() ? "" : ",").append(std::to_string(number));
    return text;
}

}  // namespace musicsteer

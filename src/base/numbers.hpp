#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace musicsteer {

/// The most clips, seeds or values that one call takes. A larger number is taken for a typing mistake.
inline constexpr std::size_t kMaxClips = 1'000'000;

/// "7", "1,2,9" or "0:8" (8 excluded), in the order given. @throws UsageError
std::vector<std::uint64_t> parse_seeds(const std::string& text);

/// "0.5", "-1,0,1" or "-2:2:0.5" (FIRST:LAST:STEP, including LAST if a step lands on it), in the order given.
/// Steps are counted in decimals: 0:1:0.1 holds exactly what "0.3" means, not 0.1 + 0.1 + 0.1.
/// @throws UsageError
std::vector<double> parse_alphas(const std::string& text);

/// The number rounded to this many significant digits, so that the result of a search can be typed.
double rounded_to_digits(double value, int digits);

/// The whole text as a finite number; nothing if it is not one.
std::optional<double> parse_number(std::string_view text);
/// The shortest text that reads back as that number.
std::string to_text(double number);

/// "1 clip", "3 clips".
std::string counted(std::size_t count, const std::string& what);

/// "2-5,7" -> sorted whole numbers below `count`, each once. The caller handles "all".
/// @param what  "layers", for messages  @param too_large  the message for a number that is too large
/// @throws UsageError
std::vector<std::int64_t> parse_indices(const std::string& text, const std::string& what, std::int64_t count,
                                        const std::string& too_large);
/// "2,3,7": the inverse of parse_indices.
std::string to_text(const std::vector<std::int64_t>& numbers);

/// "a,b,c" -> its items. @param what  "layers", for messages. @throws UsageError for an empty item
std::vector<std::string> split_list(const std::string& text, const std::string& what);

}  // namespace musicsteer

#include "musicsteer/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/numbers.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr const char* kExpected =
    "expected constant, decay,FACTOR,FLOOR (decay,0.998,0.1), linear,START,END (linear,1,0) or "
    "window,FROM,TO in seconds (window,2,6)";

[[noreturn]] void refuse_schedule(const std::string& text, const std::string& why) {
    throw UsageError("schedule " + in_quotes(text) + ": " + why);
}

std::vector<double> numbers_after(const std::vector<std::string>& parts, const std::string& text) {
    std::vector<double> numbers;
    for (std::size_t i = 1; i < parts.size(); ++i) {
        const auto number = parse_number(parts[i]);
        if (!number) refuse_schedule(text, in_quotes(parts[i]) + " is not a number; " + kExpected);
        numbers.push_back(*number);
    }
    return numbers;
}

}  // namespace

Schedule Schedule::parse(const std::string& text) {
    const std::vector<std::string> parts = split_list(text, "schedule");
    const std::vector<double> numbers = numbers_after(parts, text);
    Schedule schedule;
    if (parts.front() == "constant" && numbers.empty()) return schedule;
    if (parts.front() == "decay" && (numbers.size() == 1 || numbers.size() == 2)) {
        schedule.kind_ = Kind::kDecay;
        schedule.first_ = numbers[0];
        schedule.second_ = numbers.size() == 2 ? numbers[1] : 0.0;
        if (schedule.first_ <= 0.0 || schedule.first_ > 1.0 || schedule.second_ < 0.0 ||
            schedule.second_ > 1.0)
            refuse_schedule(
                text, "a decay has a factor for each frame above 0 and at most 1, and a floor from 0 to 1");
    } else if (parts.front() == "linear" && numbers.size() == 2) {
        schedule.kind_ = Kind::kLinear;
        schedule.first_ = numbers[0];
        schedule.second_ = numbers[1];
    } else if (parts.front() == "window" && !numbers.empty() && numbers.size() % 2 == 0) {
        schedule.kind_ = Kind::kWindow;
        for (std::size_t i = 0; i < numbers.size(); i += 2) {
            if (numbers[i] < 0.0 || numbers[i + 1] <= numbers[i])
                refuse_schedule(text, "a window goes from a time in seconds to a later one");
            schedule.windows_.emplace_back(numbers[i], numbers[i + 1]);
        }
    } else {
        refuse_schedule(text, kExpected);
    }
    return schedule;
}

std::string Schedule::text() const {
    switch (kind_) {
        case Kind::kConstant:
            return "constant";
        case Kind::kDecay:
            return "decay," + to_text(first_) + "," + to_text(second_);
        case Kind::kLinear:
            return "linear," + to_text(first_) + "," + to_text(second_);
        case Kind::kWindow:
            break;
    }
    std::string text = "window";
    for (const auto& [from, to] : windows_) {
        for (const double time_s : {from, to}) text.append(",").append(to_text(time_s));
    }
    return text;
}

double Schedule::at(std::int64_t position, std::int64_t num_frames, double frame_rate_hz) const {
    switch (kind_) {
        case Kind::kConstant:
            return 1.0;
        case Kind::kDecay:
            return std::max(second_, std::pow(first_, static_cast<double>(position)));
        case Kind::kLinear: {
            const double last = std::max<double>(1.0, static_cast<double>(num_frames - 1));
            const double share = std::min(1.0, static_cast<double>(position) / last);
            return first_ + share * (second_ - first_);
        }
        case Kind::kWindow:
            break;
    }
    const auto frame_at = [&](double time_s) { return std::llround(time_s * frame_rate_hz); };
    const bool inside = std::any_of(windows_.begin(), windows_.end(), [&](const auto& window) {
        return position >= frame_at(window.first) && position < frame_at(window.second);
    });
    return inside ? 1.0 : 0.0;
}

bool RandomFrames::contains(std::int64_t position) const {
    std::uint64_t z = seed + (static_cast<std::uint64_t>(position) + 1) * 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    z ^= z >> 31;
    constexpr double kBits53 = 9007199254740992.0;
    return static_cast<double>(z >> 11) / kBits53 < probability;
}

double Course::at(std::int64_t position, std::int64_t num_frames, double frame_rate_hz) const {
    if (!frames.contains(position)) return 0.0;
    const double scheduled = schedule.at(position, num_frames, frame_rate_hz);
    const double ramp_frames = ramp_in_s * frame_rate_hz;
    const auto elapsed = static_cast<double>(position);
    if (elapsed >= ramp_frames) return scheduled;
    return scheduled * 0.5 * (1.0 - std::cos(std::numbers::pi * elapsed / ramp_frames));
}

}  // namespace musicsteer

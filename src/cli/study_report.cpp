#include "study_report.hpp"

#include <cmath>
#include <cstdio>
#include <iomanip>
#include <sstream>

#include "experiments/measure_target.hpp"
#include "experiments/study/study_json.hpp"

namespace musicsteer::cli {
namespace {

constexpr std::size_t kWidth = 97;  // plus a percent sign and a comma

std::string shortest(double value, int digits = 3) {
    char text[32];
    std::snprintf(text, sizeof text, "%.*g", digits, value);
    return text;
}

std::string change(const Study& study, double value) {
    return std::isfinite(value) ? change_text(value, study.request.measure) : "-";
}

std::string interval(const Study& study, const Estimate& estimate) {
    if (!std::isfinite(estimate.value)) return "-";
    const std::string value = change(study, estimate.value);
    if (!estimate.has_interval()) return value + " (no interval)";
    return value + " [" + change(study, estimate.low) + ", " + change(study, estimate.high) + "]";
}

std::string name_of(const SteeringSetting& way) {
    const std::string rows = *way.rows == SteeredRows::kBoth ? "" : ", " + to_text(*way.rows) + " rows";
    switch (*way.strategy) {
        case Strategy::kSingle:
            return "layer " + std::to_string(way.layers->numbers.front()) + " alone" + rows;
        case Strategy::kOneToAll:
            return "layer " + std::to_string(*way.source_layer) + "'s in all" + rows;
        case Strategy::kPerLayer:
            break;
    }
    return "each layer's own" + rows;
}

void print_row(std::ostream& out, const std::string& name, const std::string& alpha,
               const std::string& effect, const std::string& random) {
    out << "  " << std::left << std::setw(36) << name << std::right << std::setw(8) << alpha << "  "
        << std::left << std::setw(random.empty() ? 0 : 32) << effect << random << '\n';
}

/// The strongest of the random vectors in the same way.
std::string max_random(const Study& study, const StudyStage& stage, std::size_t way) {
    double largest = 0.0;
    for (std::size_t i = 1; i < stage.vectors.size(); ++i) {
        const double effect = stage.vectors[i][way].response.effect(study.request.max_kl_nats).value;
        if (std::abs(effect) > std::abs(largest)) largest = effect;
    }
    return change(study, largest);
}

void print_ways(std::ostream& out, const Study& study, const StudyStage& stage, const std::string& title) {
    out << title << " (change at the KL cap, for a positive alpha)\n";
    print_row(out, "", "alpha", "vector", "random, largest");
    for (std::size_t i = 0; i < stage.vectors.front().size(); ++i) {
        const StudyWay& way = stage.vectors.front()[i];
        const DoseResponse& response = way.response;
        const double alpha = response.alpha_at_kl(study.request.max_kl_nats);
        print_row(out, name_of(way.steering), response.is_usable() ? shortest(alpha) : "-",
                  response.is_usable() ? interval(study, response.effect(study.request.max_kl_nats))
                                       : "clips overflowed",
                  max_random(study, stage, i));
    }
}

std::string point_text(const Study& study, const DosePoint& point) {
    if (point.overflowed > 0)
        return std::to_string(point.overflowed) + " of " + std::to_string(point.clips) + " clips overflowed";
    if (!point.is_usable())
        return std::to_string(point.unmeasured) + " of " + std::to_string(point.clips) + " clips unmeasured";
    return interval(study, point.mean());
}

void print_points(std::ostream& out, const Study& study, const StudyStage& stage, const std::string& title) {
    const StudyWay& way = stage.vectors.front().front();
    out << title << ", " << name_of(way.steering);
    if (std::isfinite(stage.unsteered_mean))
        out << "; unsteered " << shortest(stage.unsteered_mean, 4) << ' '
            << measure_unit(study.request.measure);
    out << '\n';
    print_row(out, "KL, nats a code", "alpha", "change", "");
    for (const DosePoint& point : way.response.points)
        print_row(out, std::isfinite(point.kl_nats) ? shortest(point.kl_nats, 2) : "-", shortest(point.alpha),
                  point_text(study, point), "");
}

/// Wrapped at spaces; continuation lines are indented by two.
void print_wrapped(std::ostream& out, const std::string& text) {
    std::istringstream words(text);
    std::string word, line;
    while (words >> word) {
        if (word.starts_with('%')) {  // keep it with its number
            line += " " + word;
            continue;
        }
        if (!line.empty() && line.size() + 1 + word.size() > kWidth) {
            out << line << '\n';
            line = "  " + word;
        } else {
            line += (line.empty() ? "" : " ") + word;
        }
    }
    out << line << '\n';
}

void print_verdict(std::ostream& out, const Study& study) {
    const Verdict& verdict = *study.verdict;
    std::string text =
        "Random vectors, each in the setting in which it stands out most, converted to this one:";
    for (const double effect : verdict.controls) text += " " + change(study, verdict.sign * effect) + ",";
    if (verdict.controls.empty()) text += " none,";
    text.back() = ';';
    text += " at a level of 5 %, one more may reach ";
    text += verdict.bound ? change(study, verdict.sign * *verdict.bound) : "anything";
    print_wrapped(out, text);
}

void print_lost(std::ostream& out, const Study& study) {
    for (const StudyStage* stage : study.stages()) {
        const StageClips& clips = stage->clips;
        if (clips.overflowed + clips.failed + clips.unmeasured == 0) continue;
        out << stage->name << ": of " << clips.planned << " clips, " << clips.overflowed << " overflowed, "
            << clips.failed << " failed, " << clips.unmeasured << " can't be measured\n";
    }
}

}  // namespace

void print_study(std::ostream& out, const Study& study, const std::string& folder) {
    if (study.layers) print_ways(out, study, *study.layers, "Layers, each alone");
    if (study.strategies) print_ways(out, study, *study.strategies, "Strategies");
    if (study.strength) print_points(out, study, *study.strength, "Strength");
    if (study.confirm) print_points(out, study, *study.confirm, "Held-out clips");
    if (study.verdict) print_verdict(out, study);
    print_lost(out, study);
    print_wrapped(out, study_sentence(study));
    const std::string advice = study_advice(study);
    if (!advice.empty()) print_wrapped(out, advice);
    if (!study.recommendation) return;
    const SteeringSetting& best = *study.recommendation;
    out << "recommended: " << name_of(best) << ", alpha " << shortest(best.alpha_range->low) << " to "
        << shortest(best.alpha_range->high) << '\n'
        << "generate --steer " << folder << "/steering.json\n";
}

}  // namespace musicsteer::cli

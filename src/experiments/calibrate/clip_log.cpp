#include "experiments/calibrate/clip_log.hpp"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "io/file_format.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr FileFormat kLogFormat{"musicsteer-calibration-progress"};

json finite_or_null(double value) {
    return std::isfinite(value) ? json(value) : json();
}

double number_or(const json& value, double otherwise) {
    return value.is_number() ? value.get<double>() : otherwise;
}

}  // namespace

ClipLog::ClipLog(std::filesystem::path path, const json& identity) : path_(std::move(path)) {
    json header = kLogFormat.stamp();
    header["calibration"] = identity;
    const std::vector<std::string> lines = read_whole_lines(path_);
    if (!lines.empty() && json::parse(lines.front(), nullptr, false) != header)
        throw InputError(
            path_.string() +
            ": is the progress of a calibration with other settings; repeat its command to resume "
            "it, or remove the file");
    for (std::size_t i = 1; i < lines.size(); ++i) {
        const json line = json::parse(lines[i], nullptr, false);
        if (line.is_discarded()) throw InputError(path_.string() + ": is damaged; remove it");
        ClipFigures& figures = figures_[{line.at("alphas"), line.at("pair")}];
        for (const json& value : line.at("values"))
            figures.values.push_back(number_or(value, std::numeric_limits<double>::quiet_NaN()));
        figures.kl = number_or(line.at("kl_nats"), std::numeric_limits<double>::infinity());
    }
    log_ = std::make_unique<RecordLog>(path_, RecordLog::Sync::kEachLine);
    if (lines.empty()) log_->append(header.dump());
}

ClipLog::~ClipLog() = default;

const ClipFigures* ClipLog::find(const std::vector<double>& strengths, std::size_t pair) const {
    const auto found = figures_.find({strengths, pair});
    return found == figures_.end() ? nullptr : &found->second;
}

void ClipLog::append(const std::vector<double>& strengths, std::size_t pair, const ClipFigures& figures) {
    json values = json::array();
    for (const double value : figures.values) values.push_back(finite_or_null(value));
    log_->append(json{{"alphas", strengths},
                      {"pair", pair},
                      {"values", std::move(values)},
                      {"kl_nats", finite_or_null(figures.kl)}}
                     .dump());
    figures_[{strengths, pair}] = figures;
}

void ClipLog::remove() {
    log_.reset();
    std::error_code error;
    std::filesystem::remove(path_, error);
}

}  // namespace musicsteer

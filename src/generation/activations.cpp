#include "generation/activations.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::string_view kWindowPrefix = "window:";

/// "window:START-END" -> seconds
std::pair<double, double> parse_window(const std::string& text) {
    const char* const stop = text.data() + text.size();
    // All of [first, last) as a number of seconds; -1 if it is not one.
    const auto seconds = [](const char* first, const char* last) {
        double value = -1.0;
        const auto [end, error] = std::from_chars(first, last, value);
        return error == std::errc() && end == last && std::isfinite(value) ? value : -1.0;
    };
    const char* const range = text.data() + kWindowPrefix.size();
    const char* const dash = std::find(range, stop, '-');
    const double start_s = seconds(range, dash);
    const double end_s = dash == stop ? -1.0 : seconds(dash + 1, stop);
    if (start_s < 0.0 || end_s < 0.0) {
        throw UsageError("positions " + in_quotes(text) +
                         ": a window is written window:START-END in seconds, as window:2-5.5");
    }
    return {start_s, end_s};
}

/// Adds a column to sums. A plain loop, because this runs at each hook point of each step, and LibTorch's
/// calls took 5 % of a step.
/// @returns the column's norm
double add_column(const float* column, std::int64_t size, double* sums) {
    double squares = 0.0;
    for (std::int64_t i = 0; i < size; ++i) {
        const double value = column[i];
        sums[i] += value;
        squares += value * value;
    }
    return std::sqrt(squares);
}

}  // namespace

RecordedRows parse_recorded_rows(const std::string& name) {
    if (name == "conditional") return RecordedRows::kConditional;
    if (name == "both") return RecordedRows::kBoth;
    throw UsageError("unknown rows " + in_quotes(name) + " (known: conditional, both)");
}

std::string to_text(RecordedRows rows) {
    return rows == RecordedRows::kBoth ? "both" : "conditional";
}

PositionRange parse_positions(const std::string& text, std::int64_t num_frames, double frame_rate_hz) {
    if (text == "generated") return {0, num_frames};
    if (text == "last") return {num_frames - 1, num_frames};
    if (!text.starts_with(kWindowPrefix)) {
        throw UsageError("unknown positions " + in_quotes(text) +
                         " (known: generated, last, window:START-END in seconds)");
    }
    const auto [start_s, end_s] = parse_window(text);
    const auto frame_at = [&](double time_s) {  // bounded as a double, since the number may not fit an int64
        return static_cast<std::int64_t>(
            std::llround(std::min(time_s * frame_rate_hz, static_cast<double>(num_frames))));
    };
    const PositionRange range{frame_at(start_s), frame_at(end_s)};
    if (range.first >= range.last) {
        throw UsageError("positions " + in_quotes(text) + ": the window holds no frame of a clip of " +
                         std::to_string(static_cast<double>(num_frames) / frame_rate_hz) + " s");
    }
    return range;
}

ActivationMeans::ActivationMeans(HookRegistry& hooks, std::span<const HookPoint> points,
                                 std::int64_t num_requests, std::int64_t hidden_size, PositionRange positions,
                                 RecordedRows rows)
    : positions_(positions), rows_(rows), num_requests_(num_requests) {
    for (const HookPoint& point : points) {
        Sums& sums = sums_[point];
        sums.values = at::zeros({num_requests, hidden_size}, at::kDouble);
        sums.norms = at::zeros({num_requests}, at::kDouble);
        sums.samples = at::zeros({num_requests}, at::kDouble);
        handles_.push_back(
            hooks.observe(point, [this, &sums](const at::Tensor& activation, const HookContext& context) {
                add(sums, activation, context);
            }));
    }
}

const ActivationMeans::Selection& ActivationMeans::selected(std::span<const Row> rows) {
    if (std::equal(rows.begin(), rows.end(), selection_.of.begin(), selection_.of.end())) return selection_;
    std::vector<std::int64_t> chosen, requests;
    for (std::size_t row = 0; row < rows.size(); ++row) {
        if (rows_ == RecordedRows::kConditional && rows[row].role == RowRole::kNull) continue;
        chosen.push_back(static_cast<std::int64_t>(row));
        requests.push_back(rows[row].request);
    }
    selection_.of.assign(rows.begin(), rows.end());
    selection_.rows = at::tensor(chosen, at::kLong);
    selection_.requests = at::tensor(requests, at::kLong);
    selection_.row_count = at::bincount(selection_.requests, {}, num_requests_).to(at::kDouble);
    return selection_;
}

void ActivationMeans::add(Sums& sums, const at::Tensor& activation, const HookContext& context) {
    const std::int64_t first =
        std::max({positions_.first - context.window_start, context.position, context.own_first});
    const std::int64_t last = std::min(
        {positions_.last - context.window_start, context.position + context.columns, context.own_last});
    if (first >= last) return;
    const Selection& selection = selected(context.rows);
    const at::Tensor host = activation.flatten(2).to(at::kCPU, at::kFloat).contiguous();  // usually no copy
    const auto rows = selection.rows.accessor<std::int64_t, 1>();
    const auto requests = selection.requests.accessor<std::int64_t, 1>();
    const std::int64_t size = host.size(2);
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
        double* const values = sums.values.data_ptr<double>() + requests[i] * size;
        double& norms = sums.norms.data_ptr<double>()[requests[i]];
        const float* column =
            host.const_data_ptr<float>() + (rows[i] * host.size(1) + first - context.position) * size;
        for (std::int64_t frame = first; frame < last; ++frame, column += size)
            norms += add_column(column, size, values);
    }
    sums.samples.add_(selection.row_count, last - first);
}

at::Tensor ActivationMeans::mean(const HookPoint& point) const {
    const Sums& sums = sums_.at(point);
    return (sums.values / sums.samples.unsqueeze(1)).to(at::kFloat);
}

at::Tensor ActivationMeans::mean_norm(const HookPoint& point) const {
    const Sums& sums = sums_.at(point);
    return (sums.norms / sums.samples).to(at::kFloat);
}

ActivationTape::ActivationTape(HookRegistry& hooks, std::span<const HookPoint> points) {
    for (const HookPoint& point : points) {
        std::vector<at::Tensor>& columns = columns_[point];
        handles_.push_back(
            hooks.observe(point, [&columns](const at::Tensor& activation, const HookContext& context) {
                const std::int64_t first = std::max(context.position, context.own_first);
                const std::int64_t last = std::min(context.position + context.columns, context.own_last);
                if (first >= last) return;
                const at::Tensor own = activation.narrow(1, first - context.position, last - first);
                columns.push_back(own.flatten(2).to(at::kCPU, at::kFloat).clone());
            }));
    }
}

at::Tensor ActivationTape::activations(const HookPoint& point, std::int64_t frames) const {
    return at::cat(columns_.at(point), 1).narrow(1, 0, frames).contiguous();
}

}  // namespace musicsteer

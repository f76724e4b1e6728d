#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/hooks.hpp"

namespace musicsteer {

/// Which rows of a request are read.
enum class RecordedRows { kConditional, kBoth };
/// @throws UsageError
RecordedRows parse_recorded_rows(const std::string& name);
std::string to_text(RecordedRows rows);

/// Half-open range of positions that count, inside [0, N).
struct PositionRange {
    std::int64_t first = 0;
    std::int64_t last = 0;
};

/// "generated" (all of [0, N)), "last", or "window:START-END" in seconds.
/// @throws UsageError for another word or an empty window
PositionRange parse_positions(const std::string& text, std::int64_t num_frames, double frame_rate_hz);

/// Means over positions: one pooled vector for each request and hook point, so memory does not grow with the
/// clip. Sums are float64.
class ActivationMeans {
  public:
    ActivationMeans(HookRegistry& hooks, std::span<const HookPoint> points, std::int64_t num_requests,
                    std::int64_t hidden_size, PositionRange positions, RecordedRows rows);
    ActivationMeans(const ActivationMeans&) = delete;
    ActivationMeans& operator=(const ActivationMeans&) = delete;

    /// [R, D] float32: mean activation of each request (per-head activations flattened to D)
    at::Tensor mean(const HookPoint& point) const;
    /// [R] float32: mean Euclidean norm of the same activations
    at::Tensor mean_norm(const HookPoint& point) const;

  private:
    struct Sums {
        at::Tensor values;   ///< [R, D] float64
        at::Tensor norms;    ///< [R] float64
        at::Tensor samples;  ///< [R] float64
    };
    /// Which rows count for which requests, computed once for a batch.
    struct Selection {
        std::vector<Row> of;   ///< rows of the batch
        at::Tensor rows;       ///< [S] int64
        at::Tensor requests;   ///< [S] int64
        at::Tensor row_count;  ///< [R] float64, rows of each request
    };
    const Selection& selected(std::span<const Row> rows);
    void add(Sums& sums, const at::Tensor& activation, const HookContext& context);

    PositionRange positions_;
    RecordedRows rows_;
    std::int64_t num_requests_;
    Selection selection_;
    std::map<HookPoint, Sums> sums_;
    std::vector<HookHandle> handles_;
};

/// Keeps whole activations, for research: [B, positions, D] by hook point.
class ActivationTape {
  public:
    ActivationTape(HookRegistry& hooks, std::span<const HookPoint> points);
    ActivationTape(const ActivationTape&) = delete;
    ActivationTape& operator=(const ActivationTape&) = delete;

    /// [B, frames, D] float32 on the CPU: positions [0, frames); per-head activations flattened to D
    at::Tensor activations(const HookPoint& point, std::int64_t frames) const;

  private:
    std::map<HookPoint, std::vector<at::Tensor>> columns_;
    std::vector<HookHandle> handles_;
};

}  // namespace musicsteer

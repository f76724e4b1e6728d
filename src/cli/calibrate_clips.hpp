#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "calibrate_report.hpp"
#include "experiments/calibrate/clip_log.hpp"
#include "experiments/measure_command.hpp"
#include "generation/clip_runner.hpp"
#include "progress.hpp"

namespace musicsteer::cli {

/// Makes the clips that a calibration's search asks for, except those of an interrupted run.
class ClipObserver {
  public:
    /// @param text_length  that all texts are padded to: every batch has one shape, so that a clip is the
    /// same whenever it is asked for
    ClipObserver(const Model& model, const CalibrationSetup& setup, const std::vector<AppliedVector>& vectors,
                 ClipRunOptions options, std::int64_t text_length, MeasureCommand* command);

    std::int64_t batch_size() const { return runner_.shape().batch_size; }
    /// Stores measurements there, and reuses those that exist.
    void keep_in(ClipLog& log) { log_ = &log; }
    /// For showing progress.
    void expect(std::int64_t clips) { expected_ = clips; }
    /// Time left for the whole calibration, estimated from the clips of this run; none while unknown.
    std::optional<double> seconds_left() const;

    std::vector<Observation> operator()(const std::vector<std::vector<double>>& strengths, PairRange pairs);

  private:
    /// A requested clip.
    struct Wanted {
        std::size_t condition = 0;  ///< of the strengths
        std::size_t pair = 0;
    };

    ClipRunOptions with_progress(ClipRunOptions options);
    SteeringPlan plan_at(const std::vector<double>& strengths) const;
    SessionRequest request(std::size_t pair, const SteeringPlan& plan) const;
    ClipFigures figures_of(const FinishedBatch& batch, std::size_t index);

    const CalibrationSetup& setup_;
    const std::vector<AppliedVector>& vectors_;
    const Manifest& manifest_;
    ClipRunner runner_;
    MeasureCommand* command_;  ///< null: built-in measures alone
    ClipLog* log_ = nullptr;
    std::int64_t expected_;
    double done_ = 0.0;
    double made_ = 0.0;  ///< in this run
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    Progress progress_{"calibrating"};
};

}  // namespace musicsteer::cli

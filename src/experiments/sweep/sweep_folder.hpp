#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "experiments/sweep/sweep_plan.hpp"
#include "musicsteer/sweep_outcome.hpp"

namespace musicsteer {

/// Paths in a sweep's folder (docs/formats.md).
struct SweepPaths {
    std::filesystem::path folder;

    std::filesystem::path plan() const { return folder / "plan.json"; }
    std::filesystem::path records() const { return folder / "runs.jsonl"; }
    std::filesystem::path table() const { return folder / "runs.csv"; }
    std::filesystem::path timings() const { return folder / "timings.jsonl"; }
    std::filesystem::path clips() const { return folder / "clips"; }
    std::filesystem::path clip(const std::string& id) const { return clips() / (id + ".wav"); }
    std::filesystem::path lock() const { return folder / ".lock"; }
};

/// The records of a folder's finished clips, as lines of JSON by clip ID. Read-only: a torn last line is
/// skipped. @throws InputError naming the line that is not a record, or an ID that appears twice
std::map<std::string, std::string> read_sweep_records(const SweepPaths& paths);

/// The plan's clips in the order of a run, one text length after the other.
std::vector<const SweepClip*> in_run_order(const std::vector<SweepClip>& clips);

/// Seconds for each clip in the folder's earlier batches; 0 if none was measured.
double measured_seconds_per_clip(const SweepPaths& paths);

/// A sweep's folder open for writing, by one process at a time. It survives a kill at any moment: a clip
/// counts as done when its line is in runs.jsonl, which is written after its WAV is complete.
class SweepFolder {
  public:
    /// Creates the folder, or resumes one whose plan is the same or only gains clips. Removes what a kill
    /// left half done, and says so.
    /// @throws OutputError if another process uses the folder, it holds something else, or it cannot be
    /// written; @throws InputError if its plan differs or its files are damaged
    SweepFolder(const std::filesystem::path& folder, const SweepPlan& plan,
                const std::function<void(const std::string&)>& on_message);
    ~SweepFolder();
    SweepFolder(const SweepFolder&) = delete;
    SweepFolder& operator=(const SweepFolder&) = delete;

    const SweepPaths& paths() const { return paths_; }
    const SweepPlan& plan() const { return plan_; }
    /// Every clip of the plan, in its order.
    const std::vector<SweepClip>& clips() const { return clips_; }
    /// Clip ID -> record, a line of JSON.
    const std::map<std::string, std::string>& records() const { return records_; }

    /// Appends the record of a clip whose WAV, if any, is in place. @throws OutputError
    void store(const std::string& id, const nlohmann::json& record);
    /// Appends to the log of timings, the one file that depends on the clock. Losing it does no harm.
    void log_timing(const nlohmann::json& timing);
    /// Sorts runs.jsonl into the order of an uninterrupted run, if necessary. @throws OutputError
    void sort_records();
    /// Writes runs.csv from the records, in the plan's order. @throws OutputError
    void write_table() const;

  private:
    struct Logs;

    void take_over(const std::function<void(const std::string&)>& on_message);

    SweepPaths paths_;
    SweepPlan plan_;
    std::vector<SweepClip> clips_;
    std::map<std::string, std::string> records_;
    std::unique_ptr<Logs> logs_;
};

}  // namespace musicsteer

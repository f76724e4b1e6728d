#include "experiments/sweep/sweep_merge.hpp"

#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "io/atomic_file.hpp"
#include "io/folder_lock.hpp"
#include "io/input_file.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMaxWav = 4'300'000'000;

/// A folder to copy from. A process that writes there must finish first.
struct MergedFolder {
    SweepPaths paths;
    std::unique_ptr<FolderLock> lock;
    SweepPlan plan;
    std::map<std::string, std::string> records;
};

MergedFolder open_source(const fs::path& folder) {
    MergedFolder source;
    source.paths = {folder};
    if (!fs::is_directory(folder)) throw InputError(folder.string() + ": expected the folder of a sweep");
    source.lock = std::make_unique<FolderLock>(source.paths.lock(), FolderLock::Kind::kReader);
    source.plan = SweepPlan::load(source.paths.plan());
    source.records = read_sweep_records(source.paths);
    return source;
}

void check_folders(const std::vector<fs::path>& sources, const fs::path& target) {
    if (sources.empty()) throw UsageError("nothing to merge: give the folders after --merge");
    for (const fs::path& source : sources) {
        std::error_code ignored;
        if (fs::equivalent(source, target, ignored))
            throw UsageError(source.string() + ": is the target of the merge itself; choose another --out");
    }
}

/// The path of a vector does not matter; its content does.
json without_places(const std::string& line) {
    json record = json::parse(line);
    for (json& steering : record["steering"]) {
        steering.erase("file");
        steering.erase("gate_file");
    }
    return record;
}

class Merger {
  public:
    Merger(std::vector<MergedFolder> sources, SweepFolder& target, const MergeOptions& options)
        : sources_(std::move(sources)), target_(target), options_(options) {}

    SweepOutcome run() {
        outcome_.planned = std::ssize(target_.clips());
        outcome_.found = std::ssize(target_.records());
        std::int64_t done = 0;
        for (const SweepClip* clip : in_run_order(target_.clips())) {
            if (options_.stop.stop_requested()) throw Interrupted("interrupted; the same command resumes it");
            merge_clip(clip->id);
            if (options_.on_progress) options_.on_progress(++done, outcome_.planned);
        }
        target_.sort_records();  // clips that an earlier merge did not find are at the end
        target_.write_table();
        return std::move(outcome_);
    }

  private:
    void merge_clip(const std::string& id) {
        const MergedFolder* first = nullptr;
        for (const MergedFolder& source : sources_) {
            const auto record = source.records.find(id);
            if (record == source.records.end()) continue;
            if (first != nullptr) require_same(id, *first, first->records.at(id), source, record->second);
            if (first == nullptr) first = &source;
        }
        const auto there = target_.records().find(id);
        if (first == nullptr) {
            if (there == target_.records().end()) outcome_.missing.push_back({id, "in none of the folders"});
            return;
        }
        const std::string& record = first->records.at(id);
        if (there != target_.records().end()) {
            require_same(id, MergedFolder{target_.paths(), nullptr, {}, {}}, there->second, *first, record);
            return;
        }
        copy(id, *first, record);
    }

    static void require_same(const std::string& id, const MergedFolder& a, const std::string& record_a,
                             const MergedFolder& b, const std::string& record_b) {
        if (without_places(record_a) == without_places(record_b)) return;
        throw InputError(
            "clip " + id + " differs between " + a.paths.folder.string() + " and " + b.paths.folder.string() +
            ": they were made by different builds or processors, or one was changed; make one of "
            "them again");
    }

    void copy(const std::string& id, const MergedFolder& source, const std::string& line) {
        const json record = json::parse(line);
        if (target_.plan().audio) {
            const fs::path wav = source.paths.clip(id);
            const std::string bytes = read_text_file(wav, kMaxWav);
            if (!record.contains("audio_sha256") || record.at("audio_sha256") != sha256_of(bytes)) {
                throw InputError(wav.string() + ": clip " + id +
                                 " does not match runs.jsonl (its SHA-256 differs); remove it and repeat "
                                 "that folder's sweep");
            }
            write_file_atomically(target_.paths().clip(id), bytes, Overwrite::kAllow);
        }
        target_.store(id, record);
        ++outcome_.made;
    }

    std::vector<MergedFolder> sources_;
    SweepFolder& target_;
    const MergeOptions& options_;
    SweepOutcome outcome_;
};

}  // namespace

SweepOutcome merge_sweeps(const std::vector<fs::path>& folders, const fs::path& target,
                          const MergeOptions& options) {
    check_folders(folders, target);
    std::vector<MergedFolder> sources;
    for (const fs::path& folder : folders) sources.push_back(open_source(folder));
    for (const MergedFolder& source : sources) {
        if (source.plan.same_but_for_shard(sources.front().plan)) continue;
        std::string difference = source.plan.obstacle_to_extending(sources.front().plan);
        if (difference.empty()) difference = "it holds more clips";
        throw InputError(source.paths.folder.string() + ": its plan differs from that of " +
                         sources.front().paths.folder.string() + " in more than the shard: " + difference);
    }
    SweepPlan plan = sources.front().plan;
    plan.shard = {};
    SweepFolder merged(target, plan, options.on_message);
    return Merger(std::move(sources), merged, options).run();
}

}  // namespace musicsteer

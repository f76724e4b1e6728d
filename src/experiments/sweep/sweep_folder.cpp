#include "experiments/sweep/sweep_folder.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "base/numbers.hpp"
#include "experiments/sweep/sweep_table.hpp"
#include "io/atomic_file.hpp"
#include "io/bundle_guard.hpp"
#include "io/folder_lock.hpp"
#include "io/record_log.hpp"
#include "musicsteer/audio_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Say = std::function<void(const std::string&)>;

/// The names that AtomicFile gives: ".NAME.tmp-PID-RANDOM".
bool is_temporary(const fs::path& path) {
    const std::string name = path.filename().string();
    return name.starts_with('.') && name.find(".tmp-") != std::string::npos;
}

/// Whether a record has everything that a sweep writes for a clip.
bool is_record(const json& record) {
    if (!record.is_object()) return false;
    for (const char* key :
         {"prompt", "seed", "steering", "model", "execution", "measures", "file", "audio_sha256"}) {
        if (!record.contains(key)) return false;
    }
    const auto id = record.find("id");
    return id != record.end() && id->is_string();
}

/// Call it only with the lock held: then no other process has temporary files there.
void remove_temporaries(const fs::path& folder) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
        if (is_temporary(entry.path())) fs::remove(entry.path(), ignored);
    }
}

/// A folder without a plan may only contain the remains of a start that was killed.
void refuse_foreign_folder(const SweepPaths& paths) {
    require_outside_bundle(paths.folder);
    std::error_code error;
    if (fs::exists(paths.plan(), error) || !fs::exists(paths.folder, error)) return;
    if (!fs::is_directory(paths.folder, error))
        throw OutputError(paths.folder.string() + ": expected a folder, found a file");
    for (const fs::directory_entry& entry : fs::directory_iterator(paths.folder, error)) {
        const std::string name = entry.path().filename().string();
        if (name == ".lock" || is_temporary(name)) continue;
        if (name == "clips" && fs::is_directory(entry, error) && fs::is_empty(entry, error)) continue;
        if (name == "shards" && fs::is_directory(entry, error)) continue;  // exists before the merge
        throw OutputError(paths.folder.string() + ": holds " + in_quotes(name) +
                          " but no plan.json, so it is not a sweep: choose another --out");
    }
}

fs::path made(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) throw OutputError(folder.string() + ": cannot be created: " + error.message());
    return folder;
}

}  // namespace

struct SweepFolder::Logs {
    explicit Logs(const SweepPaths& paths) : lock(paths.lock(), FolderLock::Kind::kWriter) {}

    FolderLock lock;
    std::unique_ptr<RecordLog> records;
    std::unique_ptr<RecordLog> timings;
};

std::map<std::string, std::string> read_sweep_records(const SweepPaths& paths) {
    std::map<std::string, std::string> records;
    std::size_t number = 0;
    for_each_whole_line(paths.records(), [&](std::string line) {
        const json record = json::parse(line, nullptr, false);
        const std::string where = paths.records().string() + ": line " + std::to_string(++number);
        if (!is_record(record)) {
            throw InputError(where + ": expected the record of a clip, found " + in_quotes(line) +
                             "; remove that line to make its clip again");
        }
        const auto [place, is_new] = records.try_emplace(record.at("id").get<std::string>(), std::move(line));
        if (!is_new && place->second != line)  // not moved in this case
            throw InputError(where + ": another record of clip " + place->first + " already exists");
    });
    return records;
}

std::vector<const SweepClip*> in_run_order(const std::vector<SweepClip>& clips) {
    std::vector<const SweepClip*> ordered;
    for (const SweepClip& clip : clips) ordered.push_back(&clip);
    std::stable_sort(ordered.begin(), ordered.end(), [](const SweepClip* a, const SweepClip* b) {
        return a->spec.text_length < b->spec.text_length;
    });
    return ordered;
}

double measured_seconds_per_clip(const SweepPaths& paths) {
    double seconds = 0.0;
    double clips = 0.0;
    for_each_whole_line(paths.timings(), [&](const std::string& line) {
        const json timing = json::parse(line, nullptr, false);
        if (!timing.is_object() || !timing.contains("clips") || !timing.contains("seconds")) return;
        if (!timing["clips"].is_number() || !timing["seconds"].is_number()) return;
        clips += timing["clips"].get<double>();
        seconds += timing["seconds"].get<double>();
    });
    return clips > 0.0 ? seconds / clips : 0.0;
}

SweepFolder::SweepFolder(const fs::path& folder, const SweepPlan& plan, const Say& on_message)
    : paths_{folder}, plan_(plan), clips_(plan.clips()) {
    refuse_foreign_folder(paths_);
    made(paths_.folder);
    logs_ = std::make_unique<Logs>(paths_);
    take_over(on_message ? on_message : [](const std::string&) {});
}

SweepFolder::~SweepFolder() = default;

/// With the lock held: turns what an earlier process left into a folder that agrees with the plan.
void SweepFolder::take_over(const Say& say) {
    const std::string text = plan_.to_json();
    if (fs::exists(paths_.plan())) {
        const SweepPlan earlier = SweepPlan::load(paths_.plan());
        if (const std::string obstacle = plan_.obstacle_to_extending(earlier); !obstacle.empty()) {
            throw InputError(paths_.folder.string() + ": belongs to another plan: " + obstacle +
                             "; an existing sweep can only gain clips, so choose another --out");
        }
        if (earlier.to_json() != text) write_file_atomically(paths_.plan(), text, Overwrite::kAllow);
    } else {
        write_file_atomically(paths_.plan(), text, Overwrite::kRefuse);
    }
    remove_temporaries(paths_.folder);
    remove_temporaries(made(paths_.clips()));

    logs_->records = std::make_unique<RecordLog>(paths_.records(), RecordLog::Sync::kEachLine);
    logs_->timings = std::make_unique<RecordLog>(paths_.timings(), RecordLog::Sync::kNever);
    if (const std::size_t bytes = logs_->records->repaired_bytes(); bytes > 0) {
        say(paths_.records().string() + ": its last line was unfinished (" + std::to_string(bytes) +
            " bytes) and was removed; that clip is made again");
    }
    records_ = read_sweep_records(paths_);

    std::set<std::string> planned;
    for (const SweepClip& clip : clips_) planned.insert(clip.id);
    std::size_t lost = 0;
    for (auto record = records_.begin(); record != records_.end();) {
        if (!planned.contains(record->first)) {
            throw InputError(paths_.records().string() + ": holds clip " + record->first +
                             ", which plan.json does not; the folder was changed by hand");
        }
        const bool whole = !plan_.audio || is_whole_wav(paths_.clip(record->first));
        lost += whole ? 0 : 1;
        record = whole ? std::next(record) : records_.erase(record);
    }
    if (lost == 0) return;
    say(paths_.clips().string() + ": the " + counted(lost, "WAV file") +
        " of finished clips that are missing or truncated are made again");
    sort_records();
}

void SweepFolder::sort_records() {
    std::vector<const std::string*> sorted;
    for (const SweepClip* clip : in_run_order(clips_)) {
        if (const auto record = records_.find(clip->id); record != records_.end())
            sorted.push_back(&record->second);
    }
    std::size_t same = 0;
    std::size_t there = 0;
    for_each_whole_line(paths_.records(), [&](const std::string& line) {
        if (there < sorted.size() && line == *sorted[there]) ++same;
        ++there;
    });
    if (same == sorted.size() && there == sorted.size()) return;
    logs_->records.reset();
    AtomicFile file(paths_.records(), Overwrite::kAllow);
    for (const std::string* record : sorted) file.write(*record + "\n");
    file.commit();
    logs_->records = std::make_unique<RecordLog>(paths_.records(), RecordLog::Sync::kEachLine);
}

void SweepFolder::store(const std::string& id, const json& record) {
    const std::string line = record.dump();
    logs_->records->append(line);
    records_[id] = line;
}

void SweepFolder::log_timing(const json& timing) {
    try {
        logs_->timings->append(timing.dump());
    } catch (const OutputError&) {  // a full disk shows with the clips
    }
}

void SweepFolder::write_table() const {
    AtomicFile file(paths_.table(), Overwrite::kAllow);
    const std::vector<std::string> own =
        records_.empty() ? std::vector<std::string>() : own_measures(records_.begin()->second);
    file.write(sweep_table_heading(own));
    for (const SweepClip& clip : clips_) {
        if (const auto record = records_.find(clip.id); record != records_.end())
            file.write(sweep_table_row(record->second, own));
    }
    file.commit();
}

}  // namespace musicsteer

#include "experiments/sweep/sweep_folder.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "experiments/sweep/sweep_merge.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"
#include "unit/experiments/sweep/sweep_plans.hpp"
#include "unit/restricted_process.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

void ignore(const std::string&) {}

/// As much of a WAV as a sweep looks at before it merges: the size in its header.
std::string wav_of(const std::string& sound) {
    return std::string("RIFF") + static_cast<char>(sound.size()) + std::string(3, '\0') + sound;
}

/// A clip as a sweep stores it, with the clip's own ID as its "sound".
void make_clip(SweepFolder& folder, const SweepClip& clip, const std::string& sound = "") {
    const std::string bytes = wav_of(clip.id + sound);
    write_bytes(folder.paths().clip(clip.id), bytes);
    nlohmann::json record = clip_record(folder.plan().settings, clip.spec);
    record["id"] = clip.id;
    record["audio_sha256"] = sha256_of(bytes);
    record["file"] = "clips/" + clip.id + ".wav";
    record["measures"] = nlohmann::json::object();
    folder.store(clip.id, record);
}

void make_all(const std::filesystem::path& path, const SweepPlan& plan) {
    SweepFolder folder(path, plan, ignore);
    for (const SweepClip& clip : folder.clips()) make_clip(folder, clip);
    folder.write_table();
}

template <typename Call>
std::string error_of(Call call) {
    try {
        call();
    } catch (const Error& error) {
        return error.what();
    }
    return "nothing was thrown";
}

std::vector<std::string> lines_of(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

TEST(SweepFolder, KeepsWhatWasStored) {
    const TempFolder temp;
    const std::filesystem::path path = temp / "runs";
    std::string first;
    {
        SweepFolder folder(path, small_plan(), ignore);
        EXPECT_THAT(folder.records(), IsEmpty());
        first = folder.clips()[0].id;
        make_clip(folder, folder.clips()[0]);
        make_clip(folder, folder.clips()[1]);
        folder.log_timing({{"clips", 2}, {"seconds", 3.0}});
    }
    SweepFolder folder(path, small_plan(), ignore);
    EXPECT_EQ(folder.records().size(), 2U);
    EXPECT_EQ(nlohmann::json::parse(folder.records().at(first))["prompt"], "piano");
    EXPECT_EQ(measured_seconds_per_clip(folder.paths()), 1.5);
    EXPECT_EQ(SweepPlan::load(folder.paths().plan()).to_json(), small_plan().to_json());
}

TEST(SweepFolder, ATornLastLineIsCutOffAndSaid) {
    const TempFolder temp;
    const std::filesystem::path path = temp / "runs";
    make_all(path, small_plan());
    const SweepPaths paths{path};
    const std::string whole = read_bytes(paths.records());
    const std::size_t last_line = whole.rfind('\n', whole.size() - 2) + 1;
    for (const std::size_t size : {last_line + 1, last_line + 100, whole.size() - 1}) {
        write_bytes(paths.records(), whole.substr(0, size));
        EXPECT_EQ(read_sweep_records(paths).size(), 11U);
        std::vector<std::string> said;
        SweepFolder folder(path, small_plan(), [&](const std::string& text) { said.push_back(text); });
        EXPECT_EQ(folder.records().size(), 11U);
        EXPECT_EQ(read_bytes(paths.records()), whole.substr(0, last_line));
        EXPECT_THAT(said, ElementsAre(HasSubstr("its last line was unfinished")));
    }
    write_bytes(paths.records(), whole + std::string(300, '\0'));  // as after a power cut
    const SweepFolder folder(path, small_plan(), ignore);
    EXPECT_EQ(read_bytes(paths.records()), whole);
}

TEST(SweepFolder, DamagedRecordsAreRefusedWithTheirLine) {
    const TempFolder temp;
    const std::filesystem::path path = temp / "runs";
    make_all(path, small_plan());
    const SweepPaths paths{path};
    const std::string whole = read_bytes(paths.records());
    const auto refusal = [&](const std::string& text) {
        write_bytes(paths.records(), text);
        return error_of([&] { SweepFolder(path, small_plan(), ignore); });
    };
    EXPECT_THAT(refusal("hello\n" + whole), HasSubstr("runs.jsonl: line 1: expected the record of a clip"));
    const std::string id = small_plan().clips()[0].id;
    EXPECT_THAT(refusal("{\"id\":\"" + id + "\"}\n"), HasSubstr("line 1: expected the record of a clip"));
    write_bytes(paths.records(), whole);
    auto foreign = nlohmann::json::parse(lines_of(paths.records())[0]);
    foreign["id"] = "abc";
    EXPECT_THAT(refusal(whole + foreign.dump() + "\n"), HasSubstr("holds clip abc"));
    write_bytes(paths.records(), whole);
    auto twice = nlohmann::json::parse(lines_of(paths.records())[0]);
    twice["seed"] = 99;
    EXPECT_THAT(refusal(whole + twice.dump() + "\n"), HasSubstr("line 13: another record of clip"));
}

TEST(SweepFolder, AClipWhoseWavIsGoneIsToBeMadeAgain) {
    const TempFolder temp;
    const std::filesystem::path path = temp / "runs";
    make_all(path, small_plan());
    const SweepPaths paths{path};
    const std::string id = small_plan().clips()[3].id;
    std::filesystem::remove(paths.clip(id));
    const SweepFolder folder(path, small_plan(), ignore);
    EXPECT_EQ(folder.records().size(), 11U);
    EXPECT_FALSE(folder.records().contains(id));
    EXPECT_EQ(lines_of(paths.records()).size(), 11U);
}

TEST(SweepFolder, AClipWhoseWavIsCutShortIsToBeMadeAgain) {
    const TempFolder temp;
    const std::filesystem::path path = temp / "runs";
    make_all(path, small_plan());
    const std::filesystem::path wav = SweepPaths{path}.clip(small_plan().clips()[3].id);
    const std::string whole = read_bytes(wav);
    for (const std::size_t kept : {std::size_t{0}, std::size_t{6}, whole.size() - 1}) {
        write_bytes(wav, whole.substr(0, kept));
        SweepFolder folder(path, small_plan(), ignore);
        EXPECT_EQ(folder.records().size(), 11U) << kept;
        make_clip(folder, folder.clips()[3]);
        EXPECT_EQ(folder.records().size(), 12U);
    }
}

TEST(SweepFolder, TemporaryFilesAreRemoved) {
    const TempFolder temp;
    const std::filesystem::path path = temp / "runs";
    make_all(path, small_plan());
    write_bytes(path / ".plan.json.tmp-12-abcdef", "x");
    write_bytes(path / "clips/.a.wav.tmp-12-abcdef", "x");
    write_bytes(path / "notes.txt", "mine");
    const SweepFolder folder(path, small_plan(), ignore);
    EXPECT_FALSE(std::filesystem::exists(path / ".plan.json.tmp-12-abcdef"));
    EXPECT_FALSE(std::filesystem::exists(path / "clips/.a.wav.tmp-12-abcdef"));
    EXPECT_TRUE(std::filesystem::exists(path / "notes.txt"));
}

TEST(SweepFolder, OneProcessAtATime) {
    const TempFolder temp;
    const std::filesystem::path path = temp / "runs";
    {
        const SweepFolder folder(path, small_plan(), ignore);
        EXPECT_THAT(error_of([&] { SweepFolder(path, small_plan(), ignore); }),
                    HasSubstr("another process is using"));
        EXPECT_THAT(error_of([&] { merge_sweeps({path}, temp / "merged", {}); }),
                    HasSubstr("another process is using"));
    }
    EXPECT_NO_THROW(SweepFolder(path, small_plan(), ignore));
}

TEST(SweepFolder, APlanMayGrowAndNothingElse) {
    const TempFolder temp;
    const std::filesystem::path path = temp / "runs";
    make_all(path, small_plan());
    SweepPlan more = small_plan();
    more.seeds.push_back(8);
    {
        const SweepFolder folder(path, more, ignore);
        EXPECT_EQ(folder.records().size(), 12U);
        EXPECT_EQ(folder.clips().size(), 18U);
    }
    EXPECT_THAT(error_of([&] { SweepFolder(path, small_plan(), ignore); }),
                HasSubstr("6 of the folder's planned clips are no longer in the plan"));
    EXPECT_EQ(SweepPlan::load(path / "plan.json").seeds.size(), 3U);
}

TEST(SweepFolder, ForeignFoldersAreLeftAlone) {
    const TempFolder temp;
    std::filesystem::create_directories(temp / "photos");
    write_bytes(temp / "photos" / "cat.jpg", "x");
    EXPECT_THAT(error_of([&] { SweepFolder(temp / "photos", small_plan(), ignore); }),
                HasSubstr("holds 'cat.jpg' but no plan.json"));
    write_bytes(temp / "file", "x");
    EXPECT_THAT(error_of([&] { SweepFolder(temp / "file", small_plan(), ignore); }),
                HasSubstr("expected a folder"));
    EXPECT_THROW(SweepFolder("/proc/runs", small_plan(), ignore), OutputError);
}

TEST(SweepFolder, AnAppendThatFailsLeavesWholeLines) {
    const TempFolder temp;
    const std::filesystem::path path = temp / "runs";
    SweepFolder folder(path, small_plan(), ignore);
    make_clip(folder, folder.clips()[0]);
    const std::string before = read_bytes(folder.paths().records());
    {
        const FileSizeLimit limit(before.size() + 10);
        EXPECT_THROW(make_clip(folder, folder.clips()[1]), OutputError);
    }
    EXPECT_EQ(read_bytes(folder.paths().records()), before);
    EXPECT_EQ(folder.records().size(), 1U);
    make_clip(folder, folder.clips()[1]);
    EXPECT_EQ(read_sweep_records(folder.paths()).size(), 2U);
}

TEST(SweepFolder, TableHasARowAClipInThePlansOrder) {
    const TempFolder temp;
    SweepPlan plan = small_plan();
    plan.prompts[0].text = "piano, \"soft\"";
    plan.prompts[1].text = "=HYPERLINK(1)";
    {
        SweepFolder folder(temp / "runs", plan, ignore);
        for (auto clip = folder.clips().rbegin(); clip != folder.clips().rend(); ++clip)
            make_clip(folder, *clip);
        folder.write_table();
    }
    const std::vector<std::string> rows = lines_of(temp / "runs" / "runs.csv");
    ASSERT_EQ(rows.size(), 13U);
    EXPECT_TRUE(rows[0].starts_with("id,file,prompt,negative_prompt,seed,concept,alpha,strategy,layers,"));
    EXPECT_THAT(rows[1], HasSubstr(",\"piano, \"\"soft\"\"\",,0,,0.0,,,,,,,"));
    EXPECT_THAT(rows[7], HasSubstr(",'=HYPERLINK(1),"));
    EXPECT_THAT(rows[2], HasSubstr(",tempo,-0.5,one-to-all,0 1 2,1,resid_post,both,difference,"));
}

/// Two shards of the small plan, done.
std::vector<std::filesystem::path> make_shards(const TempFolder& temp) {
    std::vector<std::filesystem::path> folders;
    for (std::int64_t index = 1; index <= 2; ++index) {
        SweepPlan plan = small_plan();
        plan.shard = {index, 2};
        folders.push_back(temp / ("part" + std::to_string(index)));
        make_all(folders.back(), plan);
    }
    return folders;
}

TEST(SweepMerge, ShardsMakeTheFolderOfASingleRun) {
    const TempFolder temp;
    const auto parts = make_shards(temp);
    make_all(temp / "single", small_plan());
    const SweepOutcome outcome = merge_sweeps(parts, temp / "merged", {});
    EXPECT_EQ(outcome.made, 12);
    EXPECT_THAT(outcome.missing, IsEmpty());
    for (const char* name : {"plan.json", "runs.jsonl", "runs.csv"})
        EXPECT_EQ(read_bytes(temp / "merged" / name), read_bytes(temp / "single" / name)) << name;
    for (const SweepClip& clip : small_plan().clips())
        EXPECT_EQ(read_bytes(SweepPaths{temp / "merged"}.clip(clip.id)), wav_of(clip.id));
    EXPECT_EQ(merge_sweeps(parts, temp / "merged", {}).found, 12) << "a second merge has nothing to do";
}

TEST(SweepMerge, GoesOnWhereItStopped) {
    const TempFolder temp;
    const auto parts = make_shards(temp);
    std::stop_source stop;
    MergeOptions options;
    options.stop = stop.get_token();
    options.on_progress = [&](std::int64_t done, std::int64_t) {
        if (done == 5) stop.request_stop();
    };
    EXPECT_THROW(merge_sweeps(parts, temp / "merged", options), Interrupted);
    const SweepOutcome outcome = merge_sweeps(parts, temp / "merged", {});
    EXPECT_EQ(outcome.found, 5);
    EXPECT_EQ(outcome.made, 7);
}

TEST(SweepMerge, WhatNoFolderHasIsListed) {
    const TempFolder temp;
    const auto parts = make_shards(temp);
    SweepPlan part = small_plan();
    part.shard = {2, 2};
    const SweepOutcome outcome = merge_sweeps({parts[0]}, temp / "merged", {});
    EXPECT_EQ(outcome.missing.size(), part.clips().size());
    EXPECT_EQ(outcome.missing.front().id, part.clips().front().id);
}

TEST(SweepMerge, DifferentContentUnderOneIdIsAnErrorThatNamesIt) {
    const TempFolder temp;
    make_all(temp / "a", small_plan());
    const SweepClip odd = small_plan().clips()[4];
    {
        SweepFolder folder(temp / "b", small_plan(), ignore);
        for (const SweepClip& clip : folder.clips()) make_clip(folder, clip, clip.id == odd.id ? "!" : "");
    }
    const std::string message = error_of([&] {
        merge_sweeps({temp / "a", temp / "b"}, temp / "merged", {});
    });
    EXPECT_THAT(message, HasSubstr("clip " + odd.id + " differs between"));
    merge_sweeps({temp / "a"}, temp / "c", {});
    EXPECT_THAT(error_of([&] { merge_sweeps({temp / "b"}, temp / "c", {}); }), HasSubstr(odd.id));
}

TEST(SweepMerge, PlacesOfVectorsDoNotCount) {
    const TempFolder temp;
    const auto plan_with = [](const std::string& folder) {
        SweepPlan plan = small_plan();
        SteeringSetting& steering = plan.conditions[0].steering;
        steering.file = folder + "tempo.safetensors";
        steering.gate = GateSetting::parse(folder + "gate.safetensors@decoder.1.resid_post<0");
        steering.gate->sha256 = std::string(64, 'd');
        return plan;
    };
    make_all(temp / "a", plan_with(""));
    make_all(temp / "b", plan_with("elsewhere/"));
    EXPECT_EQ(merge_sweeps({temp / "a", temp / "b"}, temp / "merged", {}).made, 12);
}

TEST(SweepMerge, WavsAreHeldToTheirHashes) {
    const TempFolder temp;
    const auto parts = make_shards(temp);
    SweepPlan part = small_plan();
    part.shard = {1, 2};
    const std::string id = part.clips().front().id;
    write_bytes(SweepPaths{parts[0]}.clip(id), "cut");
    EXPECT_THAT(error_of([&] { merge_sweeps(parts, temp / "merged", {}); }),
                HasSubstr(id + ".wav: clip " + id + " does not match runs.jsonl"));
    std::filesystem::remove(SweepPaths{parts[0]}.clip(id));
    EXPECT_THROW(merge_sweeps(parts, temp / "merged", {}), InputError);
}

TEST(SweepMerge, RefusesOtherPlansAndItself) {
    const TempFolder temp;
    const auto parts = make_shards(temp);
    SweepPlan other = small_plan();
    other.settings.sampling.top_k = 7;
    make_all(temp / "other", other);
    EXPECT_THAT(error_of([&] {
                    merge_sweeps({parts[0], temp / "other"}, temp / "merged", {});
                }),
                HasSubstr("top_k was 250 and is 7"));
    EXPECT_THROW(merge_sweeps(parts, parts[0], {}), UsageError);
    EXPECT_THROW(merge_sweeps({}, temp / "merged", {}), UsageError);
    EXPECT_THROW(merge_sweeps({temp / "nowhere"}, temp / "merged", {}), InputError);
    EXPECT_FALSE(std::filesystem::exists(temp / "merged"));
}

}  // namespace
}  // namespace musicsteer

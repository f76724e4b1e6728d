#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli.hpp"
#include "io/csv.hpp"
#include "model_options.hpp"
#include "musicsteer/audio_file.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/metrics.hpp"
#include "progress.hpp"

namespace musicsteer::cli {
namespace {

using nlohmann::ordered_json;

constexpr const char* kMeasureFooter = R"(
Frames are 2048 samples long and 512 apart; for onsets and tempo the hop is about 16 ms (256 at 16 kHz, 512
at 32 kHz). Definitions are librosa's, with its other defaults (docs/formats.md). Files that can't be measured are
reported on stderr and skipped, and the exit code is then 1.

Examples:
  musicsteer measure fast.wav slow.wav
  musicsteer measure clips/*.wav --csv > measures.csv
  musicsteer measure take.flac --json
  musicsteer measure sparse.wav --tempo-prior 106:0.5)";

struct MeasureFlags {
    std::vector<std::string> files;
    bool as_json = false;
    bool as_csv = false;
    std::string tempo_prior;
    std::string measure_command;
};

/// A column of the table: measure, heading, width and decimals.
struct Column {
    const char* measure;
    const char* heading;
    int width;
    int decimals;
};

constexpr Column kColumns[] = {
    {"duration_s", "seconds", 7, 1},
    {"sample_rate_hz", "rate", 7, 0},
    {"tempo_bpm", "tempo", 7, 1},
    {"onset_rate_hz", "onsets", 8, 2},
    {"spectral_centroid_hz", "centroid", 10, 0},
    {"spectral_rolloff_hz", "rolloff", 9, 0},
    {"spectral_bandwidth_hz", "bandwidth", 11, 0},
    {"spectral_flatness", "flatness", 10, 4},
    {"rms", "rms", 8, 4},
    {"loudness_lufs", "loudness", 10, 1},
    {"true_peak_dbtp", "peak", 7, 1},
    {"silence_share", "silence", 9, 3},
    {"clipped_samples", "clipped", 9, 0},
};

/// {"file": ..., "tempo_bpm": ..., ...}
ordered_json measure_file(const std::string& path, const MeasureOptions& measuring, MeasureCommand* own) {
    const Audio audio = read_audio(path);
    ordered_json record = {{"file", path}};
    try {
        const nlohmann::json measures = measures_json(measure_audio(audio, measuring));
        for (const char* name : kMeasureNames) record[name] = measures.at(name);
        record["tempo_prior"] = measures.at("tempo_prior");
    } catch (const InputError& error) {
        throw InputError(path + ": " + error.what());
    }
    if (own == nullptr) return record;
    for (const auto& [name, value] : own->measure(path))
        record[name] = value ? ordered_json(*value) : nullptr;
    return record;
}

using Names = std::vector<std::string>;

/// A column for an own measure: its name may be long.
int width_of(const std::string& name) {
    return std::max(10, static_cast<int>(name.size()) + 2);
}

void print_table(std::ostream& out, const std::vector<ordered_json>& records, const Names& own) {
    char cell[64];
    for (const Column& column : kColumns) {
        std::snprintf(cell, sizeof cell, "%*s", column.width, column.heading);
        out << cell;
    }
    for (const std::string& name : own) {
        std::snprintf(cell, sizeof cell, "%*s", width_of(name), name.c_str());
        out << cell;
    }
    out << "  file\n";
    for (const ordered_json& record : records) {
        for (const Column& column : kColumns) {
            const ordered_json& value = record.at(column.measure);
            if (value.is_null()) {
                std::snprintf(cell, sizeof cell, "%*s", column.width, "-");
            } else {
                std::snprintf(cell, sizeof cell, "%*.*f", column.width, column.decimals, value.get<double>());
            }
            out << cell;
        }
        for (const std::string& name : own) {
            const ordered_json& value = record.at(name);
            if (value.is_null())
                std::snprintf(cell, sizeof cell, "%*s", width_of(name), "-");
            else
                std::snprintf(cell, sizeof cell, "%*.4g", width_of(name), value.get<double>());
            out << cell;
        }
        out << "  " << record.at("file").get<std::string>() << '\n';
    }
}

void print_csv(std::ostream& out, const std::vector<ordered_json>& records, const Names& own) {
    Names names(kMeasureNames.begin(), kMeasureNames.end());
    names.insert(names.end(), own.begin(), own.end());
    out << "file";
    for (const std::string& name : names) out << ',' << name;
    out << '\n';
    for (const ordered_json& record : records) {
        out << csv_cell(record.at("file").get<std::string>());
        for (const std::string& name : names) {
            const ordered_json& value = record.at(name);
            out << ',' << (value.is_null() ? "" : value.dump());
        }
        out << '\n';
    }
}

void print(const MeasureFlags& options, const std::vector<ordered_json>& records, const Names& own) {
    if (options.as_json) {
        // File names may not be UTF-8.
        std::cout << ordered_json(records).dump(2, ' ', false, ordered_json::error_handler_t::replace)
                  << '\n';
    } else if (options.as_csv) {
        print_csv(std::cout, records, own);
    } else {
        print_table(std::cout, records, own);
    }
}

void run(const MeasureFlags& options, const Context& context) {
    at::set_num_threads(1);  // the work is too small for more
    MeasureOptions measuring;
    if (!options.tempo_prior.empty()) measuring.tempo_prior = TempoPrior::parse(options.tempo_prior);
    const std::unique_ptr<MeasureCommand> command = start_measure_command(options.measure_command);
    std::vector<ordered_json> records;
    std::optional<InputError> failure;
    Progress progress("measuring");
    for (std::size_t i = 0; i < options.files.size(); ++i) {
        progress.update(static_cast<std::int64_t>(i), std::ssize(options.files));
        if (context.stop.stop_requested()) throw Interrupted("interrupted: nothing was printed");
        try {
            records.push_back(measure_file(options.files[i], measuring, command.get()));
        } catch (const InputError& error) {
            // main reports the last failure; the others are reported here.
            if (failure) std::cerr << "error: " << failure->what() << '\n';
            failure = error;
        }
    }
    if (!records.empty()) print(options, records, command ? command->names() : Names());
    std::cout.flush();
    if (failure) throw InputError(*failure);
}

}  // namespace

void add_measure(CLI::App& app, Context& context) {
    const auto options = std::make_shared<MeasureFlags>();
    CLI::App* command =
        app.add_subcommand("measure", "Measure tempo, brightness, loudness, ... of audio files");
    command->footer(kMeasureFooter);
    command->add_option("files", options->files, "Audio files: WAV, FLAC, Ogg, MP3, ...")->required();
    CLI::Option* list = command->add_flag("--json", options->as_json, "A JSON list with one object per file");
    command->add_flag("--csv", options->as_csv, "CSV with one row per file")->excludes(list);
    add_tempo_prior(*command, options->tempo_prior);
    add_measure_command(*command, options->measure_command);
    command->callback(
        [options, &context] { context.action = [options, &context] { run(*options, context); }; });
}

}  // namespace musicsteer::cli

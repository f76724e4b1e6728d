#include "experiments/sweep/sweep.hpp"

#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/logging.hpp"
#include "base/numbers.hpp"
#include "cli.hpp"
#include "experiments/sweep/sweep_merge.hpp"
#include "model/memory.hpp"
#include "musicsteer/errors.hpp"
#include "progress.hpp"
#include "sweep_options.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kSweepExample = R"(
Examples:
  musicsteer sweep --model bundle --prompts prompts/neutral.json --limit 4 --seeds 0:8 \
      --steer tempo.safetensors --alphas -1:1:0.5 --layers all,3 --strategies per-layer,one-to-all --out runs/tempo
  musicsteer sweep --plan plan.json --model bundle --out runs/tempo --dry-run
  musicsteer sweep --out runs/tempo                    # resumes an existing sweep
  musicsteer sweep --plan plan.json --shard 1/2 --out runs/part1     # and 2/2 elsewhere, then
  musicsteer sweep --merge runs/part1 runs/part2 --out runs/tempo)";

nlohmann::json estimate_json(const SweepEstimate& estimate) {
    nlohmann::json result = {{"clips", estimate.clips},
                             {"clips_left", estimate.clips_left},
                             {"batches_left", estimate.batches_left},
                             {"bytes", estimate.bytes}};
    result["seconds_left"] =
        estimate.seconds_left > 0.0 ? nlohmann::json(estimate.seconds_left) : nlohmann::json();
    return result;
}

std::string estimate_text(const SweepEstimate& estimate, const SweepPlan& plan) {
    std::string text = counted(static_cast<std::size_t>(estimate.clips), "clip");
    if (plan.shard.count > 1) text += " (shard " + plan.shard.text() + ")";
    text += ", " + std::to_string(estimate.clips_left) + " of them to make, in " +
            std::to_string(estimate.batches_left) +
            (estimate.batches_left == 1 ? " batch of " : " batches of ") +
            std::to_string(plan.settings.batch_size) + "; about " + format_bytes(estimate.bytes) + " in all";
    if (estimate.seconds_left > 0.0) text += ", " + format_duration(estimate.seconds_left) + " left";
    return text;
}

void dry_run(const SweepFlags& flags, const PlannedSweep& planned) {
    if (const auto earlier = stored_plan(flags.out)) {
        if (const std::string obstacle = planned.plan.obstacle_to_extending(*earlier); !obstacle.empty())
            throw InputError(flags.out + ": belongs to another plan: " + obstacle);
    }
    const SweepPaths paths{flags.out};
    const SweepEstimate estimate = estimate_sweep(
        planned.plan, planned.bundle.manifest(), read_sweep_records(paths), measured_seconds_per_clip(paths));
    std::cout << (flags.json ? estimate_json(estimate).dump() : estimate_text(estimate, planned.plan))
              << '\n';
    if (!flags.json && estimate.clips_left > 0 && estimate.seconds_left == 0.0)
        std::cout << "time: not known before the first batch\n";
}

/// Prints the outcome; throws, for exit code 1, if clips are missing.
void report(const SweepFlags& flags, const SweepOutcome& outcome, const std::string& verb) {
    if (flags.json) {
        nlohmann::json missing = nlohmann::json::array();
        for (const MissingClip& clip : outcome.missing)
            missing.push_back({{"id", clip.id}, {"reason", clip.reason}});
        std::cout << nlohmann::json{{"folder", flags.out},
                                    {"clips", outcome.planned},
                                    {"found", outcome.found},
                                    {"made", outcome.made},
                                    {"missing", std::move(missing)}}
                         .dump()
                  << '\n';
    } else {
        std::cout << flags.out << ": " << counted(static_cast<std::size_t>(outcome.planned), "clip") << ", "
                  << outcome.made << ' ' << verb << ", " << outcome.found << " existed\n";
        for (const MissingClip& clip : outcome.missing)
            std::cout << "missing " << clip.id << ": " << clip.reason << '\n';
    }
    if (outcome.missing.empty()) return;
    const std::size_t missing = outcome.missing.size();
    throw Error(flags.out + ": " + counted(missing, "clip") + " of " + std::to_string(outcome.planned) +
                (missing == 1 ? " is" : " are") + " missing, the first is " + outcome.missing.front().id +
                " (" + outcome.missing.front().reason + "); run the same command to try again");
}

void merge(const SweepFlags& flags, const Context& context) {
    MergeOptions options;
    Progress progress("merging");
    options.on_progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
    options.on_message = log_warn;
    options.stop = context.stop;
    report(flags, merge_sweeps({flags.merge.begin(), flags.merge.end()}, flags.out, options), "copied");
}

void make_clips(const SweepFlags& flags, const Context& context, PlannedSweep planned) {
    // Before the folder exists and its plan fixes this.
    require_memory(batch_memory(planned.plan, planned.bundle.manifest()),
                   available_memory(planned.bundle.device()));
    SweepFolder folder(flags.out, planned.plan, log_warn);
    log_info(estimate_text(estimate_sweep(planned.plan, planned.bundle.manifest(), folder.records(),
                                          measured_seconds_per_clip(folder.paths())),
                           planned.plan));
    if (folder.records().size() == folder.clips().size()) {
        folder.write_table();
        const auto clips = static_cast<std::int64_t>(folder.clips().size());
        report(flags, {clips, clips, 0, {}}, "made");
        return;
    }
    ModelOptions model_options = flags.model;
    model_options.threads = static_cast<int>(planned.plan.settings.threads);
    const Model model = load_model(model_options, std::move(planned.bundle));

    std::vector<std::string> texts;
    for (const SweepPrompt& prompt : planned.plan.prompts) texts.push_back(prompt.text);
    warn_of_unknown(model.tokenizer, texts, planned.plan.negative_prompt);
    SweepOptions options;
    options.stop = context.stop;
    options.on_message = log_warn;
    Progress progress("sweeping");
    options.on_progress = [&](const SweepProgress& now) {
        progress.update_units(now.clips_done_and_begun(), now.clips_total, "clips");
    };
    try {
        report(flags, run_sweep(model, folder, options), "made");
    } catch (const Interrupted&) {
        throw Interrupted("interrupted; the same command resumes from " +
                          std::to_string(folder.records().size()) + " of " +
                          std::to_string(folder.clips().size()) + " clips");
    }
}

void check_merge_flags(const CLI::App& command) {
    const std::set<std::string> known = {"--merge", "--out", "--json", "--log-level", "--quiet"};
    for (const CLI::Option* option : command.get_options()) {
        const std::string flag = option->get_name();
        if (is_typed(*option) && !known.contains(flag.substr(flag.find("--"))))
            throw UsageError(flag + " has no effect with --merge: the folders' plan determines it");
    }
}

void run(const SweepFlags& flags, const Context& context, const CLI::App& command) {
    apply_log_level(flags.model.log_level);
    if (command.count("--merge") > 0) {
        check_merge_flags(command);
        merge(flags, context);
        return;
    }
    PlannedSweep planned = plan_sweep(flags, command);
    if (flags.dry_run) {
        dry_run(flags, planned);
    } else {
        make_clips(flags, context, std::move(planned));
    }
}

}  // namespace

void add_sweep(CLI::App& app, Context& context) {
    const auto flags = std::make_shared<SweepFlags>();
    CLI::App* command = app.add_subcommand(
        "sweep", "Generate a grid of prompts, seeds and ways of steering; resumable, optionally in shards");
    command->footer(kSweepExample);
    add_sweep_flags(*command, *flags);
    command->callback([flags, &context, command] {
        context.action = [flags, &context, command] { run(*flags, context, *command); };
    });
}

}  // namespace musicsteer::cli

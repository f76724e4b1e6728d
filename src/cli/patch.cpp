#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/logging.hpp"
#include "cli.hpp"
#include "directions/provenance.hpp"
#include "experiments/patch/patch_run.hpp"
#include "io/atomic_file.hpp"
#include "io/output_lock.hpp"
#include "io/safetensors.hpp"
#include "patch_options.hpp"
#include "progress.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kPatchExample = R"(
Examples:
  musicsteer patch --model bundle --prompts prompts/tempo.json --limit 16 --out tempo.json
  musicsteer patch --model bundle --source "fast piano" --target "slow piano" --sites resid_post --window 0-2 \
      --out patch.json
  musicsteer patch --model bundle --ablate mean --prompts prompts/neutral.json --out cost.json --csv cost.csv)";

void print_table(const PatchTable& table) {
    std::printf("%-18s", "layer");
    for (const std::string& layer : table.layers) std::printf("%8s", layer.c_str());
    std::printf("\n");
    for (std::size_t row = 0; row < table.sites.size(); ++row) {
        std::printf("%-18s", table.sites[row].c_str());
        for (const double value : table.values[row]) {
            if (std::isfinite(value)) {
                std::printf("%8.3f", value);
            } else {
                std::printf("%8s", "-");
            }
        }
        std::printf("\n");
    }
    std::fflush(stdout);
}

void save_codes(const PatchFlags& flags, const PatchReport& report) {
    std::vector<at::Tensor> codes;
    for (const PatchClip& clip : report.clips) codes.push_back(clip.codes);
    TensorFile file;
    file.tensors["codes"] = at::stack(codes);
    file.metadata[kFormatKey] = format_stamp("musicsteer-codes");
    save_tensors(flags.save_codes, file, flags.overwrite());
}

void write(const PatchFlags& flags, const PatchReport& report) {
    const std::string text = patch_json(report).dump(2) + "\n";
    write_file_atomically(flags.out, text, flags.overwrite());
    if (!flags.csv.empty()) write_file_atomically(flags.csv, patch_csv(report), flags.overwrite());
    if (!flags.save_codes.empty()) save_codes(flags, report);
    if (flags.json) {
        std::cout << text;
        return;
    }
    print_table(patch_table(report));
    std::cout << "wrote " << flags.out << '\n';
}

std::vector<std::string> texts_of(const PatchRequest& request) {
    std::vector<std::string> texts;
    for (const PatchClip& clip : request.clips) {
        texts.push_back(clip.source);
        if (request.method == PatchMethod::kReplace) texts.push_back(clip.target);
    }
    return texts;
}

void run(const PatchFlags& flags, const Context& context) {
    apply_log_level(flags.model.log_level);
    flags.check();
    flags.sampling.validate();
    PatchRequest request = flags.request();
    flags.check_outputs();
    const OutputLock lock(flags.out);
    Bundle bundle = open_bundle(flags.model);
    request.sampling = flags.sampling.resolve(bundle.manifest());
    request.melody = hear_melody(flags.melody, bundle.manifest(), flags.sampling.duration_s);
    request.validate(bundle.manifest());
    const Model model = load_model(flags.model, std::move(bundle));
    warn_of_unknown(model.tokenizer, texts_of(request));

    PatchRunOptions options;
    options.stop = context.stop;
    options.on_warning = log_warn;
    std::unique_ptr<Progress> progress;
    std::string shown;
    options.on_progress = [&](const std::string& stage, double clips, std::size_t total) {
        if (!progress || stage != shown) progress = std::make_unique<Progress>(shown = stage);
        progress->update_units(clips, static_cast<std::int64_t>(total), "clips");
    };
    const PatchReport report = run_patch(model, std::move(request), options);
    progress.reset();
    write(flags, report);
}

}  // namespace

void add_patch(CLI::App& app, Context& context) {
    const auto flags = std::make_shared<PatchFlags>();
    CLI::App* command = app.add_subcommand(
        "patch", "Find the layers and sites that carry a difference between prompts (activation patching)");
    command->footer(kPatchExample);
    add_patch_flags(*command, *flags);
    command->callback([flags, &context] { context.action = [flags, &context] { run(*flags, context); }; });
}

}  // namespace musicsteer::cli

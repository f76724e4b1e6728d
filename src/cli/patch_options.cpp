#include "patch_options.hpp"

#include <algorithm>
#include <array>
#include <sstream>

#include "io/atomic_file.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/prompt_set.hpp"
#include "prompts/prompt_choice.hpp"

namespace musicsteer::cli {

void PatchFlags::check() const {
    const bool has_typed_pairs = !sources.empty() || !targets.empty();
    if (!is_patching()) {
        if (has_typed_pairs || reverse)
            throw UsageError("--ablate takes --prompt or --prompts, not pairs of prompts");
        if (prompts.empty() && prompts_file.empty())
            throw UsageError("nothing to ablate: give --prompt or --prompts");
        return;
    }
    if (!prompts.empty()) throw UsageError("--prompt is for --ablate; patching takes pairs");
    if (prompts_file.empty() && !has_typed_pairs)
        throw UsageError("nothing to patch: give --prompts, or --source and --target");
    if (!prompts_file.empty() && has_typed_pairs)
        throw UsageError("give --prompts or --source and --target, not both");
    if (sources.size() != targets.size()) {
        throw UsageError("every --source needs a --target: there are " + std::to_string(sources.size()) +
                         " and " + std::to_string(targets.size()));
    }
}

void PatchFlags::check_outputs() const {
    const std::array inputs = {prompts_file, melody};
    check_writable(out, overwrite(), inputs);
    for (const std::string& more : {csv, save_codes})
        if (!more.empty()) check_writable(more, overwrite(), inputs);
}

PatchRequest PatchFlags::request() const {
    PatchRequest request;
    if (!is_patching())
        request.method = ablate == "zero" ? PatchMethod::kAblateZero : PatchMethod::kAblateMean;
    request.sites = parse_sites();
    request.clips = is_patching() ? pairs_to_patch() : clips_to_ablate();
    request.layers = layers;
    if (!window.empty()) request.window = window;
    request.duration_s = sampling.duration_s;
    request.batch_size = sampling.batch_size;
    request.device = model.device;
    return request;
}

std::vector<PatchClip> PatchFlags::pairs_to_patch() const {
    std::vector<PatchClip> loaded;
    for (std::size_t i = 0; i < sources.size(); ++i) loaded.push_back({sources[i], targets[i], 0, {}});
    if (limit > 0 && prompts_file.empty())
        throw UsageError("--limit counts the pairs of a file, and no --prompts is given");
    if (!prompts_file.empty()) {
        const PromptSet set = PromptSet::load(prompts_file);
        if (!set.paired)
            throw InputError(prompts_file + ": its prompts are not paired (\"pairing\" is not \"index\")");
        const std::size_t count = set.positive.prompts.size();
        for (std::size_t i = 0; i < (limit > 0 ? std::min<std::size_t>(limit, count) : count); ++i)
            loaded.push_back({set.positive.prompts[i].text, set.negative.prompts[i].text, 0, {}});
    }
    for (std::size_t i = 0; i < loaded.size(); ++i) {
        loaded[i].seed = seed + i;
        if (reverse) std::swap(loaded[i].source, loaded[i].target);
        if (loaded[i].source == loaded[i].target)
            throw UsageError("source and target are the same prompt: \"" + loaded[i].source + "\"");
    }
    return loaded;
}

std::vector<PatchClip> PatchFlags::clips_to_ablate() const {
    const std::vector<std::string> texts = collect_prompts({prompts, prompts_file, limit});
    std::vector<PatchClip> clips;
    for (std::size_t i = 0; i < texts.size(); ++i) clips.push_back({texts[i], "", seed + i, {}});
    return clips;
}

std::vector<Site> PatchFlags::parse_sites() const {
    if (sites == "all") {
        std::vector<Site> all;
        for (int i = 0; i < kSitesPerLayer; ++i) all.push_back(static_cast<Site>(i));
        return all;
    }
    std::vector<Site> chosen;
    std::istringstream names(sites);
    for (std::string name; std::getline(names, name, ',');) {
        const Site site = parse_site(name);
        if (std::find(chosen.begin(), chosen.end(), site) == chosen.end()) chosen.push_back(site);
    }
    if (chosen.empty()) throw UsageError("--sites names no site");
    return chosen;
}

void add_patch_flags(CLI::App& command, PatchFlags& flags) {
    add_model_options(command, flags.model);
    command.add_option(
        "--prompts", flags.prompts_file,
        "Prompt set with pairs, from a file or by name, such as tempo: its positive prompts are\n"
        "sources; with --ablate, prompts from a file, JSON or one per line, or by name: neutral");
    command.add_option("--source", flags.sources, "Source prompt; may be repeated, each with a --target")
        ->allow_extra_args(false);
    command.add_option("--target", flags.targets, "Target prompt")->allow_extra_args(false);
    command.add_flag("--reverse", flags.reverse, "Exchange sources and targets");
    command
        .add_option(
            "--ablate", flags.ablate,
            "Instead of patching, replace activations by zeros (zero) or by their mean over the frames\n"
            "of all clips (mean), and report the cost")
        ->check(CLI::IsMember({"zero", "mean"}));
    command.add_option("-p,--prompt", flags.prompts, "Prompt to ablate on; may be repeated")
        ->allow_extra_args(false);
    add_melody_flag(command, flags.melody);
    command.add_option("--limit", flags.limit, "Use only the first N pairs or prompts of the file")
        ->check(whole_number(1));
    command.add_option("--seed", flags.seed, "Pair or prompt i plays with seed + i")
        ->check(whole_number())
        ->capture_default_str();
    command.add_option("--layers", flags.layers, "Layers to try: 2-5,7 or all")->capture_default_str();
    command
        .add_option(
            "--sites", flags.sites,
            "Sites to try: all, or some of resid_pre, self_attn_heads, self_attn_out, resid_post_self,\n"
            "cross_attn_out, resid_post_cross, mlp_out, resid_post, with commas")
        ->capture_default_str();
    command.add_option("--window", flags.window,
                       "Replace only in these frames: START-END in seconds [the whole clip]");
    command
        .add_option("-o,--out", flags.out,
                    "JSON file to write, with the results of all pairs; 'musicsteer report' draws it")
        ->required();
    command.add_option("--csv", flags.csv, "Also write the table as CSV");
    command.add_option("--save-codes", flags.save_codes,
                       "Also write the scored codes: safetensors [clips, K, frames]");
    command.add_flag("--force", flags.force, "Replace files that exist");
    command.add_flag("--json", flags.json, "Print what --out holds instead of a table");
    add_sampling_flags(command, flags.sampling);
    command.get_option("--batch-size")->description("Clips, and then variants, computed together [16]");
}

}  // namespace musicsteer::cli

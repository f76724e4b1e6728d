#include "patch_options.hpp"

#include <algorithm>
#include <array>
#include <sstream>

#include "base/errors.hpp"
#include "directions/prompt_set.hpp"

namespace musicsteer::cli {
namespace {

template <typename Item>
void cut(std::vector<Item>& items, std::int64_t limit) {
    if (limit > 0 && static_cast<std::size_t>(limit) < items.size())
        items.resize(static_cast<std::size_t>(limit));
}

}  // namespace

void PatchFlags::check() const {
    const bool has_pairs = !pairs.empty() || !sources.empty() || !targets.empty();
    const bool has_prompts = !prompts.empty() || !prompts_file.empty();
    if (!is_patching()) {
        if (has_pairs || reverse)
            throw UsageError("--ablate takes --prompt or --prompts-file, not pairs of prompts");
        if (!has_prompts) throw UsageError("nothing to ablate: give --prompt or --prompts-file");
        return;
    }
    if (has_prompts) throw UsageError("--prompt and --prompts-file are for --ablate; patching takes pairs");
    if (!has_pairs) throw UsageError("nothing to patch: give --pairs, or --source and --target");
    if (!pairs.empty() && (!sources.empty() || !targets.empty()))
        throw UsageError("give --pairs or --source and --target, not both");
    if (sources.size() != targets.size()) {
        throw UsageError("every --source needs a --target: there are " + std::to_string(sources.size()) +
                         " and " + std::to_string(targets.size()));
    }
}

void PatchFlags::check_outputs() const {
    const std::array inputs = {pairs, prompts_file};
    check_writable(out, overwrite(), inputs);
    for (const std::string& more : {csv, save_codes})
        if (!more.empty()) check_writable(more, overwrite(), inputs);
}

std::optional<Ablation> PatchFlags::ablation() const {
    if (is_patching()) return std::nullopt;
    return ablate == "zero" ? Ablation::kZero : Ablation::kMean;
}

std::vector<PatchPair> PatchFlags::load_pairs() const {
    std::vector<PatchPair> loaded;
    for (std::size_t i = 0; i < sources.size(); ++i) loaded.push_back({sources[i], targets[i], 0, {}});
    if (!pairs.empty()) {
        const PromptSet set = PromptSet::load(pairs);
        if (!set.paired)
            throw InputError(pairs + ": its prompts are no pairs (\"pairing\" is not \"index\")");
        for (std::size_t i = 0; i < set.positive.prompts.size(); ++i)
            loaded.push_back({set.positive.prompts[i].text, set.negative.prompts[i].text, 0, {}});
    }
    cut(loaded, limit);
    for (std::size_t i = 0; i < loaded.size(); ++i) {
        loaded[i].seed = seed + i;
        if (reverse) std::swap(loaded[i].source, loaded[i].target);
        if (loaded[i].source == loaded[i].target)
            throw UsageError("source and target are the same prompt: \"" + loaded[i].source + "\"");
    }
    return loaded;
}

std::vector<AblationClip> PatchFlags::load_clips() const {
    std::vector<std::string> texts = prompts;
    if (!prompts_file.empty()) {
        for (const Prompt& prompt : load_prompt_list(prompts_file)) texts.push_back(prompt.text);
    }
    cut(texts, limit);
    std::vector<AblationClip> clips;
    for (std::size_t i = 0; i < texts.size(); ++i) clips.push_back({texts[i], seed + i, {}});
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
    command.add_option("--pairs", flags.pairs,
                       "Prompt set with pairs, as prompts/tempo.json: its positive prompts are sources");
    command.add_option("--source", flags.sources, "Source prompt; may be repeated, each with a --target")
        ->allow_extra_args(false);
    command.add_option("--target", flags.targets, "Target prompt")->allow_extra_args(false);
    command.add_flag("--reverse", flags.reverse, "Exchange sources and targets");
    command
        .add_option(
            "--ablate", flags.ablate,
            "Instead of patching, replace activations by zeros (zero) or by their mean over the frames\n"
            "of all clips (mean), and say what that costs")
        ->check(CLI::IsMember({"zero", "mean"}));
    command.add_option("--prompt", flags.prompts, "Prompt to ablate on; may be repeated")
        ->allow_extra_args(false);
    command.add_option("--prompts-file", flags.prompts_file, "Prompts to ablate on, from a file");
    command.add_option("--limit", flags.limit, "Use only the first N pairs or prompts")
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
        .add_option("--out", flags.out,
                    "JSON file to write, with all figures of all pairs; scripts/report.py draws it")
        ->required();
    command.add_option("--csv", flags.csv, "Also write the table as CSV");
    command.add_option("--save-codes", flags.save_codes,
                       "Also write the codes that are scored: safetensors [clips, K, frames]");
    command.add_flag("--force", flags.force, "Replace files that exist");
    command.add_flag("--json", flags.json, "Print what --out holds instead of a table");
    add_sampling_flags(command, flags.sampling);
}

}  // namespace musicsteer::cli

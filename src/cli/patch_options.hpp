#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiments/patch/patch_run.hpp"
#include "model_options.hpp"

namespace musicsteer::cli {

/// The options of `musicsteer patch`.
struct PatchFlags {
    ModelOptions model;
    SamplingFlags sampling;
    std::string pairs;
    std::vector<std::string> sources;
    std::vector<std::string> targets;
    bool reverse = false;
    std::string ablate;
    std::vector<std::string> prompts;
    std::string prompts_file;
    std::string melody;
    std::int64_t limit = 0;
    std::uint64_t seed = 0;
    std::string layers = "all";
    std::string sites = "all";
    std::string window;
    std::string out;
    std::string csv;
    std::string save_codes;
    bool force = false;
    bool json = false;

    Overwrite overwrite() const { return force ? Overwrite::kAllow : Overwrite::kRefuse; }
    /// Without --ablate. @throws UsageError if flags of the two kinds are mixed or a needed one is missing
    bool is_patching() const { return ablate.empty(); }
    void check() const;
    /// Checks the files that the run will write. @throws OutputError
    void check_outputs() const;

    /// The request, without the sampling, which depends on the model. @throws UsageError, InputError
    PatchRequest request() const;

  private:
    std::vector<PatchClip> pairs_to_patch() const;
    std::vector<PatchClip> clips_to_ablate() const;
    std::vector<Site> parse_sites() const;
};

void add_patch_flags(CLI::App& command, PatchFlags& flags);

}  // namespace musicsteer::cli

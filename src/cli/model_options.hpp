#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "experiments/measure_command.hpp"
#include "generation/sampler.hpp"
#include "model/model.hpp"

namespace musicsteer::cli {

/// --model, --device, --threads, --no-verify, --log-level: the options of every command that runs a model.
struct ModelOptions {
    std::string model;
    std::string device = "cpu";
    int threads = 0;
    bool no_verify = false;
    std::string log_level = "info";
};

inline constexpr const char* kModelIsRequired = "--model is required, or MUSICSTEER_MODEL in the environment";

void add_log_level(CLI::App& command, std::string& level);
void add_model_options(CLI::App& command, ModelOptions& options);
void apply_log_level(const std::string& level);
/// Opens and checks the bundle without loading its modules.
Bundle open_bundle(const ModelOptions& options);
/// Loads everything, and logs it.
Model load_model(const ModelOptions& options, Bundle bundle);

/// Whether the option was typed, rather than set by its environment variable.
bool is_typed(const CLI::Option& option);

/// Refuses anything but a whole number in that range, including values that CLI11 converts silently (-1 as
/// unsigned, numbers beyond 64 bits).
CLI::Validator whole_number(std::uint64_t least = 0, std::uint64_t most = UINT64_MAX);
/// The same for a number that may be negative.
CLI::Validator signed_whole_number();
/// Refuses anything but a finite number.
CLI::Validator number();

/// --melody, for hear_melody: part of every command that plays clips.
void add_melody_flag(CLI::App& command, std::string& file);

/// Warns of texts that are mostly unknown to the tokenizer.
void warn_of_unknown(const Tokenizer& tokenizer, std::span<const std::string> texts,
                     const std::optional<std::string>& negative_prompt = std::nullopt);

/// @throws UsageError for a negative prompt without guidance
void check_negative_prompt(const std::optional<std::string>& negative_prompt,
                           const SamplingOptions& sampling);

/// --tempo-prior, for TempoPrior::parse.
void add_tempo_prior(CLI::App& command, std::string& prior);

/// --measure-command, for MeasureCommand.
void add_measure_command(CLI::App& command, std::string& text);
/// Starts it once for the whole run; null for "". @throws MeasureCommandError
std::unique_ptr<MeasureCommand> start_measure_command(const std::string& text);

/// --guidance, --top-k, --top-p, --temperature, --duration, --batch-size. Defaults come from the bundle.
struct SamplingFlags {
    std::optional<double> guidance;
    std::optional<std::int64_t> top_k;
    double top_p = 0.0;
    std::optional<double> temperature;
    double duration_s = 8.0;
    std::int64_t batch_size = 0;

    SamplingOptions resolve(const Manifest& manifest) const;
    /// Checks that need no model. @throws UsageError
    void validate() const;

  private:
    SamplingOptions over(SamplingOptions options) const;
};

void add_sampling_flags(CLI::App& command, SamplingFlags& flags);

}  // namespace musicsteer::cli

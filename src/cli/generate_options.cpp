#include "generate_options.hpp"

namespace musicsteer::cli {
namespace {

constexpr const char* kGenerateExample = R"(
Examples:
  musicsteer generate --model bundle --prompt "piano music" --steer tempo.safetensors --alpha 1.5 --out fast.wav
  musicsteer generate --model bundle --prompts prompts/neutral.json --seeds 0:4 \
      --steer tempo.safetensors:alpha=1:layers=2-5 --steer brightness.safetensors:alpha=-0.5 --out clips
  musicsteer generate --model melody-bundle --prompt "piano music" --melody tune.flac --out piano.wav
  musicsteer generate --model bundle --prompt "piano music" --steer faster.json --out fast.wav
  musicsteer generate --model bundle --prompt "organ music" --steer fast.steering.json --out fast-organ.wav
  musicsteer generate --model bundle --prompt "piano music" --continue take.wav --continue-from 4s \
      --duration 20 --out longer.wav
  musicsteer generate --model bundle --prompt "piano music" --duration 120 --out - | ffplay -)";

}  // namespace

void add_generate_options(CLI::App& command, GenerateFlags& options) {
    command.footer(kGenerateExample);
    add_model_options(command, options.model);
    command.add_option("-p,--prompt", options.clips.prompts, "What to play; may be repeated")
        ->allow_extra_args(false);
    command.add_option("--prompts", options.clips.prompts_file,
                       "Prompts from a file, JSON or one per line, or by name: neutral");
    command.add_option("--negative-prompt", options.clips.negative_prompt,
                       "What guidance moves away from, instead of the null prompt");
    command.add_flag("--unconditional", options.clips.unconditional,
                     "Generate from the null state, without prompt");
    add_melody_flag(command, options.melody);
    command.add_option("--seeds", options.clips.seeds, "Seeds, each with every prompt: 7, 1,2,9 or 0:8 [0]")
        ->allow_extra_args(false);
    command.add_flag("--with-baseline", options.clips.with_baseline,
                     "Also write each clip without steering, as NAME-unsteered.wav");
    command
        .add_option(
            "-o,--out", options.out,
            "WAV, FLAC, Ogg or MP3 file, by its extension (its record goes beside it as .json, its\n"
            "steering as .steering.json), or for several clips a folder of WAVs with clips.jsonl\n"
            "and steering.json; - writes one clip to stdout while it is made, as a WAV without a record")
        ->required();
    command.add_option("--format", options.format, "pcm16, pcm24 or float; of WAV and FLAC")
        ->capture_default_str();
    command.add_option("--save-codes", options.save_codes,
                       "Also write the codes: safetensors [clips, K, frames]");
    command.add_flag(
        "--score", options.score,
        "Also record what steering costs: KL divergence from the unsteered model, and how likely\n"
        "that finds the clip, in nats a code");
    command.add_option("--continue", options.continued,
                       "Continue a recording, or codes that --save-codes wrote;\n"
                       "--duration counts from its start");
    command
        .add_option("--continue-from", options.continued_from, "Cut the beginning at this time, such as 4s")
        ->type_name("TIME");
    command.add_option("--stride", options.stride_s,
                       "Clips longer than the model's window are made in windows: seconds from the start of\n"
                       "one to that of the next [18 of a window's 30]");
    command.add_flag("--keep-partial", options.keep_partial,
                     "On Ctrl-C, keep the finished part of clips; their records say so");
    command.add_flag("--force", options.force, "Replace files that exist");
    command.add_flag("--json", options.json, "Print each clip's record as JSON");
    add_finish_flags(command, options.finish);
    add_sampling_flags(command, options.sampling);
    add_steer_flags(command, options.steering);
}

}  // namespace musicsteer::cli

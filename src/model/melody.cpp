#include "model/melody.hpp"

#include <limits>

#include "audio/chroma.hpp"
#include "io/sha256.hpp"
#include "musicsteer/audio_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {

Melody hear_melody(const std::filesystem::path& file, const Manifest& manifest, double clip_s) {
    if (file.empty()) return {};
    if (!manifest.melody) {
        throw UsageError("--melody: the model " + in_quotes(manifest.model_name) +
                         " does not take a melody; export a melody checkpoint, such as "
                         "facebook/musicgen-melody");
    }
    ChromaFraming framing = manifest.melody->framing;
    if (clip_s > manifest.window_s) framing.longest_s = std::numeric_limits<double>::infinity();
    const Audio audio = read_audio(file);
    try {
        return {strongest_pitch_classes(audio, framing), sha256_of_file(file)};
    } catch (const InputError& error) {
        throw InputError(file.string() + ": " + error.what());
    }
}

}  // namespace musicsteer

#include "model/melody.hpp"

#include "audio/chroma.hpp"
#include "io/sha256.hpp"
#include "musicsteer/audio_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {

Melody hear_melody(const std::filesystem::path& file, const Manifest& manifest) {
    if (file.empty()) return {};
    if (!manifest.melody) {
        throw UsageError("--melody: the model '" + manifest.model_name +
                         "' does not take a melody; export a melody checkpoint, such as "
                         "facebook/musicgen-melody");
    }
    const Audio audio = read_audio(file);
    try {
        return {strongest_pitch_classes(audio, manifest.melody->framing), sha256_of_file(file)};
    } catch (const InputError& error) {
        throw InputError(file.string() + ": " + error.what());
    }
}

}  // namespace musicsteer

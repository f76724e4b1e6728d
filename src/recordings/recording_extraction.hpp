#pragma once

#include <cstdint>
#include <functional>

#include "directions/activation_file.hpp"
#include "model/model.hpp"
#include "recordings/hearing.hpp"
#include "recordings/recordings.hpp"

namespace musicsteer {

struct RecordingExtractionOptions : HearingOptions {
    std::function<void(std::int64_t done, std::int64_t total)> on_progress;  ///< recordings
};

/// The provenance of an extraction from recordings.
Provenance recording_provenance(const Manifest& manifest, const RecordingSides& sides,
                                const HearingOptions& options);

/// Pooled activations of recordings: each is encoded by the codec, delayed and run through the decoder once,
/// as if the model were playing it.
/// @throws InputError if the codec cannot encode; UsageError, ModelError, ResourceError, Interrupted
ActivationFile record_recordings(const Model& model, const RecordingSides& sides,
                                 const RecordingExtractionOptions& options);

}  // namespace musicsteer

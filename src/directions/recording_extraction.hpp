#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "directions/activation_file.hpp"
#include "directions/pooling_options.hpp"
#include "directions/recordings.hpp"
#include "model/model.hpp"

namespace musicsteer {

struct RecordingExtractionOptions : PoolingOptions {
    std::optional<std::string> caption;  ///< text of the conditional row; none: the null text, one row
    std::function<void(std::int64_t done, std::int64_t total)> on_progress;  ///< recordings
    std::stop_token stop;

    /// @throws UsageError
    void validate() const;
};

/// Pooled activations of recordings: each is encoded by the codec, delayed and run through the decoder once,
/// as if the model were playing it.
/// @throws InputError if the codec cannot encode; UsageError, ModelError, ResourceError, Interrupted
ActivationFile record_recordings(const Model& model, const RecordingSides& sides,
                                 const RecordingExtractionOptions& options);

}  // namespace musicsteer

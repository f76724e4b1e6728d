#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <stop_token>
#include <string>

#include "directions/directions.hpp"
#include "directions/pooling_options.hpp"
#include "model/model.hpp"
#include "musicsteer/audio_file.hpp"

namespace musicsteer {

struct HearingOptions : PoolingOptions {
    std::optional<std::string> caption;  ///< text of the conditional row; none: the null text, one row
    std::stop_token stop;

    /// @throws UsageError
    void validate() const;
};

/// The codec's codes of audio at the model's rate and channels: [K, num_frames] int64.
/// @throws InputError if the codec cannot encode; ModelError, ResourceError
at::Tensor encode_audio(const Model& model, const Audio& audio, std::int64_t num_frames);

/// Runs codes [K, N] through the decoder once, as if the model were playing them, and appends their pooled
/// activations to a side, by hook point. One clip at a time, so that its bits do not depend on others.
/// @throws UsageError, ModelError, ResourceError, Interrupted
void hear(std::map<std::string, PooledSide>& side, const Model& model, const at::Tensor& codes,
          const HearingOptions& options);

}  // namespace musicsteer

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "audio/audio_file.hpp"
#include "generation/generation_session.hpp"

namespace musicsteer {

struct GeneratorOptions {
    double duration_s = 8.0;
    SamplingOptions sampling;
    /// Clips decoded together. Linears give other last bits for other row counts, so every batch has this
    /// many: short ones are filled with dummy requests. 0: as many as there are requests, at most 16.
    std::int64_t batch_size = 0;
    std::function<void(std::int64_t done, std::int64_t total)>
        on_progress;  ///< in decoder steps over all batches
    std::stop_token stop;

    /// @throws UsageError
    void validate(const Manifest& manifest) const;
};

struct Clip {
    at::Tensor codes;  ///< [K, N] int64
    Audio audio;
};

/// The batch size that `requests` clips run with under these options.
std::int64_t resolve_batch_size(std::int64_t batch_size, std::int64_t requests);

/// Requests in, clips out, in order; each clip goes to `sink` as soon as its batch is done.
/// @throws ResourceError if a batch would not fit into memory; @throws Interrupted; what the session throws
void generate(const Model& model, const std::vector<SessionRequest>& requests,
              const GeneratorOptions& options, const std::function<void(std::size_t index, Clip clip)>& sink);

/// The sound of one clip's codes, [1, K, N].
Audio decode_clip(const Model& model, const at::Tensor& codes);

/// A session run to its end with progress and interruption, for callers that only want its recorders.
void run_session(GenerationSession& session, const std::stop_token& stop,
                 const std::function<void(std::int64_t columns)>& on_columns = {});

/// `requests` filled up with copies of its last one, to `batch_size`.
std::vector<SessionRequest> fill_batch(std::vector<SessionRequest> requests, std::int64_t batch_size);

}  // namespace musicsteer

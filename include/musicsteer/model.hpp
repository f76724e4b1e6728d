#pragma once

#include <filesystem>

#include "musicsteer/bundle.hpp"
#include "musicsteer/codec.hpp"
#include "musicsteer/decoder.hpp"
#include "musicsteer/text_encoder.hpp"
#include "musicsteer/tokenizer.hpp"

namespace musicsteer {

/// A loaded bundle, ready to run.
struct Model {
    Bundle bundle;
    Tokenizer tokenizer;
    TextEncoder text_encoder;
    Decoder decoder;
    Codec codec;

    const Manifest& manifest() const { return bundle.manifest(); }

    /// @throws InputError, ModelError
    static Model load(const std::filesystem::path& directory, const BundleOptions& options = {});
};

/// Threads that LibTorch's operators use. 0: as many as the machine has cores.
void set_num_threads(int threads);

}  // namespace musicsteer

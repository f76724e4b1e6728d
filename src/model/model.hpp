#pragma once

#include "bundle/bundle.hpp"
#include "model/codec.hpp"
#include "model/decoder.hpp"
#include "model/text_encoder.hpp"
#include "tokenizer/tokenizer.hpp"

namespace musicsteer {

/// A loaded bundle, ready to run.
struct Model {
    Bundle bundle;
    Tokenizer tokenizer;
    TextEncoder text_encoder;
    Decoder decoder;
    Codec codec;

    const Manifest& manifest() const { return bundle.manifest(); }

    /// Loads the modules of an opened (and thus checked) bundle.
    /// @throws InputError, ModelError
    static Model load(Bundle bundle);
};

/// Sets the threads of LibTorch's operators. 0: one for each usable core.
void set_num_threads(int threads);

}  // namespace musicsteer

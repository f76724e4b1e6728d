#pragma once

#include <string>
#include <vector>

#include "bundle/bundle.hpp"

namespace musicsteer {

/// How far one part of a model is from another model's: |w - w'| / |w'| over all its weights, where |.| is
/// the Euclidean norm. 0: the same.
struct WeightChange {
    std::string part;  ///< "layer 3", "embeddings and heads", "text encoder"
    double relative = 0.0;
};

/// A model's weights against those of the model that it was trained on from: each decoder layer, the rest of
/// the decoder, and the text encoder. @throws InputError if they are not of one shape and precision, or in
/// int8
std::vector<WeightChange> weight_changes(const Bundle& bundle, const Bundle& base);

}  // namespace musicsteer

#pragma once

#include <filesystem>
#include <string>

#include "directions/vector_file.hpp"
#include "model/hooks.hpp"
#include "model/manifest.hpp"

namespace musicsteer {

/// What a foreign file does not say.
struct ImportOptions {
    std::string concept_name = "imported";
    std::string positive_label = "positive";
    std::string negative_label = "negative";
    Site site = Site::kResidPost;  ///< of tensors that are named by a layer alone
};

/// Vectors that others made, from a dict layer -> [D] of torch.save (.pt, .pth, .bin) or safetensors whose
/// tensors are named by a layer ("12") or a hook point. Nothing in the file is run.
/// @param manifest  of the model that they are for: its widths and layers are checked, its hash is recorded
/// @throws InputError
VectorFile import_vectors(const std::filesystem::path& path, const Manifest& manifest,
                          const ImportOptions& options);

}  // namespace musicsteer

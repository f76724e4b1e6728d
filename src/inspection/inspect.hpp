#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "io/safetensors.hpp"

namespace musicsteer::inspection {

/// What a file is, as JSON, and how that is printed.
struct Report {
    nlohmann::json data;
    std::function<void(std::ostream&)> print;
};

/// A line of a report, with control characters escaped; nothing for an empty value.
void print_field(std::ostream& out, const std::string& name, const std::string& value);

/// @param base  bundle of the model that this one was fine-tuned from; "": none
/// @param verify  whether the files' hashes are checked
/// @throws InputError
Report inspect_bundle(const std::string& path, const std::string& base, bool verify);
Report inspect_vectors(const std::string& path);
/// Activations, recordings, codes, and other safetensors files: tensors and metadata.
Report inspect_tensors(const std::string& path, const TensorFileInfo& info);
Report inspect_steering(const std::string& path, const nlohmann::json& content);
Report inspect_prompt_list(const std::string& path);
Report inspect_prompt_set(const std::string& path);

}  // namespace musicsteer::inspection

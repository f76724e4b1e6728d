#pragma once

#include <map>
#include <string>

#include "bundle/manifest.hpp"
#include "musicsteer/provenance.hpp"

namespace musicsteer {

/// The metadata key under which our safetensors files state what they are, as {"format",
/// "format_version", "oldest_reader"}.
inline constexpr const char* kFormatKey = "musicsteer";
std::string format_stamp(const std::string& format);
/// The format that a file's metadata names, or "" for a foreign file.
std::string format_of(const std::map<std::string, std::string>& metadata);

/// The metadata of a file of that format ("musicsteer-vectors", "musicsteer-activations").
std::map<std::string, std::string> provenance_metadata(const Provenance& provenance,
                                                       const std::string& format);

/// The inverse. @param what  "vector file", for messages
/// @throws InputError if the file is not ours, has another format or a newer version, or lacks a field.
Provenance read_provenance(const std::map<std::string, std::string>& metadata, const std::string& format,
                           const std::string& what, const std::string& origin);

/// @throws InputError if the width or the layers don't fit the model: "tempo.safetensors: vectors are 256
/// wide, the model 1024".
void check_fits_model(const Provenance& provenance, const Manifest& manifest, const std::string& origin);

}  // namespace musicsteer

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "musicsteer/vector_file.hpp"

namespace musicsteer {

/// A vector file with its name and hash, for the record of a result.
struct VectorSource {
    std::string file;  ///< its name, without folders
    std::string sha256;
    VectorFile vectors;

    /// @throws InputError
    static VectorSource load(const std::filesystem::path& path);
};

// Each result has the hook points of its sources and says in `provenance.made_from` what it was made of.
// Sources must be of one width and number of layers and have the same hook points, else they throw InputError
// naming the file. Effect sizes are kept where the direction stays the same, and are 0 (unknown) elsewhere.

/// The sum, at each hook point. Positive stands for all positive sides together: "fast + bright".
VectorFile add_vectors(std::span<const VectorSource> sources);
/// a - b.
VectorFile subtract_vectors(const VectorSource& a, const VectorSource& b);
/// A negative factor swaps the labels. @throws UsageError if the factor is 0 or not finite
VectorFile scale_vectors(const VectorSource& source, double factor);
/// Every vector scaled to this norm. @throws UsageError if it is not positive; @throws InputError for a zero
/// vector
VectorFile normalize_vectors(const VectorSource& source, double norm);
/// `source` without its projection on the span of `others`, at each hook point. The norm is not restored.
/// @throws InputError if less than a millionth of a vector's norm is left
VectorFile orthogonalize_vectors(const VectorSource& source, std::span<const VectorSource> others);
/// Random directions with the norms of `source`: the control for any claim about it.
VectorFile random_vectors(const VectorSource& source, std::uint64_t seed);

/// The cosine at each hook point that both have; 0 if a vector is zero. @throws InputError if there is
/// none
std::map<std::string, double> vector_cosines(const VectorSource& a, const VectorSource& b);

/// `provenance.made_from` of a result: what was done, to which files, and with which settings.
/// @param settings  a JSON object, or "" for none
std::string made_from_json(const std::string& operation, std::span<const VectorSource> sources,
                           const std::string& settings = "");

}  // namespace musicsteer

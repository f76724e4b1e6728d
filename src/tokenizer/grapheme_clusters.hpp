#pragma once

#include <cstddef>
#include <string_view>

namespace musicsteer::tokenizer {

/// End of the extended grapheme cluster (Unicode Standard Annex 29, Unicode 17) that starts at byte `begin`.
/// The text must be valid UTF-8, `begin` less than its size and itself a cluster's start.
std::size_t grapheme_cluster_end(std::string_view text, std::size_t begin);

}  // namespace musicsteer::tokenizer

#pragma once

#include <ostream>

#include "musicsteer/vector_file.hpp"

namespace musicsteer::inspection {

/// One line for each hook point, in order of execution: norms, effect size in sample, held-out statistics
/// (docs/formats.md),
/// "-" for unknown values.
void print_vector_table(std::ostream& out, const VectorFile& vectors);

}  // namespace musicsteer::inspection

#pragma once

#include <ostream>

#include "musicsteer/vector_file.hpp"

namespace musicsteer::cli {

/// One line a hook point, in order of execution: norm, norm relative to the activations', effect size.
void print_vector_table(std::ostream& out, const VectorFile& vectors);

}  // namespace musicsteer::cli

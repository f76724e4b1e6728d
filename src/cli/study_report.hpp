#pragma once

#include <ostream>
#include <string>

#include "experiments/study/study.hpp"

namespace musicsteer::cli {

/// Tables of the stages and the conclusion, in lines of at most 100 characters, unless the user's texts are
/// longer.
void print_study(std::ostream& out, const Study& study, const std::string& folder);

}  // namespace musicsteer::cli

#pragma once

namespace musicsteer {

/// The value below which a share of Student's t distribution lies (scipy.stats.t.ppf), to about 1e-12 of
/// itself.
/// @param share  above 0, below 1 @param degrees_of_freedom  above 0, need not be whole
/// @throws UsageError
double student_t_quantile(double share, double degrees_of_freedom);

}  // namespace musicsteer

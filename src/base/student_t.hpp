#pragma once

namespace musicsteer {

/// Quantile of Student's t distribution (scipy.stats.t.ppf), to a relative error of about 1e-12.
/// @param share  above 0, below 1 @param degrees_of_freedom  above 0, need not be whole
/// @throws UsageError
double student_t_quantile(double share, double degrees_of_freedom);

}  // namespace musicsteer

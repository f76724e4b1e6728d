#include "vector_table.hpp"

#include <cstdio>

#include "musicsteer/hooks.hpp"

namespace musicsteer::cli {

void print_vector_table(std::ostream& out, const VectorFile& vectors) {
    char line[128];
    std::snprintf(line, sizeof line, "%-32s %12s %14s %12s\n", "hook point", "norm", "residual norm",
                  "effect size");
    out << line;
    for (const HookPoint& point : HookPoint::all(vectors.provenance.num_layers)) {
        const auto found = vectors.stats.find(point.name());
        if (found == vectors.stats.end()) continue;
        const DirectionStats& stats = found->second;
        std::snprintf(line, sizeof line, "%-32s %12.4g %14.4g %12.2f\n", point.name().c_str(), stats.norm,
                      stats.mean_residual_norm, stats.effect_size);
        out << line;
    }
}

}  // namespace musicsteer::cli

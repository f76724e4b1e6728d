#include "base/cores.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace musicsteer {
namespace {

std::vector<int> allowed_processors() {
    std::vector<int> processors;
#if defined(__linux__)
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
        for (int i = 0; i < CPU_SETSIZE; ++i) {
            if (CPU_ISSET(i, &allowed)) processors.push_back(i);
        }
    }
#endif
    if (processors.empty()) {  // more than CPU_SETSIZE, or another system
        for (int i = 0; i < static_cast<int>(std::thread::hardware_concurrency()); ++i)
            processors.push_back(i);
    }
    return processors;
}

/// CPU time that the control group allows, in cores, as containers see it; infinite without a limit.
double granted_cores(const std::filesystem::path& root) {
    const std::filesystem::path folder = root / "sys/fs/cgroup";
    double quota = 0.0, period = 0.0;
    std::ifstream both(folder / "cpu.max");  // "200000 100000" or "max 100000"
    if (!(both >> quota >> period)) {
        std::ifstream(folder / "cpu/cpu.cfs_quota_us") >> quota;  // version 1; -1 without a limit
        std::ifstream(folder / "cpu/cpu.cfs_period_us") >> period;
    }
    return quota > 0.0 && period > 0.0 ? quota / period : std::numeric_limits<double>::infinity();
}

}  // namespace

int count_cores(const std::vector<int>& processors, const std::filesystem::path& root) {
    std::set<std::string> cores;
    for (const int processor : processors) {
        const std::string name = "cpu" + std::to_string(processor);
        std::ifstream file(root / "sys/devices/system/cpu" / name / "topology/thread_siblings_list");
        std::string siblings;
        if (!(file >> siblings)) siblings = name;  // unknown: a core of its own
        cores.insert(siblings);
    }
    const double count = std::min(static_cast<double>(cores.size()), std::ceil(granted_cores(root)));
    return std::max(1, static_cast<int>(count));
}

int usable_cores() {
    return count_cores(allowed_processors());
}

}  // namespace musicsteer

#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "experiments/study/study.hpp"

namespace musicsteer {

/// Which of a study's prompts and seeds choose a setting, and which confirm it. A single prompt does both.
struct StudySplit {
    std::vector<std::string> choosing_prompts, confirming_prompts;
    std::vector<std::uint64_t> choosing_seeds, confirming_seeds;
    std::vector<std::uint64_t> screening_seeds;  ///< of the choosing ones, for layers and strategies

    explicit StudySplit(const StudyRequest& request) {
        std::tie(choosing_prompts, confirming_prompts) = halves(request.clips.prompts);
        std::tie(choosing_seeds, confirming_seeds) = halves(request.seeds);
        screening_seeds = choosing_seeds;
        screening_seeds.resize(std::min(choosing_seeds.size(), kScreeningSeeds));
    }

  private:
    static constexpr std::size_t kScreeningSeeds = 4;

    template <typename Value>
    static std::pair<std::vector<Value>, std::vector<Value>> halves(const std::vector<Value>& values) {
        if (values.size() < 2) return {values, values};
        const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
        return {{values.begin(), middle}, {middle, values.end()}};
    }
};

}  // namespace musicsteer

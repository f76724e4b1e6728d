#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "experiments/study/study.hpp"

namespace musicsteer {

/// Which of a study's prompts and seeds choose a way of steering, and which confirm it. A single prompt does
/// both.
struct StudySplit {
    std::vector<std::string> choosing_prompts, confirming_prompts;
    std::vector<std::uint64_t> choosing_seeds, confirming_seeds;
    /// For layers and strategies: about eight of the choosing pairs, from as many prompts as possible.
    std::vector<std::string> screening_prompts;
    std::vector<std::uint64_t> screening_seeds;

    explicit StudySplit(const StudyRequest& request) {
        std::tie(choosing_prompts, confirming_prompts) = halves(request.clips.prompts);
        std::tie(choosing_seeds, confirming_seeds) = halves(request.seeds);
        screening_prompts = first(choosing_prompts, kScreeningPairs);
        screening_seeds = first(choosing_seeds, kScreeningPairs / screening_prompts.size());
    }

  private:
    static constexpr std::size_t kScreeningPairs = 8;

    template <typename Value>
    static std::vector<Value> first(std::vector<Value> values, std::size_t count) {
        values.resize(std::min(values.size(), count));
        return values;
    }

    template <typename Value>
    static std::pair<std::vector<Value>, std::vector<Value>> halves(const std::vector<Value>& values) {
        if (values.size() < 2) return {values, values};
        const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
        return {{values.begin(), middle}, {middle, values.end()}};
    }
};

}  // namespace musicsteer

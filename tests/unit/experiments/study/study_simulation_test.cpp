// How often a study's decision is right, by simulating clips and calling choose_ways() and judge() as a study
// does. docs/finding-settings.md has the figures, which the disabled test prints:
//   musicsteer_tests --gtest_also_run_disabled_tests --gtest_filter='StudySimulation.*Table'

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>

#include "experiments/study/study_decision.hpp"

namespace musicsteer {
namespace {

/// What clips of one way of steering scatter like, around the mean.
enum class Noise {
    kNormal,
    kLognormal,  ///< skewed: a few clips are far above the others
    kLumpy,      ///< as a tempo that is read at its half or double now and then
};

struct Scenario {
    Noise noise = Noise::kNormal;
    /// Standard deviation of random directions' true effects, in standard errors of a held-out effect.
    double random_effect = 0.0;
    /// What the vector does more than a random one, in the same unit, in its best way.
    double effect = 0.0;
    bool has_skewed_effects = false;  ///< of random directions: a few of them do much more than others
    std::size_t ways = 12;
    std::size_t controls = 6;
    std::size_t prompts = 4;  ///< of either half, as seeds
    std::size_t seeds = 4;
};

constexpr double kSimulatedCap = 1.0;
constexpr double kPromptShare = 0.5;  // of true effects, that differs from prompt to prompt
constexpr double kWayShare = 0.7;     // of true effects, that differs from way to way: its variance's half
constexpr std::size_t kScreeningSeeds = 2;

class SimulatedStudy {
  public:
    SimulatedStudy(const Scenario& scenario, std::mt19937_64& random) : scenario_(scenario), random_(random) {
        // An effect is half the difference of two clips, whose noise has variance 1, over all pairs.
        const auto pairs = static_cast<double>(scenario.prompts * scenario.seeds);
        unit_ = std::sqrt(0.5 / pairs);
    }

    Verdict run() {
        const std::size_t vectors = scenario_.controls + 1;
        std::vector<std::vector<double>> effects;
        std::vector<std::vector<WayResponse>> screened;
        for (std::size_t i = 0; i < vectors; ++i) {
            effects.push_back(true_effects(i == 0));
            std::vector<WayResponse>& ways = screened.emplace_back();
            for (const double effect : effects.back()) ways.push_back({clips(effect, kScreeningSeeds), 1.0});
        }
        const std::vector<WayChoice> choices = choose_ways(screened, kSimulatedCap);
        std::vector<HeldOutResponse> held_out;
        for (std::size_t i = 0; i < vectors; ++i)
            held_out.push_back({clips(effects[i][choices[i].way], scenario_.seeds), 1.0, choices[i]});
        return judge(held_out.front(), std::span(held_out).subspan(1));
    }

  private:
    double normal() { return normal_(random_); }

    double noise() {
        switch (scenario_.noise) {
            case Noise::kNormal:
                return normal();
            case Noise::kLognormal:  // mean 0, variance 1
                return (std::exp(normal()) - std::exp(0.5)) / std::sqrt((M_E - 1.0) * M_E);
            case Noise::kLumpy:
                break;
        }
        const double draw = std::uniform_real_distribution<>(0.0, 1.0)(random_);
        const double lump = draw < 1.0 / 6.0 ? -1.0 : draw < 2.0 / 6.0 ? 1.0 : 0.0;
        return (std::sqrt(3.0) * lump + 0.1 * normal()) / std::sqrt(1.01);
    }

    /// Of each way.
    std::vector<double> true_effects(bool is_vector) {
        const double common = draw_effect();
        std::vector<double> effects;
        for (std::size_t way = 0; way < scenario_.ways; ++way) {
            const double own = std::sqrt(1.0 - kWayShare * kWayShare) * common + kWayShare * draw_effect();
            const double share = static_cast<double>(way + 1) / static_cast<double>(scenario_.ways);
            effects.push_back(unit_ *
                              (scenario_.random_effect * own + (is_vector ? scenario_.effect * share : 0.0)));
        }
        return effects;
    }

    /// Variance 1.
    double draw_effect() {
        if (!scenario_.has_skewed_effects) return normal();
        const double size = std::exp(normal()) / M_E;
        return normal() < 0.0 ? -size : size;
    }

    /// At alpha -1 and 1, which cost as much as the cap.
    DoseResponse clips(double effect, std::size_t seeds) {
        const double size = scenario_.random_effect * unit_;
        DoseResponse response;
        response.points.resize(2);
        for (std::size_t i = 0; i < 2; ++i) {
            response.points[i].alpha = i == 0 ? -1.0 : 1.0;
            response.points[i].kl_nats = kSimulatedCap;
            response.points[i].clips = scenario_.prompts * seeds;
        }
        for (std::size_t prompt = 0; prompt < scenario_.prompts; ++prompt) {
            const double of_prompt = effect + kPromptShare * size * normal();
            for (std::uint64_t seed = 0; seed < seeds; ++seed) {
                const double unsteered = normal();
                for (DosePoint& point : response.points)
                    point.change[{prompt, seed}] = point.alpha * of_prompt + noise() - unsteered;
            }
        }
        return response;
    }

    const Scenario& scenario_;
    std::mt19937_64& random_;
    std::normal_distribution<> normal_;
    double unit_;
};

double share_that_steers(const Scenario& scenario, int studies) {
    std::mt19937_64 random(11);
    int found = 0;
    for (int i = 0; i < studies; ++i) found += SimulatedStudy(scenario, random).run().steers() ? 1 : 0;
    return static_cast<double>(found) / studies;
}

// A random direction as the vector, chosen from 2 to 12 ways: the vector's best way against random vectors in
// that same way says "it steers" in 35 to 43 % of such studies.
TEST(StudySimulation, ARandomDirectionRarelySteers) {
    for (const Noise noise : {Noise::kNormal, Noise::kLognormal, Noise::kLumpy}) {
        for (const double size : {0.0, 1.0, 2.0}) {
            for (const std::size_t ways : {std::size_t{2}, std::size_t{12}}) {
                const Scenario scenario{.noise = noise, .random_effect = size, .ways = ways};
                EXPECT_LE(share_that_steers(scenario, 400), 0.07)
                    << "noise " << static_cast<int>(noise) << ", random effects " << size << ", " << ways
                    << " ways";
            }
        }
    }
}

TEST(StudySimulation, NorDoesItWhereFewRandomDirectionsDoMuch) {
    for (const std::size_t ways : {std::size_t{2}, std::size_t{12}}) {
        const Scenario scenario{.random_effect = 2.0, .has_skewed_effects = true, .ways = ways};
        EXPECT_LE(share_that_steers(scenario, 400), 0.07) << ways << " ways";
    }
}

TEST(StudySimulation, ALargeEffectIsFound) {
    EXPECT_GE(share_that_steers({.random_effect = 0.0, .effect = 8.0}, 200), 0.9);
    EXPECT_GE(share_that_steers({.random_effect = 1.0, .effect = 12.0}, 200), 0.9);
}

TEST(StudySimulation, DISABLED_Table) {
    constexpr int kStudies = 2000;
    const auto print = [&](const std::string& name, Scenario scenario) {
        std::printf("| %s |", name.c_str());
        for (const double size : {0.0, 1.0, 2.0}) {
            scenario.random_effect = size;
            std::printf(" %.1f %% |", 100.0 * share_that_steers(scenario, kStudies));
        }
        std::printf("\n");
        std::fflush(stdout);
    };
    for (const std::size_t ways : {2, 6, 12}) {
        const std::string count = std::to_string(ways) + " ways, ";
        print(count + "normal", {.noise = Noise::kNormal, .ways = ways});
        print(count + "lognormal", {.noise = Noise::kLognormal, .ways = ways});
        print(count + "lumpy", {.noise = Noise::kLumpy, .ways = ways});
        print(count + "skewed effects", {.has_skewed_effects = true, .ways = ways});
    }
    for (const double effect : {2.0, 4.0, 6.0, 8.0, 12.0})
        print("effect " + std::to_string(effect), {.effect = effect});
    for (const std::size_t controls : {4, 8, 12, 20})
        print(std::to_string(controls) + " controls, effect 6", {.effect = 6.0, .controls = controls});
    for (const std::size_t controls : {4, 8, 12, 20})
        print(std::to_string(controls) + " controls, level", {.controls = controls});
    // The same true effect: its standard error halves with four times as many seeds.
    for (const std::size_t seeds : {4, 8, 16})
        print(std::to_string(seeds) + " seeds a half, 1 prompt, effect 6 at 4",
              {.effect = 6.0 * std::sqrt(static_cast<double>(seeds) / 4.0), .prompts = 1, .seeds = seeds});
}

}  // namespace
}  // namespace musicsteer

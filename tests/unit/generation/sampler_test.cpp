#include "generation/sampler.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "musicsteer/errors.hpp"
#include "unit/tensor_values.hpp"

namespace musicsteer {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;
using testing::Pointwise;
using testing::StrEq;
using testing::ThrowsMessage;
using testing_support::floats;
using testing_support::integers;

constexpr float kOut = -std::numeric_limits<float>::infinity();

/// Options that filter nothing.
SamplingOptions plain() {
    SamplingOptions options;
    options.top_k = 0;
    return options;
}

std::vector<float> noise(std::uint64_t seed, std::int64_t frame, std::int64_t codebook, std::size_t size) {
    std::vector<float> out(size);
    gumbel_noise(seed, frame, codebook, out);
    return out;
}

std::int64_t draw(const at::Tensor& logits, const DrawKey& key, const SamplingOptions& options) {
    return draw_tokens(logits.unsqueeze(0), std::array{key}, options).item<std::int64_t>();
}

TEST(SamplingOptions, DefaultsAndEdgesAreValid) {
    EXPECT_NO_THROW(SamplingOptions().validate());
    SamplingOptions options;
    options.guidance_scale = -1.0;
    options.top_k = 0;
    options.top_p = 1.0;
    options.temperature = 1e-6;
    EXPECT_NO_THROW(options.validate());
}

TEST(SamplingOptions, GuidanceOneIsOff) {
    SamplingOptions options;
    EXPECT_TRUE(options.guided());
    options.guidance_scale = 1.0;
    EXPECT_FALSE(options.guided());
}

TEST(SamplingOptions, EachOptionIsChecked) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const auto message = [](auto change, const std::string& text) {
        SamplingOptions options;
        change(options);
        EXPECT_THAT([&] { options.validate(); }, ThrowsMessage<UsageError>(StrEq(text)));
    };
    for (const double bad : {kNan, kInfinity, -kInfinity}) {
        message([&](auto& o) { o.guidance_scale = bad; },
                "guidance must be a finite number (1 turns it off)");
    }
    message([](auto& o) { o.top_k = -1; }, "top-k must be 0 (off) or more, not -1");
    for (const double bad : {-0.1, 1.1, kNan}) {
        message([&](auto& o) { o.top_p = bad; }, "top-p must be in [0, 1] (0 turns it off)");
    }
    for (const double bad : {0.0, -1.0, 1e-7, kNan, kInfinity}) {
        message([&](auto& o) { o.temperature = bad; },
                "temperature must be a finite number of at least 1e-6 (for greedy decoding use top-k 1)");
    }
}

TEST(ApplyGuidance, MovesFromNullThroughConditional) {
    const at::Tensor conditional = at::tensor({2.0f, 1.0f, -1.0f});
    const at::Tensor null = at::tensor({1.0f, 1.0f, 3.0f});
    EXPECT_THAT(floats(apply_guidance(conditional, null, 3.0)), ElementsAre(4, 1, -9));
    EXPECT_THAT(floats(apply_guidance(conditional, null, 1.0)), ElementsAre(2, 1, -1));
    EXPECT_THAT(floats(apply_guidance(conditional, null, 0.0)), ElementsAre(1, 1, 3));
    EXPECT_THAT(floats(apply_guidance(conditional, null, -1.0)), ElementsAre(0, 1, 7));
}

TEST(ApplyGuidance, EqualRowsStayAsTheyAre) {
    const at::Tensor logits = at::tensor({0.1f, -2.7f, 3.3e5f});
    EXPECT_TRUE(at::equal(apply_guidance(logits, logits, 3.7), logits));
}

TEST(FilterLogits, OffChangesNothing) {
    const at::Tensor logits = at::tensor({0.5f, -1.0f, 2.0f});
    SamplingOptions options = plain();
    EXPECT_TRUE(at::equal(filter_logits(logits, options), logits));
    options.top_k = 3;  // as many as there are
    options.top_p = 1.0;
    EXPECT_TRUE(at::equal(filter_logits(logits, options), logits));
    options.top_k = 1000;
    EXPECT_TRUE(at::equal(filter_logits(logits, options), logits));
}

TEST(FilterLogits, TemperatureDivides) {
    SamplingOptions options = plain();
    options.temperature = 0.5;
    EXPECT_THAT(floats(filter_logits(at::tensor({1.0f, -3.0f}), options)), ElementsAre(2, -6));
    options.temperature = 4.0;
    EXPECT_THAT(floats(filter_logits(at::tensor({1.0f, -3.0f}), options)), ElementsAre(0.25, -0.75));
}

TEST(FilterLogits, TopKKeepsTheLargest) {
    SamplingOptions options = plain();
    options.top_k = 2;
    EXPECT_THAT(floats(filter_logits(at::tensor({1.0f, 4.0f, -2.0f, 3.0f}), options)),
                ElementsAre(kOut, 4, kOut, 3));
}

TEST(FilterLogits, TopKKeepsTiesWithTheLastOneKept) {
    SamplingOptions options = plain();
    options.top_k = 2;
    EXPECT_THAT(floats(filter_logits(at::tensor({2.0f, 3.0f, 2.0f, 1.0f}), options)),
                ElementsAre(2, 3, 2, kOut));
    options.top_k = 1;
    EXPECT_THAT(floats(filter_logits(at::tensor({2.0f, 3.0f, 3.0f}), options)), ElementsAre(kOut, 3, 3));
}

TEST(FilterLogits, RowsAreFilteredOnTheirOwn) {
    SamplingOptions options = plain();
    options.top_k = 1;
    const at::Tensor logits = at::tensor({1.0f, 2.0f, 9.0f, 8.0f}).view({2, 2});
    EXPECT_THAT(floats(filter_logits(logits, options)), ElementsAre(kOut, 2, 9, kOut));
}

TEST(FilterLogits, TopPKeepsTheSmallestSetThatReachesIt) {
    // probabilities 0.2, 0.5, 0.3
    const at::Tensor logits = at::tensor({0.2f, 0.5f, 0.3f}).log();
    const auto kept = [&](double p) {
        SamplingOptions options = plain();
        options.top_p = p;
        return integers(filter_logits(logits, options).isfinite().to(at::kLong));
    };
    EXPECT_THAT(kept(0.45), ElementsAre(0, 1, 0));
    EXPECT_THAT(kept(0.55), ElementsAre(0, 1, 1));
    EXPECT_THAT(kept(0.75), ElementsAre(0, 1, 1));
    EXPECT_THAT(kept(0.85), ElementsAre(1, 1, 1));
}

TEST(FilterLogits, TopPStopsWhereItIsReachedExactly) {
    SamplingOptions options = plain();
    options.top_p = 0.5;  // four times 0.25: two are enough; of equals the first
    EXPECT_THAT(floats(filter_logits(at::zeros({4}), options)), ElementsAre(0, 0, kOut, kOut));
}

TEST(FilterLogits, TinyTopPStillKeepsTheMostLikely) {
    for (const double p : {1e-6, 1e-40, 1e-60, 5e-324}) {  // float32 turns the last two into 0
        SamplingOptions options = plain();
        options.top_p = p;
        EXPECT_THAT(floats(filter_logits(at::tensor({1.0f, 3.0f, 2.0f}), options)),
                    ElementsAre(kOut, 3, kOut))
            << p;
    }
}

TEST(FilterLogits, TopPCountsWhatTemperatureAndTopKLeft) {
    const at::Tensor logits = at::tensor({0.4f, 0.3f, 0.2f, 0.1f}).log();
    const auto kept = [&](double temperature, std::int64_t k) {
        SamplingOptions options;
        options.temperature = temperature;
        options.top_k = k;
        options.top_p = 0.5;
        return filter_logits(logits, options).isfinite().sum().item<std::int64_t>();
    };
    EXPECT_EQ(kept(1.0, 0), 2);  // 0.4 is not enough
    EXPECT_EQ(kept(1.0, 2), 1);  // of two, the first has 0.4 / 0.7 = 0.57
    EXPECT_EQ(kept(0.5, 0), 1);  // squared: 0.16 / 0.30 = 0.53
}

TEST(FilterLogits, ArgumentIsLeftAlone) {
    const at::Tensor logits = at::tensor({1.0f, 3.0f, 2.0f});
    SamplingOptions options;
    options.temperature = 0.7;
    options.top_k = 2;
    options.top_p = 0.5;
    (void)filter_logits(logits, options);
    EXPECT_THAT(floats(logits), ElementsAre(1, 3, 2));
}

// The goldens come from this Python, which gives Random123's three known answers for philox4x32 10
// (kat_vectors: 6627e8d5 ... for zeros, 408f276d ... for ones, d16cfe09 ... for the digits of pi):
//
//     M = 0xFFFFFFFF
//     def philox4x32_10(c, k):
//         for r in range(10):
//             a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
//             c = (b >> 32 ^ c[1] ^ k[0], b & M, a >> 32 ^ c[3] ^ k[1], a & M)
//             k = (k[0] + 0x9E3779B9 & M, k[1] + 0xBB67AE85 & M)
//         return c
//     def gumbel(seed, frame, codebook, token):
//         s = frame * 256 + codebook
//         word = philox4x32_10((token // 4, 0, s & M, s >> 32), (seed & M, seed >> 32))[token % 4]
//         return -math.log(-math.log((word + 0.5) / 2**32))
TEST(GumbelNoise, Golden) {
    const auto golden = [](std::uint64_t seed, std::int64_t frame, std::int64_t codebook,
                           const std::array<float, 9>& expected) {
        std::vector<float> got = noise(seed, frame, codebook, 2048);
        got = {got[0], got[1], got[2], got[3], got[4], got[5], got[6], got[7], got[2047]};
        EXPECT_THAT(got, Pointwise(FloatNear(1e-6f), expected)) << seed;
    };
    golden(0, 0, 0,
           {0.0848202511f, 2.06166125f, 1.1811829f, 0.689691787f, 3.57015977f, -0.0157349522f, 1.00680953f,
            -1.19219306f, -0.309838939f});
    golden(42, 7, 3,
           {0.473629633f, 2.65442822f, 1.3969679f, 1.68639095f, 1.33570815f, -1.15866202f, 0.84404797f,
            0.152271425f, 0.507564444f});
    // All 64 bits of the seed count, and a subsequence beyond 32 bits.
    golden(0xFEDCBA9876543210u, (std::int64_t{1} << 31) + 5, 255,
           {0.0197534212f, 0.137547322f, -0.902917611f, -0.220040221f, 0.15082901f, 1.58887686f,
            -0.580132144f, -0.375913329f, 0.777918821f});
}

// The words 0 and 2^32 - 1, found by search: neither end of the unit interval is met.
TEST(GumbelNoise, StaysFiniteAtBothEnds) {
    EXPECT_NEAR(noise(1343428, 0, 0, 4)[3], -3.12999464, 1e-6);
    EXPECT_NEAR(noise(2850057, 0, 0, 713)[712], 22.873857, 1e-5);
}

TEST(GumbelNoise, TokenDoesNotDependOnHowManyAreAsked) {
    std::vector<float> five = noise(3, 1, 2, 5);
    std::vector<float> many = noise(3, 1, 2, 100);
    many.resize(5);
    EXPECT_EQ(five, many);
    gumbel_noise(3, 1, 2, {});
}

TEST(GumbelNoise, EveryPartOfTheKeyCounts) {
    const std::vector<float> base = noise(5, 6, 2, 8);
    EXPECT_EQ(noise(5, 6, 2, 8), base);
    EXPECT_NE(noise(4, 6, 2, 8), base);
    EXPECT_NE(noise(5 + (std::uint64_t{1} << 32), 6, 2, 8), base);
    EXPECT_NE(noise(5, 7, 2, 8), base);
    EXPECT_NE(noise(5, 6, 3, 8), base);
    EXPECT_NE(noise(5, 2, 6, 8), base);
}

TEST(GumbelNoise, HasTheMomentsOfTheStandardGumbelDistribution) {
    constexpr std::size_t kSize = 200'000;
    const std::vector<float> sample = noise(11, 0, 0, kSize);
    const at::Tensor x = at::tensor(sample).to(at::kDouble);
    EXPECT_TRUE(x.isfinite().all().item<bool>());
    // Mean: Euler's gamma, variance pi^2 / 6. The tolerances are four standard errors: sqrt(1.645 / n) for
    // the mean, 1.645 sqrt(4.4 / n) for the variance (kurtosis 5.4).
    EXPECT_NEAR(x.mean().item<double>(), 0.577216, 4 * 0.00287);
    EXPECT_NEAR(x.var().item<double>(), 1.644934, 4 * 0.0077);
}

// The noise of (42, 7, 3) begins 0.474, 2.654, 1.397, 1.686 (see Golden).
TEST(DrawTokens, IsTheArgmaxOfLogitsPlusNoise) {
    const DrawKey key{42, 7, 3};
    EXPECT_EQ(draw(at::zeros({4}), key, plain()), 1);
    EXPECT_EQ(draw(at::tensor({3.0f, 0.0f, 1.5f, 1.0f}), key, plain()), 0);  // 3.47, 2.65, 2.90, 2.69
    EXPECT_EQ(draw(at::tensor({2.0f, 0.0f, 1.5f, 1.0f}), key, plain()), 2);  // 2.47, 2.65, 2.90, 2.69
    EXPECT_EQ(draw(at::tensor({2.0f, 0.0f, 1.5f, 2.0f}), key, plain()), 3);  // 2.47, 2.65, 2.90, 3.69
}

TEST(DrawTokens, FiltersBeforeItAddsTheNoise) {
    const DrawKey key{42, 7, 3};
    const at::Tensor logits = at::tensor({0.3f, 0.0f, 0.2f, 0.1f});
    SamplingOptions options = plain();
    EXPECT_EQ(draw(logits, key, options), 1);
    options.top_k = 3;
    EXPECT_EQ(draw(logits, key, options), 3);
    options.top_k = 2;
    EXPECT_EQ(draw(logits, key, options), 2);
    options.temperature = 0.01;  // 30, 20
    EXPECT_EQ(draw(logits, key, options), 0);
}

TEST(DrawTokens, TopKOneIsGreedyWhateverTheSeed) {
    SamplingOptions options;
    options.top_k = 1;
    options.temperature = 100.0;
    const at::Tensor logits = at::tensor({0.1f, 0.3f, 0.3f, 0.2f});
    for (std::uint64_t seed = 0; seed < 50; ++seed) EXPECT_EQ(draw(logits, {seed, 0, 0}, options), 1);
}

TEST(DrawTokens, LowTemperatureIsGreedyAndHighIsUniform) {
    const at::Tensor logits = at::tensor({10.0f, 11.0f, -30.0f, 2.0f});
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        SamplingOptions options = plain();
        options.temperature = 1e-6;
        EXPECT_EQ(draw(logits, {seed, 0, 0}, options), 1);
        options.temperature = 1e300;
        EXPECT_EQ(draw(logits, {seed, 0, 0}, options), draw(at::zeros({4}), {seed, 0, 0}, plain()));
    }
}

TEST(DrawTokens, DoesNotDependOnTheRowOrItsCompanions) {
    constexpr std::int64_t kRows = 16;
    const at::Tensor logits = (at::arange(kRows * 300, at::kFloat) * 0.37f).sin().view({kRows, 300}) * 3;
    std::vector<DrawKey> keys;
    for (std::int64_t i = 0; i < kRows; ++i)
        keys.push_back({static_cast<std::uint64_t>(i / 4), i % 2, i % 4});
    SamplingOptions options;
    options.top_k = 250;
    options.top_p = 0.9;
    const at::Tensor tokens = draw_tokens(logits, keys, options);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const auto row = static_cast<std::int64_t>(i);
        EXPECT_EQ(draw(logits[row], keys[i], options), tokens[row].item<std::int64_t>()) << i;
    }
    std::reverse(keys.begin(), keys.end());
    EXPECT_TRUE(at::equal(draw_tokens(logits.flip(0), keys, options).flip(0), tokens));
}

TEST(DrawTokens, TakesLogitsThatAreNotContiguous) {
    const at::Tensor logits = (at::arange(40, at::kFloat) * 0.7f).sin().view({10, 4});
    const std::vector<DrawKey> keys = {{1, 0, 0}, {2, 0, 0}, {3, 0, 0}, {4, 0, 0}};
    EXPECT_TRUE(at::equal(draw_tokens(logits.t(), keys, plain()),
                          draw_tokens(logits.t().contiguous(), keys, plain())));
}

TEST(DrawTokens, OneKeyForEachRow) {
    EXPECT_THAT(
        [] {
            draw_tokens(at::zeros({1, 3}), std::array{DrawKey{}, DrawKey{}}, plain());
        },
        ThrowsMessage<ModelError>(StrEq("[sampler logits] expected [2, any] but received [1, 3]")));
    EXPECT_THAT([] { draw_tokens(at::zeros({3}), std::array{DrawKey{}}, plain()); },
                ThrowsMessage<ModelError>(HasSubstr("received [3]")));
}

constexpr std::int64_t kDraws = 20'000;

at::Tensor draw_many(const at::Tensor& logits, std::uint64_t seed, std::int64_t codebook,
                     const SamplingOptions& options) {
    std::vector<DrawKey> keys;
    for (std::int64_t frame = 0; frame < kDraws; ++frame) keys.push_back({seed, frame, codebook});
    return draw_tokens(logits.expand({kDraws, logits.size(0)}), keys, options);
}

double chi_square(const at::Tensor& tokens, const std::vector<double>& probabilities) {
    const at::Tensor expected = at::tensor(probabilities, at::kDouble) * static_cast<double>(tokens.numel());
    const at::Tensor counts = tokens.bincount({}, expected.size(0)).to(at::kDouble);
    return ((counts - expected).square() / expected).sum().item<double>();
}

// The critical values are those of probability 0.001. The seeds are fixed, so the outcome is too.
TEST(DrawTokens, FollowTheSoftmax) {
    const std::vector<double> p = {0.1, 0.2, 0.3, 0.4};
    const at::Tensor logits = at::tensor({0.1f, 0.2f, 0.3f, 0.4f}).log() + 5;
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
        EXPECT_LT(chi_square(draw_many(logits, seed, 0, plain()), p), 16.27) << seed;  // 3 degrees of freedom
    }
    SamplingOptions hot = plain();
    hot.temperature = 2.0;
    EXPECT_GT(chi_square(draw_many(logits, 0, 0, hot), p), 16.27);
}

TEST(DrawTokens, FollowTheSoftmaxOfWhatIsKept) {
    SamplingOptions options;
    options.top_k = 2;
    options.temperature = 0.5;  // squares: 0.09 and 0.16
    const at::Tensor tokens = draw_many(at::tensor({0.1f, 0.2f, 0.3f, 0.4f}).log(), 3, 1, options);
    EXPECT_GE(tokens.min().item<std::int64_t>(), 2);
    EXPECT_LT(chi_square(tokens - 2, {0.36, 0.64}), 10.83);  // 1 degree of freedom
}

TEST(DrawTokens, NeighboursInSeedFrameAndCodebookAreIndependent) {
    const at::Tensor logits = at::zeros({4});
    const at::Tensor base = draw_many(logits, 8, 0, plain());
    const std::vector<double> uniform(16, 1.0 / 16.0);
    const double critical = 37.70;  // 15 degrees of freedom
    EXPECT_LT(chi_square(base * 4 + draw_many(logits, 8, 1, plain()), uniform), critical);
    EXPECT_LT(chi_square(base * 4 + draw_many(logits, 9, 0, plain()), uniform), critical);
    EXPECT_LT(chi_square(base.narrow(0, 0, kDraws - 1) * 4 + base.narrow(0, 1, kDraws - 1), uniform),
              critical);
}

}  // namespace
}  // namespace musicsteer

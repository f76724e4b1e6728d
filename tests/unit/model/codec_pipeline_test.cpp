#include "model/codec_pipeline.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

namespace musicsteer {
namespace {

constexpr std::int64_t kLatentWidth = 3, kHop = 2;

at::Tensor codes_to_latent(const at::Tensor& codes) {
    return codes.to(at::kFloat).expand({1, kLatentWidth, codes.size(2)}) / 100;
}

at::Tensor latent_to_wave(const at::Tensor& latent) {
    return latent.sum(1, true).repeat_interleave(kHop, 2);
}

/// Reach 0 everywhere, so that the whole is its pieces put together.
CodecStages stages_of(std::function<at::Tensor(const at::Tensor&)> decode_wave) {
    at::manual_seed(1);
    CodecStages stages;
    stages.lstm_input = codes_to_latent;
    stages.decode_wave = std::move(decode_wave);
    for (int layer = 0; layer < 2; ++layer) {
        stages.lstm.emplace_back(at::randn({4 * kLatentWidth, kLatentWidth}),
                                 at::randn({4 * kLatentWidth, kLatentWidth}), at::randn({4 * kLatentWidth}),
                                 at::randn({4 * kLatentWidth}));
    }
    stages.input_reach = stages.wave_reach = CodecReach{};
    stages.hop_length = kHop;
    return stages;
}

/// The LSTM over all frames, then all samples, on this thread.
at::Tensor decoded_whole(const CodecStages& stages, const at::Tensor& codes) {
    std::vector<at::Tensor> tracks;
    for (const at::Tensor& track : codes.split(1)) {
        const at::Tensor input = stages.lstm_input(track).transpose(1, 2);
        at::Tensor y = input;
        for (const LstmLayer& layer : stages.lstm) {
            at::Tensor state = layer.initial_state(1);
            y = layer.run(y, state);
        }
        tracks.push_back(latent_to_wave((y + input).transpose(1, 2)));
    }
    return at::cat(tracks);
}

at::Tensor random_codes(std::int64_t tracks, std::int64_t frames) {
    return at::randint(100, {tracks, 1, frames}, at::kLong);
}

class WithThreads : public testing::TestWithParam<int> {
  protected:
    void SetUp() override { at::set_num_threads(GetParam()); }
    void TearDown() override { at::set_num_threads(before_); }

  private:
    int before_ = at::get_num_threads();
};

INSTANTIATE_TEST_SUITE_P(CodecPipeline, WithThreads, testing::Values(1, 2, 5));

TEST_P(WithThreads, PiecesMakeTheWhole) {
    const CodecStages stages = stages_of(latent_to_wave);
    for (const std::int64_t tracks : {1, 2, 11}) {
        for (const std::int64_t frames : {1, 49, 100, 730}) {
            const at::Tensor codes = random_codes(tracks, frames);
            EXPECT_TRUE(
                at::allclose(CodecPipeline(stages, codes).run(), decoded_whole(stages, codes), 1e-5, 1e-6))
                << tracks << " tracks of " << frames;
        }
    }
}

TEST_P(WithThreads, AFailureEndsIt) {
    std::atomic<int> calls = 0;
    const CodecStages stages = stages_of([&calls](const at::Tensor& latent) {
        if (++calls == 3) throw std::runtime_error("no sound");
        return latent_to_wave(latent);
    });
    EXPECT_THROW(CodecPipeline(stages, random_codes(2, 500)).run(), std::runtime_error);
}

TEST(CodecPipelineThreads, AreAllUsed) {
    const int before = at::get_num_threads();
    at::set_num_threads(2);
    std::mutex mutex;
    std::set<std::thread::id> threads;
    const CodecStages stages = stages_of([&](const at::Tensor& latent) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        const std::lock_guard lock(mutex);
        threads.insert(std::this_thread::get_id());
        return latent_to_wave(latent);
    });
    CodecPipeline(stages, random_codes(1, 500)).run();
    at::set_num_threads(before);
    EXPECT_EQ(threads.size(), 2);
}

}  // namespace
}  // namespace musicsteer

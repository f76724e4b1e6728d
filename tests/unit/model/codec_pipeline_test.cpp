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
        const auto lstm = std::make_shared<LstmLayer>(
            at::randn({4 * kLatentWidth, kLatentWidth}), at::randn({4 * kLatentWidth, kLatentWidth}),
            at::randn({4 * kLatentWidth}), at::randn({4 * kLatentWidth}));
        stages.lstm.push_back(
            {[lstm](std::int64_t rows) { return lstm->initial_state(rows); },
             [lstm](const at::Tensor& x, at::Tensor& state) { return lstm->run(x, state); }});
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
        for (const LstmStage& layer : stages.lstm) {
            at::Tensor state = layer.initial_state(1);
            y = layer.run(y, state);
        }
        tracks.push_back(latent_to_wave((y + input).transpose(1, 2)));
    }
    return at::cat(tracks);
}

at::Tensor decoded(const CodecStages& stages, const at::Tensor& codes) {
    CodecPipeline pipeline(stages, codes.size(0), codes.size(1), codes.size(2));
    pipeline.push(codes);
    EXPECT_EQ(pipeline.frames_done(), codes.size(2));
    return pipeline.samples();
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
            EXPECT_TRUE(at::allclose(decoded(stages, codes), decoded_whole(stages, codes), 1e-5, 1e-6))
                << tracks << " tracks of " << frames;
        }
    }
}

/// Each sample is the mean of what a window of latents around it says, padded with zeros at the clip's ends.
CodecStages stages_that_reach(std::int64_t left, std::int64_t right) {
    CodecStages stages = stages_of([left, right](const at::Tensor& latent) {
        const at::Tensor padded = at::constant_pad_nd(latent, {left, right});
        return padded.unfold(2, left + right + 1, 1).mean({1, 3}).unsqueeze(1).repeat_interleave(kHop, 2);
    });
    stages.wave_reach = CodecReach{left, right};
    return stages;
}

TEST_P(WithThreads, TheBytesDoNotDependOnHowTheCodesCome) {
    for (const auto& [left, right] : {std::pair{4, 3}, {0, 0}, {45, 40}}) {
        const CodecStages stages = stages_that_reach(left, right);
        for (const std::int64_t frames : {1, 50, 51, 53, 254, 300}) {
            const at::Tensor codes = random_codes(2, frames);
            const at::Tensor whole = decoded(stages, codes);
            CodecPipeline stream(stages, 2, 1, frames);
            for (std::int64_t frame = 0; frame < frames; ++frame) {
                stream.push(codes.narrow(2, frame, 1));
                const std::int64_t done = stream.frames_done() * kHop;
                EXPECT_TRUE(at::equal(stream.samples().narrow(2, 0, done), whole.narrow(2, 0, done)))
                    << frames << " frames, at " << frame;
            }
            EXPECT_EQ(stream.frames_done(), frames);
        }
    }
}

TEST_P(WithThreads, ALongerClipBeginsAlike) {
    const CodecStages stages = stages_that_reach(4, 3);
    const at::Tensor codes = random_codes(1, 300);
    const at::Tensor whole = decoded(stages, codes);
    for (const std::int64_t frames : {54, 120, 299}) {
        const at::Tensor shorter = decoded(stages, codes.narrow(2, 0, frames));
        const std::int64_t same = (frames - 3) / 50 * 50 * kHop;
        EXPECT_TRUE(at::equal(shorter.narrow(2, 0, same), whole.narrow(2, 0, same))) << frames;
    }
}

TEST(CodecPipelineStream, APieceComesAsSoonAsItsReachIsThere) {
    const CodecStages stages = stages_that_reach(4, 3);
    CodecPipeline stream(stages, 1, 1, 200);
    stream.push(random_codes(1, 52));
    EXPECT_EQ(stream.frames_done(), 0);
    stream.push(random_codes(1, 1));
    EXPECT_EQ(stream.frames_done(), 50);
}

TEST_P(WithThreads, AFailureEndsIt) {
    std::atomic<int> calls = 0;
    const CodecStages stages = stages_of([&calls](const at::Tensor& latent) {
        if (++calls == 3) throw std::runtime_error("no sound");
        return latent_to_wave(latent);
    });
    EXPECT_THROW(decoded(stages, random_codes(2, 500)), std::runtime_error);
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
    decoded(stages, random_codes(1, 500));
    at::set_num_threads(before);
    EXPECT_EQ(threads.size(), 2);
}

}  // namespace
}  // namespace musicsteer

#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "kernels/lstm.hpp"

namespace musicsteer {

/// Frames that a frame reads beside its own.
struct CodecReach {
    std::int64_t left = 0;
    std::int64_t right = 0;
};

/// The pieces of a codec's decoder, each called by one thread, several threads at a time.
struct CodecStages {
    std::function<at::Tensor(const at::Tensor& codes)> lstm_input;    ///< [1, K, T] -> [1, W, T]
    std::vector<LstmLayer> lstm;                                      ///< at least one
    std::function<at::Tensor(const at::Tensor& latent)> decode_wave;  ///< [1, W, T] -> [1, C, hop T]
    /// Of lstm_input and decode_wave; none if a clip cannot be cut.
    std::optional<CodecReach> input_reach, wave_reach;
    std::int64_t channels = 1;
    std::int64_t hop_length = 0;
};

/// Codes to samples, in pieces of about a second that a pool of threads takes as they become possible.
///
/// A piece of sound needs its latents, those need the LSTM to have come so far, and the LSTM is one thread's
/// work at a time and layer; so while one thread runs it, the others turn what it has finished into samples.
/// Every piece is computed by a single thread, whichever: the bytes do not depend on the other tracks, and a
/// thread that is held up holds up nobody else. Kept beside the samples is what a few pieces take, however
/// long the tracks are.
///
///     lstm_input ─ LSTM layer 0 ─ LSTM layer 1 ─ latents ─┬─ decode_wave, piece 0
///     (chunk 0, 1, 2, ... in this order, rows together)   ├─ decode_wave, piece 1     (each row by itself)
class CodecPipeline {
  public:
    /// @param codes  [R, K, T] int64 on the CPU, T > 0
    CodecPipeline(const CodecStages& stages, const at::Tensor& codes);

    /// @return [R, C, hop T] float32. To be called once.
    at::Tensor run();

  private:
    /// Up to kLstmRows tracks, whose LSTM runs together.
    struct Group {
        std::int64_t first = 0;
        std::int64_t rows = 0;
        std::vector<at::Tensor> states;                ///< of each layer
        std::vector<std::int64_t> next_chunk;          ///< of each layer
        std::vector<char> busy;                        ///< of each layer
        std::vector<at::Tensor> inputs;                ///< [chunk] of the LSTM, for the skip around it
        std::vector<std::vector<at::Tensor>> outputs;  ///< [layer][chunk]; the last layer's are latents
        std::int64_t waves_begun = 0;                  ///< chunk x rows + row, in order
        std::vector<std::int64_t> waves_left;          ///< [chunk]: rows to do
        std::int64_t chunks_done = 0;                  ///< all rows of all chunks before this one
    };
    /// A wave of one row, or the LSTM's `layer` for all rows, of a chunk.
    struct Task {
        Group* group = nullptr;
        bool is_wave = false;
        std::int64_t chunk = 0;
        std::int64_t row = 0;
        std::size_t layer = 0;
    };

    std::int64_t chunk_start(std::int64_t chunk) const { return num_frames_ * chunk / num_chunks_; }
    void work();
    std::optional<Task> take();
    std::optional<Task> take_wave(Group& group);
    std::optional<Task> take_lstm(Group& group);
    void run(const Task& task);
    void finish(const Task& task);
    at::Tensor input_of(const Group& group, std::int64_t chunk) const;
    at::Tensor latent_of(const Task& task, std::int64_t from, std::int64_t to) const;
    void run_lstm(const Task& task);
    void run_wave(const Task& task);

    const CodecStages& stages_;
    at::Tensor codes_;
    std::int64_t num_frames_;
    std::int64_t num_chunks_ = 1;
    at::Tensor samples_;
    std::vector<Group> groups_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t groups_done_ = 0;
    bool failed_ = false;
};

}  // namespace musicsteer

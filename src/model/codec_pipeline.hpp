#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "kernels/lstm.hpp"

namespace musicsteer {

/// Frames of a piece. Long enough that reading the weights of the first convolutions for each piece is cheap
/// in comparison.
inline constexpr std::int64_t kPieceFrames = 50;

/// Frames that a frame reads besides itself.
struct CodecReach {
    std::int64_t left = 0;
    std::int64_t right = 0;
};

/// The reach that a module's list says at `first`; none if a clip cannot be cut, or the list ends before.
std::optional<CodecReach> reach_at(const std::vector<std::int64_t>& sides, std::size_t first);

/// One layer of the LSTM. `run` is given the state of `initial_state`, then that of its last call.
struct LstmStage {
    std::function<at::Tensor(std::int64_t rows)> initial_state;
    std::function<at::Tensor(const at::Tensor& x, at::Tensor& state)> run;  ///< [rows, T, W] -> [rows, T, W]
};

/// The parts of a codec's decoder, each called by one thread, several threads at a time.
struct CodecStages {
    std::function<at::Tensor(const at::Tensor& codes)> lstm_input;    ///< [1, K, T] -> [1, W, T]
    std::vector<LstmStage> lstm;                                      ///< at least one
    std::function<at::Tensor(const at::Tensor& latent)> decode_wave;  ///< [1, W, T] -> [1, C, hop T]
    /// Of lstm_input and decode_wave; none if a clip cannot be cut.
    std::optional<CodecReach> input_reach, wave_reach;
    bool one_thread = false;  ///< that calls them all, for devices that distribute the work themselves
    std::int64_t channels = 1;
    std::int64_t hop_length = 0;
};

/// Turns codes into samples in pieces of about a second, computed by a pool of threads as soon as possible.
///
/// Pieces lie on a grid that starts with the clip and does not depend on its length or on how many codes have
/// arrived. So a clip decoded while it is made has the same bytes as one decoded at once, and a longer clip
/// begins with the same bytes. With G frames a piece and `right` the reach of decode_wave:
///
///     samples, piece i   [G i, G (i + 1))                      ends at the clip's end
///     latents, chunk i   [G i + right, G (i + 1) + right)      the first one begins at 0: then piece i
///                                                              has everything it reads to its right
///
/// A piece of samples needs its latents, and those need the LSTM up to there. A layer of the LSTM is run by
/// one thread at a time; meanwhile the others turn finished latents into samples. Every piece is computed by
/// a single thread, so its bytes do not depend on the other tracks, and a delayed thread delays no other.
/// Besides codes and samples, memory holds only a few pieces, however long the tracks are.
///
///     lstm_input ─ LSTM layer 0 ─ LSTM layer 1 ─ latents ─┬─ decode_wave, piece 0
///     (chunk 0, 1, 2, ... in this order, rows together)   ├─ decode_wave, piece 1     (each row by itself)
class CodecPipeline {
  public:
    /// @param rows, codebooks, num_frames  of the codes to come: R, K, N > 0
    CodecPipeline(const CodecStages& stages, std::int64_t rows, std::int64_t codebooks,
                  std::int64_t num_frames);

    /// Adds the next frames, and decodes every piece that they complete.
    /// @param codes  [R, K, T] int64 on the CPU
    void push(const at::Tensor& codes);
    /// Frames from the start whose samples are ready; N when all codes have arrived.
    std::int64_t frames_done() const { return piece_start(pieces_ready_); }
    /// [R, C, hop N] float32, filled up to the frames that are ready.
    const at::Tensor& samples() const { return samples_; }

  private:
    /// Up to kLstmRows tracks whose LSTM runs together.
    struct Group {
        std::int64_t first = 0;
        std::int64_t rows = 0;
        std::vector<at::Tensor> states;                ///< of each layer
        std::vector<std::int64_t> next_chunk;          ///< of each layer
        std::vector<char> busy;                        ///< of each layer
        std::vector<at::Tensor> inputs;                ///< [chunk] of the LSTM, for the skip around it
        std::vector<std::vector<at::Tensor>> outputs;  ///< [layer][chunk]; the last layer's are latents
        std::int64_t waves_begun = 0;                  ///< piece x rows + row, in order
        std::vector<std::int64_t> waves_left;          ///< [piece]: rows to do
        std::int64_t pieces_done = 0;                  ///< all rows of all pieces before this one
    };
    /// A piece of one row's samples, or a chunk of the LSTM's `layer` for all rows.
    struct Task {
        Group* group = nullptr;
        bool is_wave = false;
        std::int64_t chunk = 0;
        std::int64_t row = 0;
        std::size_t layer = 0;
    };

    std::int64_t piece_start(std::int64_t piece) const { return std::min(num_frames_, grid_ * piece); }
    std::int64_t chunk_start(std::int64_t chunk) const {
        return chunk == 0 ? 0 : std::min(num_frames_, grid_ * chunk + wave_reach_.right);
    }
    std::int64_t codes_needed(std::int64_t chunk) const {
        return std::min(num_frames_, chunk_start(chunk + 1) + input_reach_.right);
    }
    void decode_ready();
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
    CodecReach input_reach_, wave_reach_;
    at::Tensor codes_;  ///< [R, K, N], of which frames_known_ have arrived
    at::Tensor samples_;
    std::int64_t num_frames_;
    std::int64_t grid_;  ///< G
    std::int64_t num_pieces_;
    std::int64_t frames_known_ = 0;
    std::int64_t pieces_ready_ = 0;  ///< completed by the known codes
    std::vector<Group> groups_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t groups_done_ = 0;
    bool failed_ = false;
};

}  // namespace musicsteer

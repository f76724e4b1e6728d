#include "model/codec_pipeline.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>

namespace musicsteer {
namespace {

/// Chunks that the LSTM may be ahead of the samples. This bounds the memory.
constexpr std::int64_t kChunksAhead = 8;

/// A piece reads nothing beyond the latents of its own chunk and the one before.
std::int64_t grid_of(const CodecStages& stages, std::int64_t num_frames) {
    if (!stages.input_reach || !stages.wave_reach) return num_frames;
    return std::max(kPieceFrames, stages.wave_reach->left + stages.wave_reach->right);
}

}  // namespace

std::optional<CodecReach> reach_at(const std::vector<std::int64_t>& sides, std::size_t first) {
    if (first + 1 >= sides.size() || sides[first] < 0) return std::nullopt;
    return CodecReach{sides[first], sides[first + 1]};
}

CodecPipeline::CodecPipeline(const CodecStages& stages, std::int64_t rows, std::int64_t codebooks,
                             std::int64_t num_frames)
    : stages_(stages),
      input_reach_(stages.input_reach.value_or(CodecReach{})),
      wave_reach_(stages.wave_reach.value_or(CodecReach{})),
      codes_(at::empty({rows, codebooks, num_frames}, at::kLong)),
      samples_(at::empty({rows, stages.channels, num_frames * stages.hop_length}, at::kFloat)),
      num_frames_(num_frames),
      grid_(grid_of(stages, num_frames)),
      num_pieces_((num_frames + grid_ - 1) / grid_) {
    const std::size_t layers = stages.lstm.size();
    for (std::int64_t first = 0; first < rows; first += kLstmRows) {
        Group group;
        group.first = first;
        group.rows = std::min(kLstmRows, rows - first);
        for (const LstmStage& layer : stages.lstm) group.states.push_back(layer.initial_state(group.rows));
        group.next_chunk.assign(layers, 0);
        group.busy.assign(layers, 0);
        const auto pieces = static_cast<std::size_t>(num_pieces_);
        group.inputs.resize(pieces);
        group.outputs.assign(layers, std::vector<at::Tensor>(pieces));
        group.waves_left.assign(pieces, group.rows);
        groups_.push_back(std::move(group));
    }
}

void CodecPipeline::push(const at::Tensor& codes) {
    codes_.narrow(2, frames_known_, codes.size(2)).copy_(codes);
    frames_known_ += codes.size(2);
    const std::int64_t before = pieces_ready_;
    while (pieces_ready_ < num_pieces_ && codes_needed(pieces_ready_) <= frames_known_) ++pieces_ready_;
    if (pieces_ready_ > before) decode_ready();
}

void CodecPipeline::decode_ready() {
    groups_done_ = 0;
    if (stages_.one_thread || !stages_.wave_reach) {  // one piece: each operator has all threads
        work();
        return;
    }
    // Inside a parallel region, LibTorch's operators use only the calling thread.
    at::parallel_for(0, std::max(1, at::get_num_threads()), 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) work();
    });
}

void CodecPipeline::work() {
    const c10::InferenceMode guard;
    const torch::jit::GraphOptimizerEnabledGuard optimizer(false);  // a setting of each thread
    while (const std::optional<Task> task = take()) {
        try {
            run(*task);
        } catch (...) {
            const std::lock_guard lock(mutex_);
            failed_ = true;
            changed_.notify_all();
            throw;
        }
        finish(*task);
    }
}

/// The next task, after waiting if necessary; none when everything is done or a task has failed.
std::optional<CodecPipeline::Task> CodecPipeline::take() {
    std::unique_lock lock(mutex_);
    while (!failed_ && groups_done_ < groups_.size()) {
        // Samples first, since they free memory. At most two groups of the LSTM at a time.
        const auto begin = groups_.begin() + static_cast<std::ptrdiff_t>(groups_done_);
        const auto end = groups_.end() - begin > 2 ? begin + 2 : groups_.end();
        for (auto group = begin; group != end; ++group) {
            if (const auto task = take_wave(*group)) return task;
        }
        for (auto group = begin; group != end; ++group) {
            if (const auto task = take_lstm(*group)) return task;
        }
        changed_.wait(lock);
    }
    return std::nullopt;
}

std::optional<CodecPipeline::Task> CodecPipeline::take_wave(Group& group) {
    const std::int64_t piece = group.waves_begun / group.rows;
    if (piece >= group.next_chunk.back()) return std::nullopt;
    return Task{&group, true, piece, group.waves_begun++ % group.rows, 0};
}

std::optional<CodecPipeline::Task> CodecPipeline::take_lstm(Group& group) {
    for (std::size_t layer = group.busy.size(); layer-- > 0;) {
        const std::int64_t chunk = group.next_chunk[layer];
        const std::int64_t limit = layer > 0 ? group.next_chunk[layer - 1]
                                             : std::min(pieces_ready_, group.pieces_done + kChunksAhead);
        if (group.busy[layer] || chunk >= limit) continue;
        group.busy[layer] = 1;
        return Task{&group, false, chunk, 0, layer};
    }
    return std::nullopt;
}

void CodecPipeline::run(const Task& task) {
    task.is_wave ? run_wave(task) : run_lstm(task);
}

/// Makes tasks that depend on this one available, and frees what only it needed.
void CodecPipeline::finish(const Task& task) {
    const std::lock_guard lock(mutex_);
    Group& group = *task.group;
    if (task.is_wave) {
        --group.waves_left[static_cast<std::size_t>(task.chunk)];
        while (group.pieces_done < pieces_ready_ &&
               group.waves_left[static_cast<std::size_t>(group.pieces_done)] == 0) {
            if (++group.pieces_done >= 2)  // the next piece still reads the latest chunk
                group.outputs.back()[static_cast<std::size_t>(group.pieces_done - 2)].reset();
        }
        while (groups_done_ < groups_.size() && groups_[groups_done_].pieces_done == pieces_ready_)
            ++groups_done_;
    } else {
        group.busy[task.layer] = 0;
        ++group.next_chunk[task.layer];
    }
    changed_.notify_all();
}

/// [rows, T of the chunk, W]
at::Tensor CodecPipeline::input_of(const Group& group, std::int64_t chunk) const {
    const std::int64_t start = chunk_start(chunk), end = chunk_start(chunk + 1);
    const std::int64_t from = std::max<std::int64_t>(0, start - input_reach_.left);
    const std::int64_t to = std::min(num_frames_, end + input_reach_.right);
    std::vector<at::Tensor> rows;
    for (std::int64_t row = 0; row < group.rows; ++row) {
        const at::Tensor x =
            stages_.lstm_input(codes_.narrow(0, group.first + row, 1).narrow(2, from, to - from));
        rows.push_back(x.narrow(2, start - from, end - start).transpose(1, 2));
    }
    return at::cat(rows);
}

void CodecPipeline::run_lstm(const Task& task) {
    Group& group = *task.group;
    const auto chunk = static_cast<std::size_t>(task.chunk);
    if (chunk_start(task.chunk) == chunk_start(task.chunk + 1))
        return;  // the previous chunk reached the clip's end
    at::Tensor x;
    if (task.layer == 0) {
        x = group.inputs[chunk] = input_of(group, task.chunk);
    } else {
        std::swap(x, group.outputs[task.layer - 1][chunk]);
    }
    at::Tensor y = stages_.lstm[task.layer].run(x, group.states[task.layer]);
    if (task.layer + 1 == stages_.lstm.size()) {
        y = y + group.inputs[chunk];
        group.inputs[chunk].reset();
    }
    group.outputs[task.layer][chunk] = y;
}

/// Frames [from, to) of the task's row, which its chunk and the one before hold: [1, W, to - from].
at::Tensor CodecPipeline::latent_of(const Task& task, std::int64_t from, std::int64_t to) const {
    std::vector<at::Tensor> parts;
    for (std::int64_t chunk = std::max<std::int64_t>(0, task.chunk - 1); chunk <= task.chunk; ++chunk) {
        const std::int64_t start = std::max(from, chunk_start(chunk));
        const std::int64_t end = std::min(to, chunk_start(chunk + 1));
        if (start >= end) continue;
        const at::Tensor& latent = task.group->outputs.back()[static_cast<std::size_t>(chunk)];
        parts.push_back(latent.narrow(0, task.row, 1).narrow(1, start - chunk_start(chunk), end - start));
    }
    return at::cat(parts, 1).transpose(1, 2);
}

void CodecPipeline::run_wave(const Task& task) {
    const std::int64_t start = piece_start(task.chunk), end = piece_start(task.chunk + 1);
    const std::int64_t from = std::max<std::int64_t>(0, start - wave_reach_.left);
    const std::int64_t to = std::min(num_frames_, end + wave_reach_.right);
    const at::Tensor wave = stages_.decode_wave(latent_of(task, from, to));
    const std::int64_t hop = stages_.hop_length;
    samples_.narrow(0, task.group->first + task.row, 1)
        .narrow(2, start * hop, (end - start) * hop)
        .copy_(wave.narrow(2, (start - from) * hop, (end - start) * hop));
}

}  // namespace musicsteer

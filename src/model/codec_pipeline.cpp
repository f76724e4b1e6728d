#include "model/codec_pipeline.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>

namespace musicsteer {
namespace {

/// Long enough that the weights of the first convolutions, which each piece reads anew, are cheap beside it.
constexpr std::int64_t kChunkFrames = 50;
/// Chunks that the LSTM may be ahead of the samples: what bounds the memory.
constexpr std::int64_t kChunksAhead = 8;

/// The padding at a clip's own ends must come out as in the whole: no piece is shorter than its reach.
std::int64_t count_chunks(const CodecStages& stages, std::int64_t num_frames) {
    if (!stages.input_reach || !stages.wave_reach) return 1;
    const std::int64_t reach = std::max({stages.input_reach->left, stages.input_reach->right,
                                         stages.wave_reach->left, stages.wave_reach->right});
    return std::max<std::int64_t>(1, num_frames / std::max(kChunkFrames, 2 * reach));
}

}  // namespace

CodecPipeline::CodecPipeline(const CodecStages& stages, const at::Tensor& codes)
    : stages_(stages),
      codes_(codes),
      num_frames_(codes.size(2)),
      num_chunks_(count_chunks(stages, codes.size(2))),
      samples_(at::empty({codes.size(0), stages.channels, codes.size(2) * stages.hop_length}, at::kFloat)) {
    const std::size_t layers = stages.lstm.size();
    for (std::int64_t first = 0; first < codes.size(0); first += kLstmRows) {
        Group group;
        group.first = first;
        group.rows = std::min(kLstmRows, codes.size(0) - first);
        for (const LstmLayer& layer : stages.lstm) group.states.push_back(layer.initial_state(group.rows));
        group.next_chunk.assign(layers, 0);
        group.busy.assign(layers, 0);
        const auto chunks = static_cast<std::size_t>(num_chunks_);
        group.inputs.resize(chunks);
        group.outputs.assign(layers, std::vector<at::Tensor>(chunks));
        group.waves_left.assign(chunks, group.rows);
        groups_.push_back(std::move(group));
    }
}

at::Tensor CodecPipeline::run() {
    if (!stages_.wave_reach) {  // nothing to share out: each operator has all threads
        work();
        return samples_;
    }
    // Inside, LibTorch's operators find themselves in a parallel region and use the one thread alone.
    at::parallel_for(0, std::max(1, at::get_num_threads()), 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) work();
    });
    return samples_;
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

/// The next task, waited for if need be; none when all is done or has failed.
std::optional<CodecPipeline::Task> CodecPipeline::take() {
    std::unique_lock lock(mutex_);
    while (!failed_ && groups_done_ < groups_.size()) {
        // Samples first, for they free memory; of the LSTM, two groups at a time.
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
    const std::int64_t chunk = group.waves_begun / group.rows;
    // A piece reads into the chunks beside its own.
    if (chunk >= num_chunks_ || group.next_chunk.back() < std::min(chunk + 2, num_chunks_))
        return std::nullopt;
    return Task{&group, true, chunk, group.waves_begun++ % group.rows, 0};
}

std::optional<CodecPipeline::Task> CodecPipeline::take_lstm(Group& group) {
    for (std::size_t layer = group.busy.size(); layer-- > 0;) {
        const std::int64_t chunk = group.next_chunk[layer];
        const std::int64_t limit =
            layer > 0 ? group.next_chunk[layer - 1] : std::min(num_chunks_, group.chunks_done + kChunksAhead);
        if (group.busy[layer] || chunk >= limit) continue;
        group.busy[layer] = 1;
        return Task{&group, false, chunk, 0, layer};
    }
    return std::nullopt;
}

void CodecPipeline::run(const Task& task) {
    task.is_wave ? run_wave(task) : run_lstm(task);
}

/// What the task was needed for may begin; what only it needed is let go.
void CodecPipeline::finish(const Task& task) {
    const std::lock_guard lock(mutex_);
    Group& group = *task.group;
    if (task.is_wave) {
        --group.waves_left[static_cast<std::size_t>(task.chunk)];
        while (group.chunks_done < num_chunks_ &&
               group.waves_left[static_cast<std::size_t>(group.chunks_done)] == 0) {
            if (++group.chunks_done >= 2)
                group.outputs.back()[static_cast<std::size_t>(group.chunks_done - 2)].reset();
        }
        while (groups_done_ < groups_.size() && groups_[groups_done_].chunks_done == num_chunks_) {
            groups_[groups_done_++].outputs.clear();
        }
    } else {
        group.busy[task.layer] = 0;
        ++group.next_chunk[task.layer];
    }
    changed_.notify_all();
}

/// [rows, T of the chunk, W]
at::Tensor CodecPipeline::input_of(const Group& group, std::int64_t chunk) const {
    const CodecReach reach = stages_.input_reach.value_or(CodecReach{});
    const std::int64_t start = chunk_start(chunk), end = chunk_start(chunk + 1);
    const std::int64_t from = std::max<std::int64_t>(0, start - reach.left);
    const std::int64_t to = std::min(num_frames_, end + reach.right);
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

/// Frames [from, to) of the task's row, which its chunk and the two beside it hold: [1, W, to - from].
at::Tensor CodecPipeline::latent_of(const Task& task, std::int64_t from, std::int64_t to) const {
    std::vector<at::Tensor> parts;
    for (std::int64_t chunk = std::max<std::int64_t>(0, task.chunk - 1);
         chunk < std::min(num_chunks_, task.chunk + 2); ++chunk) {
        const std::int64_t start = std::max(from, chunk_start(chunk));
        const std::int64_t end = std::min(to, chunk_start(chunk + 1));
        if (start >= end) continue;
        const at::Tensor& latent = task.group->outputs.back()[static_cast<std::size_t>(chunk)];
        parts.push_back(latent.narrow(0, task.row, 1).narrow(1, start - chunk_start(chunk), end - start));
    }
    return at::cat(parts, 1).transpose(1, 2);
}

void CodecPipeline::run_wave(const Task& task) {
    const CodecReach reach = stages_.wave_reach.value_or(CodecReach{});
    const std::int64_t start = chunk_start(task.chunk), end = chunk_start(task.chunk + 1);
    const std::int64_t from = std::max<std::int64_t>(0, start - reach.left);
    const std::int64_t to = std::min(num_frames_, end + reach.right);
    const at::Tensor wave = stages_.decode_wave(latent_of(task, from, to));
    const std::int64_t hop = stages_.hop_length;
    samples_.narrow(0, task.group->first + task.row, 1)
        .narrow(2, start * hop, (end - start) * hop)
        .copy_(wave.narrow(2, (start - from) * hop, (end - start) * hop));
}

}  // namespace musicsteer

#include "model/memory.hpp"

#include <ATen/DeviceAccelerator.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "model/script_call.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr double kFloatBytes = 4;
/// EnCodec's last layers hold a few float32 copies of [num_filters, N]; num_filters is 64 in published
/// models.
constexpr double kCodecBytesPerSample = 1024;
/// The codec works in pieces of at most 100 frames, one a thread; this is for four threads.
constexpr std::int64_t kCodecFramesAtOnce = 400;
constexpr double kMaxBytes = 1e18;

std::optional<std::uint64_t> read_number(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::uint64_t value = 0;
    if (file >> value) return value;
    return std::nullopt;  // missing, or the word "max"
}

/// The number after a name, in files of lines such as "MemAvailable:  1024 kB".
std::optional<std::uint64_t> read_field(const std::filesystem::path& path, const std::string& name) {
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line)) {
        std::istringstream fields(line);
        std::string field;
        std::uint64_t value = 0;
        if (fields >> field >> value && field == name) return value;
    }
    return std::nullopt;
}

std::optional<std::uint64_t> free_by_meminfo(const std::filesystem::path& root) {
    const auto kilobytes = read_field(root / "proc/meminfo", "MemAvailable:");
    return kilobytes ? std::optional(*kilobytes * 1024) : std::nullopt;
}

/// Where a version of control groups keeps its numbers, mounted as containers see it.
struct CgroupFiles {
    const char* folder;
    const char* limit;
    const char* usage;
    const char* idle_cache;  ///< field of memory.stat
};
constexpr std::array<CgroupFiles, 2> kCgroupVersions = {{
    {"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"},
    {"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
}};

/// Memory that the control group's limit leaves. Cached files count as used, but are dropped when memory is
/// needed.
std::optional<std::uint64_t> free_by_cgroup(const std::filesystem::path& root) {
    for (const CgroupFiles& files : kCgroupVersions) {
        const std::filesystem::path folder = root / files.folder;
        const auto limit = read_number(folder / files.limit);
        const auto usage = read_number(folder / files.usage);
        if (!limit || !usage) continue;
        const std::uint64_t idle_cache = read_field(folder / "memory.stat", files.idle_cache).value_or(0);
        const std::uint64_t used = *usage - std::min(*usage, idle_cache);
        return *limit - std::min(*limit, used);
    }
    return std::nullopt;
}

}  // namespace

MemoryEstimate estimate_memory(const Manifest& manifest, const ClipNeeds& needs, std::int64_t batch_size) {
    // Products are computed as doubles, so that a mistyped --batch-size does not wrap around to a small
    // number.
    const auto size = [](std::int64_t value) { return static_cast<double>(value); };
    const auto bytes = [](double value) { return static_cast<std::uint64_t>(std::min(value, kMaxBytes)); };
    const DecoderDims& decoder = manifest.decoder;
    const double rows =
        (size(batch_size) + size(needs.references)) * (needs.guided ? 2 : 1) * (needs.scored ? 2 : 1);
    const double key_value = 2 * size(decoder.num_layers) * size(decoder.hidden_size) * kFloatBytes;
    const double cached = manifest.cache_is_half() ? key_value / 2 : key_value;
    const std::int64_t heard =
        needs.window_frames > 0 ? std::min(needs.frames, needs.window_frames) : needs.frames;
    MemoryEstimate estimate;
    estimate.cache =
        bytes(cached * rows * size(manifest.prefix_slots(needs.text_length) + heard + decoder.max_delay()));
    // Every row stores its text's keys and values, unless all share one text.
    estimate.text = manifest.melody ? 0 : bytes(key_value * rows * size(needs.text_length));
    // A prefix is read in one call, for one row at a time.
    const double columns =
        std::max(rows * size(needs.columns), size(manifest.prefix_slots(needs.text_length)));
    estimate.step = bytes(columns * kFloatBytes *
                              (3 * size(decoder.num_codebooks) * size(decoder.codebook_size) +
                               size(decoder.ffn_size) + 8 * size(decoder.hidden_size)) +
                          static_cast<double>(needs.recorded));
    if (!needs.decoded) return estimate;
    estimate.codec = bytes(size(manifest.codec.hop_length) *
                           (size(std::min(needs.frames, kCodecFramesAtOnce)) * kCodecBytesPerSample +
                            size(needs.frames) * kFloatBytes));
    return estimate;
}

std::int64_t default_batch_size(const Manifest& manifest, const ClipNeeds& needs, std::int64_t clips,
                                std::uint64_t memory) {
    std::int64_t batch_size = std::clamp<std::int64_t>(clips, 1, kMaxDefaultBatch);
    while (batch_size > 1 && estimate_memory(manifest, needs, batch_size).total() > memory) batch_size /= 2;
    return batch_size;
}

std::uint64_t available_memory(const std::filesystem::path& root) {
    constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();
    return std::min(free_by_meminfo(root).value_or(kUnknown), free_by_cgroup(root).value_or(kUnknown));
}

std::uint64_t available_memory(c10::Device device) {
    if (!device.is_cuda()) return available_memory();
    const c10::DeviceIndex index = device.has_index() ? device.index() : at::accelerator::getDeviceIndex();
    return with_our_errors("device", [&] { return at::accelerator::getMemoryInfo(index).first; });
}

void require_memory(const MemoryEstimate& estimate, std::uint64_t available) {
    if (estimate.total() <= available) return;
    throw ResourceError("this batch needs about " + format_bytes(estimate.total()) + " of memory (cache " +
                        format_bytes(estimate.cache) + ", codec " + format_bytes(estimate.codec) +
                        ") and may use " + format_bytes(available) +
                        ": use a smaller --batch-size or a shorter --duration");
}

std::string format_bytes(std::uint64_t bytes) {
    static const std::array<const char*, 4> kUnits = {"KB", "MB", "GB", "TB"};
    double value = static_cast<double>(bytes) / 1000.0;
    std::size_t unit = 0;
    while (value >= 999.95 && unit + 1 < kUnits.size()) {  // "%.1f" would round it to 1000.0
        value /= 1000.0;
        ++unit;
    }
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f %s", value, kUnits[unit]);
    return text.data();
}

}  // namespace musicsteer

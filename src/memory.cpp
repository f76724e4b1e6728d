#include "musicsteer/memory.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::uint64_t kFloatBytes = 4;
/// EnCodec's last layers hold a few float32 copies of [num_filters, N]; num_filters is 64 in published
/// models.
constexpr std::uint64_t kCodecBytesPerSample = 1024;

std::optional<std::uint64_t> read_number(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::uint64_t value = 0;
    if (file >> value) return value;
    return std::nullopt;  // missing, or the word "max"
}

std::optional<std::uint64_t> free_by_meminfo() {
    std::ifstream file("/proc/meminfo");
    std::string line;
    while (std::getline(file, line)) {
        std::istringstream fields(line);
        std::string name;
        std::uint64_t kilobytes = 0;
        if (fields >> name >> kilobytes && name == "MemAvailable:") return kilobytes * 1024;
    }
    return std::nullopt;
}

/// What a control group's limit leaves, for version 2 and version 1 mounts as containers see them.
std::optional<std::uint64_t> free_by_cgroup() {
    static const std::array<std::array<const char*, 2>, 2> kFiles = {{
        {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
    }};
    for (const auto& [limit_file, usage_file] : kFiles) {
        const auto limit = read_number(limit_file);
        const auto usage = read_number(usage_file);
        if (limit && usage) return *limit > *usage ? *limit - *usage : 0;
    }
    return std::nullopt;
}

}  // namespace

MemoryEstimate estimate_memory(const Manifest& manifest, const BatchShape& shape) {
    const auto size = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
    const DecoderDims& decoder = manifest.decoder;
    const std::uint64_t key_value = 2 * size(decoder.num_layers) * size(decoder.hidden_size) * kFloatBytes;
    const std::uint64_t cells = size(shape.rows) * size(shape.columns);
    MemoryEstimate estimate;
    estimate.cache = key_value * size(shape.rows) * size(shape.frames + decoder.max_delay());
    estimate.text = key_value * size(shape.texts) * size(shape.text_length);
    estimate.step = cells * kFloatBytes *
                    (3 * size(decoder.num_codebooks) * size(decoder.codebook_size) + size(decoder.ffn_size) +
                     8 * size(decoder.hidden_size));
    estimate.codec = size(shape.frames) * size(manifest.codec.hop_length) * kCodecBytesPerSample;
    return estimate;
}

std::uint64_t available_memory() {
    constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();
    return std::min(free_by_meminfo().value_or(kUnknown), free_by_cgroup().value_or(kUnknown));
}

void require_memory(const MemoryEstimate& estimate, std::uint64_t available) {
    if (estimate.total() <= available) return;
    throw ResourceError("this batch needs about " + format_bytes(estimate.total()) + " of memory (cache " +
                        format_bytes(estimate.cache) + ", codec " + format_bytes(estimate.codec) + "), " +
                        format_bytes(available) +
                        " are free: use a smaller --batch-size or a shorter --duration");
}

std::string format_bytes(std::uint64_t bytes) {
    static const std::array<const char*, 4> kUnits = {"KB", "MB", "GB", "TB"};
    double value = static_cast<double>(bytes) / 1000.0;
    std::size_t unit = 0;
    while (value >= 1000.0 && unit + 1 < kUnits.size()) {
        value /= 1000.0;
        ++unit;
    }
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f %s", value, kUnits[unit]);
    return text.data();
}

}  // namespace musicsteer

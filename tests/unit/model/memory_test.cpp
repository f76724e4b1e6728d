#include "model/memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::StrEq;
using testing::ThrowsMessage;

constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();

Manifest small_manifest() {
    Manifest manifest;
    manifest.decoder.num_layers = 2;
    manifest.decoder.hidden_size = 8;
    manifest.decoder.ffn_size = 32;
    manifest.decoder.num_codebooks = 4;
    manifest.decoder.codebook_size = 16;
    manifest.decoder.delays = {0, 1, 2, 3};
    manifest.codec.hop_length = 10;
    manifest.precision["decoder"] = "f32";
    return manifest;
}

TEST(EstimateMemory, ByHand) {
    ClipNeeds needs;
    needs.frames = 5;
    needs.text_length = 7;
    needs.columns = 4;
    needs.guided = false;
    const MemoryEstimate estimate = estimate_memory(small_manifest(), needs, 3);
    // A position's keys and values: 2 x 2 layers x 8 wide x 4 bytes = 128.
    EXPECT_EQ(estimate.cache, 128u * 3 * (5 + 3));
    EXPECT_EQ(estimate.text, 128u * 3 * 7);
    EXPECT_EQ(estimate.step, 3u * 4 * 4 * (3 * 4 * 16 + 32 + 8 * 8));
    EXPECT_EQ(estimate.codec, 5u * 10 * (1024 + 4));
    EXPECT_EQ(estimate.total(), 3072u + 2688 + 13824 + 51400);
    // Lowered weights keep the cache in float16, but not what is remembered of the text.
    Manifest lowered = small_manifest();
    lowered.precision["decoder"] = "int8";
    EXPECT_EQ(estimate_memory(lowered, needs, 3).cache, 64u * 3 * (5 + 3));
    EXPECT_EQ(estimate_memory(lowered, needs, 3).text, estimate.text);
}

TEST(EstimateMemory, CountsAPrefixInTheCache) {
    Manifest manifest = small_manifest();
    manifest.melody.emplace().chroma_length = 20;
    ClipNeeds needs;
    needs.frames = 5;
    needs.text_length = 7;
    needs.guided = false;
    const MemoryEstimate estimate = estimate_memory(manifest, needs, 3);
    EXPECT_EQ(estimate.cache, 128u * 3 * (20 + 7 + 5 + 3));
    EXPECT_EQ(estimate.text, 0u);
    // The 27 columns of one row's prefix are more than those of three rows' step.
    EXPECT_EQ(estimate.step, 27u * 4 * (3 * 4 * 16 + 32 + 8 * 8));
}

TEST(EstimateMemory, GrowsAndNeverWrapsAround) {
    ClipNeeds needs;
    needs.frames = 1;
    const std::uint64_t small = estimate_memory(small_manifest(), needs, 1).total();
    needs.frames = 1'000'000'000;
    const MemoryEstimate huge =
        estimate_memory(small_manifest(), needs, std::numeric_limits<std::int64_t>::max() / 2);
    EXPECT_GT(huge.cache, small);
    EXPECT_GT(huge.total(), std::uint64_t{1} << 59);
    EXPECT_THROW(require_memory(huge, std::uint64_t{1} << 59), ResourceError);
}

TEST(EstimateMemory, CountsEveryRow) {
    ClipNeeds needs;
    needs.frames = 5;
    needs.text_length = 7;
    needs.guided = false;
    const auto cache = [&](std::int64_t clips) {
        return estimate_memory(small_manifest(), needs, clips).cache;
    };
    const std::uint64_t row = cache(1);
    needs.guided = true;  // a row without the prompt
    EXPECT_EQ(cache(3), 6 * row);
    needs.scored = true;  // and both without steering
    EXPECT_EQ(cache(3), 12 * row);
    needs.references = 2;
    EXPECT_EQ(cache(3), 20 * row);
    needs.decoded = false;
    EXPECT_EQ(estimate_memory(small_manifest(), needs, 3).codec, 0u);
}

TEST(DefaultBatchSize, IsHalvedUntilItFits) {
    ClipNeeds needs;
    needs.frames = 500;
    const auto size = [&](std::int64_t clips, std::uint64_t memory) {
        return default_batch_size(small_manifest(), needs, clips, memory);
    };
    const auto total = [&](std::int64_t clips) {
        return estimate_memory(small_manifest(), needs, clips).total();
    };
    EXPECT_EQ(size(1'000, kUnknown), 16);
    EXPECT_EQ(size(5, kUnknown), 5);
    EXPECT_EQ(size(0, kUnknown), 1);
    EXPECT_EQ(size(16, total(16)), 16);
    EXPECT_EQ(size(16, total(16) - 1), 8);
    EXPECT_EQ(size(16, total(3)), 2);
    EXPECT_EQ(size(16, 0), 1);
}

TEST(RequireMemory, ComparesTheTotal) {
    const MemoryEstimate estimate{1000, 200, 30, 4};
    EXPECT_EQ(estimate.total(), 1234u);
    EXPECT_NO_THROW(require_memory(estimate, 1234));
    EXPECT_NO_THROW(require_memory(estimate, kUnknown));
    EXPECT_THROW(require_memory(estimate, 1233), ResourceError);
}

TEST(RequireMemory, SaysWhatIsNeededWhatIsFreeAndWhatToDo) {
    const MemoryEstimate estimate{28'000'000'000, 900'000'000, 100'000'000, 2'000'000'000};
    EXPECT_THAT([&] { require_memory(estimate, 22'400'000'000); },
                ThrowsMessage<ResourceError>(StrEq(
                    "this batch needs about 31.0 GB of memory (cache 28.0 GB, codec 2.0 GB) and may use "
                    "22.4 GB: use a smaller --batch-size or a shorter --duration")));
}

TEST(FormatBytes, PicksAUnit) {
    EXPECT_EQ(format_bytes(0), "0.0 KB");
    EXPECT_EQ(format_bytes(1'500), "1.5 KB");
    EXPECT_EQ(format_bytes(1'000'000), "1.0 MB");
    EXPECT_EQ(format_bytes(22'400'000'000), "22.4 GB");
    EXPECT_EQ(format_bytes(3'000'000'000'000), "3.0 TB");
    EXPECT_EQ(format_bytes(5'000'000'000'000'000), "5000.0 TB");
}

TEST(FormatBytes, RoundsIntoTheNextUnit) {
    EXPECT_EQ(format_bytes(999'900), "999.9 KB");
    EXPECT_EQ(format_bytes(999'999), "1.0 MB");
    EXPECT_EQ(format_bytes(999'960'000), "1.0 GB");
}

TEST(AvailableMemory, OfThisMachineIsPlausible) {
    const std::uint64_t available = available_memory();
    const auto installed = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                           static_cast<std::uint64_t>(sysconf(_SC_PAGE_SIZE));
    EXPECT_GT(available, 0u);
    EXPECT_LE(available, installed);
}

/// A made-up /proc and /sys.
class AvailableMemoryTest : public testing::Test {
  protected:
    void SetUp() override {
        const auto* test = testing::UnitTest::GetInstance()->current_test_info();
        root_ = std::filesystem::temp_directory_path() /
                ("musicsteer-memory-" + std::to_string(getpid()) + "-" + test->name());
        std::filesystem::create_directories(root_);
    }
    void TearDown() override { std::filesystem::remove_all(root_); }

    void write(const std::string& path, const std::string& text) const {
        std::filesystem::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path) << text;
    }
    void write_meminfo(std::uint64_t available_kb) const {
        write("proc/meminfo", "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    " +
                                  std::to_string(available_kb) + " kB\nBuffers:          10 kB\n");
    }

    std::filesystem::path root_;
};

TEST_F(AvailableMemoryTest, UnknownIsWithoutLimit) {
    EXPECT_EQ(available_memory(root_), kUnknown);
}

TEST_F(AvailableMemoryTest, WithoutAControlGroupItIsMemAvailable) {
    write_meminfo(9000);
    EXPECT_EQ(available_memory(root_), 9000u * 1024);
}

TEST_F(AvailableMemoryTest, MeminfoWithoutTheFieldIsUnknown) {
    write("proc/meminfo", "MemTotal: 16000 kB\nMemAvailable:\ngarbage\n");
    EXPECT_EQ(available_memory(root_), kUnknown);
}

TEST_F(AvailableMemoryTest, ControlGroupVersion2) {
    write_meminfo(9000);
    write("sys/fs/cgroup/memory.max", "1000000\n");
    write("sys/fs/cgroup/memory.current", "400000\n");
    EXPECT_EQ(available_memory(root_), 600000u);
}

TEST_F(AvailableMemoryTest, FileCacheOfAControlGroupCanBeTaken) {
    write("sys/fs/cgroup/memory.max", "1000000\n");
    write("sys/fs/cgroup/memory.current", "990000\n");
    write("sys/fs/cgroup/memory.stat", "anon 100000\nfile 880000\nactive_file 80000\ninactive_file 800000\n");
    EXPECT_EQ(available_memory(root_), 810000u);
}

TEST_F(AvailableMemoryTest, ControlGroupWithoutALimit) {
    write_meminfo(9000);
    write("sys/fs/cgroup/memory.max", "max\n");
    write("sys/fs/cgroup/memory.current", "400000\n");
    EXPECT_EQ(available_memory(root_), 9000u * 1024);
}

TEST_F(AvailableMemoryTest, ControlGroupVersion1) {
    write_meminfo(9000);
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n");
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", "700000\n");
    write("sys/fs/cgroup/memory/memory.stat", "cache 500\ninactive_file 7\ntotal_inactive_file 50000\n");
    EXPECT_EQ(available_memory(root_), 350000u);
}

TEST_F(AvailableMemoryTest, TheLeastCounts) {
    write_meminfo(500);
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", "700000\n");
    EXPECT_EQ(available_memory(root_), 500u * 1024);
}

TEST_F(AvailableMemoryTest, UsageAboveTheLimitLeavesNothing) {
    write("sys/fs/cgroup/memory.max", "1000\n");
    write("sys/fs/cgroup/memory.current", "1200\n");
    write("sys/fs/cgroup/memory.stat", "inactive_file 100\n");
    EXPECT_EQ(available_memory(root_), 0u);
}

}  // namespace
}  // namespace musicsteer

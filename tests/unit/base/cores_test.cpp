#include "base/cores.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

/// A made-up /sys.
class CountCores : public testing::Test {
  protected:
    void write(const std::string& file, const std::string& text) {
        const auto path = root_.path() / "sys" / file;
        std::filesystem::create_directories(path.parent_path());
        std::ofstream(path) << text << '\n';
    }

    void add_processor(int number, const std::string& siblings) {
        write("devices/system/cpu/cpu" + std::to_string(number) + "/topology/thread_siblings_list", siblings);
    }

    TempFolder root_;
};

TEST_F(CountCores, ThreadsOfOneCoreCountOnce) {
    for (const int first : {0, 1}) {
        for (const int thread : {0, 2})
            add_processor(first + thread, std::to_string(first) + "," + std::to_string(first + 2));
    }
    EXPECT_EQ(count_cores({0, 1, 2, 3}, root_.path()), 2);
    EXPECT_EQ(count_cores({0, 2}, root_.path()), 1);  // what the process may use, both of core 0
    EXPECT_EQ(count_cores({1, 2}, root_.path()), 2);
}

TEST_F(CountCores, WithoutTopologyEveryProcessorIsACore) {
    EXPECT_EQ(count_cores({0, 1, 2}, root_.path()), 3);
    EXPECT_EQ(count_cores({}, root_.path()), 1);
}

TEST_F(CountCores, AControlGroupLimitsThem) {
    const std::vector<int> eight{0, 1, 2, 3, 4, 5, 6, 7};
    write("fs/cgroup/cpu.max", "max 100000");
    EXPECT_EQ(count_cores(eight, root_.path()), 8);
    write("fs/cgroup/cpu.max", "250000 100000");
    EXPECT_EQ(count_cores(eight, root_.path()), 3);
    write("fs/cgroup/cpu.max", "1000 100000");
    EXPECT_EQ(count_cores(eight, root_.path()), 1);
}

TEST_F(CountCores, AnOldControlGroupToo) {
    write("fs/cgroup/cpu/cpu.cfs_quota_us", "-1");
    write("fs/cgroup/cpu/cpu.cfs_period_us", "100000");
    EXPECT_EQ(count_cores({0, 1, 2, 3}, root_.path()), 4);
    write("fs/cgroup/cpu/cpu.cfs_quota_us", "200000");
    EXPECT_EQ(count_cores({0, 1, 2, 3}, root_.path()), 2);
}

TEST(UsableCores, OfThisMachineArePlausible) {
    EXPECT_GE(usable_cores(), 1);
    EXPECT_LE(usable_cores(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace musicsteer

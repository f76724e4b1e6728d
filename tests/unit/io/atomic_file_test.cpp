#include "io/atomic_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>

#include "musicsteer/errors.hpp"
#include "unit/restricted_process.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;
using Names = std::set<std::string>;

const char* const kExists = ": exists already; use --force to replace it, or choose another name";

TEST(AtomicFile, IsThereAfterCommitAndOnlyThen) {
    const TempFolder folder;
    AtomicFile file(folder / "clip.wav", Overwrite::kRefuse);
    file.write("one ");
    file.write("");
    file.write("two");
    EXPECT_FALSE(fs::exists(folder / "clip.wav"));
    EXPECT_EQ(file.temporary().parent_path(), folder.path());
    EXPECT_THAT(file.temporary().filename().string(),
                StartsWith(".clip.wav.tmp-" + std::to_string(::getpid()) + "-"));
    file.commit();
    EXPECT_EQ(read_bytes(folder / "clip.wav"), "one two");
    EXPECT_EQ(folder.names(), Names{"clip.wav"});
}

TEST(AtomicFile, WithoutCommitLeavesTheOldFileOrNothing) {
    const TempFolder folder;
    { AtomicFile(folder / "new", Overwrite::kRefuse).write("half"); }
    EXPECT_EQ(folder.names(), Names{});
    write_bytes(folder / "old", "old");
    { AtomicFile(folder / "old", Overwrite::kAllow).write("half"); }
    EXPECT_EQ(folder.names(), Names{"old"});
    EXPECT_EQ(read_bytes(folder / "old"), "old");
}

TEST(AtomicFile, ReplacesOnlyWhenAllowed) {
    const TempFolder folder;
    const fs::path path = write_bytes(folder / "a", "old");
    EXPECT_THAT([&] { AtomicFile(path, Overwrite::kRefuse); },
                ThrowsMessage<OutputError>(path.string() + kExists));
    EXPECT_EQ(read_bytes(path), "old");
    write_file_atomically(path, "new", Overwrite::kAllow);
    EXPECT_EQ(read_bytes(path), "new");
    EXPECT_EQ(folder.names(), Names{"a"});
}

TEST(AtomicFile, NeverReplacesAFileThatAppearedMeanwhile) {
    const TempFolder folder;
    {
        AtomicFile file(folder / "a", Overwrite::kRefuse);
        file.write("mine");
        write_bytes(folder / "a", "theirs");
        EXPECT_THAT([&] { file.commit(); }, ThrowsMessage<OutputError>((folder / "a").string() + kExists));
    }
    EXPECT_EQ(read_bytes(folder / "a"), "theirs");
    EXPECT_EQ(folder.names(), Names{"a"});
}

TEST(AtomicFile, TwoWritersOfOneTargetDoNotMeet) {
    const TempFolder folder;
    AtomicFile first(folder / "a", Overwrite::kAllow);
    AtomicFile second(folder / "a", Overwrite::kAllow);
    EXPECT_NE(first.temporary(), second.temporary());
    first.write("first");
    second.write("second");
    second.commit();
    first.commit();
    EXPECT_EQ(read_bytes(folder / "a"), "first");
}

TEST(AtomicFile, MakesFolders) {
    const TempFolder folder;
    write_file_atomically(folder / "x/y/z.json", "{}", Overwrite::kRefuse);
    EXPECT_EQ(read_bytes(folder / "x/y/z.json"), "{}");
}

TEST(AtomicFile, TakesTheLongestNameAFolderCanHold) {
    const TempFolder folder;
    const std::string name(255, 'n');
    write_file_atomically(folder / name, "x", Overwrite::kRefuse);
    EXPECT_EQ(folder.names(), Names{name});
}

TEST(AtomicFile, ReplacesALinkAndNotWhatItPointsTo) {
    const TempFolder folder;
    write_bytes(folder / "pointed", "kept");
    fs::create_symlink(folder / "pointed", folder / "link");
    fs::create_symlink(folder / "nowhere", folder / "dangling");
    write_file_atomically(folder / "link", "new", Overwrite::kAllow);
    EXPECT_EQ(read_bytes(folder / "pointed"), "kept");
    EXPECT_EQ(read_bytes(folder / "link"), "new");
    EXPECT_THAT([&] { AtomicFile(folder / "dangling", Overwrite::kRefuse); },
                ThrowsMessage<OutputError>(HasSubstr(kExists)));
}

TEST(AtomicFile, RefusesWhatIsNoFile) {
    const TempFolder folder;
    EXPECT_THAT(
        [&] { AtomicFile(folder.path(), Overwrite::kAllow); },
        ThrowsMessage<OutputError>(folder.path().string() + ": expected the name of a file, found a folder"));
    EXPECT_THAT([&] { AtomicFile(folder / "sub/", Overwrite::kAllow); },
                ThrowsMessage<OutputError>(HasSubstr("expected the name of a file")));
    EXPECT_THAT([] { AtomicFile("", Overwrite::kAllow); },
                ThrowsMessage<OutputError>("'': expected the name of a file"));
    write_bytes(folder / "file", "");
    EXPECT_THAT([&] { AtomicFile(folder / "file/clip.wav", Overwrite::kAllow); },
                ThrowsMessage<OutputError>(HasSubstr(": its folder cannot be created: Not a directory")));
    EXPECT_EQ(folder.names(), Names{"file"});
}

TEST(AtomicFile, SaysThatTheFolderIsReadOnly) {
    const TempFolder folder;
    fs::permissions(folder.path(), fs::perms(0555));
    const OrdinaryUser user;
    EXPECT_THAT(
        [&] { AtomicFile(folder / "a", Overwrite::kRefuse); },
        ThrowsMessage<OutputError>((folder / "a").string() + ": cannot be written: Permission denied"));
}

TEST(AtomicFile, SaysThatTheDiskIsFull) {
    EXPECT_THAT([] { write_file_atomically("/dev/full", "x", Overwrite::kRefuse); },
                ThrowsMessage<OutputError>("/dev/full: cannot be written: No space left on device"));
    const TempFolder folder;
    {
        const FileSizeLimit limit(1000);
        EXPECT_THAT(
            [&] { write_file_atomically(folder / "a", std::string(5000, 'x'), Overwrite::kRefuse); },
            ThrowsMessage<OutputError>((folder / "a").string() + ": cannot be written: File too large"));
    }
    EXPECT_EQ(folder.names(), Names{});
}

TEST(AtomicFile, WritesToDevicesDirectly) {
    write_file_atomically("/dev/null", "gone", Overwrite::kRefuse);
    EXPECT_TRUE(fs::is_character_file("/dev/null"));
    check_writable("/dev/null", Overwrite::kRefuse);
}

TEST(AtomicFile, AKillLeavesTheOldFileAndATemporaryOne) {
    const TempFolder folder;
    write_bytes(folder / "a", "old");
    const pid_t child = ::fork();
    if (child == 0) {
        AtomicFile file(folder / "a", Overwrite::kAllow);
        file.write("half");
        ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(read_bytes(folder / "a"), "old");
    const Names names = folder.names();
    ASSERT_EQ(names.size(), 2U);
    EXPECT_THAT(*names.begin(), StartsWith(".a.tmp-"));
}

TEST(CheckWritable, AcceptsWhatCanBeWrittenAndLeavesNoTrace) {
    const TempFolder folder;
    check_writable(folder / "new", Overwrite::kRefuse);
    check_writable(folder / "x/y/new", Overwrite::kRefuse);
    check_writable("relative/new", Overwrite::kRefuse);
    EXPECT_EQ(folder.names(), Names{});
    write_bytes(folder / "old", "old");
    check_writable(folder / "old", Overwrite::kAllow);
    EXPECT_EQ(read_bytes(folder / "old"), "old");
}

TEST(CheckWritable, RefusesBeforeLongWork) {
    const TempFolder folder;
    write_bytes(folder / "old", "old");
    EXPECT_THAT([&] { check_writable(folder / "old", Overwrite::kRefuse); },
                ThrowsMessage<OutputError>((folder / "old").string() + kExists));
    EXPECT_THAT([&] { check_writable(folder.path(), Overwrite::kAllow); },
                ThrowsMessage<OutputError>(HasSubstr(": expected the name of a file, found a folder")));
    EXPECT_THAT([&] { check_writable(folder / "old/x/clip.wav", Overwrite::kAllow); },
                ThrowsMessage<OutputError>(HasSubstr(": cannot be written: Not a directory")));
    fs::permissions(folder.path(), fs::perms(0555));
    const OrdinaryUser user;
    EXPECT_THAT([&] { check_writable(folder / "x/new", Overwrite::kRefuse); },
                ThrowsMessage<OutputError>((folder / "x/new").string() + ": cannot be written into folder " +
                                           folder.path().string() + ": Permission denied"));
}

TEST(CheckWritable, NeverReplacesWhatTheCommandReads) {
    const TempFolder folder;
    write_bytes(folder / "input", "input");
    write_bytes(folder / "old", "old");
    fs::create_symlink(folder / "input", folder / "link");
    const std::array inputs = {std::string(), (folder / "gone").string(), (folder / "link").string()};
    for (const Overwrite overwrite : {Overwrite::kAllow, Overwrite::kRefuse}) {
        EXPECT_THAT([&] { check_writable(folder.path() / "." / "input", overwrite, inputs); },
                    ThrowsMessage<OutputError>(EndsWith(
                        "input: would replace a file that this command reads; choose another name")));
        check_writable(folder / "new", overwrite, inputs);
        check_writable("/dev/null", overwrite, std::array{std::string("/dev/null")});
    }
    check_writable(folder / "old", Overwrite::kAllow, inputs);
}

}  // namespace
}  // namespace musicsteer

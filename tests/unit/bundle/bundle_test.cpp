#include "bundle/bundle.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"
#include "unit/bundle/manifest_json.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

/// Sets or (with nullptr) removes an environment variable while it lives.
class Environment {
  public:
    Environment(const char* name, const char* value) : name_(name) {
        if (const char* old = std::getenv(name)) old_ = old;
        set(value);
    }
    ~Environment() { set(old_ ? old_->c_str() : nullptr); }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

  private:
    void set(const char* value) const { value ? ::setenv(name_, value, 1) : ::unsetenv(name_); }

    const char* name_;
    std::optional<std::string> old_;
};

class BundleTest : public ::testing::Test {
  protected:
    BundleTest() {
        torch::jit::Module module("m");
        module.register_attribute("training", c10::BoolType::get(), true);
        module.define("def forward(self, x):\n    return x + x\n");
        module.save(bundle() / "decoder.pt");
        write_bytes(bundle() / "text_encoder.pt", "not TorchScript");
        write_bytes(bundle() / "codec.pt", "codec");
        write_bytes(bundle() / "tokenizer.json", "{}");
        write_manifest();
    }

    // Lists the files as they are now.
    void write_manifest() {
        nlohmann::json manifest = valid_manifest();
        for (auto& [name, record] : manifest["files"].items()) {
            record = {{"sha256", sha256_of_file(bundle() / name)}, {"bytes", fs::file_size(bundle() / name)}};
        }
        write_bytes(bundle() / "manifest.json", manifest.dump());
    }

    void expect_refused(const std::string& message, bool verify = true) const {
        EXPECT_THAT([&] { Bundle::open(bundle(), {.verify = verify}); },
                    ThrowsMessage<InputError>(bundle().string() + "/" + message));
    }

    const fs::path& bundle() const { return folder_.path(); }

    TempFolder folder_;
    TempFolder cache_;
    Environment environment_{"XDG_CACHE_HOME", cache_.path().c_str()};
};

TEST_F(BundleTest, Opens) {
    const Bundle opened = Bundle::open(bundle());
    EXPECT_EQ(opened.directory(), bundle());
    EXPECT_EQ(opened.manifest().model_name, "tiny");
    EXPECT_EQ(opened.file("codec.pt"), bundle() / "codec.pt");
    EXPECT_TRUE(opened.device().is_cpu());
}

TEST_F(BundleTest, RefusesAMissingFile) {
    fs::remove(bundle() / "codec.pt");
    expect_refused("codec.pt: missing, though the manifest lists it; export the bundle again");
    fs::create_directory(bundle() / "codec.pt");
    expect_refused("codec.pt: expected a file, found something else");
}

TEST_F(BundleTest, RefusesATruncatedOrLongerFileEvenWithoutHashing) {
    write_bytes(bundle() / "codec.pt", "code");
    expect_refused("codec.pt: expected 5 bytes, found 4; export the bundle again", false);
    write_bytes(bundle() / "codec.pt", "codecs");
    expect_refused("codec.pt: expected 5 bytes, found 6; export the bundle again", false);
}

TEST_F(BundleTest, RefusesASwappedFileOfTheSameSize) {
    const std::string expected = sha256_of("codec");
    write_bytes(bundle() / "codec.pt", "CODEC");
    expect_refused("codec.pt: expected SHA-256 " + expected + ", found " + sha256_of("CODEC") +
                   "; export the bundle again");
    EXPECT_NO_THROW(Bundle::open(bundle(), {.verify = false}));
}

TEST_F(BundleTest, HashesAFileOnceForEachTimeOfModification) {
    const fs::path codec = bundle() / "codec.pt";
    const auto time = fs::last_write_time(codec);
    Bundle::open(bundle());
    EXPECT_EQ(fs::exists(cache_ / "musicsteer"), true);
    // The same size and time: taken for the same file, so its hash is not computed again.
    write_bytes(codec, "CODEC");
    fs::last_write_time(codec, time);
    EXPECT_NO_THROW(Bundle::open(bundle()));
    fs::last_write_time(codec, time + std::chrono::nanoseconds(1));
    expect_refused("codec.pt: expected SHA-256 " + sha256_of("codec") + ", found " + sha256_of("CODEC") +
                   "; export the bundle again");
    write_bytes(codec, "codec");
    EXPECT_NO_THROW(Bundle::open(bundle()));
}

TEST_F(BundleTest, DoesNotMixUpTheFilesOfTwoBundles) {
    Bundle::open(bundle());
    const TempFolder other;
    for (const char* name :
         {"decoder.pt", "text_encoder.pt", "codec.pt", "tokenizer.json", "manifest.json"}) {
        fs::copy_file(bundle() / name, other / name);
    }
    write_bytes(other / "codec.pt", "CODEC");
    fs::last_write_time(other / "codec.pt", fs::last_write_time(bundle() / "codec.pt"));
    EXPECT_THAT([&] { Bundle::open(other.path()); },
                ThrowsMessage<InputError>(HasSubstr("codec.pt: expected SHA-256")));
}

TEST_F(BundleTest, ADamagedOrUnwritableCacheOnlyCostsTime) {
    Bundle::open(bundle());
    for (const auto& entry : fs::directory_iterator(cache_ / "musicsteer"))
        write_bytes(entry.path(), "{\"key\":3");
    EXPECT_NO_THROW(Bundle::open(bundle()));
    write_bytes(bundle() / "codec.pt", "CODEC");
    for (const char* folder : {"/dev/null", "/proc/nowhere", "relative", ""}) {
        const Environment nowhere("XDG_CACHE_HOME", folder);
        const Environment home("HOME", nullptr);
        EXPECT_THROW(Bundle::open(bundle()), InputError) << folder;
    }
    write_bytes(bundle() / "codec.pt", "codec");
    const Environment nowhere("XDG_CACHE_HOME", "/dev/null");
    EXPECT_NO_THROW(Bundle::open(bundle()));
}

TEST_F(BundleTest, UsesTheHomeFolderWithoutXdg) {
    const TempFolder home;
    const Environment no_xdg("XDG_CACHE_HOME", nullptr);
    const Environment with_home("HOME", home.path().c_str());
    Bundle::open(bundle());
    EXPECT_TRUE(fs::is_directory(home / ".cache/musicsteer"));
}

TEST_F(BundleTest, LoadsAModuleInEvaluationMode) {
    torch::jit::Module module = Bundle::open(bundle()).load_module("decoder.pt");
    EXPECT_FALSE(module.is_training());
    EXPECT_TRUE(at::equal(module.forward({at::ones({2})}).toTensor(), at::tensor({2.0F, 2.0F})));
}

TEST_F(BundleTest, SaysInOneLineThatAFileIsNoTorchScript) {
    const Bundle opened = Bundle::open(bundle());
    const auto load = [&] { opened.load_module("text_encoder.pt"); };
    EXPECT_THAT(
        load, ThrowsMessage<InputError>(AllOf(HasSubstr("text_encoder.pt: cannot be loaded as TorchScript ("),
                                              EndsWith("; export the bundle again"), Not(HasSubstr("\n")),
                                              Not(HasSubstr("frame #")))));
    EXPECT_THAT([&] { opened.load_module("other.pt"); },
                ThrowsMessage<InputError>(HasSubstr("other.pt: not listed in the manifest")));
}

TEST_F(BundleTest, SaysThatATruncatedModuleIsNoTorchScript) {
    std::string bytes = read_bytes(bundle() / "decoder.pt");
    write_bytes(bundle() / "decoder.pt", bytes.substr(0, bytes.size() / 2));
    write_manifest();
    EXPECT_THAT([&] { Bundle::open(bundle()).load_module("decoder.pt"); },
                ThrowsMessage<InputError>(
                    AllOf(HasSubstr("decoder.pt: cannot be loaded as TorchScript ("), Not(HasSubstr("\n")))));
}

TEST(ParseDevice, KnowsTheCpu) {
    EXPECT_EQ(parse_device("cpu"), c10::Device(c10::kCPU));
}

TEST(ParseDevice, RefusesEverythingElse) {
    for (const char* name :
         {"", "gpu", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:999", "meta", "mps"}) {
        EXPECT_THAT([&] { parse_device(name); },
                    ThrowsMessage<UsageError>("device: expected cpu, cuda or cuda:N, found '" +
                                              std::string(name) + "'"));
    }
    EXPECT_THAT([] { parse_device("cuda:99"); },
                ThrowsMessage<UsageError>("device: cuda:99 is not available here; use --device cpu"));
}

}  // namespace
}  // namespace musicsteer

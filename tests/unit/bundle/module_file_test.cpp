#include "bundle/module_file.hpp"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>

#include "io/mapped_file.hpp"
#include "musicsteer/errors.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class ModuleFileTest : public ::testing::Test {
  protected:
    ModuleFileTest() {
        torch::jit::Module part("part");
        part.register_attribute("training", c10::BoolType::get(), true);
        part.register_parameter("weight", at::randn({300, 7}), false);
        part.register_buffer("half", at::randn({5}).to(at::kHalf));
        part.register_buffer("none", at::empty({0, 3}));
        module_.register_attribute("training", c10::BoolType::get(), true);
        module_.register_module("part", part);
        // A view of what `part` has: one storage for both.
        module_.register_buffer("some", part.attr("weight").toTensor().slice(0, 10, 20).t());
        module_.register_attribute("sizes", c10::ListType::ofInts(), c10::List<std::int64_t>({3, 4}));
        module_.define(
            "def forward(self, x):\n"
            "    return torch.matmul(x, self.part.weight) * self.sizes[1] + self.part.half[0]\n");
    }

    torch::jit::Module load() const {
        module_.save(path_);
        return load_module_file(path_, c10::kCPU);
    }

    TempFolder folder_;
    std::filesystem::path path_ = folder_ / "module.pt";
    torch::jit::Module module_{"whole"};
};

TEST_F(ModuleFileTest, HoldsWhatTorchLoads) {
    const torch::jit::Module found = load(), expected = torch::jit::load(path_);
    const at::Tensor x = at::randn({2, 300});
    EXPECT_TRUE(at::equal(torch::jit::Module(found).forward({x}).toTensor(),
                          torch::jit::Module(expected).forward({x}).toTensor()));
    const auto tensors = expected.named_buffers();
    EXPECT_EQ(tensors.size(), 3U);
    auto other = found.named_buffers().begin();
    for (const auto& tensor : tensors) {
        EXPECT_EQ((*other).name, tensor.name);
        EXPECT_TRUE(at::equal((*other).value, tensor.value)) << tensor.name;
        EXPECT_EQ((*other).value.strides(), tensor.value.strides()) << tensor.name;
        ++other;
    }
    EXPECT_FALSE((*found.parameters().begin()).requires_grad());
    EXPECT_TRUE(found.is_training());
    EXPECT_EQ(found.type()->name()->qualifiedName(), expected.type()->name()->qualifiedName());
}

TEST_F(ModuleFileTest, TensorsOfOneStorageShareIt) {
    const torch::jit::Module found = load();
    const at::Tensor weight = found.attr("part").toModule().attr("weight").toTensor();
    EXPECT_TRUE(found.attr("some").toTensor().is_alias_of(weight));
}

TEST_F(ModuleFileTest, WritingToATensorLeavesTheFileAlone) {
    const torch::jit::Module found = load();
    const std::string bytes = read_bytes(path_);
    found.attr("part").toModule().attr("weight").toTensor().fill_(1);
    EXPECT_EQ(read_bytes(path_), bytes);
}

TEST_F(ModuleFileTest, OutlivesItsFile) {
    const at::Tensor weight = load().attr("part").toModule().attr("weight").toTensor();
    std::filesystem::remove(path_);
    write_bytes(path_, "another");
    EXPECT_TRUE(at::equal(weight, module_.attr("part").toModule().attr("weight").toTensor()));
}

TEST_F(ModuleFileTest, CodeThatReachesFilesIsRefusedBeforeItRuns) {
    const std::filesystem::path target = folder_ / "written";
    const std::vector<std::string> lines = {"torch.save(x, \"" + target.string() + "\")",
                                            "x += torch.from_file(\"/etc/passwd\", False, 10)"};
    for (const std::string& line : lines) {
        module_ = torch::jit::Module("hostile");
        module_.define("def forward(self, x):\n    " + line + "\n    return x\n");
        EXPECT_THAT([&] { load(); }, ThrowsMessage<InputError>(HasSubstr("which no module of ours does")))
            << line;
    }
    EXPECT_FALSE(std::filesystem::exists(target));
}

TEST_F(ModuleFileTest, StateThatRestoresItselfIsRefused) {
    module_ = torch::jit::Module("hostile");
    module_.register_attribute("training", c10::BoolType::get(), true);
    module_.define("def __getstate__(self):\n    return self.training\n");
    module_.define("def __setstate__(self, x: bool) -> None:\n    self.training = x\n");
    EXPECT_THAT([&] { load(); },
                ThrowsMessage<InputError>(HasSubstr("state__, which no module of ours does")));
}

TEST_F(ModuleFileTest, RefusesWhatIsNoModule) {
    EXPECT_THAT([&] { load_module_file(path_, c10::kCPU); },
                ThrowsMessage<InputError>(path_.string() + ": cannot be read: No such file or directory"));
    write_bytes(path_, "");
    EXPECT_THAT([&] { load_module_file(path_, c10::kCPU); },
                ThrowsMessage<InputError>(path_.string() + ": the file is empty"));
    write_bytes(path_, "not TorchScript");
    EXPECT_THROW(load_module_file(path_, c10::kCPU), c10::Error);
    load();
    const std::string bytes = read_bytes(path_);
    for (const std::size_t kept : {bytes.size() - 1, bytes.size() / 2, std::size_t{64}}) {
        write_bytes(path_, bytes.substr(0, kept));
        EXPECT_THROW(load_module_file(path_, c10::kCPU), c10::Error) << kept;
    }
}

}  // namespace
}  // namespace musicsteer

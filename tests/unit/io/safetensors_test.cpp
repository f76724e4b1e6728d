#include "io/safetensors.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "musicsteer/errors.hpp"
#include "unit/restricted_process.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Metadata = std::map<std::string, std::string>;
using namespace std::string_literals;

// One tensor "a" = [1, -2.5] float32, written by hand: 1.0f is 0x3F800000, -2.5f is 0xC0200000.
const std::string kOneTensor =
    "\x38\0\0\0\0\0\0\0"s  // 56
    R"({"a":{"data_offsets":[0,8],"dtype":"F32","shape":[2]}}  )"s
    "\x00\x00\x80\x3F\x00\x00\x20\xC0"s;

TEST(Safetensors, ReadsAFileWrittenByHand) {
    const TempFolder folder;
    const TensorFile file = load_tensors(write_bytes(folder / "a.safetensors", kOneTensor));
    ASSERT_EQ(file.tensors.size(), 1U);
    EXPECT_TRUE(at::equal(file.tensors.at("a"), at::tensor({1.0F, -2.5F})));
    EXPECT_TRUE(file.metadata.empty());
}

TEST(Safetensors, WritesTheseBytes) {
    const TempFolder folder;
    save_tensors(folder / "a", {{{"a", at::tensor({1.0F, -2.5F})}}, {}}, Overwrite::kRefuse);
    EXPECT_EQ(read_bytes(folder / "a"), kOneTensor);
}

TEST(Safetensors, ReturnsWhatWasSaved) {
    const TempFolder folder;
    const TensorFile content{
        {
            {"f64", at::tensor({0.1, -1e300}, at::kDouble)},
            {"f32", at::arange(6, at::kFloat).reshape({2, 3})},
            {"f16", at::tensor({0.5, 65504.0}).to(at::kHalf)},
            {"bf16", at::tensor({1.5, -3e38}).to(at::kBFloat16)},
            {"i64", at::tensor({std::int64_t{1} << 62, std::int64_t{-1}})},
            {"i32", at::tensor({-2147483647, 7}, at::kInt)},
            {"u8", at::tensor({0, 255, 3}, at::kByte)},
            {"bool", at::tensor({1, 0, 1}, at::kByte).to(at::kBool)},
            {"scalar", at::scalar_tensor(4.25, at::kFloat)},
            {"empty", at::empty({3, 0, 2}, at::kFloat)},
            {"größe / \"x\"", at::ones({1})},
        },
        {{"concept", "tempo"}, {"笔记", "line\nbreak"}, {"", ""}},
    };
    save_tensors(folder / "all", content, Overwrite::kRefuse);
    const TensorFile loaded = load_tensors(folder / "all");
    EXPECT_EQ(loaded.metadata, content.metadata);
    ASSERT_EQ(loaded.tensors.size(), content.tensors.size());
    for (const auto& [name, tensor] : content.tensors) {
        ASSERT_TRUE(loaded.tensors.contains(name)) << name;
        const at::Tensor& found = loaded.tensors.at(name);
        EXPECT_EQ(found.scalar_type(), tensor.scalar_type()) << name;
        EXPECT_TRUE(at::equal(found, tensor)) << name;
        EXPECT_EQ(found.sizes(), tensor.sizes()) << name;
    }
}

TEST(Safetensors, KeepsEveryBitOfAFloat) {
    const TempFolder folder;
    const at::Tensor bits = at::tensor({0x7FC00001, 0x7F800000, 1, static_cast<int>(0x80000000)}, at::kInt);
    save_tensors(folder / "a", {{{"a", bits.view(at::kFloat)}}, {}},
                 Overwrite::kRefuse);  // NaN, inf, smallest, -0
    EXPECT_TRUE(at::equal(load_tensors(folder / "a").tensors.at("a").view(at::kInt), bits));
}

TEST(Safetensors, SavesViewsAsTheyLook) {
    const TempFolder folder;
    const at::Tensor matrix = at::arange(6, at::kFloat).reshape({2, 3});
    save_tensors(folder / "a", {{{"t", matrix.t()}, {"row", matrix[1]}}, {}}, Overwrite::kRefuse);
    const TensorFile loaded = load_tensors(folder / "a");
    EXPECT_TRUE(at::equal(loaded.tensors.at("t"), matrix.t()));
    EXPECT_TRUE(loaded.tensors.at("t").is_contiguous());
    EXPECT_TRUE(at::equal(loaded.tensors.at("row"), at::tensor({3.0F, 4.0F, 5.0F})));
}

TEST(Safetensors, SameContentGivesSameBytes) {
    const TempFolder folder;
    const TensorFile content{{{"b", at::ones({3})}, {"a", at::zeros({2}, at::kLong)}}, {{"k", "v"}}};
    save_tensors(folder / "1", content, Overwrite::kRefuse);
    save_tensors(folder / "2", content, Overwrite::kRefuse);
    EXPECT_EQ(read_bytes(folder / "1"), read_bytes(folder / "2"));
}

TEST(Safetensors, AlignsTheDataOfEveryType) {
    const TempFolder folder;
    const TensorFile content{{{"a", at::ones({3}, at::kByte)}, {"b", at::ones({1}, at::kDouble)}}, {}};
    save_tensors(folder / "a", content, Overwrite::kRefuse);
    const std::string bytes = read_bytes(folder / "a");
    EXPECT_THAT(bytes, HasSubstr(R"("a":{"data_offsets":[8,11],"dtype":"U8","shape":[3]})"));
    EXPECT_THAT(bytes, HasSubstr(R"("b":{"data_offsets":[0,8],"dtype":"F64","shape":[1]})"));
    EXPECT_EQ((bytes.size() - 11) % 8, 0U);
}

TEST(Safetensors, InfoHasTypesShapesAndMetadata) {
    const TempFolder folder;
    save_tensors(folder / "a", {{{"x", at::zeros({2, 3}, at::kHalf)}}, {{"k", "v"}}}, Overwrite::kRefuse);
    const TensorFileInfo info = read_tensor_info(folder / "a");
    ASSERT_EQ(info.tensors.size(), 1U);
    EXPECT_EQ(info.tensors.at("x").dtype, "F16");
    EXPECT_THAT(info.tensors.at("x").shape, ElementsAre(2, 3));
    EXPECT_EQ(info.metadata, (Metadata{{"k", "v"}}));
}

TEST(Safetensors, LoadsAsManyTensorsAsThereAre) {
    const TempFolder folder;
    TensorFile content;
    const at::Tensor value = at::ones({1});
    for (int i = 0; i < 50'000; ++i) content.tensors["layer." + std::to_string(i)] = value;
    save_tensors(folder / "a", content, Overwrite::kRefuse);
    EXPECT_EQ(load_tensors(folder / "a").tensors.size(), 50'000U);
}

TEST(Safetensors, RefusesToSaveWhatItCannotRead) {
    const TempFolder folder;
    const auto save = [&](TensorFile content) { save_tensors(folder / "a", content, Overwrite::kRefuse); };
    EXPECT_THAT(
        [&] {
            save({{{"z", at::zeros({1}, at::kComplexFloat)}}, {}});
        },
        ThrowsMessage<OutputError>(
            HasSubstr(": tensor 'z': elements of type ComplexFloat cannot be stored")));
    EXPECT_THAT(
        [&] {
            save({{{"u", at::Tensor()}}, {}});
        },
        ThrowsMessage<OutputError>(HasSubstr(": tensor 'u': has no value")));
    EXPECT_THAT(
        [&] {
            save({{{"__metadata__", at::zeros({1})}}, {}});
        },
        ThrowsMessage<OutputError>(HasSubstr(": this name is reserved")));
    EXPECT_THAT([&] { save({{}, {{"k", "\xFF"}}}); }, ThrowsMessage<OutputError>(HasSubstr("is not UTF-8")));
    EXPECT_EQ(folder.names(), std::set<std::string>{});
}

TEST(Safetensors, LeavesNoFileOnAFullDisk) {
    const TempFolder folder;
    {
        const FileSizeLimit limit(1000);
        EXPECT_THAT(
            [&] {
                save_tensors(folder / "a", {{{"a", at::zeros({1000})}}, {}}, Overwrite::kRefuse);
            },
            ThrowsMessage<OutputError>(HasSubstr(": cannot be written: File too large")));
    }
    EXPECT_EQ(folder.names(), std::set<std::string>{});
}

TEST(Safetensors, NamesAMissingFile) {
    EXPECT_THAT(
        [] { load_tensors("/nowhere/a.safetensors"); },
        ThrowsMessage<InputError>("/nowhere/a.safetensors: cannot be read: No such file or directory"));
}

}  // namespace
}  // namespace musicsteer

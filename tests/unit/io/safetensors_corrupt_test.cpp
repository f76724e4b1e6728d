// Damaged and hostile files: each must end in an InputError, whatever its numbers claim.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "io/safetensors.hpp"
#include "musicsteer/errors.hpp"
#include "unit/temp_folder.hpp"

namespace musicsteer {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using namespace std::string_literals;

std::string little_endian(std::uint64_t value) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
    return bytes;
}

std::string file_of(const std::string& header, const std::string& data) {
    return little_endian(header.size()) + header + data;
}

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

struct CorruptFile {
    const char* name;
    std::string bytes;
    std::string message;  // what comes after "PATH: "
};

void PrintTo(const CorruptFile& test, std::ostream* out) {
    *out << test.name;
}

const std::string kEight(8, '\0');

class CorruptSafetensors : public ::testing::TestWithParam<CorruptFile> {};

TEST_P(CorruptSafetensors, IsRefusedWithASentence) {
    const TempFolder folder;
    const auto path = write_bytes(folder / "x", GetParam().bytes);
    const std::string expected = path.string() + ": " + GetParam().message;
    EXPECT_THAT([&] { load_tensors(path); }, ThrowsMessage<InputError>(HasSubstr(expected)));
    EXPECT_THAT([&] { read_tensor_info(path); }, ThrowsMessage<InputError>(HasSubstr(expected)));
}

const std::vector<CorruptFile> kOthers = {
    {"gguf", "GGUF\x03\0\0\0\0\0"s, "not a safetensors file but a GGUF file; 'musicsteer import'"},
    {"lfs_pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
     "not a safetensors file but a Git LFS pointer; fetch the file with git lfs pull"},
    {"zip", "PK\x03\x04 and more", "not a safetensors file but a zip archive such as torch.save"},
    {"web_page", "<!DOCTYPE html><html>", "not a safetensors file but a web page"},
};

const std::vector<CorruptFile> kLengths = {
    {"empty", "", "expected a safetensors file, found only 0 bytes"},
    {"seven_bytes", "1234567", "expected a safetensors file, found only 7 bytes"},
    {"length_2_to_63", little_endian(std::uint64_t{1} << 63) + "{}",
     "not a safetensors file, or damaged: its header claims 9223372036854775808 bytes, and at most "
     "100000000"},
    {"length_all_ones", std::string(8, '\xFF') + "{}",
     "not a safetensors file, or damaged: its header claims 18446744073709551615 bytes"},
    {"length_over_limit", little_endian(100'000'001) + "{}",
     "not a safetensors file, or damaged: its header claims 100000001 bytes"},
    {"length_beyond_file", little_endian(3) + "{}",
     "expected a header of 3 bytes, found 2; is the file truncated?"},
    {"length_0", little_endian(0), "header: expected a JSON object"},
};

const std::vector<CorruptFile> kHeaders = {
    {"list", file_of("[]", ""), "header: expected a JSON object"},
    {"text_file", "This is no safetensors file at all", "not a safetensors file, or damaged"},
    {"cut_json", file_of(R"({"a":)", ""), "header: not JSON: line 1, column 6: syntax error"},
    {"trailing_garbage", file_of("{}x", ""), "header: not JSON: line 1, column 3"},
    {"not_utf8", file_of("{\"\xFF\":1}", ""), "header: not UTF-8 at byte offset 2"},
    {"nested", file_of(R"({"a":)" + std::string(100'000, '['), ""), "header: nested deeper than 64 levels"},
    {"duplicate",
     file_of(R"({"a":)" + tensor("F32", "[1]", "[0,4]") + R"(,"a":)" + tensor("F32", "[1]", "[4,8]") + "}",
             kEight),
     "header: the key 'a' appears twice in one object"},
    {"metadata_number", file_of(R"({"__metadata__":{"k":1}})", ""),
     "header: __metadata__.k: expected text, found a number"},
    {"metadata_list", file_of(R"({"__metadata__":[]})", ""),
     "header: __metadata__: expected an object, found a list"},
    {"tensor_is_text", file_of(R"({"a":"F32"})", ""), "header: a: expected an object, found text"},
    {"no_dtype", file_of(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", ""), "header: a.dtype: missing"},
    {"no_shape", file_of(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", ""), "header: a.shape: missing"},
    {"no_offsets", file_of(R"({"a":{"dtype":"F32","shape":[1]}})", ""), "header: a.data_offsets: missing"},
    {"unknown_dtype", file_of(R"({"a":)" + tensor("F8_E4M3", "[1]", "[0,1]") + "}", "x"),
     "header: a.dtype: musicsteer reads F64, F32, F16, BF16, I64, I32, U8 and BOOL, found 'F8_E4M3'"},
    {"escape_in_dtype", file_of(R"({"a":)" + tensor("\\u001b[31m", "[1]", "[0,1]") + "}", "x"),
     "header: a.dtype: musicsteer"},
};

const std::vector<CorruptFile> kShapes = {
    {"negative", file_of(R"({"a":)" + tensor("F32", "[-1]", "[0,4]") + "}", kEight),
     "header: a.shape[0]: expected a whole number from 0 to 9223372036854775807, found -1"},
    {"fraction", file_of(R"({"a":)" + tensor("F32", "[1.5]", "[0,4]") + "}", kEight),
     "header: a.shape[0]: expected a whole number"},
    {"text", file_of(R"({"a":)" + tensor("F32", "[\"2\"]", "[0,8]") + "}", kEight),
     "header: a.shape[0]: expected a whole number"},
    {"beyond_64_bits", file_of(R"({"a":)" + tensor("F32", "[18446744073709551616]", "[0,4]") + "}", kEight),
     "header: a.shape[0]: expected a whole number"},
    {"above_int64", file_of(R"({"a":)" + tensor("F32", "[18446744073709551615]", "[0,4]") + "}", kEight),
     "header: a.shape[0]: expected a whole number"},
    {"overflow", file_of(R"({"a":)" + tensor("F32", "[4294967296,4294967296]", "[0,0]") + "}", ""),
     "header: a.shape: more elements than 64 bits can count"},
    {"overflow_by_type", file_of(R"({"a":)" + tensor("F64", "[4611686018427387904]", "[0,0]") + "}", ""),
     "header: a.shape: more elements than 64 bits can count"},
    {"overflow_beside_zero",
     file_of(R"({"a":)" + tensor("U8", "[0,4294967296,4294967296]", "[0,0]") + "}", ""),
     "header: a.shape: more elements than 64 bits can count"},
    {"many_dimensions",
     file_of(R"({"a":)" +
                 tensor(
                     "U8",
                     "[1" +
                         [] {
                             std::string ones;
                             for (int i = 0; i < 64; ++i) ones += ",1";
                             return ones;
                         }() +
                         "]",
                     "[0,1]") +
                 "}",
             "x"),
     "header: a.shape: expected at most 64 dimensions, found 65"},
    {"no_list", file_of(R"({"a":)" + tensor("F32", "2", "[0,8]") + "}", kEight),
     "header: a.shape: expected a list, found a number"},
    {"larger_than_data", file_of(R"({"a":)" + tensor("F32", "[3]", "[0,8]") + "}", kEight),
     "header: a.data_offsets: expected the 12 bytes of the shape and dtype, found 8"},
    {"huge_but_consistent",
     file_of(R"({"a":)" + tensor("U8", "[1000000000000]", "[0,1000000000000]") + "}", kEight),
     "tensor 'a': its data ends at offset 1000000000000, but the file has 8 bytes of data; is it truncated?"},
};

const std::vector<CorruptFile> kOffsets = {
    {"one", file_of(R"({"a":)" + tensor("F32", "[2]", "[8]") + "}", kEight),
     "header: a.data_offsets: expected [begin, end], found 1 numbers"},
    {"backwards", file_of(R"({"a":)" + tensor("F32", "[2]", "[8,0]") + "}", kEight),
     "header: a.data_offsets: the end 0 is before the begin 8"},
    {"negative", file_of(R"({"a":)" + tensor("F32", "[2]", "[-8,0]") + "}", kEight),
     "header: a.data_offsets[0]: expected a whole number"},
    {"gap_before", file_of(R"({"a":)" + tensor("F32", "[1]", "[4,8]") + "}", kEight),
     "tensor 'a': expected its data at offset 0, found 4; data may not overlap or leave gaps"},
    {"gap_after", file_of(R"({"a":)" + tensor("F32", "[1]", "[0,4]") + "}", kEight),
     "expected 4 bytes of data, found 8"},
    {"overlap",
     file_of(R"({"a":)" + tensor("F32", "[2]", "[0,8]") + R"(,"b":)" + tensor("F32", "[1]", "[4,8]") + "}",
             kEight),
     "tensor 'b': expected its data at offset 8, found 4"},
    {"same_place",
     file_of(R"({"a":)" + tensor("F32", "[2]", "[0,8]") + R"(,"b":)" + tensor("F32", "[2]", "[0,8]") + "}",
             kEight),
     "tensor 'b': expected its data at offset 8, found 0"},
    {"beyond_file",
     file_of(R"({"a":)" + tensor("F32", "[2]", "[0,8]") + R"(,"b":)" + tensor("F32", "[1]", "[8,12]") + "}",
             kEight),
     "tensor 'b': its data ends at offset 12, but the file has 8 bytes of data"},
    {"near_overflow",
     file_of(R"({"a":)" + tensor("U8", "[1]", "[9223372036854775806,9223372036854775807]") + "}", "x"),
     "tensor 'a': expected its data at offset 0, found 9223372036854775806"},
};

std::string case_name(const ::testing::TestParamInfo<CorruptFile>& info) {
    return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Other, CorruptSafetensors, ::testing::ValuesIn(kOthers), case_name);
INSTANTIATE_TEST_SUITE_P(Length, CorruptSafetensors, ::testing::ValuesIn(kLengths), case_name);
INSTANTIATE_TEST_SUITE_P(Header, CorruptSafetensors, ::testing::ValuesIn(kHeaders), case_name);
INSTANTIATE_TEST_SUITE_P(Shape, CorruptSafetensors, ::testing::ValuesIn(kShapes), case_name);
INSTANTIATE_TEST_SUITE_P(Offset, CorruptSafetensors, ::testing::ValuesIn(kOffsets), case_name);

TEST(CorruptSafetensorsData, ABoolMustBeZeroOrOne) {
    const TempFolder folder;
    const auto path =
        write_bytes(folder / "x", file_of(R"({"a":)" + tensor("BOOL", "[2]", "[0,2]") + "}", "\x01\x02"));
    EXPECT_THAT([&] { load_tensors(path); },
                ThrowsMessage<InputError>(HasSubstr("tensor 'a': a BOOL is neither 0 nor 1")));
}

// A file with two tensors and metadata, as the writer makes it.
std::string valid_file(const TempFolder& folder) {
    const TensorFile content{{{"a", at::ones({2, 3})}, {"b", at::ones({5}, at::kBool)}}, {{"k", "v"}}};
    save_tensors(folder / "valid", content, Overwrite::kAllow);
    return read_bytes(folder / "valid");
}

TEST(CorruptSafetensorsData, TruncatedAtEveryLength) {
    const TempFolder folder;
    const std::string bytes = valid_file(folder);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        const auto path = write_bytes(folder / "cut", bytes.substr(0, length));
        EXPECT_THROW(load_tensors(path), InputError) << length;
        EXPECT_THROW(read_tensor_info(path), InputError) << length;
    }
    EXPECT_THROW(load_tensors(write_bytes(folder / "cut", bytes + "x")), InputError);
    EXPECT_NO_THROW(load_tensors(write_bytes(folder / "cut", bytes)));
}

TEST(CorruptSafetensorsData, AnyDamageIsReadOrRefusedButNeverACrash) {
    const TempFolder folder;
    const std::string bytes = valid_file(folder);
    std::mt19937 random(7);
    int refused = 0;
    for (int round = 0; round < 300; ++round) {
        std::string damaged = bytes;
        const std::size_t changes = 1 + random() % 3;
        for (std::size_t i = 0; i < changes; ++i)
            damaged[random() % damaged.size()] = static_cast<char>(random());
        try {
            load_tensors(write_bytes(folder / "damaged", damaged));
        } catch (const InputError&) {
            ++refused;
        }
    }
    EXPECT_GT(refused, 100);  // the rest damaged padding, float data, or a name
}

}  // namespace
}  // namespace musicsteer

#include "io/safetensors.hpp"

#include <ATen/ops/empty.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "io/input_file.hpp"
#include "io/json_view.hpp"
#include "musicsteer/errors.hpp"

// A file is:  8 bytes: length N of the header, little-endian
//             N bytes: JSON {"__metadata__": {text: text}, name: {"dtype", "shape", "data_offsets": [begin,
//             end]}, ...} the rest: the tensors' data, one after the other, offsets counted from here
// https://huggingface.co/docs/safetensors (the checks are those of the reference reader in Rust, and a few
// more)

namespace musicsteer {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are stored little-endian");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kLongestHeader = 100'000'000;  // as in the reference reader
constexpr std::size_t kMaxDimensions = 64;
constexpr const char* kMetadataKey = "__metadata__";

struct Dtype {
    const char* name;
    at::ScalarType type;
    std::uint64_t bytes;
};

constexpr std::array kDtypes = {
    Dtype{"F64", at::kDouble, 8}, Dtype{"I64", at::kLong, 8},  Dtype{"F32", at::kFloat, 4},
    Dtype{"I32", at::kInt, 4},    Dtype{"F16", at::kHalf, 2},  Dtype{"BF16", at::kBFloat16, 2},
    Dtype{"U8", at::kByte, 1},    Dtype{"BOOL", at::kBool, 1},
};

struct Entry {
    Dtype dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0;  // of its data, in the file
    std::uint64_t bytes = 0;
};

struct Header {
    std::map<std::string, Entry> tensors;
    std::map<std::string, std::string> metadata;
};

Dtype parse_dtype(const JsonView& view) {
    const std::string name = view.text();
    for (const Dtype& dtype : kDtypes) {
        if (name == dtype.name) return dtype;
    }
    view.fail("musicsteer reads F64, F32, F16, BF16, I64, I32, U8 and BOOL, found " + in_quotes(name));
}

// The bytes that a shape takes. Sizes of 0 count as 1 in the check, since strides are computed from them too.
std::uint64_t bytes_of_shape(const std::vector<std::int64_t>& shape, std::uint64_t element_bytes,
                             const JsonView& view) {
    std::uint64_t product = element_bytes;
    bool empty = false;
    for (const std::int64_t size : shape) {
        empty = empty || size == 0;
        const auto factor = static_cast<std::uint64_t>(std::max<std::int64_t>(size, 1));
        if (product > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / factor) {
            view.fail("more elements than 64 bits can count");
        }
        product *= factor;
    }
    return empty ? 0 : product;
}

Entry parse_entry(const JsonView& view) {
    Entry entry{parse_dtype(view.at("dtype")), {}};
    const JsonView shape = view.at("shape");
    for (const JsonView& size : shape.items()) entry.shape.push_back(size.integer(0));
    if (entry.shape.size() > kMaxDimensions) {
        shape.fail("expected at most " + std::to_string(kMaxDimensions) + " dimensions, found " +
                   std::to_string(entry.shape.size()));
    }
    const JsonView offsets = view.at("data_offsets");
    const std::vector<JsonView> ends = offsets.items();
    if (ends.size() != 2)
        offsets.fail("expected [begin, end], found " + std::to_string(ends.size()) + " numbers");
    entry.begin = static_cast<std::uint64_t>(ends[0].integer(0));
    const auto end = static_cast<std::uint64_t>(ends[1].integer(0));
    if (end < entry.begin)
        offsets.fail("the end " + std::to_string(end) + " is before the begin " +
                     std::to_string(entry.begin));
    entry.bytes = bytes_of_shape(entry.shape, entry.dtype.bytes, shape);
    if (entry.bytes != end - entry.begin) {
        offsets.fail("expected the " + std::to_string(entry.bytes) + " bytes of the shape and dtype, found " +
                     std::to_string(end - entry.begin));
    }
    return entry;
}

// The data must fill the rest of the file without gaps or overlaps. Turns the offsets into offsets in the
// file.
void place_data(Header& header, std::uint64_t data_begin, const InputFile& file) {
    std::vector<std::pair<const std::string, Entry>*> in_order;
    for (auto& item : header.tensors) in_order.push_back(&item);
    std::sort(in_order.begin(), in_order.end(), [](const auto* a, const auto* b) {
        return std::pair(a->second.begin, a->second.bytes) < std::pair(b->second.begin, b->second.bytes);
    });
    const std::uint64_t available = file.size() - data_begin;
    std::uint64_t expected = 0;
    for (auto* item : in_order) {
        auto& [name, entry] = *item;
        const std::string tensor = file.path().string() + ": tensor " + in_quotes(name);
        if (entry.begin != expected) {
            throw InputError(tensor + ": expected its data at offset " + std::to_string(expected) +
                             ", found " + std::to_string(entry.begin) +
                             "; data may not overlap or leave gaps");
        }
        if (entry.bytes > available - expected) {
            throw InputError(tensor + ": its data ends at offset " +
                             std::to_string(entry.begin + entry.bytes) + ", but the file has " +
                             std::to_string(available) + " bytes of data; is it truncated?");
        }
        expected += entry.bytes;
        entry.begin += data_begin;
    }
    if (expected != available) {
        throw InputError(file.path().string() + ": expected " + std::to_string(expected) +
                         " bytes of data, found " + std::to_string(available));
    }
}

struct OtherFormat {
    std::string_view start;  // of the file
    const char* what;
};

constexpr std::array kOtherFormats = {
    OtherFormat{"GGUF", "a GGUF file; 'musicsteer import' makes a vector file of its control vectors"},
    OtherFormat{"version https://git-lfs", "a Git LFS pointer; fetch the file with git lfs pull"},
    OtherFormat{"PK\x03\x04",
                "a zip archive such as torch.save and numpy.savez write; "
                "'musicsteer import' makes a vector file of vectors in it"},
    OtherFormat{"\x93NUMPY", "an array of NumPy; 'musicsteer import' makes a vector file of it"},
    OtherFormat{"<!DOCTYPE", "a web page; download the file itself"},
    OtherFormat{"<!doctype", "a web page; download the file itself"},
    OtherFormat{"<html", "a web page; download the file itself"},
};

}  // namespace

void refuse_other_formats(const InputFile& file) {
    constexpr std::uint64_t kLongestStart = 32;
    std::string start(std::min(kLongestStart, file.size()), '\0');
    file.read_at(0, start);
    for (const OtherFormat& other : kOtherFormats) {
        if (start.starts_with(other.start))
            throw InputError(file.path().string() + ": not a safetensors file but " + other.what);
    }
}

namespace {

std::string read_header_text(const InputFile& file) {
    const std::string path = file.path().string();
    if (file.size() < kLengthBytes) {
        throw InputError(path + ": expected a safetensors file, found only " + std::to_string(file.size()) +
                         " bytes");
    }
    refuse_other_formats(file);
    std::array<char, kLengthBytes> length_bytes{};
    file.read_at(0, length_bytes);
    const auto length = std::bit_cast<std::uint64_t>(length_bytes);
    if (length > kLongestHeader) {
        throw InputError(path + ": not a safetensors file, or damaged: its header claims " +
                         std::to_string(length) + " bytes, and at most " + std::to_string(kLongestHeader) +
                         " are allowed");
    }
    if (length > file.size() - kLengthBytes) {
        throw InputError(path + ": expected a header of " + std::to_string(length) + " bytes, found " +
                         std::to_string(file.size() - kLengthBytes) + "; is the file truncated?");
    }
    std::string text(length, '\0');
    file.read_at(kLengthBytes, text);
    if (!text.starts_with('{')) throw InputError(path + ": header: expected a JSON object");
    return text;
}

Header read_header(const InputFile& file) {
    const std::string text = read_header_text(file);
    const JsonDocument document(text, file.path().string() + ": header");
    Header header;
    for (const auto& [name, view] : document.root().members()) {
        if (name == kMetadataKey) {
            for (const auto& [key, value] : view.members()) header.metadata.emplace(key, value.text());
        } else {
            header.tensors.emplace(name, parse_entry(view));
        }
    }
    place_data(header, kLengthBytes + text.size(), file);
    return header;
}

at::Tensor read_tensor(const InputFile& file, const std::string& name, const Entry& entry) {
    const at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.dtype.type));
    const std::span<char> bytes(static_cast<char*>(tensor.data_ptr()), entry.bytes);
    file.read_at(entry.begin, bytes);
    const bool is_bool = entry.dtype.type == at::kBool;
    if (is_bool &&
        std::any_of(bytes.begin(), bytes.end(), [](char byte) { return byte != 0 && byte != 1; })) {
        throw InputError(file.path().string() + ": tensor " + in_quotes(name) +
                         ": a BOOL is neither 0 nor 1");
    }
    return tensor;
}

// A tensor to be written.
struct StoredTensor {
    std::string name;
    Dtype dtype;
    at::Tensor tensor;  // on the CPU, contiguous
};

// In the order of their data: wide types first, so that every tensor starts at a multiple of its element
// size.
std::vector<StoredTensor> sources_of(const std::filesystem::path& path, const TensorFile& content) {
    std::vector<StoredTensor> sources;
    for (const auto& [name, tensor] : content.tensors) {
        const std::string where = path.string() + ": tensor " + in_quotes(name);
        if (name == kMetadataKey) throw OutputError(where + ": this name is reserved");
        if (!tensor.defined()) throw OutputError(where + ": has no value");
        const auto* dtype = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const Dtype& known) {
            return known.type == tensor.scalar_type();
        });
        if (dtype == kDtypes.end()) {
            throw OutputError(where + ": elements of type " + c10::toString(tensor.scalar_type()) +
                              " cannot be stored");
        }
        sources.push_back({name, *dtype, tensor.detach().to(at::kCPU).contiguous()});
    }
    std::stable_sort(sources.begin(), sources.end(), [](const StoredTensor& a, const StoredTensor& b) {
        return a.dtype.bytes > b.dtype.bytes;
    });
    return sources;
}

std::string header_text(const std::vector<StoredTensor>& sources,
                        const std::map<std::string, std::string>& metadata) {
    nlohmann::json header = nlohmann::json::object();  // keeps its keys sorted
    if (!metadata.empty()) header[kMetadataKey] = metadata;
    std::uint64_t offset = 0;
    for (const auto& [name, dtype, tensor] : sources) {
        const std::uint64_t end = offset + tensor.nbytes();
        header[name] = {
            {"dtype", dtype.name}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
        offset = end;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // the data starts aligned
    return text;
}

}  // namespace

TensorFile load_tensors(const std::filesystem::path& path) {
    const InputFile file(path);
    Header header = read_header(file);
    TensorFile content;
    content.metadata = std::move(header.metadata);
    for (const auto& [name, entry] : header.tensors)
        content.tensors.emplace(name, read_tensor(file, name, entry));
    return content;
}

TensorFileInfo read_tensor_info(const std::filesystem::path& path) {
    Header header = read_header(InputFile(path));
    TensorFileInfo info;
    info.metadata = std::move(header.metadata);
    for (auto& [name, entry] : header.tensors)
        info.tensors[name] = {entry.dtype.name, std::move(entry.shape)};
    return info;
}

void save_tensors(const std::filesystem::path& path, const TensorFile& content, Overwrite overwrite) {
    const std::vector<StoredTensor> sources = sources_of(path, content);
    std::string header;
    try {
        header = header_text(sources, content.metadata);
    } catch (const nlohmann::json::type_error&) {
        throw OutputError(path.string() + ": a tensor's name or the metadata is not UTF-8");
    }
    if (header.size() > kLongestHeader)
        throw OutputError(path.string() + ": more metadata than a safetensors file can hold");
    const auto length =
        std::bit_cast<std::array<char, kLengthBytes>>(static_cast<std::uint64_t>(header.size()));
    AtomicFile file(path, overwrite);
    file.write({length.data(), length.size()});
    file.write(header);
    for (const auto& source : sources) {
        file.write({static_cast<const char*>(source.tensor.const_data_ptr()), source.tensor.nbytes()});
    }
    file.commit();
}

}  // namespace musicsteer

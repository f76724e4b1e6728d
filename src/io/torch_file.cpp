#include "io/torch_file.hpp"

#include <ATen/ATen.h>
#include <caffe2/serialize/inline_container.h>

#include <array>
#include <cstring>

#include "base/errors.hpp"
#include "base/shapes.hpp"
#include "base/size_limits.hpp"
#include "io/input_file.hpp"
#include "io/restricted_pickle.hpp"

namespace musicsteer {
namespace {

using caffe2::serialize::PyTorchStreamReader;

constexpr std::size_t kMaxPickle = 16'000'000;

at::ScalarType scalar_type(const std::string& storage_type) {
    if (storage_type == "DoubleStorage") return at::kDouble;
    if (storage_type == "HalfStorage") return at::kHalf;
    if (storage_type == "BFloat16Storage") return at::kBFloat16;
    return at::kFloat;
}

/// Before the zip reader sees it: is it one at all?
std::uint64_t check_head(const std::filesystem::path& path) {
    const InputFile file(path);
    std::array<char, 4> head{};
    const std::size_t length = file.read(head);
    const std::string_view start(head.data(), length);
    if (start.starts_with("PK\x03\x04")) return file.size();
    if (start.starts_with('\x80')) {
        throw InputError(path.string() +
                         ": a bare pickle, as PyTorch wrote before version 1.6; it is not read: load it in "
                         "Python and save it again with torch.save");
    }
    throw InputError(path.string() + ": no file of torch.save, which is a zip archive");
}

std::size_t record_size(PyTorchStreamReader& reader, const std::string& name, std::uint64_t file_size,
                        const std::string& origin) {
    if (!reader.hasRecord(name)) throw InputError(origin + ": has no record " + in_quotes(name));
    const std::size_t size = reader.getRecordSize(name);
    if (size > file_size) throw InputError(origin + ": record " + in_quotes(name) + " is compressed");
    return size;
}

at::Tensor read_vector(PyTorchStreamReader& reader, const PickledTensor& tensor, std::uint64_t file_size,
                       const std::string& origin) {
    if (tensor.sizes.size() != 1 || tensor.strides.size() != 1 || tensor.sizes[0] < 1 ||
        tensor.sizes[0] > kMaxWidth) {
        throw InputError(origin + ": expected a vector [D], found " + shape_text(tensor.sizes));
    }
    const std::int64_t width = tensor.sizes[0], stride = tensor.strides[0], elements = tensor.storage_size;
    const at::ScalarType type = scalar_type(tensor.storage_type);
    const std::string record = "data/" + tensor.storage_key;
    const std::size_t size = record_size(reader, record, file_size, origin);
    const bool fits = elements >= 1 &&
                      static_cast<std::uint64_t>(elements) <= size / c10::elementSize(type) &&
                      tensor.offset >= 0 && tensor.offset < elements && stride >= 0 &&
                      (width == 1 || stride <= (elements - 1 - tensor.offset) / (width - 1));
    if (!fits) throw InputError(origin + ": its numbers lie outside of record " + in_quotes(record));
    const auto [data, bytes] = reader.getRecord(record);
    if (bytes != size) throw InputError(origin + ": record " + in_quotes(record) + " is damaged");
    const at::Tensor storage = at::empty({elements}, at::TensorOptions(type));
    std::memcpy(storage.data_ptr(), data.get(), static_cast<std::size_t>(elements) * c10::elementSize(type));
    return storage.as_strided({width}, {stride}, tensor.offset).to(at::kFloat).contiguous().clone();
}

}  // namespace

std::map<std::string, at::Tensor> load_torch_vectors(const std::filesystem::path& path) {
    const std::string origin = path.string();
    const std::uint64_t file_size = check_head(path);
    try {
        PyTorchStreamReader reader(origin);
        if (record_size(reader, "data.pkl", file_size, origin) > kMaxPickle)
            throw InputError(origin + ": its pickle is too long for a dict of tensors");
        if (reader.hasRecord("byteorder")) {
            const auto [order, length] = reader.getRecord("byteorder");
            if (std::string_view(static_cast<const char*>(order.get()), length) != "little")
                throw InputError(origin + ": written on a big-endian machine");
        }
        const auto [pickle, length] = reader.getRecord("data.pkl");
        const auto tensors = read_tensor_dict({static_cast<const char*>(pickle.get()), length}, origin);
        std::map<std::string, at::Tensor> vectors;
        for (const auto& [key, tensor] : tensors)
            vectors[key] = read_vector(reader, tensor, file_size, origin + ": " + in_quotes(key));
        return vectors;
    } catch (const c10::Error& error) {
        const std::string text = error.what_without_backtrace();
        throw InputError(origin +
                         ": no file of torch.save, or a damaged one: " + text.substr(0, text.find('\n')));
    }
}

}  // namespace musicsteer

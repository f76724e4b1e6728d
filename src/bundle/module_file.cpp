#include "bundle/module_file.hpp"

#include <ATen/core/ivalue.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/Exception.h>
#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/jit/frontend/source_range.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/csrc/jit/serialization/import_read.h>
#include <torch/csrc/jit/serialization/import_source.h>
#include <torch/csrc/jit/serialization/storage_context.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bundle/module_code.hpp"
#include "io/mapped_file.hpp"
#include "musicsteer/errors.hpp"

// A TorchScript file is an uncompressed zip archive: constants.pkl and data.pkl hold the objects, data/0,
// data/1, ... the bytes of their tensors, code/ the methods' sources. LibTorch's reader is used for
// everything except the tensors' bytes, which it would copy.

namespace musicsteer {
namespace {

using c10::IValue;
using caffe2::serialize::PyTorchStreamReader;
using torch::jit::DeserializationStorageContext;

/// Lets LibTorch read the archive from the mapping.
class MappingReader : public caffe2::serialize::ReadAdapterInterface {
  public:
    explicit MappingReader(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}
    std::size_t size() const override { return file_->bytes().size(); }
    std::size_t read(std::uint64_t position, void* buffer, std::size_t count,
                     const char* /*what*/) const override {
        if (position >= size()) return 0;
        const std::size_t found = std::min<std::uint64_t>(count, size() - position);
        std::memcpy(buffer, file_->bytes().data() + position, found);
        return found;
    }

  private:
    std::shared_ptr<const MappedFile> file_;
};

constexpr std::size_t kLongestRecord = 1000;  // letters of a name

class SilentWarnings : public c10::WarningHandler {
  public:
    void process(const c10::Warning& /*warning*/) override {}
};

/// Silences LibTorch's warnings about future releases, in this thread, while it exists.
class Silence {
    SilentWarnings handler_;
    c10::WarningUtils::WarningHandlerGuard guard_{&handler_};
};

/// Refuses records that no module of ours has. LibTorch takes `A` for `a` in names, so they are held to their
/// letters, and two that differ in nothing else are refused.
void check_records(const std::vector<std::string>& records) {
    static const std::regex expected(
        R"((data|constants)(\.pkl|/[0-9]+)|code/[A-Za-z0-9_/]+\.py(\.debug_pkl)?|(\.data/)?version|byteorder)"
        R"(|\.data/serialization_id|\.format_version|\.storage_alignment)");
    std::set<std::string> found;
    for (const std::string& record : records) {
        std::string lower = record;
        std::transform(lower.begin(), lower.end(), lower.begin(),
                       [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
        if (record.size() > kLongestRecord || !std::regex_match(record, expected) ||
            !found.insert(lower).second) {
            throw InputError("holds the record " + in_quotes(record) +
                             ", which no module of ours does: the bundle is damaged or not to be trusted");
        }
    }
}

/// Storages of the tensors in the mapping; none if the bytes are not laid out as TorchScript does it, for
/// example because the archive was compressed.
std::shared_ptr<DeserializationStorageContext> storages_in(const std::shared_ptr<MappedFile>& file,
                                                           PyTorchStreamReader& reader) {
    constexpr std::size_t kAlignment = 64;
    const std::string folder = "data/";
    auto storages = std::make_shared<DeserializationStorageContext>();
    for (const std::string& record : reader.getAllRecords()) {
        if (!record.starts_with(folder)) continue;
        const std::size_t offset = reader.getRecordOffset(record), bytes = reader.getRecordSize(record);
        if (offset % kAlignment != 0 || offset > file->bytes().size() ||
            bytes > file->bytes().size() - offset)
            return nullptr;
        // The deleter only keeps the mapping alive while the tensor's bytes are in use.
        const at::Tensor mapped = at::from_blob(
            file->bytes().data() + offset, static_cast<std::int64_t>(bytes), [file](void*) {}, at::kByte);
        storages->addStorage(record.substr(folder.size()), mapped.storage());
    }
    return storages;
}

/// Reads one pickle of the archive.
class ArchiveReader {
  public:
    ArchiveReader(std::shared_ptr<MappedFile> file, c10::Device device)
        : file_(std::move(file)),
          device_(device),
          reader_(std::make_shared<MappingReader>(file_)),
          sources_(
              unit_, &constants_, [this](const std::string& name) { return source_of(name); },
              reader_.version()) {}

    torch::jit::Module module() {
        const Silence silence;
        check_records(reader_.getAllRecords());
        for (const IValue& constant : read("constants", nullptr).toTupleRef().elements())
            constants_.push_back(constant);
        const IValue data = read("data", storages_in(file_, reader_));
        return torch::jit::Module(data.toObject());
    }

  private:
    IValue read(const std::string& pickle, std::shared_ptr<DeserializationStorageContext> storages) {
        const auto type_of = [this](const c10::QualifiedName& name) {
            check_module_class(name.qualifiedName());
            return c10::StrongTypePtr(unit_, sources_.loadType(name));
        };
        return torch::jit::readArchiveAndTensors(pickle, "", "", type_of, torch::jit::ObjLoaderFunc, device_,
                                                 reader_, torch::jit::Unpickler::defaultTypeParser,
                                                 std::move(storages));
    }

    /// The only way for code to get to LibTorch. @return nullptr if there is no such record
    std::shared_ptr<torch::jit::Source> source_of(const std::string& name) {
        std::string path = "code/" + name;
        std::replace(path.begin(), path.end(), '.', '/');
        path += ".py";
        if (!reader_.hasRecord(path)) return nullptr;
        const std::string text = text_of(path);
        check_module_code(text, path);
        return std::make_shared<torch::jit::Source>(text, path, 1);
    }

    std::string text_of(const std::string& record) {
        const auto [text, bytes] = reader_.getRecord(record);
        return {static_cast<const char*>(text.get()), bytes};
    }

    std::shared_ptr<MappedFile> file_;
    c10::Device device_;
    PyTorchStreamReader reader_;
    std::shared_ptr<torch::jit::CompilationUnit> unit_ = std::make_shared<torch::jit::CompilationUnit>();
    std::vector<IValue> constants_;
    torch::jit::SourceImporter sources_;
};

}  // namespace

torch::jit::Module load_module_file(const std::filesystem::path& path, c10::Device device) {
    const auto file = std::make_shared<MappedFile>(path);
    try {
        return ArchiveReader(file, device).module();
    } catch (const InputError& error) {
        throw InputError(path.string() + ": " + error.what());
    }
}

}  // namespace musicsteer

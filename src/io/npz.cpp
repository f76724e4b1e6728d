#include "io/npz.hpp"

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/errors.hpp"

// A zip archive (PKWARE's APPNOTE): for each file a local header, its name and its bytes; then a central
// directory with an entry for each; then the end record.

namespace musicsteer {
namespace {

constexpr std::uint16_t kVersion = 20;                     // 2.0, the first with folders: what everyone reads
constexpr std::uint32_t kFirstOfJanuary1980 = 0x00210000;  // the earliest date there is, time 0:00
constexpr std::uint64_t kMax = 0xFFFFFFFE;                 // beyond it stands zip64
constexpr std::size_t kAlignment = 64;                     // of an array's numbers in its .npy

/// The CRC of zip, reflected polynomial 0xEDB88320.
std::uint32_t crc32(std::string_view bytes) {
    static const std::array<std::uint32_t, 256> kTable = [] {
        std::array<std::uint32_t, 256> table{};
        for (std::uint32_t i = 0; i < table.size(); ++i) {
            table[i] = i;
            for (int bit = 0; bit < 8; ++bit) table[i] = (table[i] >> 1) ^ ((table[i] & 1) * 0xEDB88320U);
        }
        return table;
    }();
    std::uint32_t crc = 0xFFFFFFFF;
    for (const char byte : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF];
    return ~crc;
}

template <typename Number>
void append(std::string& to, Number number) {
    for (std::size_t i = 0; i < sizeof number; ++i)
        to += static_cast<char>((static_cast<std::uint64_t>(number) >> (8 * i)) & 0xFF);
}

/// @param dtype  numpy's, "<f4"; @param shape  "(3,)"
std::string npy(const std::string& dtype, const std::string& shape, std::string_view data) {
    std::string header = "{'descr': '" + dtype + "', 'fortran_order': False, 'shape': " + shape + ", }";
    const std::size_t before = 10;  // magic, version and length
    while ((before + header.size() + 1) % kAlignment != 0) header += ' ';
    header += '\n';
    std::string bytes("\x93NUMPY\x01\x00", 8);
    append(bytes, static_cast<std::uint16_t>(header.size()));
    return bytes + header + std::string(data);
}

/// What the local header and the central directory say alike.
std::string description(const std::string& name, std::string_view bytes) {
    std::string text;
    append(text, kVersion);
    append(text, std::uint16_t{0x0800});  // the name is UTF-8
    append(text, std::uint16_t{0});       // stored
    append(text, kFirstOfJanuary1980);
    append(text, crc32(bytes));
    append(text, static_cast<std::uint32_t>(bytes.size()));
    append(text, static_cast<std::uint32_t>(bytes.size()));
    append(text, static_cast<std::uint16_t>(name.size()));
    append(text, std::uint16_t{0});  // no extra field
    return text;
}

class ZipWriter {
  public:
    explicit ZipWriter(AtomicFile& file) : file_(file) {}

    void add(const std::string& name, std::string_view bytes) {
        if (offset_ + bytes.size() + name.size() > kMax) throw OutputError(name + ": too large for npz");
        const std::string same = description(name, bytes);
        directory_ += "PK\x01\x02";
        append(directory_, kVersion);
        directory_ += same;
        append(directory_, std::uint16_t{0});  // no comment
        append(directory_, std::uint16_t{0});  // disk
        append(directory_, std::uint16_t{0});  // internal attributes
        append(directory_, std::uint32_t{0});  // external attributes
        append(directory_, static_cast<std::uint32_t>(offset_));
        directory_ += name;
        ++count_;
        write("PK\x03\x04" + same + name);
        write(bytes);
    }
    void finish() {
        std::string end = "PK\x05\x06";
        append(end, std::uint32_t{0});  // disks
        append(end, count_);
        append(end, count_);
        append(end, static_cast<std::uint32_t>(directory_.size()));
        append(end, static_cast<std::uint32_t>(offset_));
        append(end, std::uint16_t{0});  // no comment
        write(directory_ + end);
    }

  private:
    void write(std::string_view bytes) {
        file_.write(bytes);
        offset_ += bytes.size();
    }

    AtomicFile& file_;
    std::uint64_t offset_ = 0;
    std::uint16_t count_ = 0;
    std::string directory_;
};

}  // namespace

void save_npz(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& arrays,
              const std::string& metadata, Overwrite overwrite) {
    AtomicFile file(path, overwrite);
    ZipWriter zip(file);
    for (const auto& [name, array] : arrays) {
        const at::Tensor values = array.to(at::kCPU, at::kFloat).contiguous();
        std::string shape = "(";
        for (const std::int64_t size : values.sizes()) shape += std::to_string(size) + ",";
        const std::string_view data(static_cast<const char*>(values.data_ptr()),
                                    static_cast<std::size_t>(values.numel()) * sizeof(float));
        zip.add(name + ".npy", npy("<f4", shape + ")", data));
    }
    zip.add("metadata.npy", npy("|S" + std::to_string(metadata.size()), "()", metadata));
    zip.finish();
    file.commit();
}

}  // namespace musicsteer

#include "bundle/bundle.hpp"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <charconv>
#include <system_error>

#include "bundle/module_file.hpp"
#include "io/hash_cache.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExportAgain = "; export the bundle again";

void check_size(const fs::path& path, const FileRecord& record) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) {
        throw InputError(path.string() + ": missing, though the manifest lists it" + kExportAgain);
    }
    if (!fs::is_regular_file(status))
        throw InputError(path.string() + ": expected a file, found something else");
    const std::uintmax_t bytes = fs::file_size(path, error);
    if (error) throw InputError(path.string() + ": cannot be read: " + error.message());
    if (bytes != record.bytes) {
        throw InputError(path.string() + ": expected " + std::to_string(record.bytes) + " bytes, found " +
                         std::to_string(bytes) + kExportAgain);
    }
}

void check_hash(const fs::path& path, const FileRecord& record) {
    const std::string found = cached_sha256_of_file(path);
    if (found != record.sha256) {
        throw InputError(path.string() + ": expected SHA-256 " + record.sha256 + ", found " + found +
                         kExportAgain);
    }
}

// LibTorch's messages may begin with an empty line, and continue with stack traces: the first line that says
// something is for people.
std::string first_line(const std::string& message) {
    constexpr std::size_t kLongest = 160;
    const std::size_t start = std::min(message.find_first_not_of(" \t\r\n"), message.size());
    const std::string line = message.substr(start, message.find('\n', start) - start);
    if (line.empty()) return "LibTorch does not say why";
    return line.size() <= kLongest ? line : line.substr(0, kLongest) + "...";
}

[[noreturn]] void fail_to_load(const fs::path& path, const std::string& reason) {
    throw InputError(path.string() + ": cannot be loaded as TorchScript (" + first_line(reason) + ")" +
                     kExportAgain);
}

bool is_available(c10::Device device) {
    if (!device.is_cuda()) return true;
    const int count = at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
    return device.index() < count && count > 0;
}

/// By default cuDNN computes convolutions and LSTMs with 10 bits of mantissa (TF32) and may choose another
/// algorithm each time.
void use_exact_products() {
    at::globalContext().setAllowTF32CuDNN(false);
    at::globalContext().setAllowTF32CuBLAS(false);
    at::globalContext().setDeterministicCuDNN(true);
}

}  // namespace

Bundle Bundle::open(const fs::path& directory, const BundleOptions& options) {
    Bundle bundle;
    bundle.directory_ = directory;
    bundle.options_ = options;
    bundle.manifest_ = Manifest::load(directory);
    for (const auto& [name, record] : bundle.manifest_.files) check_size(bundle.file(name), record);
    if (options.verify) {
        for (const auto& [name, record] : bundle.manifest_.files) check_hash(bundle.file(name), record);
    }
    return bundle;
}

torch::jit::Module Bundle::load_module(const std::string& file_name) const {
    const fs::path path = file(file_name);
    if (!manifest_.files.contains(file_name))
        throw InputError(path.string() + ": not listed in the manifest");
    if (!is_available(options_.device))
        throw ModelError("device " + options_.device.str() + " is not available here");
    const auto precision = manifest_.precision.find(path.stem().string());
    const bool is_int8 = precision != manifest_.precision.end() && precision->second == "int8";
    if (is_int8 && !options_.device.is_cpu()) {
        throw ModelError(path.string() + ": int8 weights run on the CPU only, not on " +
                         options_.device.str() + "; export the bundle with --precision f32");
    }
    if (options_.device.is_cuda()) use_exact_products();
    try {
        torch::jit::Module module = load_module_file(path, options_.device);
        module.eval();
        return module;
    } catch (const Error&) {
        throw;
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const c10::OutOfMemoryError& error) {
        throw ResourceError(path.string() + ": does not fit into the memory of " + options_.device.str() +
                            " (" + first_line(error.what_without_backtrace()) + ")");
    } catch (const c10::Error& error) {
        fail_to_load(path, error.what_without_backtrace());
    } catch (const std::exception& error) {  // TorchScript's ErrorReport is not a c10::Error
        fail_to_load(path, error.what());
    }
}

c10::Device parse_device(const std::string& name) {
    if (name == "cpu") return c10::kCPU;
    const std::string expected = "device: expected cpu, cuda or cuda:N, found " + in_quotes(name);
    if (name != "cuda" && !name.starts_with("cuda:")) throw UsageError(expected);
    std::int8_t index = -1;  // the current device
    if (name != "cuda") {
        const char* const end = name.data() + name.size();
        const auto [stop, error] = std::from_chars(name.data() + 5, end, index);
        if (error != std::errc() || stop != end || index < 0) throw UsageError(expected);
    }
    const c10::Device device(c10::kCUDA, index);
    if (!is_available(device))
        throw UsageError("device: " + name + " is not available here; use --device cpu");
    return device;
}

}  // namespace musicsteer

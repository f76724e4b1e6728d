#pragma once

#include <c10/core/Device.h>
#include <torch/csrc/jit/api/module.h>

#include <filesystem>
#include <string>

#include "bundle/manifest.hpp"

namespace musicsteer {

struct BundleOptions {
    /// Hash each file, once for each (path, size, mtime). Results are cached in $XDG_CACHE_HOME/musicsteer or
    /// ~/.cache/musicsteer. Sizes are always checked.
    bool verify = true;
    c10::Device device = c10::kCPU;
};

/// A model directory: the manifest and the only place where TorchScript files are loaded.
class Bundle {
  public:
    /// Checks the manifest, that every file exists with the stated size, and (once) its hash.
    /// @throws InputError naming the file and what is wrong with it.
    static Bundle open(const std::filesystem::path& directory, const BundleOptions& options = {});

    const std::filesystem::path& directory() const { return directory_; }
    const Manifest& manifest() const { return manifest_; }
    c10::Device device() const { return options_.device; }
    std::filesystem::path file(const std::string& name) const { return directory_ / name; }

    /// Loads one module onto the device, in evaluation mode.
    /// @throws InputError if the manifest does not list it or it is not a TorchScript file; @throws
    /// ModelError if the device is not available; @throws ResourceError if the device's memory is too small.
    torch::jit::Module load_module(const std::string& file_name) const;

  private:
    std::filesystem::path directory_;
    Manifest manifest_;
    BundleOptions options_;
};

/// "cpu", "cuda", "cuda:1" -> device. @throws UsageError for anything else, or if CUDA is not available.
c10::Device parse_device(const std::string& name);

}  // namespace musicsteer

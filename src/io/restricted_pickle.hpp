#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace musicsteer {

/// A tensor as a pickle of torch.save describes it; its numbers lie elsewhere, in a storage.
struct PickledTensor {
    std::string storage_type;  ///< "FloatStorage" and the like
    std::string storage_key;   ///< names the record that holds it
    std::int64_t storage_size = 0;
    std::int64_t offset = 0;
    std::vector<std::int64_t> sizes;
    std::vector<std::int64_t> strides;
};

/// Reads `data.pkl` of a file that torch.save wrote from a dict of tensors: keys as text ("3" for an int).
/// It is no pickle machine: it knows the instructions of such a file, calls nothing, and refuses everything
/// else, names of functions and classes above all.
/// @throws InputError "ORIGIN: ..."
std::map<std::string, PickledTensor> read_tensor_dict(std::string_view pickle, const std::string& origin);

}  // namespace musicsteer

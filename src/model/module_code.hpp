#pragma once

#include <string>
#include <string_view>

namespace musicsteer {

/// Checks the source of a TorchScript archive before LibTorch compiles it: operators other than those that
/// our modules use, such as torch.save and torch.from_file, custom classes and special methods, such as
/// __setstate__, are refused. Code that passes can use time and memory, but cannot reach files.
/// @param path  of the source within the archive, for the message
/// @throws InputError that names what is refused and the line
void check_module_code(const std::string& source, const std::string& path);

/// Checks a class that an archive's pickle names: it must be the archive's own, not a custom class. @throws
/// InputError
void check_module_class(std::string_view qualified_name);

}  // namespace musicsteer

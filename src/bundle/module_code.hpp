#pragma once

#include <string>
#include <string_view>

namespace musicsteer {

/// Checks the source of a TorchScript archive before LibTorch compiles it. It is parsed by LibTorch's own
/// parser, and only the syntax, types and operators that our modules have are allowed. A name is used only
/// after the function has bound it, and only functions of the archive are called by a name bound to them, so
/// nothing that could reach files, such as torch.save or from_file, has a way in. Code that passes can use
/// time and memory.
/// @param path  of the source within the archive, for the message
/// @throws InputError that names what is refused and the line
void check_module_code(const std::string& source, const std::string& path);

/// Checks a class that an archive's pickle names: it must be the archive's own, not a custom class. @throws
/// InputError
void check_module_class(std::string_view qualified_name);

}  // namespace musicsteer

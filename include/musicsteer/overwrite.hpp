#pragma once

namespace musicsteer {

/// Whether an existing file may be replaced.
enum class Overwrite { kRefuse, kAllow };

}  // namespace musicsteer

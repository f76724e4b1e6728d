#pragma once

namespace musicsteer {

/// Whether a file that exists may be replaced.
enum class Overwrite { kRefuse, kAllow };

}  // namespace musicsteer

#include "core/wide.hpp"

#include <cstdlib>
#include <string_view>

namespace foreshade {

bool wide_lanes() {
#if defined(__x86_64__) && defined(__GNUC__)
    static const bool wide = [] {
        const char* const asked = std::getenv("FORESHADE_LANES");
        return __builtin_cpu_supports("avx2") != 0 && (asked == nullptr || std::string_view(asked) != "4");
    }();
    return wide;
#else
    return false;
#endif
}

} // namespace foreshade

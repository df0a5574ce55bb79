#include "core/large_pages.hpp"

#include <cstdint>
#include <cstdlib>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace foreshade {

#if defined(__GLIBC__) && defined(MADV_HUGEPAGE)

namespace {

constexpr std::size_t kLargePage = std::size_t{2} << 20U;

// Takes so much of the heap, and gives it back: only the place behind its end is touched. The first large page's
// address that was not asked for.
std::uintptr_t ask_for(std::size_t bytes) {
    void* const taken = std::malloc(bytes);
    const auto begin = (reinterpret_cast<std::uintptr_t>(taken) + kLargePage - 1) & ~(kLargePage - 1);
    const auto end = (reinterpret_cast<std::uintptr_t>(taken) + bytes) & ~(kLargePage - 1);
    if (taken != nullptr && begin < end)
        madvise(static_cast<char*>(taken) + (begin - reinterpret_cast<std::uintptr_t>(taken)), end - begin,
                MADV_HUGEPAGE);
    std::free(taken);
    return end;
}

} // namespace

void ask_for_large_pages() {
    // glibc maps apart what is larger than a threshold, and moves the threshold up to what was freed so: the second
    // block comes from the heap. A page that is touched before it is asked for stays small, so few blocks are taken.
    constexpr std::size_t kApart = std::size_t{31} << 20U;
    thread_local std::uintptr_t end = 0;
    if (end == 0) ask_for(kApart);
    void* const next = std::malloc(kLargePage);
    const auto place = reinterpret_cast<std::uintptr_t>(next);
    std::free(next);
    if (end == 0 || place + 2 * kLargePage > end) end = ask_for(kApart - kLargePage);
}

#else

void ask_for_large_pages() {}

#endif

} // namespace foreshade

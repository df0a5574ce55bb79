// The newest 30 utilisation samples of every VM; they travel with it from host to host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace foreshade::cloudsim {

inline constexpr std::size_t kHistory = 30;
inline constexpr std::size_t kTrend = 10; // samples that local regression looks at

class History {
  public:
    explicit History(std::size_t n_vms);

    // One sample of every VM, taken at a control step.
    void push(std::span<const double> utilisation);

    // Samples kept per VM, at most 30.
    std::size_t count() const { return count_; }

    // A VM's samples, newest first, `count()` of them.
    const double* of(std::size_t vm) const { return rows_.data() + vm * kRow + newest_; }

    // 1 + age of the VM's oldest sample that is not zero; 1 where there is none.
    std::size_t length(std::size_t vm) const {
        return oldest_[vm] < 0 ? 1 : static_cast<std::size_t>(pushed_ - oldest_[vm]);
    }

  private:
    // Samples are written downwards, so that the newest stand first and together; a row is moved up when it is full.
    static constexpr std::size_t kRow = 64;

    std::size_t newest_ = kRow;
    std::size_t count_ = 0;
    std::int32_t pushed_ = 0;
    std::vector<double> rows_;         // (n_vms, 64)
    std::vector<std::int32_t> oldest_; // (n_vms,) number of the oldest kept sample that is not zero, -1 = none
};

} // namespace foreshade::cloudsim

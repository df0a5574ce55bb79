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

    // One sample of each VM of `vms`, taken at a control step; `utilisation` is indexed by VM.
    void push(std::span<const double> utilisation, std::span<const std::int32_t> vms);

    // Samples kept per VM, at most 30.
    std::size_t count() const { return count_; }

    // A VM's samples, newest first, `count()` of them.
    const double* of(std::size_t vm) const { return rows_.data() + vm * kRow + newest_; }

    // 1 + age of the VM's oldest sample that is not zero; 1 where there is none.
    std::size_t length(std::size_t vm) const {
        const double* const sample = of(vm);
        std::size_t n = count_;
        while (n > 1 && sample[n - 1] == 0) --n;
        return n > 0 ? n : 1;
    }

  private:
    // Samples are written downwards, so that the newest stand first and together; a row is moved up when it is full.
    static constexpr std::size_t kRow = 64;

    std::size_t newest_ = kRow;
    std::size_t count_ = 0;
    std::vector<double> rows_; // (n_vms, 64)
};

} // namespace foreshade::cloudsim

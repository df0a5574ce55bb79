#include "cloudsim/history.hpp"

#include <algorithm>

namespace foreshade::cloudsim {

History::History(std::size_t n_vms) : rows_(n_vms * kRow, 0.0) {}

void History::push(std::span<const double> utilisation, std::span<const std::int32_t> vms) {
    if (newest_ == 0) {
        constexpr std::size_t kKeep = kHistory - 1;
        for (const std::int32_t vm : vms) {
            double* const row = rows_.data() + static_cast<std::size_t>(vm) * kRow;
            std::copy_n(row, kKeep, row + kRow - kKeep);
        }
        newest_ = kRow - kKeep;
    }
    --newest_;
    count_ = std::min(count_ + 1, kHistory);
    for (const std::int32_t vm : vms) {
        const auto v = static_cast<std::size_t>(vm);
        rows_[v * kRow + newest_] = utilisation[v];
    }
}

} // namespace foreshade::cloudsim

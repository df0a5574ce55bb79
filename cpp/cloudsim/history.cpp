#include "cloudsim/history.hpp"

#include <algorithm>

namespace foreshade::cloudsim {

History::History(std::size_t n_vms) : rows_(n_vms * kRow, 0.0), oldest_(n_vms, -1) {}

void History::push(std::span<const double> utilisation) {
    const std::size_t n = utilisation.size();
    if (newest_ == 0) {
        constexpr std::size_t kKeep = kHistory - 1;
        for (std::size_t vm = 0; vm < n; ++vm) {
            double* const row = rows_.data() + vm * kRow;
            std::copy_n(row, kKeep, row + kRow - kKeep);
        }
        newest_ = kRow - kKeep;
    }
    --newest_;
    count_ = std::min(count_ + 1, kHistory);
    const std::int32_t number = pushed_++;
    const std::int32_t first = std::max(0, pushed_ - static_cast<std::int32_t>(kHistory));
    for (std::size_t vm = 0; vm < n; ++vm) {
        double* const row = rows_.data() + vm * kRow + newest_;
        row[0] = utilisation[vm];
        std::int32_t& oldest = oldest_[vm];
        if (oldest < 0) {
            if (row[0] != 0) oldest = number;
        } else if (oldest < first) {
            do ++oldest;
            while (oldest <= number && row[number - oldest] == 0);
            if (oldest > number) oldest = -1;
        }
    }
}

} // namespace foreshade::cloudsim

#include "core/cluster_state.hpp"

#include <algorithm>
#include <limits>

namespace foreshade {

void HostColumns::resize(std::size_t n) {
    for (auto* column : {&capacity, &allocated, &usage, &overcommit}) column->resize(n * kResources, 0.0F);
    for (auto* column :
         {&contention, &power_w, &idle_w, &peak_w, &boot_s, &price_usd_h, &hazard_per_h, &since_s, &age_s})
        column->resize(n, 0.0F);
    for (auto* column : {&n_vms, &arriving, &rack, &zone, &model, &profile}) column->resize(n, 0);
    state.resize(n, HostState::off);
}

void VmColumns::resize(std::size_t n) {
    for (auto* column : {&flavour, &allocation, &usage, &demand}) column->resize(n * kResources, 0.0F);
    contention.resize(n, 0.0F);
    weight.resize(n, 1.0F);
    credit.resize(n, 1.0F);
    since_move_s.resize(n, std::numeric_limits<float>::infinity());
    age_s.resize(n, 0.0F);
    app.resize(n, -1);
    for (auto* column : {&host, &destination, &primary}) column->resize(n, -1);
    state.resize(n, VmState::absent);
    kind.resize(n, VmKind::production);
}

void ForecastColumns::resize(std::size_t n_vms) {
    series.resize(n_vms, -1);
    share.resize(n_vms, 0.0F);
    memory_share.resize(n_vms, 0.0F);
}

void ForecastColumns::clear() {
    moments = quantiles = {};
    owner.reset();
    std::fill(series.begin(), series.end(), -1);
    std::fill(share.begin(), share.end(), 0.0F);
    std::fill(memory_share.begin(), memory_share.end(), 0.0F);
}

} // namespace foreshade

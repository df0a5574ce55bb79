#include "core/decide/urgency.hpp"

#include <algorithm>

#include "core/decide/scaled.hpp"

namespace foreshade {

namespace {

constexpr float kNotDark = 0.01F; // of the credit, where others of the application serve

} // namespace

std::vector<float> price_waiting(const VmColumns& vms, std::span<const Load> loads, const Economy& economy,
                                 std::span<const std::int32_t> waiting) {
    std::vector<float> usd_h(vms.state.size(), 0.0F);
    std::int32_t last = -1;
    for (const std::int32_t app : vms.app) last = std::max(last, app);
    std::vector<std::uint8_t> lit(at(last + 1), 0); // by application: some VM serves, or waits before the others
    for (std::size_t v = 0; v < vms.state.size(); ++v)
        if (vms.kind[v] == VmKind::production && has_load(vms.state[v]) && vms.app[v] >= 0) lit[at(vms.app[v])] = 1;
    for (const std::int32_t vm : waiting) {
        const std::size_t v = at(vm);
        const std::int32_t app = vms.app[v];
        const bool dark = app < 0 || lit[at(app)] == 0;
        if (app >= 0) lit[at(app)] = 1;
        const float wanted = economy.unmet_usd_h[0] * loads[v].mean[0];
        usd_h[v] = vms.credit[v] * ((dark ? 1.0F : kNotDark) * economy.downtime_usd_h + wanted);
    }
    return usd_h;
}

} // namespace foreshade

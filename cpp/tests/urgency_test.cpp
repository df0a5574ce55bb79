#include "core/decide/urgency.hpp"

#include "tests/check.hpp"

using namespace foreshade;
using foreshade::testing::close;

namespace {

Economy economy() {
    Economy prices;
    prices.unmet_usd_h[0] = 0.001F;
    prices.downtime_usd_h = 10.0F;
    return prices;
}

// VMs of these applications in these states, each of which wants 1,000 MHz.
std::vector<float> priced(std::vector<std::int32_t> apps, std::vector<VmState> states,
                          std::vector<std::int32_t> waiting) {
    VmColumns vms;
    vms.resize(apps.size());
    vms.app = std::move(apps);
    vms.state = std::move(states);
    vms.credit.assign(vms.app.size(), 1.0F);
    vms.kind.assign(vms.app.size(), VmKind::production);
    std::vector<Load> loads(vms.app.size());
    for (Load& load : loads) load.mean[0] = 1'000.0F;
    return price_waiting(vms, loads, economy(), waiting);
}

constexpr double kDark = 11.0, kServed = 1.1; // USD/h: the credit or a hundredth of it, and what is wanted

} // namespace

TEST(the_first_that_waits_brings_all_of_a_dark_application) {
    const auto usd_h = priced({0, 0, -1}, {VmState::pending, VmState::failed, VmState::pending}, {1, 0, 2});
    CHECK(close(usd_h[0], kServed) && close(usd_h[1], kDark) && close(usd_h[2], kDark)); // in their order
}

TEST(who_waits_is_worth_less_where_a_member_serves_or_boots) {
    for (const VmState other : {VmState::running, VmState::migrating, VmState::booting}) {
        const auto usd_h = priced({0, 0}, {other, VmState::pending}, {1});
        CHECK(usd_h[0] == 0.0F && close(usd_h[1], kServed));
    }
    for (const VmState other : {VmState::absent, VmState::stopping, VmState::paused, VmState::failed})
        CHECK(close(priced({0, 0}, {other, VmState::pending}, {1})[1], kDark));
}

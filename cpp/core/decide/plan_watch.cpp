#include "core/decide/plan_watch.hpp"
#include "core/wide.hpp"

#include <algorithm>

namespace foreshade {

namespace {

// Shares of what there was at the last plan.
constexpr double kFall = 0.03; // of CPU demand: what did not fit on fewer hosts may now
constexpr double kRise = 0.03; // of promised memory: room for what comes may be running out
// What is known of a host.
constexpr std::uint8_t kOn = 1, kBears = 2, kAlarmed = 4;

std::uint8_t condition_of(const HostColumns& hosts, std::size_t h, float alarm_per_h) {
    std::uint8_t now = hosts.n_vms[h] > 0 || hosts.arriving[h] > 0 ? kBears : 0;
    if (hosts.state[h] == HostState::on) now |= kOn;
    if (hosts.hazard_per_h[h] > alarm_per_h) now |= kAlarmed;
    return now;
}

// Whether a host came up, fell out with what it bears or came empty, or its failure is foreseen or no longer is: what
// is empty and goes off was meant to, and where VMs have been put was a plan's choice.
bool matters(std::uint8_t before, std::uint8_t now) {
    if (((before ^ now) & kAlarmed) != 0) return true;
    const bool bore = (before & kBears) != 0;
    if ((before & kOn) == 0) return (now & kOn) != 0;
    return bore && ((now & kOn) == 0 || (now & kBears) == 0);
}

} // namespace

PlanWatch::PlanWatch(std::size_t every_ticks, float alarm_per_h, float move_usd, float horizon_h)
    : every_(static_cast<std::int64_t>(std::max<std::size_t>(every_ticks, 1))), alarm_per_h_(alarm_per_h),
      rise_usd_h_(move_usd / horizon_h) {}

void PlanWatch::reset() {
    seen_ = found_ = false;
}

FORESHADE_CLONES bool PlanWatch::due(const Planned& planned, const ExpectedCost& cost, bool unserved) {
    if (every_ <= 1) return true;
    const ClusterState& state = planned.state();
    const HostColumns& hosts = state.hosts;
    const std::size_t n = planned.n_hosts();
    bool due = !seen_ || unserved || found_ || state.tick - last_ >= every_;
    condition_.resize(n);
    least_usd_h_.resize(n);
    now_usd_h_.resize(n);
    double demand = 0.0, promised = 0.0;
    for (std::size_t h = 0; h < n; ++h) {
        demand += static_cast<double>(planned.loads().bears[h].mean[0]);
        promised += static_cast<double>(hosts.allocated[h * kResources + 1]);
        const std::uint8_t now = condition_of(hosts, h, alarm_per_h_);
        now_usd_h_[h] = planned.here(h) > 0 ? planned.usd_h(h) - cost.energy_usd_h(planned.loads(), h) : 0.0F;
        due = due || matters(condition_[h], now) || now_usd_h_[h] - least_usd_h_[h] > rise_usd_h_;
        condition_[h] = now;
    }
    due = due || demand < demand_ * (1.0 - kFall) || promised > promised_ * (1.0 + kRise);
    if (due) {
        demand_ = demand;
        promised_ = promised;
        last_ = state.tick;
    }
    for (std::size_t h = 0; h < n; ++h)
        least_usd_h_[h] = due ? now_usd_h_[h] : std::min(now_usd_h_[h], least_usd_h_[h]);
    seen_ = true;
    found_ = false;
    return due;
}

} // namespace foreshade

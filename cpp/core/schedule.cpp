// The world's own scheduler: places what waits by the scenario's rule, and wakes hosts for what finds no room.
#include <array>
#include <functional>
#include <queue>
#include <utility>

#include "core/simulator.hpp"

namespace foreshade {

namespace {

std::size_t at(std::int32_t index) {
    return static_cast<std::size_t>(index);
}

} // namespace

std::size_t Simulator::schedule() {
    if (waiting_.empty()) return 0;
    std::vector<std::int32_t> still;
    std::vector<std::array<float, kResources>> promised; // room on hosts that are coming up
    const Scheduler rule = plant_->spec.scheduler;
    const auto n_hosts = static_cast<std::int32_t>(hosts_.size());
    const auto load_of = [this](std::int32_t h) { return hosts_[at(h)].allocated[0] / plant_->hosts[at(h)].limit[0]; };
    using Loaded = std::pair<float, std::int32_t>;
    std::vector<Loaded> on;
    for (std::int32_t h = 0; h < n_hosts && rule == Scheduler::worst_fit; ++h)
        if (hosts_[at(h)].state == HostState::on) on.emplace_back(load_of(h), h);
    std::priority_queue emptiest(std::greater<Loaded>(), std::move(on));
    for (const std::int32_t id : waiting_) {
        const Vm& vm = vms_[at(id)];
        if (!is_waiting(vm.state)) continue;
        const Amounts need = need_of(id);
        while (!emptiest.empty() && emptiest.top().first < load_of(emptiest.top().second)) { // has taken one since
            const std::int32_t h = emptiest.top().second;
            emptiest.pop();
            emptiest.emplace(load_of(h), h);
        }
        std::int32_t chosen = emptiest.empty() ? -1 : emptiest.top().second;
        if (chosen >= 0 && (!fits(chosen, need.data()) || !may_stand(id, chosen))) chosen = -1;
        float best = 0.0F;
        for (std::int32_t h = chosen < 0 ? 0 : n_hosts; h < n_hosts; ++h) {
            if (hosts_[at(h)].state != HostState::on || !fits(h, need.data()) || !may_stand(id, h)) continue;
            const float load = load_of(h);
            if (chosen >= 0 && !(rule == Scheduler::best_fit ? load > best : load < best)) continue;
            chosen = h;
            best = load;
            if (rule == Scheduler::first_fit) break;
        }
        if (chosen >= 0) {
            start_vm(id, chosen, BootPath::cold);
            ++tick_totals_.scheduled;
            continue;
        }
        still.push_back(id);
        if (promised.empty()) promised.assign(hosts_.size(), {});
        for (const bool wake : {false, true}) {
            for (std::int32_t h = 0; h < n_hosts && chosen < 0; ++h) {
                const HostState state = hosts_[at(h)].state;
                const bool coming = state == HostState::booting || state == HostState::waking;
                const bool down = state == HostState::off || state == HostState::asleep;
                if ((wake ? !down : !coming) || !may_stand(id, h)) continue;
                std::array<float, kResources> with_it = promised[at(h)];
                for (std::size_t r = 0; r < kResources; ++r) with_it[r] += need[r];
                with_it[1] += plant_->hosts[at(h)].vm_memory_mib;
                bool room = true;
                for (std::size_t r = 0; r < kResources; ++r) room = room && with_it[r] <= plant_->hosts[at(h)].limit[r];
                if (!room) continue;
                if (wake) {
                    restart_rack(plant_->spec.hosts[at(h)].rack);
                    if (power_host(h, PowerTarget::on) != Refusal::none) continue;
                }
                promised[at(h)] = with_it;
                chosen = h;
            }
        }
    }
    waiting_ = std::move(still);
    return waiting_.size();
}

} // namespace foreshade

// Live migration as iterative pre-copy over shared links: docs/physics.md, "Live migration".
#include <algorithm>
#include <limits>

#include "core/simulator.hpp"

namespace foreshade {

namespace {

constexpr double kMibPerMbit = 1.0e6 / 8.0 / (1024.0 * 1024.0);
constexpr double kNever = std::numeric_limits<double>::infinity();

std::size_t at(std::int32_t index) {
    return static_cast<std::size_t>(index);
}

} // namespace

// Those that have begun, the oldest first: where hosts are emptied by the dozen most wait, and every event asks.
const std::vector<std::uint32_t>& Simulator::begun_migrations() {
    if (begun_known_) return begun_;
    begun_.clear();
    for (std::size_t i = 0; i < migrations_.size(); ++i)
        if (migrations_[i].phase != Phase::queued) begun_.push_back(static_cast<std::uint32_t>(i));
    begun_known_ = true;
    return begun_;
}

// The migration whose next point comes first, the oldest of several; their number where there is none.
std::size_t Simulator::next_migration() {
    std::size_t first = migrations_.size();
    double next = kNever;
    for (const std::uint32_t i : begun_migrations())
        if (migrations_[i].next_s < next) {
            next = migrations_[i].next_s;
            first = i;
        }
    return first;
}

// Starts waiting migrations, oldest first, where both ends have a place free.
void Simulator::start_queued() {
    for (Migration& m : migrations_) {
        if (m.phase != Phase::queued) continue;
        HostTruth& source = hosts_[at(m.source)];
        HostTruth& destination = hosts_[at(m.destination)];
        if (source.moving >= profile(m.source).max_concurrent ||
            destination.moving >= profile(m.destination).max_concurrent)
            continue;
        const Vm& vm = vms_[at(m.vm)];
        touch(m.source);
        touch(m.destination);
        solve(m.source);
        const Portion p =
            *std::find_if(portions_.begin(), portions_.end(), [&m](const Portion& x) { return x.vm == m.vm; });
        const HypervisorProfile& hypervisor = profile(m.source);
        m.memory_mib = static_cast<double>(p.capped[1]);
        const float busy = vm.allocation[0] > 0.0F ? p.got[0] / vm.allocation[0] : 0.0F;
        m.dirty_mib_s = static_cast<double>(hypervisor.dirty_share_per_s) * m.memory_mib * static_cast<double>(busy);
        m.working_set_mib = static_cast<double>(hypervisor.working_set) * m.memory_mib;
        m.remaining_mib = m.memory_mib;
        m.phase = Phase::setup;
        begun_known_ = false;
        m.next_s = now_ + static_cast<double>(hypervisor.migration_setup_s);
        ++source.moving;
        ++destination.moving;
        ++source.special;
        ++destination.special;
        destination.arriving_memory += p.capped[1];
        set_vm_state(m.vm, VmState::migrating);
    }
}

// Shares the links anew among the migrations that are copying, and finds when each ends its round. What keeps its rate
// goes on as it was: only hosts whose traffic changes are evaluated again.
void Simulator::replan_links() {
    planned_mbit_s_.resize(hosts_.size());
    const std::vector<std::uint32_t>& begun = begun_migrations();
    for (const std::uint32_t i : begun) {
        const Migration& m = migrations_[i];
        for (const std::int32_t host : {m.source, m.destination}) {
            hosts_[at(host)].copying = 0;
            planned_mbit_s_[at(host)] = 0.0F;
        }
    }
    std::fill(rack_copying_.begin(), rack_copying_.end(), 0);
    for (const std::uint32_t i : begun) {
        const Migration& m = migrations_[i];
        if (m.phase != Phase::copying) continue;
        ++hosts_[at(m.source)].copying;
        ++hosts_[at(m.destination)].copying;
        const std::int32_t from = plant_->spec.hosts[at(m.source)].rack;
        const std::int32_t to = plant_->spec.hosts[at(m.destination)].rack;
        if (from == to) continue;
        ++rack_copying_[at(from)];
        ++rack_copying_[at(to)];
    }
    for (const std::uint32_t i : begun) {
        Migration& m = migrations_[i];
        if (m.phase != Phase::copying) continue;
        const std::int32_t from = plant_->spec.hosts[at(m.source)].rack;
        const std::int32_t to = plant_->spec.hosts[at(m.destination)].rack;
        float mbit_s = std::min(
            plant_->hosts[at(m.source)].link_mbit_s / static_cast<float>(hosts_[at(m.source)].copying),
            plant_->hosts[at(m.destination)].link_mbit_s / static_cast<float>(hosts_[at(m.destination)].copying));
        if (from != to)
            for (const std::int32_t rack : {from, to})
                mbit_s = std::min(mbit_s, plant_->spec.racks[at(rack)].uplink_mbit_s /
                                              static_cast<float>(rack_copying_[at(rack)]));
        planned_mbit_s_[at(m.source)] += mbit_s;
        planned_mbit_s_[at(m.destination)] += mbit_s;
        const double rate_mib_s = static_cast<double>(mbit_s) * kMibPerMbit;
        if (rate_mib_s == m.rate_mib_s) continue;
        m.remaining_mib -= m.rate_mib_s * (now_ - m.advanced_s);
        m.advanced_s = now_;
        m.rate_mib_s = rate_mib_s;
        m.next_s = now_ + std::max(0.0, m.remaining_mib) / m.rate_mib_s;
    }
    for (const std::uint32_t i : begun) {
        const Migration& m = migrations_[i];
        for (const std::int32_t host : {m.source, m.destination}) {
            if (hosts_[at(host)].migration_mbit_s == planned_mbit_s_[at(host)]) continue;
            touch_link(host);
            hosts_[at(host)].migration_mbit_s = planned_mbit_s_[at(host)];
        }
    }
}

// What happens to a migration at its next point: setup over, a round over, or the VM switched over.
void Simulator::play_migration(std::size_t index) {
    Migration& m = migrations_[index];
    const HypervisorProfile& hypervisor = profile(m.source);
    switch (m.phase) {
    case Phase::queued:
        return;
    case Phase::setup:
        m.phase = Phase::copying;
        m.round_start_s = m.advanced_s = now_;
        m.rate_mib_s = 0.0;
        replan_links();
        return;
    case Phase::copying: {
        const double next = std::min(m.dirty_mib_s * (now_ - m.round_start_s), m.working_set_mib);
        ++m.round;
        if (next > m.rate_mib_s * static_cast<double>(hypervisor.downtime_limit_s) && m.round < hypervisor.max_rounds) {
            m.remaining_mib = next;
            m.round_start_s = m.advanced_s = now_;
            m.next_s = now_ + next / m.rate_mib_s;
            return;
        }
        m.downtime_s = next / m.rate_mib_s + static_cast<double>(hypervisor.resume_s);
        m.phase = Phase::stopped;
        m.next_s = now_ + m.downtime_s;
        replan_links(); // the others get its share
        return;
    }
    case Phase::stopped:
        finish_migration(index);
        return;
    }
}

void Simulator::finish_migration(std::size_t index) {
    const Migration m = migrations_[index];
    Vm& vm = vms_[at(m.vm)];
    touch(m.source);
    touch(m.destination);
    // The downtime is over: what the VM got until then is what nobody got while it was switched over.
    solve(m.source);
    const auto portion =
        std::find_if(portions_.begin(), portions_.end(), [&m](const Portion& p) { return p.vm == m.vm; });
    if (portion->useful) {
        const Prices& prices = plant_->spec.prices;
        const double unmet = static_cast<double>(portion->got[0]) * m.downtime_s;
        double usd = 0.0;
        for (const std::size_t r :
             {std::size_t{0}, std::size_t{2}, std::size_t{3}, std::size_t{4}}) { // its memory stays filled
            const double lost = static_cast<double>(portion->got[r]) * m.downtime_s;
            tick_totals_.unmet[r] += lost;
            usd += lost * static_cast<double>(prices.unmet_usd_h[r] * kPriceUnit[r]);
        }
        tick_totals_.migration_unmet += unmet;
        vm.unmet += unmet;
        vm.tick_unmet += static_cast<float>(unmet);
        if (!vm.touched) {
            vm.touched = true;
            touched_vms_.push_back(m.vm);
        }
        const auto credit = static_cast<double>(vm.credit);
        tick_totals_.cost[static_cast<std::size_t>(CostTerm::unmet)] += credit * usd;
        tick_totals_.cost[static_cast<std::size_t>(CostTerm::downtime)] +=
            credit * m.downtime_s / 3600.0 * static_cast<double>(prices.downtime_usd_h);
        tick_totals_.dark_s += m.downtime_s;
    }
    tick_totals_.downtime_s += m.downtime_s;
    cancel_migration(index); // gives back everything but the VM's place
    reserve(m.source, vm.allocation, -1.0F);
    unlink_host(m.vm);
    reserve(m.destination, vm.allocation, 1.0F);
    link_host(m.vm, m.destination);
    last_move_s_[at(m.vm)] = now_;
    set_vm_state(m.vm, VmState::running);
    start_queued();
    replan_links();
}

// Takes the migration out of the books; the VM goes on where it stands.
void Simulator::cancel_migration(std::size_t index) {
    const Migration m = migrations_[index];
    Vm& vm = vms_[at(m.vm)];
    if (m.phase != Phase::queued) {
        for (const std::int32_t host : {m.source, m.destination}) {
            touch(host);
            --hosts_[at(host)].moving;
            --hosts_[at(host)].special;
            hosts_[at(host)].migration_mbit_s = 0.0F;
        }
        hosts_[at(m.destination)].arriving_memory -= static_cast<float>(m.memory_mib);
        if (hosts_[at(m.destination)].moving == 0) hosts_[at(m.destination)].arriving_memory = 0.0F;
    }
    --hosts_[at(m.destination)].arriving;
    reserve(m.destination, vm.allocation, -1.0F);
    vm.destination = -1;
    note_place(m.vm);
    begun_known_ = false;
    migrations_.erase(migrations_.begin() + static_cast<std::ptrdiff_t>(index));
    if (vm.state == VmState::migrating) {
        set_vm_state(m.vm, VmState::running);
        replan_links();
    }
}

void Simulator::cancel_migrations_of(std::int32_t host) {
    for (std::size_t i = migrations_.size(); i-- > 0;)
        if (i < migrations_.size() && (migrations_[i].source == host || migrations_[i].destination == host)) {
            ++tick_totals_.migrations_failed;
            cancel_migration(i);
        }
}

} // namespace foreshade

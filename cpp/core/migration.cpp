// Live migration as iterative pre-copy over shared links: docs/physics.md, "Live migration".
#include <algorithm>
#include <array>
#include <iterator>

#include "core/simulator.hpp"

namespace foreshade {

namespace {

constexpr double kMibPerMbit = 1.0e6 / 8.0 / (1024.0 * 1024.0);

std::size_t at(std::int32_t index) {
    return static_cast<std::size_t>(index);
}

} // namespace

// The migration whose next point comes first, the oldest of several; null where there is none.
const Simulator::Begun* Simulator::next_migration() const {
    const auto first = std::min_element(begun_.begin(), begun_.end(),
                                        [](const Begun& a, const Begun& b) { return a.next_s < b.next_s; });
    return first == begun_.end() ? nullptr : &*first;
}

void Simulator::goes_on_at(std::uint32_t index, double time_s) {
    std::lower_bound(begun_.begin(), begun_.end(), index, [](const Begun& a, std::uint32_t i) {
        return a.migration < i;
    })->next_s = time_s;
}

// ---- those that wait ------------------------------------------------------------------------------------------------

bool Simulator::may_start(const Migration& m) const {
    return hosts_[at(m.source)].moving < profile(m.source).max_concurrent &&
           hosts_[at(m.destination)].moving < profile(m.destination).max_concurrent;
}

// Starts waiting migrations, oldest first, where both ends have a place free.
void Simulator::start_queued() {
    if (begun_.size() + n_ended_ == migrations_.size()) return;
    for (std::uint32_t i = 0; i < migrations_.size(); ++i)
        if (migrations_[i].phase == Phase::queued && may_start(migrations_[i])) start_migration(i);
    list_queued();
}

// The queue of each host, for start_queued_at().
void Simulator::list_queued() {
    std::fill(queue_first_.begin(), queue_first_.end(), -1);
    for (std::size_t i = migrations_.size(); i-- > 0;) {
        Migration& m = migrations_[i];
        if (m.phase != Phase::queued) continue;
        const std::array<std::int32_t, 2> ends{m.source, m.destination};
        for (std::size_t end = 0; end < 2; ++end) {
            m.queued_next[end] = queue_first_[at(ends[end])];
            queue_first_[at(ends[end])] = static_cast<std::int32_t>(i);
        }
    }
}

// The same where places have come free at two hosts alone, since start_queued() was called last.
void Simulator::start_queued_at(std::int32_t host, std::int32_t other) {
    const auto next = [this](std::int32_t i, std::int32_t of) {
        const Migration& m = migrations_[at(i)];
        return m.queued_next[m.source == of ? 0 : 1];
    };
    const auto first_of = [&](std::int32_t of) { // what has started since is dropped
        std::int32_t& first = queue_first_[at(of)];
        while (first >= 0 && migrations_[at(first)].phase != Phase::queued) first = next(first, of);
        return first;
    };
    const auto full = [this](std::int32_t h) { return hosts_[at(h)].moving >= profile(h).max_concurrent; };
    std::int32_t a = first_of(host), b = first_of(other);
    while (a >= 0 || b >= 0) {
        if (full(host)) a = -1;
        if (full(other)) b = -1;
        const std::int32_t i = b < 0 || (a >= 0 && a < b) ? a : b; // the older one
        if (i < 0) return;
        if (migrations_[at(i)].phase == Phase::queued && may_start(migrations_[at(i)]))
            start_migration(static_cast<std::uint32_t>(i));
        if (a == i) a = next(a, host);
        if (b == i) b = next(b, other);
    }
}

// From now on it takes a place at both ends. What its VM gets changes on its source alone.
void Simulator::start_migration(std::uint32_t index) {
    Migration& m = migrations_[index];
    HostTruth& source = hosts_[at(m.source)];
    HostTruth& destination = hosts_[at(m.destination)];
    const Vm& vm = vms_[at(m.vm)];
    const HypervisorProfile& hypervisor = profile(m.source);
    touch_link(m.source);
    touch_link(m.destination);
    packed_hosts_ = false;
    const Portion p = portion_at(m.source, m.vm);
    m.memory_mib = static_cast<double>(p.capped[1]);
    const float busy = vm.allocation[0] > 0.0F ? p.got[0] / vm.allocation[0] : 0.0F;
    m.dirty_mib_s = static_cast<double>(hypervisor.dirty_share_per_s) * m.memory_mib * static_cast<double>(busy);
    m.working_set_mib = static_cast<double>(hypervisor.working_set) * m.memory_mib;
    m.remaining_mib = m.memory_mib;
    m.phase = Phase::setup;
    const auto after = [](std::uint32_t i, const Begun& b) { return i < b.migration; };
    begun_.insert(std::upper_bound(begun_.begin(), begun_.end(), index, after),
                  {now_ + static_cast<double>(hypervisor.migration_setup_s), index});
    const bool keeps = keeps_sums(m.source);
    if (keeps)
        account(m.source, p, -1.0F);
    else
        source.stale = true;
    ++source.moving;
    ++destination.moving;
    ++source.special;
    ++destination.special;
    destination.arriving_memory += p.capped[1];
    set_moving(m.vm, true);
    if (keeps) account(m.source, uncontended(m.source, m.vm), 1.0F);
}

// A VM that begins or ceases to be copied serves as before: its application's shares are what they were.
void Simulator::set_moving(std::int32_t id, bool moving) {
    Vm& vm = vms_[at(id)];
    vm.state = moving ? VmState::migrating : VmState::running;
    ++vm.epoch;
    note_change(id);
    recount_special(vm);
    if (vm.host >= 0) repack_vm(id);
}

// ---- those that have begun ------------------------------------------------------------------------------------------

float Simulator::link_mbit_s(const Migration& m) const {
    const auto share = [this](std::int32_t host) {
        return plant_->hosts[at(host)].link_mbit_s / static_cast<float>(copying_[at(host)].size());
    };
    float mbit_s = std::min(share(m.source), share(m.destination));
    const std::int32_t from = plant_->spec.hosts[at(m.source)].rack;
    const std::int32_t to = plant_->spec.hosts[at(m.destination)].rack;
    if (from == to) return mbit_s;
    for (const std::int32_t rack : {from, to})
        mbit_s =
            std::min(mbit_s, plant_->spec.racks[at(rack)].uplink_mbit_s / static_cast<float>(rack_copying_[at(rack)]));
    return mbit_s;
}

// Shares the links anew where a migration begins or ceases to copy, and finds when each of those that share one with it
// ends its round. What keeps its rate goes on as it was: only hosts whose traffic changes are evaluated again.
void Simulator::replan_links(std::uint32_t index, bool joins) {
    const Migration changed = migrations_[index];
    const std::int32_t from = plant_->spec.hosts[at(changed.source)].rack;
    const std::int32_t to = plant_->spec.hosts[at(changed.destination)].rack;
    for (const std::int32_t host : {changed.source, changed.destination}) {
        std::vector<std::uint32_t>& copying = copying_[at(host)];
        const auto place = std::lower_bound(copying.begin(), copying.end(), index);
        if (joins)
            copying.insert(place, index);
        else
            copying.erase(place);
    }
    if (from != to) {
        rack_copying_[at(from)] += joins ? 1 : -1;
        rack_copying_[at(to)] += joins ? 1 : -1;
    }
    replanned_.assign({changed.source, changed.destination});
    const auto plan = [this](std::uint32_t i) {
        Migration& m = migrations_[i];
        const float mbit_s = link_mbit_s(m);
        if (mbit_s == m.mbit_s) return;
        m.remaining_mib -= m.rate_mib_s * (now_ - m.advanced_s);
        m.advanced_s = now_;
        m.mbit_s = mbit_s;
        m.rate_mib_s = static_cast<double>(mbit_s) * kMibPerMbit;
        goes_on_at(i, now_ + std::max(0.0, m.remaining_mib) / m.rate_mib_s);
        for (const std::int32_t host : {m.source, m.destination})
            if (std::find(replanned_.begin(), replanned_.end(), host) == replanned_.end()) replanned_.push_back(host);
    };
    if (from == to) { // only those of the two hosts share a link with it, each looked at once, the oldest first
        linked_.clear();
        std::set_union(copying_[at(changed.source)].begin(), copying_[at(changed.source)].end(),
                       copying_[at(changed.destination)].begin(), copying_[at(changed.destination)].end(),
                       std::back_inserter(linked_));
        for (const std::uint32_t i : linked_) plan(i);
    } else {
        const auto shares = [&](const Migration& m) {
            for (const std::int32_t host : {m.source, m.destination})
                if (host == changed.source || host == changed.destination) return true;
            const std::int32_t a = plant_->spec.hosts[at(m.source)].rack;
            const std::int32_t b = plant_->spec.hosts[at(m.destination)].rack;
            return a != b && (a == from || a == to || b == from || b == to);
        };
        for (const Begun& begun : begun_) {
            const Migration& m = migrations_[begun.migration];
            if (m.phase == Phase::copying && shares(m)) plan(begun.migration);
        }
    }
    for (const std::int32_t host : replanned_) {
        float mbit_s = 0.0F;
        for (const std::uint32_t i : copying_[at(host)]) mbit_s += migrations_[i].mbit_s;
        if (hosts_[at(host)].migration_mbit_s == mbit_s) continue;
        touch_link(host);
        hosts_[at(host)].migration_mbit_s = mbit_s;
    }
}

// What happens to a migration at its next point: setup over, a round over, or the VM switched over.
void Simulator::play_migration(std::uint32_t index) {
    Migration& m = migrations_[index];
    const HypervisorProfile& hypervisor = profile(m.source);
    switch (m.phase) {
    case Phase::queued:
    case Phase::over:
        return;
    case Phase::setup:
        m.phase = Phase::copying;
        m.round_start_s = m.advanced_s = now_;
        m.rate_mib_s = 0.0;
        m.mbit_s = 0.0F;
        replan_links(index, true);
        return;
    case Phase::copying: {
        const double next = std::min(m.dirty_mib_s * (now_ - m.round_start_s), m.working_set_mib);
        ++m.round;
        if (next > m.rate_mib_s * static_cast<double>(hypervisor.downtime_limit_s) && m.round < hypervisor.max_rounds) {
            m.remaining_mib = next;
            m.round_start_s = m.advanced_s = now_;
            goes_on_at(index, now_ + next / m.rate_mib_s);
            return;
        }
        m.downtime_s = next / m.rate_mib_s + static_cast<double>(hypervisor.resume_s);
        m.phase = Phase::stopped;
        goes_on_at(index, now_ + m.downtime_s);
        replan_links(index, false); // the others get its share
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
    touch_link(m.source);
    touch_link(m.destination);
    packed_hosts_ = false;
    // The downtime is over: what the VM got until then is what nobody got while it was switched over.
    const Portion p = portion_at(m.source, m.vm);
    if (p.useful) {
        const Prices& prices = plant_->spec.prices;
        const double unmet = static_cast<double>(p.got[0]) * m.downtime_s;
        double usd = 0.0;
        for (const std::size_t r :
             {std::size_t{0}, std::size_t{2}, std::size_t{3}, std::size_t{4}}) { // its memory stays filled
            const double lost = static_cast<double>(p.got[r]) * m.downtime_s;
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
    const bool leaves_sums = keeps_sums(m.source), joins_sums = keeps_sums(m.destination);
    if (leaves_sums)
        account(m.source, p, -1.0F);
    else
        hosts_[at(m.source)].stale = true;
    end_migration(index); // gives back everything but the VM's place
    reserve(m.source, vm.allocation, -1.0F);
    leave_list(m.vm);
    reserve(m.destination, vm.allocation, 1.0F);
    vm.state = VmState::running;
    join_list(m.vm, m.destination);
    set_moving(m.vm, false);
    if (joins_sums)
        account(m.destination, uncontended(m.destination, m.vm), 1.0F);
    else
        hosts_[at(m.destination)].stale = true;
    last_move_s_[at(m.vm)] = now_;
    start_queued_at(m.source, m.destination);
}

// Takes the migration out of the books.
void Simulator::end_migration(std::size_t index) {
    Migration& m = migrations_[index];
    Vm& vm = vms_[at(m.vm)];
    if (m.phase != Phase::queued) {
        for (const std::int32_t host : {m.source, m.destination}) {
            --hosts_[at(host)].moving;
            --hosts_[at(host)].special;
        }
        hosts_[at(m.destination)].arriving_memory -= static_cast<float>(m.memory_mib);
        if (hosts_[at(m.destination)].moving == 0) hosts_[at(m.destination)].arriving_memory = 0.0F;
        std::erase_if(begun_, [index](const Begun& begun) { return begun.migration == index; });
    }
    --hosts_[at(m.destination)].arriving;
    reserve(m.destination, vm.allocation, -1.0F);
    vm.destination = -1;
    note_place(m.vm);
    m.phase = Phase::over;
    ++n_ended_;
}

// The VM goes on where it stands.
void Simulator::cancel_migration(std::size_t index) {
    const Migration m = migrations_[index];
    if (m.phase != Phase::queued) {
        touch(m.source);
        touch(m.destination);
    }
    end_migration(index);
    if (m.phase == Phase::copying) replan_links(static_cast<std::uint32_t>(index), false);
    if (vms_[at(m.vm)].state == VmState::migrating) set_vm_state(m.vm, VmState::running);
}

void Simulator::cancel_migrations_of(std::int32_t host) {
    for (std::size_t i = migrations_.size(); i-- > 0;)
        if (migrations_[i].phase != Phase::over &&
            (migrations_[i].source == host || migrations_[i].destination == host)) {
            ++tick_totals_.migrations_failed;
            cancel_migration(i);
        }
}

void Simulator::drop_ended_migrations() {
    std::erase_if(migrations_, [](const Migration& m) { return m.phase == Phase::over; });
    n_ended_ = 0;
    for (std::vector<std::uint32_t>& copying : copying_) copying.clear();
    std::size_t begun = 0;
    for (std::uint32_t i = 0; i < migrations_.size(); ++i) {
        const Migration& m = migrations_[i];
        if (m.phase != Phase::queued) begun_[begun++].migration = i;
        if (m.phase != Phase::copying) continue;
        copying_[at(m.source)].push_back(i);
        copying_[at(m.destination)].push_back(i);
    }
    list_queued(); // they have other numbers now
}

} // namespace foreshade

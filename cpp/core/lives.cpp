// How VMs and hosts come, change and go: docs/physics.md, "Lives of VMs and hosts" and "Failures".
#include <algorithm>
#include <utility>

#include "core/simulator.hpp"

namespace foreshade {

namespace {

constexpr double kRackStart_s = 120.0; // before its hosts can boot
constexpr double kHour_s = 3600.0;

std::size_t at(std::int32_t index) {
    return static_cast<std::size_t>(index);
}

} // namespace

// ---- lists ----------------------------------------------------------------------------------------------------------

// What the rules about places are told of a VM's; call after any change of its host or destination.
void Simulator::note_place(std::int32_t id) {
    note_change(id);
    if (!affinity_) return;
    const Vm& vm = vms_[at(id)];
    affinity_.set(at(id), vm.app, vm.kind, vm.host, vm.destination);
}

bool Simulator::may_stand(std::int32_t id, std::int32_t host) const {
    return !affinity_ || affinity_.allows(at(id), vms_[at(id)].app, vms_[at(id)].kind, at(host));
}

bool Simulator::may_stand_new(std::int32_t app, VmKind kind, std::int32_t host) const {
    return !affinity_ || affinity_.allows_new(app, kind, at(host));
}

// The room that a VM needs where it is placed: with the first of a company that has to share a host comes the rest.
Amounts Simulator::need_of(std::int32_t id) const {
    Amounts need;
    std::copy_n(vms_[at(id)].allocation, kResources, need.begin());
    if (!affinity_ || !affinity_.is_first(at(id))) return need;
    float overhead = 0.0F;
    for (const Plant::HostConstants& host : plant_->hosts) overhead = std::max(overhead, host.vm_memory_mib);
    for (const std::int32_t v : affinity_.company_of(at(id))) {
        const VmState state = vms_[at(v)].state;
        if (v == id || !is_waiting(state)) continue;
        for (std::size_t r = 0; r < kResources; ++r) need[r] += vms_[at(v)].allocation[r];
        need[1] += overhead;
    }
    return need;
}

void Simulator::link_host(std::int32_t id, std::int32_t host) {
    touch(host);
    join_list(id, host);
}

void Simulator::unlink_host(std::int32_t id) {
    touch(vms_[at(id)].host);
    leave_list(id);
}

void Simulator::join_list(std::int32_t id, std::int32_t host) {
    Vm& vm = vms_[at(id)];
    HostTruth& truth = hosts_[at(host)];
    vm.host = host;
    beside_[at(id)] = {.next = -1, .previous = truth.last};
    (truth.last >= 0 ? beside_[at(truth.last)].next : truth.first) = id;
    truth.last = id;
    ++truth.n_vms;
    mark_special(vm, special(vm));
    repack_vm(id);
    note_place(id);
}

void Simulator::leave_list(std::int32_t id) {
    Vm& vm = vms_[at(id)];
    HostTruth& truth = hosts_[at(vm.host)];
    const Beside beside = std::exchange(beside_[at(id)], {});
    (beside.previous >= 0 ? beside_[at(beside.previous)].next : truth.first) = beside.next;
    (beside.next >= 0 ? beside_[at(beside.next)].previous : truth.last) = beside.previous;
    --truth.n_vms;
    mark_special(vm, false);
    if (vm.unmet_rate > 0.0F) unlist_short(vm.host, id);
    vm.host = -1;
    repack_vm(id);
    note_place(id);
}

void Simulator::link_app(std::int32_t id, std::int32_t app) {
    Vm& vm = vms_[at(id)];
    vm.app = app;
    vm.app_prev = -1;
    vm.app_next = apps_[at(app)].first;
    if (vm.app_next >= 0) vms_[at(vm.app_next)].app_prev = id;
    apps_[at(app)].first = id;
    vm.cumulative_mark = cumulative(app);
}

void Simulator::unlink_app(std::int32_t id) {
    Vm& vm = vms_[at(id)];
    bank_demand(vm);
    vm.share = 0.0F;
    (vm.app_prev >= 0 ? vms_[at(vm.app_prev)].app_next : apps_[at(vm.app)].first) = vm.app_next;
    if (vm.app_next >= 0) vms_[at(vm.app_next)].app_prev = vm.app_prev;
    vm.app_next = vm.app_prev = -1;
}

void Simulator::reserve(std::int32_t host, const float* allocation, float sign) {
    float* const allocated = hosts_[at(host)].allocated;
    for (std::size_t r = 0; r < kResources; ++r) allocated[r] += sign * allocation[r];
    allocated[1] += sign * plant_->hosts[at(host)].vm_memory_mib;
}

bool Simulator::fits(std::int32_t host, const float* allocation) const {
    const HostTruth& truth = hosts_[at(host)];
    const float* limit = plant_->hosts[at(host)].limit;
    for (std::size_t r = 0; r < kResources; ++r) { // a millionth of slack, for sums that come and go
        const float need = allocation[r] + (r == 1 ? plant_->hosts[at(host)].vm_memory_mib : 0.0F);
        if (allocation[r] > 0.0F && truth.allocated[r] + need > limit[r] * (1.0F + 1e-6F)) return false;
    }
    return true;
}

// ---- applications ---------------------------------------------------------------------------------------------------

// Whether the VM is one of those that an application's load falls on when nobody serves it.
bool Simulator::owns_load(const Vm& vm) const {
    return vm.kind == VmKind::production && !vm.spare && vm.state != VmState::stopping && vm.state != VmState::absent;
}

bool Simulator::special(const Vm& vm) const {
    return vm.state != VmState::running || !serves(vm);
}

void Simulator::recount_special(Vm& vm) {
    if (vm.host >= 0) mark_special(vm, special(vm));
}

// Call repack_vm() after it.
void Simulator::mark_special(Vm& vm, bool is_special) {
    hosts_[at(vm.host)].special += (is_special ? 1 : 0) - (vm.is_special ? 1 : 0);
    vm.is_special = is_special;
    if (!is_special || vm.listed) return;
    vm.listed = true;
    special_vms_.push_back(static_cast<std::int32_t>(&vm - vms_.data()));
}

// Cpu demand of the application's series from the trace's start to now, MHz·s.
double Simulator::cumulative(std::int32_t app) const {
    const auto series = at(plant_->work.app_series[at(app)]);
    const std::size_t n = plant_->work.n_series;
    if (!in_tick_) return plant_->work.cumulative_cpu[static_cast<std::size_t>(tick_) * n + series];
    const double into = now_ - static_cast<double>(played_) * plant_->spec.tick_s;
    return plant_->work.cumulative_cpu[static_cast<std::size_t>(played_) * n + series] +
           static_cast<double>(row()[series * kDense]) * into;
}

void Simulator::bank_demand(Vm& vm) {
    const double mark = cumulative(vm.app);
    vm.demand += static_cast<double>(vm.share) * (mark - vm.cumulative_mark);
    if (in_tick_) {
        const auto series = at(plant_->work.app_series[at(vm.app)]);
        const double begin =
            plant_->work.cumulative_cpu[static_cast<std::size_t>(played_) * plant_->work.n_series + series];
        const auto part = static_cast<float>(mark - std::max(begin, vm.cumulative_mark));
        vm.tick_demand = (vm.demand_tick == played_ ? vm.tick_demand : 0.0F) + vm.share * part;
        vm.demand_tick = played_;
    }
    vm.cumulative_mark = mark;
}

// Books the demand of an application that nobody serves, up to now.
void Simulator::close_dark(std::int32_t id) {
    App& app = apps_[at(id)];
    const double dt = now_ - app.dark_since_s;
    app.dark_since_s = now_;
    if (!in_tick_ || dt <= 0.0) return;
    const auto series = at(plant_->work.app_series[at(id)]);
    const float* want = row() + series * kDense;
    Amounts demand{want[0], want[1], want[2], want[3], 0.0F};
    const std::int32_t column = plant_->work.gpu_column[series];
    if (column >= 0)
        demand[4] = plant_->work.gpu[static_cast<std::size_t>(played_) * plant_->work.n_gpu_series + at(column)];
    const Prices& prices = plant_->spec.prices;
    const double usd_s =
        static_cast<double>(demand[0]) / 1000.0 * static_cast<double>(prices.unmet_usd_h[0]) / kHour_s +
        static_cast<double>(demand[1]) / 1024.0 * static_cast<double>(prices.unmet_usd_h[1]) / kHour_s +
        static_cast<double>(demand[2]) / 100.0 * static_cast<double>(prices.unmet_usd_h[2]) / kHour_s +
        static_cast<double>(demand[3]) / 1000.0 * static_cast<double>(prices.unmet_usd_h[3]) / kHour_s +
        static_cast<double>(demand[4]) * static_cast<double>(prices.unmet_usd_h[4]) / kHour_s;
    for (std::size_t r = 0; r < kResources; ++r) {
        tick_totals_.demand[r] += static_cast<double>(demand[r]) * dt;
        tick_totals_.unmet[r] += static_cast<double>(demand[r]) * dt;
    }
    for (std::int32_t v = app.first; v >= 0; v = vms_[at(v)].app_next) {
        Vm& vm = vms_[at(v)];
        if (vm.share <= 0.0F) continue;
        const double unmet = static_cast<double>(vm.share * demand[0]) * dt;
        vm.unmet += unmet;
        vm.tick_unmet += static_cast<float>(unmet);
        if (!vm.touched) {
            vm.touched = true;
            touched_vms_.push_back(v);
        }
        tick_totals_.cost[static_cast<std::size_t>(CostTerm::unmet)] +=
            static_cast<double>(vm.share) * usd_s * static_cast<double>(vm.credit) * dt;
        if (demand[0] <= 0.0F) continue;
        tick_totals_.dark_s += dt;
        tick_totals_.cost[static_cast<std::size_t>(CostTerm::downtime)] +=
            static_cast<double>(vm.credit) * static_cast<double>(prices.downtime_usd_h) * dt / kHour_s;
    }
}

// Splits the application's load anew over its members. Call after any change of a member's state or weight; what the
// change touches on hosts must have been touched before.
void Simulator::refresh_app(std::int32_t id) {
    App& app = apps_[at(id)];
    if (app.dark) close_dark(id);
    float ordinary = 0.0F;
    float micro = 0.0F;
    float production = 0.0F; // weights of production members that exist
    app.existing = 0;
    for (std::int32_t v = app.first; v >= 0; v = vms_[at(v)].app_next) {
        Vm& vm = vms_[at(v)];
        touch(vm.host);
        bank_demand(vm);
        const bool up = vm.state == VmState::running || vm.state == VmState::migrating;
        if (up && vm.weight > 0.0F) (vm.kind == VmKind::micro ? micro : ordinary) += vm.weight;
        if (owns_load(vm)) {
            ++app.existing;
            production += vm.weight;
        }
    }
    const float most = plant_->work.app_offloadable[at(id)];
    float scale = 1.0F;
    if (micro > 0.0F && most < 1.0F && micro > most * (micro + ordinary))
        scale = most * ordinary / ((1.0F - most) * micro);
    app.weight = ordinary + scale * micro;
    app.dark = app.weight <= 0.0F && app.existing > 0;
    const float floor = plant_->work.app_memory_floor[at(id)];
    const auto members = static_cast<float>(plant_->work.app_members[at(id)]);
    for (std::int32_t v = app.first; v >= 0; v = vms_[at(v)].app_next) {
        Vm& vm = vms_[at(v)];
        const bool up = vm.state == VmState::running || vm.state == VmState::migrating;
        const float weight = up ? vm.weight * (vm.kind == VmKind::micro ? scale : 1.0F) : 0.0F;
        const float part = app.weight > 0.0F ? weight / app.weight : 0.0F;
        vm.share = part;
        vm.memory = floor * vm.size / members + (1.0F - floor) * part;
        if (app.dark && owns_load(vm))
            vm.share = production > 0.0F ? vm.weight / production : 1.0F / static_cast<float>(app.existing);
        recount_special(vm);
        if (vm.host >= 0) repack_vm(v);
    }
    if (!app.dark) return;
    app.dark_since_s = now_;
    if (!app.listed) dark_apps_.push_back(id);
    app.listed = true;
}

// ---- VMs ------------------------------------------------------------------------------------------------------------

void Simulator::set_vm_state(std::int32_t id, VmState state) {
    Vm& vm = vms_[at(id)];
    touch(vm.host);
    vm.state = state;
    note_change(id);
    ++vm.epoch;
    recount_special(vm);
    refresh_app(vm.app);
}

// Puts a VM that has no host on one and boots it; what was there from the start runs at once.
void Simulator::start_vm(std::int32_t id, std::int32_t host, BootPath path) {
    Vm& vm = vms_[at(id)];
    reserve(host, vm.allocation, 1.0F);
    const bool from_start =
        !in_tick_ && tick_ == start_tick_ && at(id) < plant_->work.n_vms() && vm.state == VmState::pending;
    vm.state = from_start ? VmState::running : VmState::booting;
    ++vm.epoch;
    link_host(id, host);
    refresh_app(vm.app);
    if (from_start) return;
    const double seconds = static_cast<double>(profile(host).boot_s[static_cast<std::size_t>(path)]);
    push(now_ + seconds, EventKind::vm_booted, id, vm.epoch);
}

// Takes the VM off its host and out of any migration.
void Simulator::leave_host(std::int32_t id) {
    Vm& vm = vms_[at(id)];
    if (vm.destination >= 0)
        for (std::size_t i = 0; i < migrations_.size(); ++i)
            if (migrations_[i].vm == id && migrations_[i].phase != Phase::over) {
                cancel_migration(i);
                break;
            }
    if (vm.host < 0) return;
    reserve(vm.host, vm.allocation, -1.0F);
    unlink_host(id);
}

// The VM ends. Slots beyond the workload's are free again, what stood for the VM ends with it.
void Simulator::remove_vm(std::int32_t id) {
    Vm& vm = vms_[at(id)];
    const std::int32_t app = vm.app;
    leave_host(id);
    for (std::int32_t v = apps_[at(app)].first; v >= 0;) {
        const std::int32_t next = vms_[at(v)].app_next;
        if (v != id && vms_[at(v)].primary == id) {
            remove_vm(v);
            remove_vm(id); // the list may have changed: start again without the shadow
            return;
        }
        v = next;
    }
    if (apps_[at(app)].dark) close_dark(app);
    if (vm.crashed) {
        close_crash(vm);
        vm.crashed = false;
        std::erase(crashed_, id);
    }
    vm.state = VmState::absent;
    note_change(id);
    ++vm.epoch;
    unlink_app(id);
    refresh_app(app);
    if (at(id) >= plant_->work.n_vms()) {
        if (vm.demand >= 3.6e3) worst_freed_ = std::max(worst_freed_, vm.unmet / vm.demand);
        free_slots_.push_back(id);
    }
}

// The VM loses its host: production VMs wait for a restart, helpers and spares end.
void Simulator::lose_vm(std::int32_t id, bool crash) {
    const Vm& vm = vms_[at(id)];
    if (vm.kind != VmKind::production || vm.spare || vm.state == VmState::stopping) {
        remove_vm(id);
        return;
    }
    leave_host(id);
    set_vm_state(id, VmState::failed);
    waiting_.push_back(id);
    if (!crash || vms_[at(id)].crashed) return;
    vms_[at(id)].crashed = true;
    vms_[at(id)].crashed_s = now_;
    crashed_.push_back(id);
}

// Books how long a VM has been out since its host failed.
void Simulator::close_crash(Vm& vm) {
    tick_totals_.crashed_s += now_ - vm.crashed_s;
    vm.crashed_s = now_;
}

void Simulator::arrivals_and_departures() {
    const WorkloadView& work = plant_->work;
    while (next_departure_ < departures_.size() && work.vm_departure[at(departures_[next_departure_])] <= tick_) {
        const std::int32_t id = departures_[next_departure_++];
        if (vms_[at(id)].state != VmState::absent) remove_vm(id);
    }
    while (next_arrival_ < arrivals_.size() && work.vm_arrival[at(arrivals_[next_arrival_])] <= tick_) {
        const std::int32_t id = arrivals_[next_arrival_++];
        if (work.vm_departure[at(id)] <= tick_) continue;
        Vm& vm = vms_[at(id)];
        vm.state = VmState::pending;
        note_change(id);
        link_app(id, work.vm_app[at(id)]);
        refresh_app(vm.app);
        waiting_.push_back(id);
    }
}

// ---- hosts ----------------------------------------------------------------------------------------------------------

void Simulator::set_host_state(std::int32_t host, HostState state) {
    HostTruth& truth = hosts_[at(host)];
    touch(host);
    truth.state = state;
    truth.since_s = now_;
    ++truth.epoch;
}

void Simulator::lose_host_vms(std::int32_t host, bool crash) {
    cancel_migrations_of(host);
    while (hosts_[at(host)].first >= 0) lose_vm(hosts_[at(host)].first, crash);
}

// A host that is not hired at the time is the provider's affair. Windows that overlap end with the last of them.
void Simulator::start_maintenance(const MaintenanceWindow& window) {
    HostTruth& truth = hosts_[at(window.host)];
    if (truth.state == HostState::unrented || truth.state == HostState::renting) return;
    if (truth.state == HostState::maintenance) {
        truth.maintenance_until_s = std::max(truth.maintenance_until_s, window.end_s);
        return;
    }
    truth.maintenance_until_s = window.end_s;
    lose_host_vms(window.host);
    set_host_state(window.host, HostState::maintenance);
}

// After repair or maintenance: on, where the rack has power.
void Simulator::back_in_service(std::int32_t host) {
    const auto rack = at(plant_->spec.hosts[at(host)].rack);
    set_host_state(host, rack_on_[rack] ? HostState::on : HostState::off);
}

void Simulator::draw_failure(std::int32_t host, double from_s) {
    const Failures& law = plant_->spec.failures;
    if (law.mtbf_h <= 0.0) return;
    RandomStream& random = hosts_[at(host)].failures;
    const double fails = from_s + random.exponential(law.mtbf_h * kHour_s);
    const bool announced = random.uniform() < law.recall;
    const double lead = law.lead_h * kHour_s * (0.5 + random.uniform());
    push(fails, EventKind::host_fails, host, announced ? 1 : 0);
    if (!announced) return;
    push(std::max(from_s, fails - lead), EventKind::alarm_on, host, 0);
    push(fails, EventKind::alarm_off, host, 0);
}

void Simulator::postpone_silent_failures(double by_s) {
    for (Event& event : events_)
        if (event.kind == EventKind::host_fails && event.epoch == 0) event.time += by_s;
    std::make_heap(events_.begin(), events_.end());
}

void Simulator::draw_alarm(std::int32_t host, double from_s) {
    const Failures& law = plant_->spec.failures;
    if (law.false_alarms_per_host_day <= 0.0) return;
    const double begins =
        from_s + hosts_[at(host)].alarms_stream.exponential(24.0 * kHour_s / law.false_alarms_per_host_day);
    push(begins, EventKind::alarm_on, host, 1); // epoch 1: a false one, after which the next is drawn
    push(begins + law.lead_h * kHour_s, EventKind::alarm_off, host, 0);
}

void Simulator::restart_rack(std::int32_t rack) {
    if (rack_on_[at(rack)]) return;
    rack_on_[at(rack)] = true;
    rack_ready_s_[at(rack)] = now_ + kRackStart_s;
}

// ---- events ---------------------------------------------------------------------------------------------------------

void Simulator::push(double time, EventKind kind, std::int32_t id, std::uint32_t epoch) {
    events_.push_back({time, order_++, id, epoch, kind});
    std::push_heap(events_.begin(), events_.end());
}

void Simulator::play(const Event& event) {
    const std::int32_t id = event.id;
    switch (event.kind) {
    case EventKind::vm_booted:
        if (vms_[at(id)].epoch != event.epoch) return;
        if (vms_[at(id)].crashed) {
            close_crash(vms_[at(id)]);
            vms_[at(id)].crashed = false;
            std::erase(crashed_, id);
        }
        set_vm_state(id, vms_[at(id)].spare ? VmState::paused : VmState::running);
        return;
    case EventKind::vm_stopped:
        if (vms_[at(id)].epoch == event.epoch) remove_vm(id);
        return;
    case EventKind::vm_expired: // of a micro-VM, whatever it is doing; slots are told apart by their lifetime's end
        if (vms_[at(id)].kind == VmKind::micro && vms_[at(id)].state != VmState::absent &&
            vms_[at(id)].birth == event.epoch)
            remove_vm(id);
        return;
    default:
        break;
    }
    HostTruth& truth = hosts_[at(id)];
    const Host& spec = plant_->spec.hosts[at(id)];
    switch (event.kind) {
    case EventKind::host_ready:
        if (truth.epoch != event.epoch) return;
        set_host_state(id, HostState::on);
        if (!spec.rented) return;
        truth.noticed = false;
        push(now_, EventKind::rent_hour, id, ++truth.rental);
        if (spec.reclaims_per_h > 0.0F)
            push(now_ + truth.reclaims.exponential(kHour_s / static_cast<double>(spec.reclaims_per_h)),
                 EventKind::host_noticed, id, truth.rental);
        return;
    case EventKind::host_down:
        if (truth.epoch == event.epoch) set_host_state(id, HostState::off);
        return;
    case EventKind::host_asleep:
        if (truth.epoch == event.epoch) set_host_state(id, HostState::asleep);
        return;
    case EventKind::rent_hour:
        if (truth.rental != event.epoch || truth.state == HostState::unrented || truth.state == HostState::renting)
            return;
        if (spec.committed) return; // paid anyway
        tick_totals_.cost[static_cast<std::size_t>(CostTerm::rent)] += static_cast<double>(spec.price_usd_h);
        push(now_ + kHour_s, EventKind::rent_hour, id, event.epoch);
        return;
    case EventKind::host_fails:
        if (truth.state != HostState::on) { // what is not running does not wear
            draw_failure(id, now_);
            return;
        }
        draw_failure(id, now_ + plant_->spec.failures.repair_h * kHour_s);
        ++tick_totals_.host_failures;
        lose_host_vms(id, true);
        set_host_state(id, HostState::failed);
        push(now_ + plant_->spec.failures.repair_h * kHour_s, EventKind::host_repaired, id, truth.epoch);
        return;
    case EventKind::host_repaired:
        if (truth.epoch == event.epoch) back_in_service(id);
        return;
    case EventKind::host_noticed:
        if (truth.rental != event.epoch || truth.state == HostState::unrented || truth.state == HostState::renting)
            return;
        truth.noticed = true;
        push(now_ + static_cast<double>(spec.notice_s), EventKind::host_reclaimed, id, event.epoch);
        return;
    case EventKind::host_reclaimed:
        if (truth.rental != event.epoch || truth.state == HostState::unrented || truth.state == HostState::renting)
            return;
        ++tick_totals_.hosts_reclaimed;
        lose_host_vms(id);
        truth.noticed = false;
        set_host_state(id, HostState::unrented);
        return;
    case EventKind::alarm_on:
        ++truth.alarms;
        if (event.epoch == 1) draw_alarm(id, now_);
        return;
    case EventKind::alarm_off:
        if (truth.alarms > 0) --truth.alarms;
        return;
    case EventKind::maintenance_starts:
        start_maintenance(plant_->spec.maintenance[event.epoch]);
        return;
    case EventKind::maintenance_ends:
        if (truth.state == HostState::maintenance && now_ >= truth.maintenance_until_s) back_in_service(id);
        return;
    default:
        return;
    }
}

} // namespace foreshade

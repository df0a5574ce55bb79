// The physics of every action: each is refused and changes nothing, or is begun.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/simulator.hpp"

namespace foreshade {

namespace {

constexpr float kMostWeight = 1e6F; // sums of weights stay finite, shares above rounding
constexpr float kSuspended = -1.0F; // the weight that suspends a shadow

std::size_t at(std::int32_t index) {
    return static_cast<std::size_t>(index);
}

template <class Container> bool valid(std::int32_t index, const Container& container) {
    return index >= 0 && at(index) < container.size();
}

bool usable_allocation(const Amounts& a) {
    for (const float x : a)
        if (!std::isfinite(x) || x < 0.0F) return false;
    return a[0] > 0.0F && a[1] > 0.0F;
}

} // namespace

void Simulator::fetch(std::span<const Action> actions) const {
    for (const Action& action : actions) {
        if (!valid(action.vm, vms_)) continue;
        const auto* const vm = reinterpret_cast<const char*>(&vms_[at(action.vm)]);
        for (std::size_t line = 0; line < sizeof(Vm); line += 64) __builtin_prefetch(vm + line);
    }
}

ActionResult Simulator::execute(const Action& action) {
    ActionResult result;
    // Placing what the workload asked for is nobody's privilege: without it a cloud could not take a VM in.
    const bool places = action.kind == ActionKind::spawn && action.vm >= 0;
    const bool allowed = (plant_->allowed >> static_cast<unsigned>(action.kind) & 1U) != 0U;
    if (!allowed && !places && action.kind != ActionKind::wait) {
        ++tick_totals_.refused;
        return {Refusal::not_allowed, -1};
    }
    switch (action.kind) {
    case ActionKind::wait:
        break;
    case ActionKind::spawn:
        result = act_spawn(action);
        break;
    case ActionKind::despawn:
        result = act_despawn(action);
        break;
    case ActionKind::reshape:
        result = act_reshape(action);
        break;
    case ActionKind::migrate:
        result = act_migrate(action);
        break;
    case ActionKind::microvm:
        result = act_microvm(action);
        break;
    case ActionKind::shadow:
        result = act_shadow(action);
        break;
    case ActionKind::shift:
        result = act_shift(action);
        break;
    case ActionKind::power:
        result = act_power(action);
        break;
    case ActionKind::rent:
        result = act_rent(action);
        break;
    }
    if (result.refusal != Refusal::none) ++tick_totals_.refused;
    return result;
}

Refusal Simulator::can_hold(std::int32_t host, const float* allocation) const {
    if (!valid(host, hosts_)) return Refusal::unknown_host;
    if (hosts_[at(host)].state != HostState::on) return Refusal::host_not_on;
    return fits(host, allocation) ? Refusal::none : Refusal::no_room;
}

std::int32_t Simulator::new_vm(std::int32_t app, VmKind kind, const float* allocation) {
    if (free_slots_.empty()) return -1;
    const std::int32_t id = free_slots_.back();
    free_slots_.pop_back();
    Vm& vm = vms_[at(id)];
    const std::uint32_t epoch = vm.epoch;
    const Change changed = vm.changed;
    const bool listed = vm.listed;
    vm = Vm{};
    vm.changed = changed;
    vm.listed = listed;
    note_change(id);
    last_move_s_[at(id)] = -std::numeric_limits<double>::infinity();
    vm.epoch = epoch + 1;
    vm.birth = ++births_;
    vm.kind = kind;
    vm.state = VmState::pending;
    for (std::size_t r = 0; r < kResources; ++r) vm.allocation[r] = vm.flavour[r] = allocation[r];
    link_app(id, app);
    ++tick_totals_.spawned;
    return id;
}

ActionResult Simulator::act_spawn(const Action& action) {
    if (action.vm >= 0) { // give a host to a VM that waits for one
        if (!valid(action.vm, vms_)) return {Refusal::unknown_vm, -1};
        const Vm& vm = vms_[at(action.vm)];
        if (vm.state == VmState::absent) return {Refusal::vm_gone, -1};
        if (!is_waiting(vm.state)) return {Refusal::vm_not_placeable, -1};
        const Refusal refusal = can_hold(action.host, need_of(action.vm).data());
        if (refusal != Refusal::none) return {refusal, -1};
        if (!may_stand(action.vm, action.host)) return {Refusal::affinity, -1};
        start_vm(action.vm, action.host, BootPath::cold);
        return {Refusal::none, action.vm};
    }
    if (!valid(action.app, apps_)) return {Refusal::unknown_app, -1};
    if (!usable_allocation(action.allocation) || !(action.value >= 0.0F && action.value <= 2.0F) ||
        (action.value2 != 0.0F && action.value2 != 1.0F))
        return {Refusal::bad_value, -1};
    const auto path = static_cast<BootPath>(static_cast<std::uint8_t>(action.value));
    const bool pauses = action.value2 == 1.0F;
    if (path == BootPath::spare) return pauses ? ActionResult{Refusal::bad_value, -1} : resume_spare(action);
    const Refusal refusal = can_hold(action.host, action.allocation.data());
    if (refusal != Refusal::none) return {refusal, -1};
    if (!may_stand_new(action.app, VmKind::production, action.host)) return {Refusal::affinity, -1};
    const std::int32_t id = new_vm(action.app, VmKind::production, action.allocation.data());
    if (id < 0) return {Refusal::no_slot, -1};
    vms_[at(id)].spare = pauses;
    start_vm(id, action.host, path);
    return {Refusal::none, id};
}

// The spare that has stood there longest becomes a member; its room is its own already.
ActionResult Simulator::resume_spare(const Action& action) {
    if (!valid(action.host, hosts_)) return {Refusal::unknown_host, -1};
    if (hosts_[at(action.host)].state != HostState::on) return {Refusal::host_not_on, -1};
    for (std::int32_t id = hosts_[at(action.host)].first; id >= 0; id = beside_[at(id)].next) {
        Vm& vm = vms_[at(id)];
        if (vm.state != VmState::paused || vm.kind == VmKind::shadow || vm.app != action.app) continue;
        if (!std::equal(action.allocation.begin(), action.allocation.end(), vm.allocation)) continue;
        vm.spare = false;
        set_vm_state(id, VmState::booting);
        push(now_ + static_cast<double>(profile(action.host).boot_s[static_cast<std::size_t>(BootPath::spare)]),
             EventKind::vm_booted, id, vm.epoch);
        return {Refusal::none, id};
    }
    return {Refusal::no_spare, -1};
}

ActionResult Simulator::act_despawn(const Action& action) {
    if (!valid(action.vm, vms_)) return {Refusal::unknown_vm, -1};
    const Vm& vm = vms_[at(action.vm)];
    if (vm.state == VmState::absent) return {Refusal::vm_gone, -1};
    if (vm.state == VmState::migrating || vm.state == VmState::stopping || vm.destination >= 0)
        return {Refusal::vm_busy, -1};
    if (owns_load(vm) && apps_[at(vm.app)].existing <= 1) return {Refusal::last_member, -1};
    if (vm.host < 0) {
        remove_vm(action.vm);
        return {Refusal::none, action.vm};
    }
    const float seconds = profile(vm.host).shutdown_s;
    set_vm_state(action.vm, VmState::stopping);
    push(now_ + static_cast<double>(seconds), EventKind::vm_stopped, action.vm, vm.epoch);
    return {Refusal::none, action.vm};
}

ActionResult Simulator::act_reshape(const Action& action) {
    if (!valid(action.vm, vms_)) return {Refusal::unknown_vm, -1};
    Vm& vm = vms_[at(action.vm)];
    if (vm.state == VmState::absent) return {Refusal::vm_gone, -1};
    if (vm.state != VmState::running && vm.state != VmState::paused) return {Refusal::vm_not_running, -1};
    if (vm.destination >= 0) return {Refusal::vm_busy, -1};
    if (!usable_allocation(action.allocation)) return {Refusal::bad_value, -1};
    const HypervisorProfile& hypervisor = profile(vm.host);
    const auto& wanted = action.allocation;
    const bool possible = (wanted[0] <= vm.allocation[0] || hypervisor.cpu_up) &&
                          (wanted[0] >= vm.allocation[0] || hypervisor.cpu_down) &&
                          (wanted[1] <= vm.allocation[1] || hypervisor.memory_up) &&
                          (wanted[1] >= vm.allocation[1] || hypervisor.memory_down) &&
                          (wanted[2] == vm.allocation[2] || hypervisor.disk) &&
                          (wanted[3] == vm.allocation[3] || hypervisor.network) && wanted[4] == vm.allocation[4];
    if (!possible) return {Refusal::not_hotpluggable, -1};
    // A clone boots from its primary's image: it may become as large.
    const float born = vm.primary >= 0 ? vms_[at(vm.primary)].flavour[0] : vm.flavour[0];
    const float most = plant_->spec.guest_cpu * born * (1.0F + 1e-6F);
    if (most > 0.0F && wanted[0] > vm.allocation[0] && wanted[0] > most) return {Refusal::not_hotpluggable, -1};
    if (played_ >= 0 && wanted[1] < vm.allocation[1] && wanted[1] < portion_of(vm, action.vm).capped[1])
        return {Refusal::below_usage, -1};
    const HostTruth& truth = hosts_[at(vm.host)];
    const float* limit = plant_->hosts[at(vm.host)].limit;
    for (std::size_t r = 0; r < kResources; ++r) // nothing is booked before all is checked: x - a + a may not be x
        if (wanted[r] > vm.allocation[r] &&
            truth.allocated[r] - vm.allocation[r] + wanted[r] > limit[r] * (1.0F + 1e-6F))
            return {Refusal::no_room, -1};
    if (in_tick_ || vm.kind != VmKind::production) touch(vm.host);
    reserve(vm.host, vm.allocation, -1.0F);
    for (std::size_t r = 0; r < kResources; ++r) vm.allocation[r] = wanted[r];
    note_change(action.vm, Change::allocation);
    reserve(vm.host, vm.allocation, 1.0F);
    repack_vm(action.vm);
    if (vm.kind != VmKind::production) { // helpers are as large as what they are given
        const auto first = vm.primary >= 0 ? vms_[at(vm.primary)].allocation[1] : vm.flavour[1];
        if (vm.kind == VmKind::shadow && first > 0.0F) vm.size = std::min(1.0F, vm.allocation[1] / first);
        refresh_app(vm.app);
    }
    return {Refusal::none, action.vm};
}

Refusal Simulator::can_migrate(std::int32_t id, std::int32_t host) const {
    const Vm& vm = vms_[at(id)];
    if (vm.state == VmState::absent) return Refusal::vm_gone;
    if (vm.destination >= 0) return Refusal::vm_busy;
    if (vm.state != VmState::running) return Refusal::vm_not_running;
    if (host == vm.host) return Refusal::same_host;
    const Refusal refusal = can_hold(host, vm.allocation);
    if (refusal != Refusal::none) return refusal;
    for (std::int32_t v = apps_[at(vm.app)].first; v >= 0; v = vms_[at(v)].app_next) {
        const Vm& other = vms_[at(v)];
        if ((vm.primary == v || other.primary == id) && (other.host == host || other.destination == host))
            return Refusal::shadow_same_host;
    }
    return Refusal::none;
}

void Simulator::begin_migration(std::int32_t id, std::int32_t host) {
    Vm& vm = vms_[at(id)];
    reserve(host, vm.allocation, 1.0F);
    ++hosts_[at(host)].arriving;
    vm.destination = host;
    note_place(id);
    Migration& migration = migrations_.emplace_back();
    migration.vm = id;
    migration.source = vm.host;
    migration.destination = host;
    ++tick_totals_.migrations;
    tick_totals_.cost[static_cast<std::size_t>(CostTerm::migration)] +=
        static_cast<double>(plant_->spec.prices.migration_usd);
}

// All VMs that a rule keeps on one host with this one, at once or not at all.
ActionResult Simulator::migrate_company(std::int32_t id, std::int32_t host) {
    const std::vector<std::int32_t> vms = affinity_.companions(at(id));
    Amounts all{};
    for (const std::int32_t v : vms) {
        const Refusal refusal = can_migrate(v, host);
        if (refusal != Refusal::none) return {refusal, -1};
        for (std::size_t r = 0; r < kResources; ++r) all[r] += vms_[at(v)].allocation[r];
    }
    all[1] += static_cast<float>(vms.size() - 1) * plant_->hosts[at(host)].vm_memory_mib;
    if (!fits(host, all.data())) return {Refusal::no_room, -1};
    if (!affinity_.allows_company(vms, at(host))) return {Refusal::affinity, -1};
    for (const std::int32_t v : vms) begin_migration(v, host);
    return {Refusal::none, id};
}

ActionResult Simulator::act_migrate(const Action& action) {
    if (!valid(action.vm, vms_)) return {Refusal::unknown_vm, -1};
    const Refusal refusal = can_migrate(action.vm, action.host);
    if (refusal != Refusal::none) return {refusal, -1};
    if (affinity_ && action.value == 1.0F) return migrate_company(action.vm, action.host);
    if (!may_stand(action.vm, action.host)) return {Refusal::affinity, -1};
    begin_migration(action.vm, action.host);
    return {Refusal::none, action.vm};
}

ActionResult Simulator::act_microvm(const Action& action) {
    if (!valid(action.app, apps_)) return {Refusal::unknown_app, -1};
    if (!usable_allocation(action.allocation) || !(action.value2 > 0.0F)) return {Refusal::bad_value, -1};
    const Refusal refusal = can_hold(action.host, action.allocation.data());
    if (refusal != Refusal::none) return {refusal, -1};
    if (!may_stand_new(action.app, VmKind::micro, action.host)) return {Refusal::affinity, -1};
    float member_cpu = 0.0F; // of the application's first production VM: what weight 1 means
    float member_memory = 0.0F;
    for (std::int32_t v = apps_[at(action.app)].first; v >= 0; v = vms_[at(v)].app_next)
        if (vms_[at(v)].kind == VmKind::production) {
            member_cpu = vms_[at(v)].flavour[0];
            member_memory = vms_[at(v)].flavour[1];
        }
    if (member_cpu <= 0.0F) return {Refusal::unknown_app, -1};
    const std::int32_t id = new_vm(action.app, VmKind::micro, action.allocation.data());
    if (id < 0) return {Refusal::no_slot, -1};
    Vm& vm = vms_[at(id)];
    vm.weight = action.allocation[0] / member_cpu;
    vm.size = std::min(1.0F, action.allocation[1] / member_memory);
    start_vm(id, action.host, BootPath::micro);
    push(now_ + static_cast<double>(action.value2), EventKind::vm_expired, id, vm.birth);
    return {Refusal::none, id};
}

ActionResult Simulator::act_shadow(const Action& action) {
    if (!valid(action.vm, vms_)) return {Refusal::unknown_vm, -1};
    const Vm& primary = vms_[at(action.vm)];
    if (primary.state == VmState::absent) return {Refusal::vm_gone, -1};
    if (primary.kind != VmKind::production || primary.host < 0) return {Refusal::vm_not_running, -1};
    if (!(action.value > 0.0F && action.value <= 1.0F) || !(action.value2 >= 0.0F && action.value2 <= 1.0F))
        return {Refusal::bad_value, -1};
    if (action.host == primary.host || (action.host >= 0 && action.host == primary.destination))
        return {Refusal::shadow_same_host, -1};
    Amounts allocation{};
    for (std::size_t r = 0; r < kResources; ++r) allocation[r] = primary.allocation[r] * action.value;
    const Refusal refusal = can_hold(action.host, allocation.data());
    if (refusal != Refusal::none) return {refusal, -1};
    if (!may_stand_new(primary.app, VmKind::shadow, action.host)) return {Refusal::affinity, -1};
    const std::int32_t app = primary.app;
    const float credit = primary.credit;
    const std::int32_t id = new_vm(app, VmKind::shadow, allocation.data());
    if (id < 0) return {Refusal::no_slot, -1};
    Vm& vm = vms_[at(id)];
    vm.primary = action.vm;
    vm.weight = 0.0F;
    vm.size = action.value;
    vm.fidelity = action.value2;
    vm.credit = credit;
    start_vm(id, action.host, BootPath::restored);
    return {Refusal::none, id};
}

ActionResult Simulator::act_shift(const Action& action) {
    if (!valid(action.vm, vms_)) return {Refusal::unknown_vm, -1};
    Vm& vm = vms_[at(action.vm)];
    if (vm.state == VmState::absent) return {Refusal::vm_gone, -1};
    const bool clone = vm.kind == VmKind::shadow;
    if (clone && vm.state == VmState::paused && action.value == 0.0F) { // it goes on from where it was
        set_vm_state(action.vm, VmState::booting);
        push(now_ + static_cast<double>(profile(vm.host).boot_s[static_cast<std::size_t>(BootPath::spare)]),
             EventKind::vm_booted, action.vm, vm.epoch);
        return {Refusal::none, action.vm};
    }
    if (vm.state != VmState::running && vm.state != VmState::migrating) return {Refusal::vm_not_running, -1};
    if (clone && vm.weight <= 0.0F && action.value == kSuspended) {
        if (vm.state == VmState::migrating || vm.destination >= 0) return {Refusal::vm_busy, -1};
        set_vm_state(action.vm, VmState::paused);
        return {Refusal::none, action.vm};
    }
    if (!(action.value >= 0.0F && action.value <= kMostWeight)) return {Refusal::bad_value, -1};
    refresh_app(vm.app); // books what the old weights carried
    vm.weight = action.value;
    note_change(action.vm);
    refresh_app(vm.app);
    return {Refusal::none, action.vm};
}

Refusal Simulator::power_host(std::int32_t host, PowerTarget target) {
    const HostTruth& truth = hosts_[at(host)];
    const ServerModel& server = model(host);
    const auto rack = at(plant_->spec.hosts[at(host)].rack);
    if (target == PowerTarget::on) {
        if (truth.state != HostState::off && truth.state != HostState::asleep) return Refusal::host_transition;
        if (!rack_on_[rack]) return Refusal::rack_off;
        const bool cold = truth.state == HostState::off;
        set_host_state(host, cold ? HostState::booting : HostState::waking);
        const double begins = cold ? std::max(now_, rack_ready_s_[rack]) : now_;
        push(begins + static_cast<double>(cold ? server.boot_s : server.wake_s), EventKind::host_ready, host,
             truth.epoch);
        if (cold) {
            ++tick_totals_.host_boots;
            tick_totals_.cost[static_cast<std::size_t>(CostTerm::boot)] +=
                static_cast<double>(plant_->spec.prices.boot_usd);
        }
        return Refusal::none;
    }
    if (truth.state != HostState::on) return Refusal::host_transition;
    if (truth.first >= 0 || truth.arriving > 0) return Refusal::host_not_empty;
    ++tick_totals_.host_shutdowns;
    set_host_state(host, HostState::shutting_down);
    const bool off = target == PowerTarget::off;
    push(now_ + static_cast<double>(off ? server.shutdown_s : server.sleep_enter_s),
         off ? EventKind::host_down : EventKind::host_asleep, host, truth.epoch);
    return Refusal::none;
}

ActionResult Simulator::act_power(const Action& action) {
    if (!(action.value >= 0.0F && action.value <= 2.0F)) return {Refusal::bad_value, -1};
    const auto target = static_cast<PowerTarget>(static_cast<std::uint8_t>(action.value));
    if (action.rack >= 0) {
        if (!valid(action.rack, plant_->spec.racks)) return {Refusal::unknown_rack, -1};
        if (target == PowerTarget::on) {
            restart_rack(action.rack);
            return {};
        }
        for (std::size_t h = 0; h < hosts_.size(); ++h) {
            const HostState state = hosts_[h].state;
            if (plant_->spec.hosts[h].rack == action.rack && state != HostState::off && state != HostState::failed &&
                state != HostState::unrented && state != HostState::asleep)
                return {Refusal::rack_in_use, -1};
        }
        rack_on_[at(action.rack)] = false;
        return {};
    }
    if (!valid(action.host, hosts_)) return {Refusal::unknown_host, -1};
    if (plant_->spec.hosts[at(action.host)].rented) return {Refusal::host_transition, -1};
    return {power_host(action.host, target), -1};
}

ActionResult Simulator::act_rent(const Action& action) {
    if (!valid(action.host, hosts_)) return {Refusal::unknown_host, -1};
    const Host& spec = plant_->spec.hosts[at(action.host)];
    if (!spec.rented) return {Refusal::not_rented_host, -1};
    const HostTruth& truth = hosts_[at(action.host)];
    if (action.value > 0.0F) {
        if (truth.state != HostState::unrented) return {Refusal::host_transition, -1};
        set_host_state(action.host, HostState::renting);
        push(now_ + static_cast<double>(spec.provision_s), EventKind::host_ready, action.host, truth.epoch);
        return {};
    }
    if (truth.state != HostState::on && truth.state != HostState::renting) return {Refusal::host_transition, -1};
    if (truth.first >= 0 || truth.arriving > 0) return {Refusal::host_not_empty, -1};
    hosts_[at(action.host)].noticed = false;
    set_host_state(action.host, HostState::unrented);
    return {};
}

} // namespace foreshade

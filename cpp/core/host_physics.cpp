// What the VMs of a host want, what they get, and what that draws: the laws of docs/physics.md, "Caps and contention",
// "Response time" and "Power". The fast path serves hosts where everybody gets what they want; the slow path all
// others.
#include <algorithm>
#include <cmath>

#include "core/simulator.hpp"

namespace foreshade {

namespace {

constexpr std::size_t kCpu = 0;
constexpr std::size_t kMemory = 1;
constexpr std::size_t kDisk = 2;
constexpr std::size_t kNetwork = 3;
constexpr std::size_t kGpu = 4;

constexpr std::int32_t kFew = 4;    // VMs
constexpr float kBootCpu = 0.5F;    // of its allocation, what a booting VM wants
constexpr float kBootMemory = 0.3F; // likewise

void store4(float* p, Vec4 v) {
    __builtin_memcpy(p, &v, sizeof(v));
}

bool same4(Vec4 a, Vec4 b) {
    const auto differ = a != b;
    return (differ[0] | differ[1] | differ[2] | differ[3]) == 0;
}

} // namespace

float Simulator::host_power(std::int32_t host, float used_cpu, float used_gpu) const {
    const auto h = static_cast<std::size_t>(host);
    const Host& spec = plant_->spec.hosts[h];
    if (spec.rented) return 0.0F;
    const ServerModel& server = plant_->spec.models[static_cast<std::size_t>(spec.model)];
    switch (hosts_[h].state) {
    case HostState::on: {
        const float cpu = plant_->power[static_cast<std::size_t>(spec.model)](used_cpu * plant_->hosts[h].inverse_cpu);
        return cpu + server.capacity[kGpu] * server.gpu_idle_w + used_gpu * (server.gpu_peak_w - server.gpu_idle_w);
    }
    case HostState::booting:
    case HostState::waking:
        return server.boot_w;
    case HostState::shutting_down:
    case HostState::maintenance:
        return server.power_w[0];
    case HostState::asleep:
        return server.sleep_w;
    case HostState::off:
    case HostState::failed:
        return server.off_w;
    case HostState::unrented:
    case HostState::renting:
        return 0.0F;
    }
    return 0.0F;
}

void Simulator::evaluate(std::int32_t host) {
    const auto h = static_cast<std::size_t>(host);
    if (hosts_[h].state == HostState::on) {
        evaluate_slow(host);
    } else {
        hosts_[h].stale = false;
        rates_[h] = HostRates{};
        rates_[h].power_w = host_power(host, 0.0F, 0.0F);
    }
    open_slice(host);
}

void Simulator::open_slice(std::int32_t host) {
    HostTruth& truth = hosts_[static_cast<std::size_t>(host)];
    truth.slice_s = now_;
    if (truth.open) return;
    truth.open = true;
    open_hosts_.push_back(host);
}

Simulator::Portion Simulator::portion_of(const Vm& vm, std::int32_t id) const {
    return portion_of(vm, id, row());
}

inline Simulator::Portion Simulator::portion_of(const Vm& vm, std::int32_t id, const float* demand_row) const {
    Portion p;
    p.vm = id;
    p.useful = serves(vm);
    p.moving = vm.state == VmState::migrating;
    const Vec4 allocation = load4(vm.allocation);
    p.allocation[kGpu] = vm.allocation[kGpu];
    p.demand[kGpu] = 0.0F;
    Vec4 demand{};
    if (vm.state == VmState::booting) {
        demand = Vec4{kBootCpu * vm.allocation[kCpu], kBootMemory * vm.allocation[kMemory], 0.0F, 0.0F};
    } else {
        const auto series = static_cast<std::size_t>(plant_->work.app_series[static_cast<std::size_t>(vm.app)]);
        float share = p.useful ? vm.share : 0.0F;
        const bool up = vm.state == VmState::running || vm.state == VmState::migrating;
        if (!p.useful && vm.kind == VmKind::shadow && up) { // what reaches its primary is replayed
            const Vm& primary = vms_[static_cast<std::size_t>(vm.primary)];
            share = serves(primary) ? vm.fidelity * primary.share : 0.0F;
        }
        demand = load4(demand_row + series * kDense) * Vec4{share, vm.memory, share, share};
        const std::int32_t column = plant_->work.gpu_column[series];
        if (column >= 0 && played_ >= 0)
            p.demand[kGpu] = share * plant_->work.gpu[static_cast<std::size_t>(played_) * plant_->work.n_gpu_series +
                                                      static_cast<std::size_t>(column)];
        if (hidden_factor_ != 1.0F) {
            demand *= Vec4{hidden_factor_, hidden_factor_, hidden_factor_, hidden_factor_};
            p.demand[kGpu] *= hidden_factor_;
        }
    }
    store4(p.demand, demand);
    store4(p.allocation, allocation);
    store4(p.capped, min4(allocation, demand));
    p.capped[kGpu] = std::min(p.demand[kGpu], p.allocation[kGpu]);
    return p;
}

// Weighted max–min fairness over `got`, which holds the wants: fills the smallest want / allocation first.
// `wanted`: their sum.
void Simulator::fair_share(Resource resource, float wanted, float capacity) {
    if (wanted <= capacity) return;
    const auto r = static_cast<std::size_t>(resource);
    float weight = 0.0F;
    for (const Portion& p : portions_)
        if (p.got[r] > 0.0F) weight += p.allocation[r];
    sort_scratch_.clear(); // only who wants something: 0 / 0 has no place in the order
    for (std::size_t i = 0; i < portions_.size(); ++i)
        if (portions_[i].got[r] > 0.0F) sort_scratch_.push_back(i);
    std::stable_sort(sort_scratch_.begin(), sort_scratch_.end(), [this, r](std::size_t a, std::size_t b) {
        return portions_[a].got[r] * portions_[b].allocation[r] < portions_[b].got[r] * portions_[a].allocation[r];
    });
    float left = capacity;
    for (const std::size_t i : sort_scratch_) {
        Portion& p = portions_[i];
        const float level = weight > 0.0F ? std::max(0.0F, left) / weight : 0.0F;
        p.got[r] = std::min(p.got[r], level * p.allocation[r]);
        left -= p.got[r];
        weight -= p.allocation[r];
    }
}

// What a VM wants, and gets where nobody is short of what their caps leave them.
Simulator::Portion Simulator::uncontended(std::int32_t host, std::int32_t id) const {
    Portion p = portion_of(vms_[static_cast<std::size_t>(id)], id);
    const float cpu = p.moving ? 1.0F - profile(host).migration_slowdown : 1.0F;
    store4(p.got, load4(p.capped) * Vec4{cpu, 1.0F, 1.0F, 1.0F});
    p.got[kGpu] = p.capped[kGpu];
    return p;
}

// The same on a host whatever happens there, and has happened since its rates were evaluated: who has come at the same
// moment counts.
Simulator::Portion Simulator::portion_at(std::int32_t host, std::int32_t id) {
    const auto h = static_cast<std::size_t>(host);
    if (keeps_sums(host)) {
        if (roomy(host, rates_[h].got, rates_[h].got_gpu)) return uncontended(host, id);
        hosts_[h].stale = true;
    }
    solve(host);
    return *std::find_if(portions_.begin(), portions_.end(), [id](const Portion& p) { return p.vm == id; });
}

// Whether a VM that comes, goes or changes there is a term more or less in the sums over the host's VMs. Of a few VMs
// they are made anew, so that no rounding is left of what has gone.
bool Simulator::keeps_sums(std::int32_t host) const {
    const HostTruth& truth = hosts_[static_cast<std::size_t>(host)];
    return opened_ && !truth.stale && truth.state == HostState::on && truth.n_vms > kFew &&
           rates_[static_cast<std::size_t>(host)].roomy;
}

// Whether a host has room for what its VMs would get if nobody else were there.
bool Simulator::roomy(std::int32_t host, Vec4 wanted, float wanted_gpu) const {
    const auto h = static_cast<std::size_t>(host);
    const Plant::HostConstants& constants = plant_->hosts[h];
    const HostTruth& truth = hosts_[h];
    const auto n = static_cast<float>(truth.n_vms);
    const float migration_cpu = truth.migration_mbit_s * profile(host).migration_cpu_mhz_per_mbit;
    return wanted[kMemory] + n * constants.vm_memory_mib + truth.arriving_memory <= constants.usable[kMemory] &&
           wanted[kCpu] <= constants.usable[kCpu] - n * constants.vm_cpu_mhz - migration_cpu &&
           wanted[kDisk] <= constants.usable[kDisk] &&
           wanted[kNetwork] <= constants.usable[kNetwork] - truth.migration_mbit_s &&
           wanted_gpu <= constants.usable_gpu;
}

// Fills portions_ with what each VM of the host wants and gets; true where nobody is short of what their caps leave.
bool Simulator::solve(std::int32_t host) {
    const auto h = static_cast<std::size_t>(host);
    const Plant::HostConstants& constants = plant_->hosts[h];
    const HypervisorProfile& hypervisor = profile(host);
    const HostTruth& truth = hosts_[h];
    portions_.clear();
    float standing = 0.0F;
    const float* const demand_row = row();
    // They lie anywhere among all VMs: they are sent for together, so that nobody waits for one after the other.
    standing_.clear();
    for (std::int32_t v = truth.first; v >= 0; v = beside_[static_cast<std::size_t>(v)].next) {
        standing_.push_back(v);
        const auto* const vm = reinterpret_cast<const char*>(&vms_[static_cast<std::size_t>(v)]);
        __builtin_prefetch(vm);
        __builtin_prefetch(vm + 64);
    }
    for (const std::int32_t v : standing_) {
        portions_.push_back(portion_of(vms_[static_cast<std::size_t>(v)], v, demand_row));
        standing += portions_.back().capped[kMemory];
    }
    const auto n = static_cast<float>(truth.n_vms);
    const float memory = standing + n * constants.vm_memory_mib + truth.arriving_memory;
    const float usable_memory = constants.usable[kMemory];
    const float overflow = std::max(0.0F, memory / usable_memory - 1.0F);
    const float speed = 1.0F / (1.0F + hypervisor.swap_factor * overflow);
    const float short_memory = standing > 0.0F ? std::clamp((memory - usable_memory) / standing, 0.0F, 1.0F) : 0.0F;
    Vec4 wanted{};
    float wanted_gpu = 0.0F;
    const float resident = 1.0F - short_memory;
    for (Portion& p : portions_) {
        const float cpu = speed * (truth.moving > 0 && p.moving ? 1.0F - hypervisor.migration_slowdown : 1.0F);
        const Vec4 got = load4(p.capped) * Vec4{cpu, resident, 1.0F, 1.0F};
        store4(p.got, got);
        p.got[kGpu] = p.capped[kGpu];
        wanted += got;
        wanted_gpu += p.got[kGpu];
    }
    const float migration_cpu = truth.migration_mbit_s * hypervisor.migration_cpu_mhz_per_mbit;
    if (overflow == 0.0F && roomy(host, wanted, wanted_gpu)) return true;
    fair_share(Resource::cpu, wanted[kCpu],
               std::max(0.0F, constants.usable[kCpu] - n * constants.vm_cpu_mhz - migration_cpu));
    fair_share(Resource::disk, wanted[kDisk], constants.usable[kDisk]);
    fair_share(Resource::network, wanted[kNetwork],
               std::max(0.0F, constants.usable[kNetwork] - truth.migration_mbit_s));
    fair_share(Resource::gpu, wanted_gpu, constants.usable_gpu);
    return false;
}

// The rates of a host whatever happens there. Where its migrations' traffic alone has changed and nobody is short of
// anything, before and after, the sums over its VMs are what they were.
void Simulator::evaluate_slow(std::int32_t host) {
    const auto h = static_cast<std::size_t>(host);
    HostRates& rates = rates_[h];
    if (hosts_[h].stale || !rates.roomy || !roomy(host, rates.got, rates.got_gpu)) {
        rates = HostRates{};
        rates.roomy = solve(host);
        sum_portions(host);
        hosts_[h].stale = false;
    }
    finish_rates(host);
}

void Simulator::sum_portions(std::int32_t host) {
    const HostTruth& truth = hosts_[static_cast<std::size_t>(host)];
    while (truth.short_first >= 0) unlist_short(host, truth.short_first);
    for (const Portion& p : portions_) account(host, p, 1.0F);
}

// Adds a VM to the sums over its host's VMs (sign 1) or takes it away (-1).
void Simulator::account(std::int32_t host, const Portion& p, float sign) {
    HostRates& rates = rates_[static_cast<std::size_t>(host)];
    const float slowdown = profile(host).migration_slowdown;
    const Vec4 sign4{sign, sign, sign, sign};
    rates.got += sign4 * load4(p.got);
    rates.got_gpu += sign * p.got[kGpu];
    rates.capped_cpu += sign * p.capped[kCpu];
    rates.wanted_cpu += sign * (p.capped[kCpu] * (p.moving ? 1.0F - slowdown : 1.0F));
    if (!p.useful) return;
    rates.served_cpu += sign * p.got[kCpu];
    rates.tight_cpu += sign * std::max(0.0F, p.capped[kCpu] - plant_->spec.knee * p.allocation[kCpu]);
    if (p.moving) rates.migration_unmet += sign * (p.capped[kCpu] * slowdown);
    store4(rates.demand, load4(rates.demand) + sign4 * load4(p.demand));
    rates.demand[kGpu] += sign * p.demand[kGpu];
    if (same4(load4(p.got), load4(p.demand)) && p.got[kGpu] == p.demand[kGpu]) return; // it lacks nothing
    note_unmet(host, p, sign);
}

// Likewise of what a VM lacks.
void Simulator::note_unmet(std::int32_t host, const Portion& p, float sign) {
    HostRates& rates = rates_[static_cast<std::size_t>(host)];
    float usd = 0.0F;
    bool lacks = false;
    for (std::size_t r = 0; r < kResources; ++r) {
        const float unmet = std::max(0.0F, p.demand[r] - p.got[r]);
        rates.unmet[r] += sign * unmet;
        usd += unmet * plant_->spec.prices.unmet_usd_h[r] * kPriceUnit[r];
        lacks = lacks || unmet > 0.0F;
    }
    if (!lacks) return;
    rates.unmet_usd_s += sign * usd * vms_[static_cast<std::size_t>(p.vm)].credit;
    rates.lacks += sign > 0.0F ? 1 : -1;
    if (sign < 0.0F)
        unlist_short(host, p.vm);
    else if (const float unmet = p.demand[kCpu] - p.got[kCpu]; unmet > 0.0F)
        list_short(host, p.vm, unmet);
}

void Simulator::list_short(std::int32_t host, std::int32_t id, float unmet_rate) {
    HostTruth& truth = hosts_[static_cast<std::size_t>(host)];
    Vm& vm = vms_[static_cast<std::size_t>(id)];
    vm.unmet_rate = unmet_rate;
    vm.short_next = truth.short_first;
    truth.short_first = id;
}

void Simulator::unlist_short(std::int32_t host, std::int32_t id) {
    for (std::int32_t* at = &hosts_[static_cast<std::size_t>(host)].short_first; *at >= 0;
         at = &vms_[static_cast<std::size_t>(*at)].short_next) {
        if (*at != id) continue;
        Vm& vm = vms_[static_cast<std::size_t>(id)];
        *at = vm.short_next;
        vm.short_next = -1;
        vm.unmet_rate = 0.0F;
        return;
    }
}

// What follows from the sums over its VMs and the traffic of its migrations.
void Simulator::finish_rates(std::int32_t host) {
    const auto h = static_cast<std::size_t>(host);
    const Plant::HostConstants& constants = plant_->hosts[h];
    const HostTruth& truth = hosts_[h];
    HostRates& rates = rates_[h];
    const auto n = static_cast<float>(truth.n_vms);
    const float migration_cpu = truth.migration_mbit_s * profile(host).migration_cpu_mhz_per_mbit;
    const float overhead = n * constants.vm_cpu_mhz + migration_cpu;
    rates.any_unmet = rates.lacks > 0;
    rates.used = rates.got;
    rates.used_gpu = rates.got_gpu;
    rates.used[kCpu] = std::min(constants.usable[kCpu], rates.used[kCpu] + overhead);
    rates.used[kMemory] =
        std::min(constants.usable[kMemory], rates.used[kMemory] + n * constants.vm_memory_mib + truth.arriving_memory);
    rates.used[kNetwork] = std::min(constants.usable[kNetwork], rates.used[kNetwork] + truth.migration_mbit_s);
    rates.power_w = host_power(host, rates.used[kCpu], rates.used_gpu);
    const float rho = rates.used[kCpu] * constants.inverse_cpu;
    rates.late =
        std::min(rates.served_cpu, (*constants.late)(rho)*rates.served_cpu + rates.tight_cpu * plant_->tight_factor);
    rates.contention = rates.capped_cpu > 0.0F ? 1.0F - rates.got[kCpu] / rates.capped_cpu : 0.0F;
    rates.overloaded = rates.wanted_cpu > std::max(0.0F, constants.usable[kCpu] - overhead);
}

// Books a host's open slice up to now.
void Simulator::close(std::int32_t host) {
    const auto h = static_cast<std::size_t>(host);
    HostTruth& truth = hosts_[h];
    const HostRates& rates = rates_[h];
    const double dt = now_ - truth.slice_s;
    truth.slice_s = now_;
    if (dt <= 0.0) return;
    tick_totals_.host_j += static_cast<double>(rates.power_w) * dt;
    if (truth.state != HostState::on) return;
    for (std::size_t r = 0; r < kResources; ++r) tick_totals_.demand[r] += static_cast<double>(rates.demand[r]) * dt;
    tick_totals_.late += static_cast<double>(rates.late) * dt;
    tick_totals_.on_s += dt;
    tick_totals_.used_cpu += static_cast<double>(rates.used[kCpu]) * dt;
    tick_totals_.capacity_cpu += static_cast<double>(plant_->hosts[h].usable[kCpu]) * dt;
    if (rates.overloaded) tick_totals_.overloaded_s += dt;
    if (!rates.any_unmet) return;
    for (std::size_t r = 0; r < kResources; ++r) tick_totals_.unmet[r] += static_cast<double>(rates.unmet[r]) * dt;
    tick_totals_.migration_unmet += static_cast<double>(rates.migration_unmet) * dt;
    tick_totals_.cost[static_cast<std::size_t>(CostTerm::unmet)] += static_cast<double>(rates.unmet_usd_s) * dt;
    for (std::int32_t v = truth.short_first; v >= 0; v = vms_[static_cast<std::size_t>(v)].short_next) {
        Vm& vm = vms_[static_cast<std::size_t>(v)];
        vm.unmet += static_cast<double>(vm.unmet_rate) * dt;
        vm.tick_unmet += vm.unmet_rate * static_cast<float>(dt);
        if (!vm.touched) {
            vm.touched = true;
            touched_vms_.push_back(v);
        }
    }
}

// Call before changing anything that a host's rates depend on: books the slice so far and marks it for evaluation.
void Simulator::touch(std::int32_t host) {
    if (host < 0) return;
    packed_hosts_ = false;
    hosts_[static_cast<std::size_t>(host)].stale = true;
    touch_link(host);
}

// The same where the traffic of migrations alone changes.
void Simulator::touch_link(std::int32_t host) {
    HostTruth& truth = hosts_[static_cast<std::size_t>(host)];
    if (!in_tick_ || truth.dirty) return;
    if (!truth.open) {
        if (!opened_) return;
        truth.open = true;
        truth.slice_s = tick_start_s_;
        open_hosts_.push_back(host);
    }
    close(host);
    truth.dirty = true;
    dirty_.push_back(host);
}

// Evaluates the hosts that events have touched.
void Simulator::settle() {
    for (const std::int32_t host : dirty_) {
        hosts_[static_cast<std::size_t>(host)].dirty = false;
        evaluate(host);
    }
    dirty_.clear();
}

// A host far beyond its memory loses the VM that uses most of it. All are found before any is lost: a loss moves load
// and memory to the other members of its application.
void Simulator::kill_for_memory() {
    std::vector<std::int32_t> victims;
    std::vector<std::int32_t> full; // a quiet host has room for all
    for (const std::int32_t host : open_hosts_) {
        const auto h = static_cast<std::size_t>(host);
        if (hosts_[h].state != HostState::on) continue;
        if (rates_[h].used[kMemory] < plant_->hosts[h].usable[kMemory] * 0.999F)
            continue; // rounding of a sum that fills the memory
        full.push_back(host);
    }
    std::sort(full.begin(), full.end());
    for (const std::int32_t host : full) {
        const auto h = static_cast<std::size_t>(host);
        const float usable = plant_->hosts[h].usable[kMemory];
        solve(host);
        const auto n = static_cast<float>(hosts_[h].n_vms);
        float memory = hosts_[h].arriving_memory + n * plant_->hosts[h].vm_memory_mib;
        const Portion* largest = nullptr;
        for (const Portion& p : portions_) {
            memory += p.capped[kMemory];
            if (largest == nullptr || p.capped[kMemory] > largest->capped[kMemory] ||
                (p.capped[kMemory] == largest->capped[kMemory] && p.vm < largest->vm))
                largest = &p;
        }
        if (largest == nullptr || memory / usable - 1.0F <= profile(host).oom_overflow) continue;
        victims.push_back(largest->vm);
    }
    for (const std::int32_t id : victims) {
        if (vms_[static_cast<std::size_t>(id)].state == VmState::absent) continue; // a shadow whose primary just ended
        ++tick_totals_.oom_kills;
        lose_vm(id);
    }
}

} // namespace foreshade

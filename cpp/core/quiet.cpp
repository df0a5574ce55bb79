// The fast path of a tick: hosts on which nothing happens and everybody gets what they want. Same laws, same sums and
// the same order of addition on every machine and for any number of threads; host_physics.cpp has the general case.
//
// A tick of a quiet cluster is bound by memory and by mispredicted loop ends, so the VMs lie in one long list,
// ascending, each with the place of its host's sums: a pass is one loop without branches, and a VM that goes to another
// host is one number to overwrite. The list is made anew only where a VM comes that it does not hold.
#include <algorithm>
#include <array>

#include "core/simulator.hpp"

namespace foreshade {

namespace {

struct Sums { // over the VMs of a host
    Vec4 wanted;
    Vec4 used;
    Vec4 tight;
};

// Whether every VM got all it wanted (the sums are equal to the bit) and the host has room for all of it.
bool all_served(Vec4 wanted, Vec4 got, Vec4 load, Vec4 usable) {
    const auto unmet = (wanted != got) | (load > usable);
#ifdef __SSE__
    return __builtin_ia32_movmskps(reinterpret_cast<Vec4>(unmet)) == 0;
#else
    return (unmet[0] | unmet[1] | unmet[2] | unmet[3]) == 0;
#endif
}

} // namespace

struct Simulator::Load {
    Vec4 demand;
    Vec4 used; // overheads included
    float gpu;
    float power_w;
    float late;
};

// Where the sums of a VM's host lie, in bytes; those of VMs without one lie behind the last host's and are not looked
// at.
std::uint32_t Simulator::sums_of(const Vm& vm) const {
    const std::size_t h = vm.host >= 0 ? static_cast<std::size_t>(vm.host) : hosts_.size();
    return static_cast<std::uint32_t>(h * sizeof(Sums));
}

// Whether a VM can never reach a cap or the knee. Where allocations may change no VM is calm for good, and a new cap is
// one number to overwrite.
bool Simulator::calm(const Vm& vm) const {
    if ((plant_->allowed >> static_cast<unsigned>(ActionKind::reshape) & 1U) != 0) return false;
    const auto series = static_cast<std::size_t>(plant_->work.app_series[static_cast<std::size_t>(vm.app)]);
    const Vec4 allocation = load4(vm.allocation);
    const Vec4 peak = plant_->series_peak[series] * Vec4{vm.share, vm.memory, vm.share, vm.share};
    return peak[0] <= plant_->spec.knee * allocation[0] && all_served(peak, peak, peak, allocation);
}

// Lays out what the tick needs of the VMs that have a host.
void Simulator::repack() {
    calm_vms_.clear();
    calm_factors_.clear();
    careful_vms_.clear();
    careful_factors_.clear();
    careful_caps_.clear();
    packed_at_.assign(vms_.size(), kNotPacked);
    packed_whole_ = true;
    for (std::size_t v = 0; v < vms_.size(); ++v) {
        const Vm& vm = vms_[v];
        if (vm.host < 0) continue;
        const auto series = static_cast<std::size_t>(plant_->work.app_series[static_cast<std::size_t>(vm.app)]);
        const PackedVm packed{static_cast<std::uint32_t>(series * kDense), sums_of(vm)};
        const PackedFactor factor{Vec4{vm.share, vm.memory, vm.share, vm.share}};
        packed_whole_ = packed_whole_ && vm.share == 1.0F && vm.memory == 1.0F;
        if (calm(vm)) {
            packed_at_[v] = static_cast<std::uint32_t>(calm_vms_.size()) | kCalm;
            calm_vms_.push_back(packed);
            calm_factors_.push_back(factor);
        } else {
            packed_at_[v] = static_cast<std::uint32_t>(careful_vms_.size());
            careful_vms_.push_back(packed);
            careful_factors_.push_back(factor);
            careful_caps_.push_back({load4(vm.allocation)});
        }
    }
    if (packed_whole_) {
        calm_factors_.clear();
        careful_factors_.clear();
    }
    packed_ = true;
    packed_hosts_ = false;
}

// Sorts the hosts into quiet ones and others.
void Simulator::repack_hosts() {
    quiet_hosts_.clear();
    other_hosts_.clear();
    packed_gpus_.clear();
    const bool gpus = plant_->work.n_gpu_series > 0;
    for (std::size_t h = 0; h < hosts_.size(); ++h) {
        const auto host = static_cast<std::int32_t>(h);
        const HostTruth& truth = hosts_[h];
        if (truth.state != HostState::on || truth.special > 0 || hidden_factor_ != 1.0F) {
            other_hosts_.push_back(host);
            continue;
        }
        const auto n = static_cast<float>(truth.n_vms);
        PackedHost& packed = quiet_hosts_.emplace_back();
        packed.overhead = Vec4{n * plant_->hosts[h].vm_cpu_mhz, n * plant_->hosts[h].vm_memory_mib, 0.0F, 0.0F};
        packed.host = host;
        packed.gpu_begin = packed.gpu_end = 0;
        if (!gpus) continue;
        standing_.clear();
        for (std::int32_t v = truth.first; v >= 0; v = vms_[static_cast<std::size_t>(v)].host_next)
            standing_.push_back(v);
        std::sort(standing_.begin(), standing_.end());
        packed.gpu_begin = static_cast<std::uint32_t>(packed_gpus_.size());
        for (const std::int32_t v : standing_) {
            const Vm& vm = vms_[static_cast<std::size_t>(v)];
            const auto series = static_cast<std::size_t>(plant_->work.app_series[static_cast<std::size_t>(vm.app)]);
            if (const std::int32_t column = plant_->work.gpu_column[series]; column >= 0)
                packed_gpus_.push_back({static_cast<std::uint32_t>(column), vm.share, vm.allocation[4]});
        }
        packed.gpu_end = static_cast<std::uint32_t>(packed_gpus_.size());
    }
    packed_hosts_ = true;
}

// A VM has another host or none, another share of its application's load, or another allocation.
void Simulator::repack_vm(std::int32_t id) {
    if (!packed_) return;
    const Vm& vm = vms_[static_cast<std::size_t>(id)];
    const std::uint32_t at = packed_at_[static_cast<std::size_t>(id)];
    if (at == kNotPacked) {
        packed_ = vm.host < 0;
        return;
    }
    const bool was_calm = (at & kCalm) != 0;
    const std::size_t i = at & ~kCalm;
    PackedVm& packed = was_calm ? calm_vms_[i] : careful_vms_[i];
    packed.sums = sums_of(vm);
    if (vm.host < 0) return;
    const auto series = static_cast<std::size_t>(plant_->work.app_series[static_cast<std::size_t>(vm.app)]);
    packed.series = static_cast<std::uint32_t>(series * kDense); // another VM may have taken the slot
    if (!was_calm) careful_caps_[i].allocation = load4(vm.allocation);
    if ((packed_whole_ && (vm.share != 1.0F || vm.memory != 1.0F)) || calm(vm) != was_calm)
        packed_ = false;
    else if (!packed_whole_)
        (was_calm ? calm_factors_[i] : careful_factors_[i]).of = Vec4{vm.share, vm.memory, vm.share, vm.share};
}

// The load that follows from the sums over a host's VMs; false where somebody is short of something.
[[gnu::always_inline]] inline bool Simulator::finish_load(const PackedHost& packed, Vec4 wanted, Vec4 used, Vec4 tight,
                                                          Load& load) const {
    const Plant::HostConstants& constants = plant_->hosts[static_cast<std::size_t>(packed.host)];
    load.gpu = 0.0F;
    for (std::size_t g = packed.gpu_begin; g < packed.gpu_end; ++g) {
        const float* const gpus = plant_->work.gpu + static_cast<std::size_t>(played_) * plant_->work.n_gpu_series;
        const float demand = gpus[packed_gpus_[g].column] * packed_gpus_[g].share;
        if (demand > packed_gpus_[g].allocation) return false;
        load.gpu += demand;
    }
    load.demand = wanted;
    load.used = used + packed.overhead;
    if (!all_served(wanted, used, load.used, constants.usable) || load.gpu > constants.usable_gpu) return false;
    const float rho = load.used[0] * constants.inverse_cpu;
    load.late = std::min(used[0], (*constants.late)(rho)*used[0] + tight[0] * plant_->tight_factor);
    load.power_w = (*constants.power)(rho)*constants.metered + constants.gpu_idle_w + load.gpu * constants.gpu_slope_w;
    return true;
}

// Calls sink(packed host, load, served) for every quiet host. Whole: every factor is 1 and none is stored.
template <bool Whole, class Sink> void Simulator::each_quiet_host(Sink&& sink) {
    thread_local std::vector<Sums> sums; // its contents do not outlive the call
    sums.assign(hosts_.size() + 1, Sums{});
    const float* const demand_row = row();
    const float knee = plant_->spec.knee;
    const Vec4 knee4{knee, knee, knee, knee};
    const Vec4 zero{};
    auto* const base = reinterpret_cast<char*>(sums.data()); // an index in bytes saves a multiplication a VM
    if (!calm_vms_.empty()) {
        for (std::size_t i = 0; i < calm_vms_.size(); ++i) {
            const PackedVm vm = calm_vms_[i];
            Vec4& wanted = reinterpret_cast<Sums*>(base + vm.sums)->wanted;
            const Vec4 demand = load4(demand_row + vm.series);
            if constexpr (Whole)
                wanted += demand;
            else
                wanted += demand * calm_factors_[i].of;
        }
        for (Sums& host : sums) host.used = host.wanted;
    }
    for (std::size_t i = 0; i < careful_vms_.size(); ++i) {
        const PackedVm vm = careful_vms_[i];
        Sums& host = *reinterpret_cast<Sums*>(base + vm.sums);
        const Vec4 demand = [&] {
            const Vec4 whole = load4(demand_row + vm.series);
            if constexpr (Whole)
                return whole;
            else
                return whole * careful_factors_[i].of;
        }();
        const Vec4 allocation = careful_caps_[i].allocation;
        const Vec4 capped = min4(demand, allocation);
        host.wanted += demand;
        host.used += capped;
        host.tight += max4(capped - knee4 * allocation, zero);
    }
    for (const PackedHost& packed : quiet_hosts_) {
        const Sums& of = sums[static_cast<std::size_t>(packed.host)];
        Load load;
        const bool served = finish_load(packed, of.wanted, of.used, of.tight, load);
        sink(packed, load, served);
    }
}

template <class Sink> void Simulator::each_quiet_host(Sink&& sink) {
    if (packed_whole_)
        each_quiet_host<true>(sink);
    else
        each_quiet_host<false>(sink);
}

// Sums over hosts that are served. Single precision holds the sum of a few dozen; longer sums would lose small terms.
struct Simulator::Account {
    static constexpr std::size_t kFlush = 32;
    Vec4 demand{};
    Vec4 other{}; // power, late, used cpu, usable cpu
    double gpu = 0.0;
    std::size_t hosts = 0;
    std::array<double, kDense> demand_sum{};
    std::array<double, kDense> other_sum{};

    void add(Vec4 wanted, Vec4 rest, float gpus) {
        demand += wanted;
        other += rest;
        if (gpus > 0.0F) gpu += static_cast<double>(gpus);
        if (++hosts % kFlush == 0) flush();
    }
    void flush() {
        for (std::size_t r = 0; r < kDense; ++r) {
            demand_sum[r] += static_cast<double>(demand[r]);
            other_sum[r] += static_cast<double>(other[r]);
        }
        demand = other = Vec4{};
    }
};

void Simulator::book(Account& account) {
    account.flush();
    const double dt = plant_->spec.tick_s;
    tick_totals_.host_j += account.other_sum[0] * dt;
    tick_totals_.late += account.other_sum[1] * dt;
    tick_totals_.used_cpu += account.other_sum[2] * dt;
    tick_totals_.capacity_cpu += account.other_sum[3] * dt;
    tick_totals_.on_s += static_cast<double>(account.hosts) * dt;
    for (std::size_t r = 0; r < kDense; ++r) tick_totals_.demand[r] += account.demand_sum[r] * dt;
    tick_totals_.demand[4] += account.gpu * dt;
}

// A tick in which nothing happens: the sums of the hosts that are served go straight to the accounts.
void Simulator::play_quiet_tick() {
    Account account;
    each_quiet_host([&](const PackedHost& packed, const Load& load, bool served) {
        const auto h = static_cast<std::size_t>(packed.host);
        if (!served) {
            hosts_[static_cast<std::size_t>(packed.host)].stale = true; // it is another tick's demand
            evaluate_slow(packed.host);
            open_slice(packed.host);
            return;
        }
        HostRates& rates = rates_[h];
        rates.used = load.used;
        rates.used_gpu = load.gpu;
        rates.power_w = load.power_w;
        rates.late = load.late;
        rates.contention = 0.0F;
        account.add(load.demand, Vec4{load.power_w, load.late, load.used[0], plant_->hosts[h].usable[0]}, load.gpu);
    });
    book(account);
    for (const std::int32_t host : other_hosts_) {
        hosts_[static_cast<std::size_t>(host)].stale = true;
        evaluate(host);
    }
}

// The start of a tick in which something happens: every host has rates. What events touch gets a slice that they can
// close (touch()), the rest is booked at the tick's end.
void Simulator::open_all_hosts() {
    each_quiet_host([this](const PackedHost& packed, const Load& load, bool served) {
        if (!served) {
            hosts_[static_cast<std::size_t>(packed.host)].stale = true; // it is another tick's demand
            evaluate_slow(packed.host);
            open_slice(packed.host);
            return;
        }
        HostRates& rates = rates_[static_cast<std::size_t>(packed.host)];
        rates.used = load.used;
        rates.used_gpu = load.gpu;
        rates.power_w = load.power_w;
        rates.late = load.late;
        rates.contention = 0.0F;
        rates.overloaded = rates.any_unmet = rates.roomy = false; // what is unmet is looked at where there is any
        __builtin_memcpy(rates.demand, &load.demand, sizeof(load.demand));
        rates.demand[4] = load.gpu;
    });
    for (const std::int32_t host : other_hosts_) {
        hosts_[static_cast<std::size_t>(host)].stale = true;
        evaluate(host);
    }
    opened_ = true;
}

// The hosts that nothing has touched, for the whole tick.
void Simulator::book_untouched() {
    Account account;
    for (const PackedHost& packed : quiet_hosts_) {
        const auto h = static_cast<std::size_t>(packed.host);
        if (hosts_[h].open) continue;
        const HostRates& rates = rates_[h];
        account.add(load4(rates.demand), Vec4{rates.power_w, rates.late, rates.used[0], plant_->hosts[h].usable[0]},
                    rates.demand[4]);
    }
    book(account);
}

} // namespace foreshade

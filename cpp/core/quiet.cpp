// The fast path of a tick: sums over the VMs of all hosts at once. Where everybody gets what they want, what a host
// draws follows from the sums alone; VMs that do not plainly run, or lack something on a host with room for all, are
// looked at one by one; host_physics.cpp has the general case. Same laws, same sums and the same order of addition on
// every machine and for any number of threads.
//
// A tick of a quiet cluster is bound by memory and by mispredicted loop ends, so the VMs lie in one long list,
// ascending, each with the place of its host's sums: a pass is one loop without branches, and a VM that goes to another
// host is one number to overwrite. The list is made anew only where a VM comes that it does not hold.
#include <algorithm>
#include <array>
#include <utility>

#include "core/simulator.hpp"
#include "core/wide.hpp"

namespace foreshade {

namespace {

// Whether every VM got all it wanted (the sums are equal to the bit) and the host has room for all of it.
bool all_served(Vec4 wanted, Vec4 got, Vec4 load, Vec4 usable) {
    const auto unmet = (wanted != got) | (load > usable);
#ifdef __SSE__
    return __builtin_ia32_movmskps(reinterpret_cast<Vec4>(unmet)) == 0;
#else
    return (unmet[0] | unmet[1] | unmet[2] | unmet[3]) == 0;
#endif
}

thread_local std::vector<std::uint32_t> capped_vms; // among the careful, as sum_vms() found them last

} // namespace

struct Simulator::Load {
    Vec4 demand;
    Vec4 used; // overheads included
    float gpu;
    float power_w;
    float late;
};

// Where the sums of a VM's host lie, in bytes; those of VMs without one, or that do not plainly run, lie behind the
// last host's and are not looked at.
std::uint32_t Simulator::sums_of(const Vm& vm) const {
    const std::size_t h = vm.host >= 0 && !vm.is_special ? static_cast<std::size_t>(vm.host) : hosts_.size();
    return static_cast<std::uint32_t>(h * sizeof(HostSums));
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
    calm_ids_.clear();
    careful_vms_.clear();
    careful_factors_.clear();
    careful_caps_.clear();
    careful_ids_.clear();
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
            calm_ids_.push_back(static_cast<std::int32_t>(v));
            calm_factors_.push_back(factor);
        } else {
            packed_at_[v] = static_cast<std::uint32_t>(careful_vms_.size());
            careful_vms_.push_back(packed);
            careful_factors_.push_back(factor);
            careful_caps_.push_back({load4(vm.allocation)});
            careful_ids_.push_back(static_cast<std::int32_t>(v));
        }
    }
    if (packed_whole_) {
        calm_factors_.clear();
        careful_factors_.clear();
    }
    packed_ = true;
    packed_hosts_ = packed_gpus_hold_ = false;
}

// The GPU parts of VMs, host by host, ascending.
void Simulator::repack_gpus() {
    gpus_of_.assign(hosts_.size() + 1, 0);
    packed_gpus_.clear();
    packed_gpus_hold_ = true;
    if (plant_->work.n_gpu_series == 0) return;
    standing_.clear();
    const auto column_of = [this](const Vm& vm) {
        return plant_->work
            .gpu_column[static_cast<std::size_t>(plant_->work.app_series[static_cast<std::size_t>(vm.app)])];
    };
    for (std::size_t v = 0; v < vms_.size(); ++v) {
        if (vms_[v].host < 0 || column_of(vms_[v]) < 0) continue;
        standing_.push_back(static_cast<std::int32_t>(v));
        ++gpus_of_[static_cast<std::size_t>(vms_[v].host)];
    }
    std::uint32_t begin = 0;
    for (std::uint32_t& first : gpus_of_) begin += std::exchange(first, begin);
    packed_gpus_.resize(standing_.size());
    for (const std::int32_t v : standing_) {
        const Vm& vm = vms_[static_cast<std::size_t>(v)];
        packed_gpus_[gpus_of_[static_cast<std::size_t>(vm.host)]++] = {static_cast<std::uint32_t>(column_of(vm)), v,
                                                                       vm.share, vm.allocation[4]};
    }
    for (std::size_t h = hosts_.size(); h > 0; --h) gpus_of_[h] = gpus_of_[h - 1];
    gpus_of_[0] = 0;
}

// Sorts the hosts into quiet ones, mixed ones and those that are not on, which draw what they drew.
void Simulator::repack_hosts() {
    if (!packed_gpus_hold_) repack_gpus();
    quiet_hosts_.clear();
    mixed_hosts_.clear();
    dark_w_.assign(hosts_.size(), 0.0F);
    dark_total_w_ = 0.0;
    for (std::size_t h = 0; h < hosts_.size(); ++h) {
        const auto host = static_cast<std::int32_t>(h);
        const HostTruth& truth = hosts_[h];
        if (truth.state != HostState::on) {
            if (truth.stale) evaluate(host);
            dark_w_[h] = rates_[h].power_w;
            dark_total_w_ += static_cast<double>(dark_w_[h]);
            continue;
        }
        const bool mixed = truth.special > 0 || hidden_factor_ != 1.0F;
        const auto n = static_cast<float>(truth.n_vms);
        PackedHost& packed = (mixed ? mixed_hosts_ : quiet_hosts_).emplace_back();
        packed.overhead = Vec4{n * plant_->hosts[h].vm_cpu_mhz, n * plant_->hosts[h].vm_memory_mib, 0.0F, 0.0F};
        packed.host = host;
        packed.gpu_begin = gpus_of_[h];
        packed.gpu_end = gpus_of_[h + 1];
    }
    packed_hosts_ = true;
}

// Takes a VM into the list, where those that have left are few.
bool Simulator::insert_packed(std::int32_t id) {
    const Vm& vm = vms_[static_cast<std::size_t>(id)];
    if ((packed_whole_ && (vm.share != 1.0F || vm.memory != 1.0F)) || calm(vm)) return false;
    std::size_t standing = 0;
    for (const HostTruth& truth : hosts_) standing += static_cast<std::size_t>(truth.n_vms);
    if (calm_ids_.size() + careful_ids_.size() > standing + standing / 4 + 8) return false;
    const auto place = std::lower_bound(careful_ids_.begin(), careful_ids_.end(), id) - careful_ids_.begin();
    const auto series = static_cast<std::size_t>(plant_->work.app_series[static_cast<std::size_t>(vm.app)]);
    careful_ids_.insert(careful_ids_.begin() + place, id);
    careful_vms_.insert(careful_vms_.begin() + place, {static_cast<std::uint32_t>(series * kDense), sums_of(vm)});
    careful_caps_.insert(careful_caps_.begin() + place, {load4(vm.allocation)});
    if (!packed_whole_)
        careful_factors_.insert(careful_factors_.begin() + place, {Vec4{vm.share, vm.memory, vm.share, vm.share}});
    for (auto i = static_cast<std::size_t>(place); i < careful_ids_.size(); ++i)
        packed_at_[static_cast<std::size_t>(careful_ids_[i])] = static_cast<std::uint32_t>(i);
    return true;
}

// A VM has another host or none, another share of its application's load, or another allocation.
void Simulator::repack_vm(std::int32_t id) {
    const Vm& vm = vms_[static_cast<std::size_t>(id)];
    if (packed_gpus_hold_ && plant_->work.n_gpu_series > 0 &&
        plant_->work.gpu_column[static_cast<std::size_t>(plant_->work.app_series[static_cast<std::size_t>(vm.app)])] >=
            0)
        packed_gpus_hold_ = false;
    if (!packed_) return;
    const std::uint32_t at = packed_at_[static_cast<std::size_t>(id)];
    if (at == kNotPacked) {
        packed_ = vm.host < 0 || insert_packed(id);
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
[[gnu::always_inline]] inline bool Simulator::finish_load(const PackedHost& packed, Vec4 wanted, Vec4 used, float tight,
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
    load.late = std::min(used[0], (*constants.late)(rho)*used[0] + tight * plant_->tight_factor);
    load.power_w = (*constants.power)(rho)*constants.metered + constants.gpu_idle_w + load.gpu * constants.gpu_slope_w;
    return true;
}

// Whole: every factor is 1 and none is stored.
template <bool Whole> FORESHADE_CLONES void Simulator::sum_vms(std::vector<HostSums>& sums) const {
    const float* const demand_row = row();
    const float knee = plant_->spec.knee;
    const Vec4 close{std::min(knee, 1.0F), 1.0F, 1.0F, 1.0F}; // below it there is nothing to look at
    capped_vms.clear();
    auto* const base = reinterpret_cast<char*>(sums.data()); // an index in bytes saves a multiplication a VM
    if (!calm_vms_.empty()) {
        for (std::size_t i = 0; i < calm_vms_.size(); ++i) {
            const PackedVm vm = calm_vms_[i];
            Vec4& wanted = reinterpret_cast<HostSums*>(base + vm.sums)->wanted;
            const Vec4 demand = load4(demand_row + vm.series);
            if constexpr (Whole)
                wanted += demand;
            else
                wanted += demand * calm_factors_[i].of;
        }
        for (HostSums& host : sums) host.used = host.wanted;
    }
    const std::size_t n_careful = careful_vms_.size(); // what is written could be any member
    const PackedVm* const careful = careful_vms_.data();
    const PackedCap* const caps = careful_caps_.data();
    const PackedFactor* const factors = careful_factors_.data();
    for (std::size_t i = 0; i < n_careful; ++i) {
        const PackedVm vm = careful[i];
        HostSums& host = *reinterpret_cast<HostSums*>(base + vm.sums);
        const Vec4 demand = [&] {
            const Vec4 whole = load4(demand_row + vm.series);
            if constexpr (Whole)
                return whole;
            else
                return whole * factors[i].of;
        }();
        const Vec4 allocation = caps[i].allocation;
        host.wanted += demand;
        host.used += min4(demand, allocation);
        if (!any4(demand > close * allocation)) [[likely]]
            continue;
        host.tight_cpu += std::max(0.0F, std::min(demand[0], allocation[0]) - knee * allocation[0]);
        if (any4(demand > allocation)) capped_vms.push_back(static_cast<std::uint32_t>(i));
    }
}

// Calls sink(packed host, its sums, its load) for every quiet host that is served; evaluates the others that are on.
template <class Sink> void Simulator::evaluate_hosts(Sink&& sink) {
    thread_local std::vector<HostSums> sums; // its contents do not outlive the call
    sums.assign(hosts_.size() + 1, HostSums{});
    if (packed_whole_)
        sum_vms<true>(sums);
    else
        sum_vms<false>(sums);
    const std::size_t n_mixed = mixed_hosts_.size();
    for (const PackedHost& packed : quiet_hosts_) {
        const HostSums& of = sums[static_cast<std::size_t>(packed.host)];
        Load load;
        if (finish_load(packed, of.wanted, of.used, of.tight_cpu, load))
            sink(packed, of, load);
        else
            mixed_hosts_.push_back(packed);
    }
    if (!mixed_hosts_.empty()) evaluate_mixed(sums);
    mixed_hosts_.resize(n_mixed);
}

// Hosts where some do not plainly run, or lack something. As long as there is room for what everybody's caps leave them
// the sums hold, and only those are looked at; else all of the host's VMs are.
void Simulator::evaluate_mixed(const std::vector<HostSums>& sums) {
    is_mixed_.resize(hosts_.size() + 1);
    for (const PackedHost& packed : mixed_hosts_) {
        const auto h = static_cast<std::size_t>(packed.host);
        HostTruth& truth = hosts_[h];
        HostRates& rates = rates_[h];
        truth.stale = hidden_factor_ != 1.0F || packed.gpu_begin != packed.gpu_end;
        if (truth.stale) continue;
        while (truth.short_first >= 0) unlist_short(packed.host, truth.short_first);
        const HostSums& of = sums[h];
        rates = HostRates{};
        rates.roomy = true;
        rates.got = of.used;
        rates.capped_cpu = rates.wanted_cpu = rates.served_cpu = of.used[0];
        rates.tight_cpu = of.tight_cpu;
        __builtin_memcpy(rates.demand, &of.wanted, sizeof(of.wanted));
        is_mixed_[h] = 1;
    }
    for (const std::uint32_t i : capped_vms) {
        const std::size_t h = careful_vms_[i].sums / sizeof(HostSums);
        if (is_mixed_[h] == 0) continue;
        const auto host = static_cast<std::int32_t>(h);
        note_unmet(host, uncontended(host, careful_ids_[i]), 1.0F);
    }
    std::size_t left = 0;
    for (const std::int32_t v : special_vms_) {
        Vm& vm = vms_[static_cast<std::size_t>(v)];
        vm.listed = vm.is_special;
        if (!vm.is_special) continue;
        special_vms_[left++] = v;
        if (is_mixed_[static_cast<std::size_t>(vm.host)] != 0) account(vm.host, uncontended(vm.host, v), 1.0F);
    }
    special_vms_.resize(left);
    for (const PackedHost& packed : mixed_hosts_) {
        is_mixed_[static_cast<std::size_t>(packed.host)] = 0;
        evaluate_slow(packed.host);
        open_slice(packed.host);
    }
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
    evaluate_hosts([&](const PackedHost& packed, const HostSums&, const Load& load) {
        const auto h = static_cast<std::size_t>(packed.host);
        HostRates& rates = rates_[h];
        rates.used = load.used;
        rates.used_gpu = load.gpu;
        rates.power_w = load.power_w;
        rates.late = load.late;
        rates.contention = 0.0F;
        account.add(load.demand, Vec4{load.power_w, load.late, load.used[0], plant_->hosts[h].usable[0]}, load.gpu);
    });
    book(account);
}

// The start of a tick in which something happens: every host has rates. What events touch gets a slice that they can
// close (touch()), the rest is booked at the tick's end.
void Simulator::open_all_hosts() {
    evaluate_hosts([this](const PackedHost& packed, const HostSums& of, const Load& load) {
        const auto h = static_cast<std::size_t>(packed.host);
        HostTruth& truth = hosts_[h];
        while (truth.short_first >= 0) unlist_short(packed.host, truth.short_first);
        truth.stale = false;
        HostRates& rates = rates_[h];
        rates = HostRates{};
        rates.used = load.used;
        rates.power_w = load.power_w;
        rates.late = load.late;
        rates.roomy = true;
        rates.got = of.used;
        rates.used_gpu = rates.got_gpu = load.gpu;
        rates.capped_cpu = rates.wanted_cpu = rates.served_cpu = of.used[0];
        rates.tight_cpu = of.tight_cpu;
        __builtin_memcpy(rates.demand, &load.demand, sizeof(load.demand));
        rates.demand[4] = load.gpu;
    });
    opened_ = true;
}

// The hosts that nothing has touched, for the whole tick; in a quiet tick those that are on have been booked.
void Simulator::book_untouched(bool quiet) {
    if (!quiet) {
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
    double dark_w = dark_total_w_;
    for (const std::int32_t host : open_hosts_) dark_w -= static_cast<double>(dark_w_[static_cast<std::size_t>(host)]);
    tick_totals_.host_j += dark_w * plant_->spec.tick_s;
}

} // namespace foreshade

// The fast path of a tick: hosts on which nothing happens and everybody gets what they want. Same laws, same sums and
// the same order of addition on every machine and for any number of threads; host_physics.cpp has the general case.
//
// A tick of a quiet cluster is bound by memory and by mispredicted loop ends, so the VMs lie rank by rank: the first VM
// of every host of a block, then the second of every host that has one, and so on. Each pass is one long loop without
// branches, and neighbouring additions go to different hosts.
#include <algorithm>
#include <array>

#include "core/simulator.hpp"

namespace foreshade {

namespace {

constexpr std::size_t kBlock = 128; // hosts whose sums (6 KiB) stay in the nearest cache

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

// Sorts the hosts into quiet ones and others, and lays out what the quiet ones' VMs need.
void Simulator::repack() {
    packed_blocks_.clear();
    calm_vms_.clear();
    calm_factors_.clear();
    careful_vms_.clear();
    careful_factors_.clear();
    careful_caps_.clear();
    packed_gpus_.clear();
    quiet_hosts_.clear();
    other_hosts_.clear();
    packed_at_.assign(vms_.size(), kNotPacked);
    // VMs by host, from one walk through memory in its order: following each host's list would miss the caches.
    standing_begin_.assign(hosts_.size() + 1, 0);
    for (std::size_t h = 0; h < hosts_.size(); ++h)
        standing_begin_[h + 1] = standing_begin_[h] + static_cast<std::uint32_t>(hosts_[h].n_vms);
    standing_.resize(standing_begin_.back());
    bool whole = true; // each VM plays a series of its own, undivided
    for (std::size_t v = 0; v < vms_.size(); ++v) {
        const Vm& vm = vms_[v];
        if (vm.host < 0) continue;
        standing_[standing_begin_[static_cast<std::size_t>(vm.host)]++] = static_cast<std::int32_t>(v);
        const HostTruth& truth = hosts_[static_cast<std::size_t>(vm.host)];
        if (truth.state == HostState::on && truth.special == 0) whole = whole && vm.share == 1.0F && vm.memory == 1.0F;
    }
    for (std::size_t h = hosts_.size(); h > 0; --h) standing_begin_[h] = standing_begin_[h - 1];
    standing_begin_[0] = 0;
    const bool gpus = plant_->work.n_gpu_series > 0;
    for (std::size_t h = 0; h < hosts_.size(); ++h) {
        const auto host = static_cast<std::int32_t>(h);
        if (hosts_[h].state != HostState::on || hosts_[h].special > 0 || hidden_factor_ != 1.0F) {
            other_hosts_.push_back(host);
            continue;
        }
        PackedHost& packed = quiet_hosts_.emplace_back();
        const auto n = static_cast<float>(hosts_[h].n_vms);
        packed.overhead = Vec4{n * plant_->hosts[h].vm_cpu_mhz, n * plant_->hosts[h].vm_memory_mib, 0.0F, 0.0F};
        packed.host = host;
        packed.gpu_begin = static_cast<std::uint32_t>(packed_gpus_.size());
        for (std::size_t k = standing_begin_[h]; k < standing_begin_[h + 1] && gpus; ++k) {
            const Vm& vm = vms_[static_cast<std::size_t>(standing_[k])];
            const auto series = static_cast<std::size_t>(plant_->work.app_series[static_cast<std::size_t>(vm.app)]);
            if (const std::int32_t column = plant_->work.gpu_column[series]; column >= 0)
                packed_gpus_.push_back({static_cast<std::uint32_t>(column), vm.share, vm.allocation[4]});
        }
        packed.gpu_end = static_cast<std::uint32_t>(packed_gpus_.size());
    }
    for (std::size_t begin = 0; begin < quiet_hosts_.size(); begin += kBlock)
        pack_block(begin, std::min(begin + kBlock, quiet_hosts_.size()));
    if (whole) {
        calm_factors_.clear();
        careful_factors_.clear();
    }
    packed_whole_ = whole;
    packed_ = true;
}

void Simulator::pack_block(std::size_t begin, std::size_t end) {
    PackedBlock& block = packed_blocks_.emplace_back();
    block.host_begin = static_cast<std::uint32_t>(begin);
    block.host_end = static_cast<std::uint32_t>(end);
    block.calm_begin = static_cast<std::uint32_t>(calm_vms_.size());
    block.careful_begin = static_cast<std::uint32_t>(careful_vms_.size());
    // Where allocations may change no VM is calm for good, and a new cap is one number to overwrite.
    const bool resizes = (plant_->allowed >> static_cast<unsigned>(ActionKind::reshape) & 1U) != 0;
    std::array<std::uint32_t, kBlock> next{}, last{};
    for (std::size_t i = begin; i < end; ++i) {
        const auto h = static_cast<std::size_t>(quiet_hosts_[i].host);
        next[i - begin] = standing_begin_[h];
        last[i - begin] = standing_begin_[h + 1];
    }
    for (bool any = true; any;) {
        any = false;
        for (std::size_t slot = 0; slot < end - begin; ++slot) {
            if (next[slot] == last[slot]) continue;
            const auto id = static_cast<std::size_t>(standing_[next[slot]++]);
            const Vm& vm = vms_[id];
            any = true;
            const auto series = static_cast<std::size_t>(plant_->work.app_series[static_cast<std::size_t>(vm.app)]);
            const Vec4 factor{vm.share, vm.memory, vm.share, vm.share};
            const Vec4 allocation = load4(vm.allocation);
            const Vec4 peak = resizes ? allocation : plant_->series_peak[series] * factor;
            const bool calm =
                !resizes && peak[0] <= plant_->spec.knee * allocation[0] && all_served(peak, peak, peak, allocation);
            const PackedVm packed{static_cast<std::uint32_t>(series * kDense),
                                  static_cast<std::uint32_t>(slot * sizeof(Sums))};
            if (!calm) packed_at_[id] = static_cast<std::uint32_t>(careful_vms_.size());
            (calm ? calm_vms_ : careful_vms_).push_back(packed);
            (calm ? calm_factors_ : careful_factors_).push_back({factor});
            if (!calm) careful_caps_.push_back({allocation});
        }
    }
    block.calm_end = static_cast<std::uint32_t>(calm_vms_.size());
    block.careful_end = static_cast<std::uint32_t>(careful_vms_.size());
}

// A VM that is packed has another allocation.
void Simulator::repack_cap(std::int32_t vm) {
    const auto v = static_cast<std::size_t>(vm);
    if (packed_ && packed_at_[v] != kNotPacked) careful_caps_[packed_at_[v]].allocation = load4(vms_[v].allocation);
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
    const float* const demand_row = row();
    const float knee = plant_->spec.knee;
    const Vec4 knee4{knee, knee, knee, knee};
    const Vec4 zero{};
    alignas(64) std::array<Sums, kBlock> sums;
    auto* const base = reinterpret_cast<char*>(sums.data()); // an index in bytes saves a multiplication a VM
    for (const PackedBlock& block : packed_blocks_) {
        const std::size_t n = block.host_end - block.host_begin;
        std::fill_n(sums.begin(), n, Sums{});
        for (std::size_t i = block.calm_begin; i < block.calm_end; ++i) {
            const PackedVm vm = calm_vms_[i];
            Vec4& wanted = reinterpret_cast<Sums*>(base + vm.sums)->wanted;
            const Vec4 demand = load4(demand_row + vm.series);
            if constexpr (Whole)
                wanted += demand;
            else
                wanted += demand * calm_factors_[i].of;
        }
        for (std::size_t slot = 0; slot < n; ++slot) sums[slot].used = sums[slot].wanted;
        for (std::size_t i = block.careful_begin; i < block.careful_end; ++i) {
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
        for (std::size_t slot = 0; slot < n; ++slot) {
            Load load;
            const PackedHost& packed = quiet_hosts_[block.host_begin + slot];
            const bool served = finish_load(packed, sums[slot].wanted, sums[slot].used, sums[slot].tight, load);
            sink(packed, load, served);
        }
    }
}

template <class Sink> void Simulator::each_quiet_host(Sink&& sink) {
    if (packed_whole_)
        each_quiet_host<true>(sink);
    else
        each_quiet_host<false>(sink);
}

// A tick in which nothing happens: the sums of the hosts that are served go straight to the accounts.
void Simulator::play_quiet_tick() {
    // Single precision holds the sum of a few dozen hosts; longer sums would lose the small terms.
    constexpr std::size_t kFlush = 32;
    const double dt = plant_->spec.tick_s;
    Vec4 demand{};
    Vec4 other{}; // power, late, used cpu, usable cpu
    double gpu = 0.0;
    std::size_t calm = 0;
    std::array<double, kDense> demand_sum{};
    std::array<double, kDense> other_sum{};
    const auto flush = [&] {
        for (std::size_t r = 0; r < kDense; ++r) {
            demand_sum[r] += static_cast<double>(demand[r]);
            other_sum[r] += static_cast<double>(other[r]);
        }
        demand = other = Vec4{};
    };
    each_quiet_host([&](const PackedHost& packed, const Load& load, bool served) {
        const auto h = static_cast<std::size_t>(packed.host);
        if (!served) {
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
        demand += load.demand;
        other += Vec4{load.power_w, load.late, load.used[0], plant_->hosts[h].usable[0]};
        if (load.gpu > 0.0F) gpu += static_cast<double>(load.gpu);
        if (++calm % kFlush == 0) flush();
    });
    flush();
    tick_totals_.host_j += other_sum[0] * dt;
    tick_totals_.late += other_sum[1] * dt;
    tick_totals_.used_cpu += other_sum[2] * dt;
    tick_totals_.capacity_cpu += other_sum[3] * dt;
    tick_totals_.on_s += static_cast<double>(calm) * dt;
    for (std::size_t r = 0; r < kDense; ++r) tick_totals_.demand[r] += demand_sum[r] * dt;
    tick_totals_.demand[4] += gpu * dt;
    for (const std::int32_t host : other_hosts_) evaluate(host);
}

// The start of a tick in which something happens: every host gets a slice that events can close.
void Simulator::open_all_hosts() {
    each_quiet_host([this](const PackedHost& packed, const Load& load, bool served) {
        if (!served) {
            evaluate_slow(packed.host);
        } else {
            HostRates& rates = rates_[static_cast<std::size_t>(packed.host)];
            rates = HostRates{};
            rates.used = load.used;
            rates.used_gpu = load.gpu;
            rates.power_w = load.power_w;
            rates.late = load.late;
            for (std::size_t r = 0; r < kDense; ++r) rates.demand[r] = load.demand[r];
            rates.demand[4] = load.gpu;
        }
        open_slice(packed.host);
    });
    for (const std::int32_t host : other_hosts_) evaluate(host);
}

} // namespace foreshade

// What telemetry would show of the hidden truth: the only way from one to the other.
#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>
#include <vector>

#include "core/simulator.hpp"
#include "core/wide.hpp"

namespace foreshade {

namespace {

// Ascending, each once.
void sort_out(std::vector<std::int32_t>& vms) {
    std::sort(vms.begin(), vms.end());
    vms.erase(std::unique(vms.begin(), vms.end()), vms.end());
}

} // namespace

void Simulator::prepare(ClusterState& state) const {
    const std::size_t n_hosts = hosts_.size();
    state.hosts.resize(n_hosts);
    state.vms.resize(vms_.size());
    state.forecasts.resize(vms_.size());
    if (const auto* table = std::get_if<forecast::Table>(&plant_->forecast)) {
        state.forecasts.horizons = table->horizons;
        state.forecasts.levels = table->levels;
    } else if (const auto* config = std::get_if<forecast::EngineConfig>(&plant_->forecast)) {
        state.forecasts.horizons.assign(config->horizons.begin(), config->horizons.end());
        state.forecasts.levels.assign(forecast::kLevel.begin(), forecast::kLevel.end());
    }
    for (std::size_t h = 0; h < n_hosts; ++h) {
        const Host& spec = plant_->spec.hosts[h];
        const auto model_id = static_cast<std::size_t>(spec.model);
        const ServerModel& server = plant_->spec.models[model_id];
        for (std::size_t r = 0; r < kResources; ++r) {
            const float efficiency = plant_->spec.profiles[static_cast<std::size_t>(spec.profile)].efficiency[r];
            state.hosts.capacity[h * kResources + r] = server.capacity[r] * efficiency;
            state.hosts.overcommit[h * kResources + r] = spec.overcommit[r] / (r < kDense ? 1.0F : efficiency);
        }
        state.hosts.idle_w[h] = spec.rented ? 0.0F : server.power_w[0] + server.capacity[4] * server.gpu_idle_w;
        state.hosts.peak_w[h] = spec.rented ? 0.0F : server.power_w[10] + server.capacity[4] * server.gpu_idle_w;
        state.hosts.boot_s[h] = spec.rented ? spec.provision_s : server.boot_s;
        state.hosts.price_usd_h[h] = spec.committed ? 0.0F : spec.price_usd_h; // what is paid anyway decides nothing
        state.hosts.rack[h] = spec.rack;
        state.hosts.zone[h] = plant_->spec.racks[static_cast<std::size_t>(spec.rack)].zone;
        state.hosts.model[h] = spec.model;
        state.hosts.profile[h] = spec.profile;
    }
    for (std::size_t v = 0; v < vms_.size(); ++v)
        for (std::size_t r = 0; r < kResources; ++r) state.vms.flavour[v * kResources + r] = vms_[v].flavour[r];
}

// What a VM is, and usage and demand of none.
void Simulator::show_vm(VmColumns& vms, std::size_t v) const {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const Vm& vm = vms_[v];
    __builtin_memcpy(vms.flavour.data() + v * kResources, vm.flavour, sizeof(vm.flavour));
    __builtin_memcpy(vms.allocation.data() + v * kResources, vm.allocation, sizeof(vm.allocation));
    std::fill_n(vms.usage.begin() + static_cast<std::ptrdiff_t>(v * kResources), kResources, 0.0F);
    std::fill_n(vms.demand.begin() + static_cast<std::ptrdiff_t>(v * kResources), kResources, 0.0F);
    vms.contention[v] = 0.0F;
    vms.weight[v] = vm.weight;
    vms.credit[v] = vm.credit;
    vms.age_s[v] = vm.host < 0 || played_ < 0 ? kInfinity : 0.0F;
    vms.birth[v] = vm.birth;
    vms.app[v] = vm.app;
    vms.host[v] = vm.host;
    vms.destination[v] = vm.destination;
    vms.primary[v] = vm.primary;
    vms.state[v] = vm.state;
    vms.kind[v] = vm.kind;
}

// What is shown of a VM besides usage is not what it was.
void Simulator::note_change(std::int32_t id, Change change) {
    Vm& vm = vms_[static_cast<std::size_t>(id)];
    if (vm.changed == Change::none) changed_.push_back(id);
    vm.changed = std::max(vm.changed, change);
}

// Whether what may be booked of a VM besides its allocation is shown otherwise than it is.
bool Simulator::differs(const VmColumns& vms, std::size_t v) const {
    const Vm& vm = vms_[v];
    return vms.state[v] != vm.state || vms.destination[v] != vm.destination || vms.host[v] != vm.host ||
           vms.weight[v] != vm.weight;
}

void Simulator::observe(ClusterState& state) {
    if (state.n_hosts() != hosts_.size() || state.n_vms() != vms_.size())
        throw std::invalid_argument("observe: the state was not prepared by a simulator of this plant");
    for (std::size_t v = 0; v < vms_.size(); ++v) show_vm(state.vms, v);
    strained_.clear();
    show(state, true);
}

Changed Simulator::observe_again(ClusterState& state, std::span<const std::int32_t> booked) {
    const bool all = shown_played_ < 0; // ages of all are other ones
    if (all) {
        observe(state);
        state.moved_s = last_move_s_;
    } else {
        shown_anew_.assign(booked.begin(), booked.end());
        shown_anew_.insert(shown_anew_.end(), changed_.begin(), changed_.end());
        sort_out(shown_anew_);
        std::erase_if(shown_anew_, [&](std::int32_t id) {
            const auto v = static_cast<std::size_t>(id);
            const Vm& vm = vms_[v];
            if (vm.changed != Change::more && !differs(state.vms, v)) {
                __builtin_memcpy(state.vms.allocation.data() + v * kResources, vm.allocation, sizeof(vm.allocation));
                return true;
            }
            show_vm(state.vms, v);
            state.moved_s[v] = last_move_s_[v];
            return false;
        });
        const std::size_t n_shown = shown_anew_.size();
        for (const std::int32_t v : strained_) state.vms.contention[static_cast<std::size_t>(v)] = 0.0F;
        shown_anew_.insert(shown_anew_.end(), strained_.begin(), strained_.end());
        strained_.clear();
        show(state, false);
        shown_anew_.insert(shown_anew_.end(), strained_.begin(), strained_.end());
        if (shown_anew_.size() > n_shown) sort_out(shown_anew_);
    }
    for (const std::int32_t v : changed_) vms_[static_cast<std::size_t>(v)].changed = Change::none;
    changed_.clear();
    shown_played_ = played_;
    return all ? Changed{} : Changed{shown_anew_};
}

// What VMs use and are seen to want where their host has room for what their caps leave them: what solve() would come
// to. The sums of that over each host's VMs beside it.
FORESHADE_CLONES void Simulator::show_uncontended(VmColumns& vms, bool shows_usage, std::vector<HostSums>& sums,
                                                  std::vector<float>& gpus) {
    if (!packed_) repack();
    sums.assign(hosts_.size() + 1, HostSums{});
    const WorkloadView& work = plant_->work;
    gpus.assign(work.n_gpu_series > 0 ? hosts_.size() + 1 : 0, 0.0F);
    const float* const demand_row = row();
    const float* const gpu_row =
        work.n_gpu_series > 0 ? work.gpu + static_cast<std::size_t>(played_) * work.n_gpu_series : nullptr;
    auto* const base = reinterpret_cast<char*>(sums.data());
    const auto nowhere = static_cast<std::uint32_t>(hosts_.size() * sizeof(HostSums));
    float *const usage = vms.usage.data(), *const demand = vms.demand.data();
    // Caps: of each of the list by its place there, or by the VM's number.
    const auto show_all = [=]<bool kWhole, bool kUsage>(const std::vector<PackedVm>& list, const PackedFactor* factors,
                                                        const std::int32_t* ids, const float* caps, bool by_vm) {
        float *const used = usage, *const wanted = demand; // of this call: what is written could be any variable
        const float* const shown_row = demand_row;
        char* const sums_at = base;
        const PackedVm* const packed = list.data();
        const std::size_t n = list.size();
        for (std::size_t i = 0; i < n; ++i) {
            const PackedVm vm = packed[i];
            if (vm.sums == nowhere) continue;
            const Vec4 all = load4(shown_row + vm.series);
            const Vec4 want = [&] {
                if constexpr (kWhole)
                    return all;
                else
                    return all * factors[i].of;
            }();
            const std::size_t first = static_cast<std::size_t>(ids[i]) * kResources;
            const Vec4 got = min4(load4(caps + (by_vm ? first : i * kDense)), want);
            reinterpret_cast<HostSums*>(sums_at + vm.sums)->used += got;
            if constexpr (kUsage) __builtin_memcpy(used + first, &got, sizeof(got));
            __builtin_memcpy(wanted + first, &got, sizeof(got));
        }
    };
    const auto show_both = [&]<bool kWhole, bool kUsage>() {
        show_all.template operator()<kWhole, kUsage>(calm_vms_, calm_factors_.data(), calm_ids_.data(),
                                                     vms.allocation.data(), true);
        static_assert(sizeof(PackedCap) == kDense * sizeof(float));
        show_all.template operator()<kWhole, kUsage>(careful_vms_, careful_factors_.data(), careful_ids_.data(),
                                                     reinterpret_cast<const float*>(careful_caps_.data()), false);
    };
    if (packed_whole_)
        shows_usage ? show_both.template operator()<true, true>() : show_both.template operator()<true, false>();
    else
        shows_usage ? show_both.template operator()<false, true>() : show_both.template operator()<false, false>();
    if (gpu_row != nullptr) {
        if (!packed_gpus_hold_) repack_gpus();
        for (std::size_t h = 0; h < hosts_.size(); ++h)
            for (std::uint32_t g = gpus_of_[h]; g < gpus_of_[h + 1]; ++g) {
                const PackedGpu& gpu = packed_gpus_[g];
                if (vms_[static_cast<std::size_t>(gpu.vm)].is_special) continue;
                const std::size_t place = static_cast<std::size_t>(gpu.vm) * kResources + kDense;
                const float used = std::min(gpu.share * gpu_row[gpu.column], gpu.allocation);
                if (shows_usage) usage[place] = used;
                demand[place] = used;
                gpus[h] += used;
            }
    }
    for (const std::int32_t v : special_vms_) {
        const Vm& vm = vms_[static_cast<std::size_t>(v)];
        if (!vm.is_special || hosts_[static_cast<std::size_t>(vm.host)].state != HostState::on) continue;
        const Portion p = uncontended(vm.host, v);
        show_portion(vms, p);
        sums[static_cast<std::size_t>(vm.host)].used += load4(p.got);
        if (!gpus.empty()) gpus[static_cast<std::size_t>(vm.host)] += p.got[kDense];
    }
}

void Simulator::show_portion(VmColumns& vms, const Portion& p) {
    const auto v = static_cast<std::size_t>(p.vm);
    const Amounts estimate = estimated_demand(p);
    vms.contention[v] = contention_of(p);
    if (vms.contention[v] != 0.0F) strained_.push_back(p.vm);
    for (std::size_t r = 0; r < kResources; ++r) {
        vms.usage[v * kResources + r] = p.got[r];
        vms.demand[v * kResources + r] = estimate[r];
    }
}

// What changes with every tick: hosts, and of VMs what they use.
FORESHADE_CLONES void Simulator::show(ClusterState& state, bool usage) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const Failures& law = plant_->spec.failures;
    const double failure_rate = law.mtbf_h > 0.0 ? 1.0 / law.mtbf_h : 0.0;
    const double announced = law.recall * failure_rate;
    const double false_rate = law.false_alarms_per_host_day / 24.0;
    const double quiet = (1.0 - law.recall) * failure_rate;
    // An alarm is to be believed as far as a failure follows alarms, a calm as far as failures are announced.
    const double precision = announced + false_rate > 0.0 ? announced / (announced + false_rate) : 0.0;
    const double alarmed = precision / law.lead_h;
    const float age = played_ < 0 ? kInfinity : 0.0F;
    state.time_s = now_;
    state.tick = tick_;

    HostColumns& hosts = state.hosts;
    VmColumns& vms = state.vms;
    if (usage) {
        for (std::size_t v = 0; v < vms_.size(); ++v) vms.since_move_s[v] = static_cast<float>(now_ - last_move_s_[v]);
        state.moved_s.clear();
    }
    thread_local std::vector<HostSums> sums;                   // its contents do not outlive the call
    thread_local std::vector<float> gpus;                      // (n_hosts,) likewise; empty = there are none
    const bool shown = played_ >= 0 && hidden_factor_ == 1.0F; // of hosts with room; else solve() has to tell
    if (shown) show_uncontended(vms, usage, sums, gpus);
    for (std::size_t h = 0; h < hosts_.size(); ++h) {
        const HostTruth& truth = hosts_[h];
        const HostRates& rates = rates_[h];
        const bool on = truth.state == HostState::on && played_ >= 0;
        for (std::size_t r = 0; r < kResources; ++r) {
            hosts.allocated[h * kResources + r] = truth.allocated[r];
            hosts.usage[h * kResources + r] = !on ? 0.0F : r < kDense ? rates.used[r] : rates.used_gpu;
        }
        hosts.contention[h] = on ? rates.contention : 0.0F;
        hosts.power_w[h] = played_ >= 0 ? rates.power_w : 0.0F;
        hosts.hazard_per_h[h] = static_cast<float>(truth.alarms > 0 ? alarmed : quiet);
        hosts.hazard_confidence[h] = static_cast<float>(truth.alarms > 0 ? precision : law.recall);
        if (truth.noticed) { // gone within the notice, for certain
            hosts.hazard_per_h[h] = 3600.0F / std::max(1.0F, plant_->spec.hosts[h].notice_s);
            hosts.hazard_confidence[h] = 1.0F;
        }
        hosts.since_s[h] = static_cast<float>(now_ - truth.since_s);
        hosts.age_s[h] = age;
        hosts.n_vms[h] = truth.n_vms;
        hosts.arriving[h] = truth.arriving;
        hosts.state[h] = truth.state;
        if (!on) {
            for (std::int32_t v = truth.first; v >= 0; v = beside_[static_cast<std::size_t>(v)].next)
                show_vm(vms, static_cast<std::size_t>(v));
            continue;
        }
        if (shown && roomy(static_cast<std::int32_t>(h), sums[h].used, gpus.empty() ? 0.0F : gpus[h])) continue;
        solve(static_cast<std::int32_t>(h));
        for (const Portion& p : portions_) show_portion(vms, p);
    }
    show_inlets(hosts);
    show_forecasts(state.forecasts);
}

// Air at a rack's inlet: what the cooling supplies, warmed by what the rack draws (docs/physics.md).
void Simulator::show_inlets(HostColumns& hosts) const {
    std::vector<float> rack_w(plant_->spec.racks.size(), 0.0F);
    for (std::size_t r = 0; r < rack_w.size(); ++r)
        if (rack_on_[r]) rack_w[r] = plant_->spec.racks[r].overhead_w;
    for (std::size_t h = 0; h < hosts_.size(); ++h) rack_w[static_cast<std::size_t>(hosts.rack[h])] += hosts.power_w[h];
    for (std::size_t h = 0; h < hosts_.size(); ++h) {
        const auto rack = static_cast<std::size_t>(hosts.rack[h]);
        hosts.inlet_c[h] = plant_->spec.supply_c + plant_->spec.racks[rack].heat_c_per_kw * rack_w[rack] * 1e-3F;
    }
}

// What the run-queue delay shows.
float Simulator::contention_of(const Portion& p) {
    return p.capped[0] > 0.0F ? 1.0F - p.got[0] / p.capped[0] : 0.0F;
}

// From usage and contention: what a cap hides stays hidden.
Amounts Simulator::estimated_demand(const Portion& p) {
    Amounts demand;
    std::copy_n(p.got, kResources, demand.begin());
    if (const float contention = contention_of(p); contention < 1.0F) demand[0] = p.got[0] / (1.0F - contention);
    return demand;
}

} // namespace foreshade

// What telemetry would show of the hidden truth: the only way from one to the other.
#include <algorithm>
#include <limits>
#include <stdexcept>

#include "core/simulator.hpp"

namespace foreshade {

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
        state.hosts.price_usd_h[h] = spec.price_usd_h;
        state.hosts.rack[h] = spec.rack;
        state.hosts.zone[h] = plant_->spec.racks[static_cast<std::size_t>(spec.rack)].zone;
        state.hosts.model[h] = spec.model;
        state.hosts.profile[h] = spec.profile;
    }
    for (std::size_t v = 0; v < vms_.size(); ++v)
        for (std::size_t r = 0; r < kResources; ++r) state.vms.flavour[v * kResources + r] = vms_[v].flavour[r];
}

void Simulator::observe(ClusterState& state) {
    if (state.n_hosts() != hosts_.size() || state.n_vms() != vms_.size())
        throw std::invalid_argument("observe: the state was not prepared by a simulator of this plant");
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
    for (std::size_t v = 0; v < vms_.size(); ++v) {
        const Vm& vm = vms_[v];
        for (std::size_t r = 0; r < kResources; ++r) {
            const std::size_t i = v * kResources + r;
            vms.flavour[i] = vm.flavour[r];
            vms.allocation[i] = vm.allocation[r];
            vms.usage[i] = vms.demand[i] = 0.0F;
        }
        vms.contention[v] = 0.0F;
        vms.weight[v] = vm.weight;
        vms.credit[v] = vm.credit;
        vms.since_move_s[v] = static_cast<float>(now_ - vm.last_move_s);
        vms.age_s[v] = vm.host < 0 ? kInfinity : age;
        vms.birth[v] = vm.birth;
        vms.app[v] = vm.app;
        vms.host[v] = vm.host;
        vms.destination[v] = vm.destination;
        vms.primary[v] = vm.primary;
        vms.state[v] = vm.state;
        vms.kind[v] = vm.kind;
    }
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
        hosts.since_s[h] = static_cast<float>(now_ - truth.since_s);
        hosts.age_s[h] = age;
        hosts.n_vms[h] = truth.n_vms;
        hosts.arriving[h] = truth.arriving;
        hosts.state[h] = truth.state;
        if (!on || show_quiet_host(h, vms)) continue;
        solve(static_cast<std::int32_t>(h));
        for (const Portion& p : portions_) {
            const auto v = static_cast<std::size_t>(p.vm);
            const Amounts estimate = estimated_demand(p);
            vms.contention[v] = contention_of(p);
            for (std::size_t r = 0; r < kResources; ++r) {
                vms.usage[v * kResources + r] = p.got[r];
                vms.demand[v * kResources + r] = estimate[r];
            }
        }
    }
    show_forecasts(state.forecasts);
}

// What solve() would come to where every VM of a host plainly runs and gets what its caps leave it: then usage is
// demand and nobody waits. False, with nothing shown that solve() does not overwrite, where that is not so.
bool Simulator::show_quiet_host(std::size_t h, VmColumns& vms) const {
    const HostTruth& truth = hosts_[h];
    if (truth.special > 0 || truth.migration_mbit_s > 0.0F || hidden_factor_ != 1.0F) return false;
    const Plant::HostConstants& constants = plant_->hosts[h];
    const WorkloadView& work = plant_->work;
    const float* const demand_row = row();
    Vec4 wanted{};
    float wanted_gpu = 0.0F;
    for (std::int32_t v = truth.first; v >= 0;) {
        const auto i = static_cast<std::size_t>(v);
        const Vm& vm = vms_[i];
        v = vm.host_next;
        const auto series = static_cast<std::size_t>(work.app_series[static_cast<std::size_t>(vm.app)]);
        const Vec4 share{vm.share, vm.memory, vm.share, vm.share};
        const Vec4 used = min4(load4(vm.allocation), load4(demand_row + series * kDense) * share);
        wanted += used;
        float gpu = 0.0F;
        if (const std::int32_t column = work.gpu_column[series]; column >= 0) {
            const std::size_t first = static_cast<std::size_t>(played_) * work.n_gpu_series;
            gpu = std::min(vm.share * work.gpu[first + static_cast<std::size_t>(column)], vm.allocation[kDense]);
            wanted_gpu += gpu;
        }
        for (float* out : {vms.usage.data() + i * kResources, vms.demand.data() + i * kResources}) {
            __builtin_memcpy(out, &used, sizeof(used));
            out[kDense] = gpu;
        }
    }
    const auto n = static_cast<float>(truth.n_vms);
    const float cpu = std::max(0.0F, constants.usable[0] - n * constants.vm_cpu_mhz);
    const float memory = wanted[1] + n * constants.vm_memory_mib + truth.arriving_memory;
    return wanted[0] <= cpu && memory <= constants.usable[1] && wanted[2] <= constants.usable[2] &&
           wanted[3] <= std::max(0.0F, constants.usable[3]) && wanted_gpu <= constants.usable_gpu;
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

// What telemetry would show of the hidden truth: the only way from one to the other.
#include <limits>
#include <stdexcept>

#include "core/simulator.hpp"

namespace foreshade {

void Simulator::prepare(ClusterState& state) const {
    const std::size_t n_hosts = hosts_.size();
    state.hosts.resize(n_hosts);
    state.vms.resize(vms_.size());
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
        if (!on) continue;
        solve(static_cast<std::int32_t>(h));
        for (const Portion& p : portions_) {
            const auto v = static_cast<std::size_t>(p.vm);
            const float contention = p.capped[0] > 0.0F ? 1.0F - p.got[0] / p.capped[0] : 0.0F;
            vms.contention[v] = contention;
            for (std::size_t r = 0; r < kResources; ++r) {
                vms.usage[v * kResources + r] = p.got[r];
                vms.demand[v * kResources + r] = p.got[r];
            }
            if (contention < 1.0F) vms.demand[v * kResources] = p.got[0] / (1.0F - contention);
        }
    }
}

} // namespace foreshade

// What a host is expected to cost while its load is uncertain: the score behind moves, drains and candidates.
//
// A host's demand for each resource is taken as normal, D ~ N(mean, (s sigma)^2), the sum of independent VMs. In USD/h
//   cost = E[price * P(D_cpu) + late price * L(D_cpu) * min(D_cpu, C_cpu)]      two-point rule at mean -+ s sigma
//        + sum over resources: credit * unmet price * E(D - C)^+                closed form
//        + credit * CPU price * mean_cpu * swap factor * E(D_mem - C_mem)^+ / C_mem
// with E(D - C)^+ = sigma phi(a) + (mean - C) Phi(a), a = (mean - C) / sigma. Units and laws: docs/physics.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "core/resources.hpp"

namespace foreshade {

struct CostPrices {
    std::array<float, kDense> unmet_usd_h{}; // per MHz·h, MiB·h, (MiB/s)·h, (Mbit/s)·h
    float late_usd_mhz_h = 0.0F;             // 0 = lateness is left out
    float slo_stretch = 2.0F;                // response time allowed over the unloaded one
    float swap_factor = 0.0F; // slow-down per overflow of memory; 0 = what is short costs its price alone
    float sigma_scale = 1.0F; // s
};

// Borrowed columns, a row for each host.
struct CostHosts {
    std::span<const float> capacity;     // (n, 5)
    std::span<const float> vm_overhead;  // (n, 5) what the hypervisor takes for each VM
    std::span<const float> power_w;      // (n, 11) at 0, 10, … 100 % CPU, GPUs' idle power included
    std::span<const std::int32_t> cores; // (n,)
};

// Demand of one VM, or of the VMs of one host.
struct Load {
    std::array<float, kDense> mean{};
    std::array<float, kDense> variance{};
    float credit = 0.0F; // sum of credit * mean CPU
};

// What a host can bear, and what its cost follows from.
struct alignas(16) HostHas {
    std::array<float, kDense> capacity{1.0F, 1.0F, 1.0F, 1.0F}, overhead{}; // of the hypervisor, for each VM
    float inverse_cpu = 1.0F;
    std::int32_t curve = 0; // offset of the host's running cost
};

// A set of hosts and what they bear: a record for each, padded to whole registers. Refilled, never re-allocated.
class HostSet {
  public:
    std::size_t size() const { return n_; }
    const HostHas& has(std::size_t i) const { return has_[i]; }
    void clear_loads();
    void add(std::size_t i, const Load& load, float sign = 1.0F);

    // The sum of those of `loads` that `vms` names, with the hypervisor's overhead of each, instead of what is there.
    void set_sum(std::size_t i, std::span<const std::int32_t> vms, std::span<const Load> loads);
    // Copies what is borne, not the hosts: for trials that are taken back.
    void copy_loads(const HostSet& other) { bears = other.bears; }

    std::vector<Load> bears; // (padded(n),)

  private:
    friend class ExpectedCost;
    std::size_t n_ = 0;
    std::shared_ptr<const std::vector<HostHas>> kept_; // (padded(n),) which others may share
    const HostHas* has_ = nullptr;                     // its first
};

class ExpectedCost {
  public:
    // Throws std::invalid_argument where the columns' lengths differ or a host has no CPU or memory.
    ExpectedCost(const CostPrices& prices, const CostHosts& hosts);

    // USD/kWh at the meter: tariff and carbon, times PUE.
    void set_energy_price(float usd_kwh);

    std::size_t n_hosts() const { return n_hosts_; }
    const CostPrices& prices() const { return prices_; }

    // The constants of `hosts`, in that order, with nothing on them.
    void select(std::span<const std::int32_t> hosts, HostSet& out) const;

    // A VM's load where it stands at place i: its own and the hypervisor's overhead there.
    static Load standing(const HostSet& hosts, std::size_t i, const Load& vm);

    // USD/h of each host of the set; `out` has room for whole registers (padded(n)).
    void of_set(const HostSet& hosts, std::span<float> out) const;

    // USD/h of each host once a VM stands there too; of the fours that begin at `fours` alone, or of all.
    void with_vm(const HostSet& hosts, const Load& vm, std::span<const std::uint32_t> fours,
                 std::span<float> out) const;
    void with_vm(const HostSet& hosts, const Load& vm, std::span<float> out) const;

    // The same of any four hosts: `places` (4 m,), of which several may be the same.
    void with_vm_at(const HostSet& hosts, const Load& vm, std::span<const std::uint32_t> places,
                    std::span<float> out) const;

    // USD/h of one host with each of `vms` alone added (sign 1) or taken away (-1); `loads` as `vms` names them.
    void of_host_each(const HostSet& hosts, std::size_t i, std::span<const std::int32_t> vms,
                      std::span<const Load> loads, float sign, std::span<float> out) const;

    // USD/h of one host, with `vm` added (sign 1), taken away (-1) or left as it is (0).
    float of_host(const HostSet& hosts, std::size_t i, const Load& vm, float sign) const;

    // The parts of of_host(): what is wanted of a host in USD/h.
    struct Split {
        float energy, late, unmet;
    };
    Split split_host(const HostSet& hosts, std::size_t i, const Load& vm, float sign) const {
        return split(hosts, i, vm, sign, of_host(hosts, i, vm, sign));
    }
    Split split_host(const HostSet& hosts, std::size_t i, float usd_h) const { // as it is, where that is known
        return split(hosts, i, {}, 0.0F, usd_h);
    }

    // USD/h of one host for power alone, as of_host() counts it.
    float energy_usd_h(const HostSet& hosts, std::size_t i) const;

    // USD/h that the cluster changes by when VM k of `vms`, now at place `source[k]` (-1 = nowhere), goes to place h:
    // (n_vms, n) row-major, 0 where it stands. `scratch` is resized as needed.
    void moves(const HostSet& hosts, std::span<const Load> vms, std::span<const std::int32_t> source,
               std::span<float> out, std::vector<float>& scratch) const;

    // The least that one MHz more adds to what a host with room for it costs, USD/h: bounds every insertion from below.
    float least_usd_mhz_h() const { return least_usd_mhz_h_; }

    // USD/h of a host that is on and has nothing to do.
    float idle_usd_h(std::size_t host) const { return running_[static_cast<std::size_t>((*has_)[host].curve)]; }

    // W at a CPU share, as the curve has it.
    float power_w(std::size_t host, float share) const;

  private:
    static constexpr std::size_t kSteps = 160; // sixteen to each straight line of a power curve
    static constexpr std::size_t kStride = kSteps + 2;

    struct Four; // four hosts in registers
    Split split(const HostSet& hosts, std::size_t i, const Load& vm, float sign, float usd_h) const;
    Vec4 evaluate(const Four& x) const;
    static Four load_four(const HostSet& hosts, std::size_t i);
    Vec4 four_with_vm(const HostSet& hosts, const Load& vm, std::size_t i) const;

    CostPrices prices_;
    std::size_t n_hosts_ = 0;
    std::shared_ptr<const std::vector<HostHas>> has_; // (padded(n_hosts),)
    std::vector<std::array<float, 11>> watts_;        // by curve
    std::vector<float> late_usd_h_;                   // (n_curves * kStride,)
    std::vector<float> sampled_w_;                    // likewise
    std::vector<float> cpu_mhz_;                      // by curve
    float least_usd_mhz_h_ = 0.0F;
    float usd_kwh_ = std::numeric_limits<float>::quiet_NaN(); // of which running_ is made
    std::vector<float> running_;                              // (n_curves * kStride,) USD/h: energy and lateness
};

// Length that an output for n hosts must have.
constexpr std::size_t padded(std::size_t n) {
    return (n + 3) / 4 * 4;
}

// E(D - C)^+ for D ~ N(mean, sigma^2) and excess = mean - C; relative error below 1e-4 where a > -9, else below 1e-18
// sigma.
float expected_excess(float excess, float sigma);

} // namespace foreshade

// What every VM is expected to want next: mean and variance over its last samples, a prior where it has few.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/cluster_state.hpp"

namespace foreshade {

// Shares are of the VM's allocation.
struct WindowKnobs {
    std::size_t ticks = 12;   // length of the window
    float last = 0.0F;        // weight of the newest sample in the mean, beside the window's
    float prior_ticks = 2.0F; // samples that the prior counts for
    Amounts prior_mean{};     // before any telemetry; then the cluster's own share of use takes its place
    Amounts prior_sigma{};
    Amounts floor_sigma{};
    float slope = 0.0F;               // where above 0 the prior's sigma is floor + slope x mean, at most prior_sigma
    float sigma_ticks = 0.0F;         // samples that the prior counts for in the variance; 0 = as many as in the mean
    float forecast = 0.0F;            // weight of the state's forecast in mean and variance, where it has one
    std::int32_t forecast_ticks = 12; // its horizon: the nearest that there is
};

// Sums over a sliding window, O(n_vms) a tick whatever its length.
//
// A sample counts when it is younger than a tick and the VM serves: what a booting VM wants says nothing of its load.
// An open surge widens the spread at once (VmColumns::widen). A slot that was absent, or that another application has
// taken, starts afresh.
class DemandWindow {
  public:
    // Throws std::invalid_argument on a window without ticks.
    DemandWindow(const WindowKnobs& knobs, std::size_t n_vms, float tick_s);

    void reset(); // as if nothing had been seen

    // Takes in what is seen now; throws std::invalid_argument where the number of VMs has changed.
    void update(const ClusterState& state);

    std::size_t n_vms() const { return n_; }
    std::span<const float> mean() const { return mean_; }         // (n_vms, 5)
    std::span<const float> variance() const { return variance_; } // (n_vms, 5)

  private:
    struct alignas(64) Sums { // over the window, of the resources that every VM has
        Vec4 reference{};     // what the sums are taken from: near the mean, so that single precision is enough
        Vec4 sum{}, square{};
        Vec4 last{}; // the newest sample
    };
    struct Gpu {
        double sum = 0.0, square = 0.0;
        float last = 0.0F;
        bool holds() const { return sum != 0.0 || square != 0.0; }
    };
    struct ByCount { // what follows from the number of samples
        float inverse, bessel;
        float trust, trust_sigma; // how far they outweigh the prior, in mean and variance
        float newest;             // weight of the newest
    };

    void forget(std::size_t v);
    void refresh(std::size_t v);
    void learn(const VmColumns& vms);
    void learn_gpus(std::size_t v, bool fresh, bool was_there, float granted, float demand, double& held,
                    double& wanted);
    void tell(const VmColumns& vms);
    void tell_gpus(const Gpu& gpu, const ByCount& of, float granted, float widen, float& mean_out,
                   float& variance_out) const;
    void blend(const ClusterState& state);

    WindowKnobs knobs_;
    std::size_t n_;
    float tick_s_;
    std::size_t slot_ = 0;
    std::size_t ticks_learned_ = 0;         // since the reset
    std::size_t ticks_seen_ = 0;            // with telemetry
    Amounts share_;                         // of allocation that serving VMs use, smoothed
    std::vector<float> samples_;            // (ticks, n_vms, 4)
    std::vector<std::uint8_t> there_;       // (ticks, n_vms)
    std::vector<Sums> sums_;                // (n_vms,)
    bool has_gpus_ = false;                 // some VM had one
    std::vector<float> gpu_samples_;        // (ticks, n_vms) or empty
    std::vector<Gpu> gpus_;                 // (n_vms,)
    std::vector<std::int32_t> count_, app_; // (n_vms,)
    std::vector<ByCount> by_count_;         // (ticks + 1,)
    std::vector<float> mean_, variance_;
};

} // namespace foreshade

// What every VM is expected to want next: mean and variance over its last samples, a prior where it has few.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/cluster_state.hpp"
#include "core/expected_cost.hpp"

namespace foreshade {

// Shares are of the VM's allocation.
struct WindowKnobs {
    std::size_t ticks = 12;   // length of the window
    float last = 0.0F;        // weight of the newest sample in the mean, beside the window's
    float prior_ticks = 2.0F; // samples that the prior counts for
    Amounts prior_mean{};     // before any telemetry; then the cluster's own share of use takes its place
    Amounts prior_sigma{};
    Amounts floor_sigma{};
    float sigma_ticks = 0.0F;         // samples that the prior counts for in the variance; 0 = as many as in the mean
    float forecast = 0.0F;            // weight of the state's forecast in mean and variance, where it has one
    std::int32_t forecast_ticks = 12; // its horizon: the nearest that there is
};

// What is looked for while samples are taken in.
struct SizeWatch {
    std::array<float, kDense> tight{};         // share of its allocation from which a VM is close to what it may use
    std::size_t peak_ticks = 1;                // time constant at which a peak is forgotten
    std::array<std::size_t, 2> settle_ticks{}; // samples after which a VM is settled, for one or the other
    std::int32_t few_samples = 0;              // of a VM, after which a peak says something
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

    // From now on peaks are those of `watch`, and update() looks for what it names.
    void look_for(const SizeWatch& watch);

    void reset(); // as if nothing had been seen

    // Takes in what is seen now, with the VMs of which more has changed than that; throws std::invalid_argument where
    // the number of VMs has changed.
    void update(const ClusterState& state, const Changed& changed = {});

    std::size_t n_vms() const { return n_; }
    std::span<const Load> loads() const { return loads_; } // (n_vms,)
    void mean(std::span<float> out) const;                 // (n_vms, 5)
    void variance(std::span<float> out) const;             // (n_vms, 5)

    // Largest demand seen of a VM, forgotten slowly, and how many samples it is of.
    Vec4 peaks(std::size_t v) const { return load4(peak_of(v)); }
    float peak(std::size_t v, std::size_t r) const { return peak_of(v)[r]; }
    std::int32_t seen(std::size_t v) const { return static_cast<std::int32_t>(ticks_learned_) - missed_[v]; }
    // VMs that are close to what they may use of something, and those that have just settled; ascending.
    std::span<const std::int32_t> tight() const { return tight_; }
    std::span<const std::int32_t> settled() const { return settled_; }
    // Sums over the VMs that serve and whose samples are fresh, as of the last update.
    struct Habits {
        double newest_mhz = 0.0, expected_mhz = 0.0, flavour_mhz = 0.0;
        double newest_mib = 0.0, flavour_mib = 0.0;
        double away_mhz = 0.0;               // distance of the newest from what is expected
        std::int64_t n_known = 0, n_new = 0; // VMs whose peak says something; of them, those that reach it
    };
    const Habits& habits() const { return habits_; }

  private:
    // Over the window, of the resources that every VM has, of two VMs that follow each other.
    struct alignas(64) Record {
        std::array<float, 2 * kDense> reference; // what the sums are taken from: near the mean, so that single
                                                 // precision is enough
        std::array<float, 2 * kDense> sum, square;
        std::array<float, 2 * kDense> peak; // decayed
    };
    static std::size_t lane(std::size_t v) { return v % 2 * kDense; }
    const float* peak_of(std::size_t v) const { return records_[v / 2].peak.data() + lane(v); }
    struct Gpu {
        double sum = 0.0, square = 0.0;
        float last = 0.0F, mean = 0.0F, variance = 0.0F;
        bool holds() const { return sum != 0.0 || square != 0.0; }
    };
    struct ByCount { // what follows from the number of samples
        float inverse, bessel;
        float trust, trust_sigma; // how far they outweigh the prior, in mean and variance
        float newest;             // weight of the newest
    };
    struct Columns;                // of the state and of the window, by their first element
    template <class V> struct Law; // how a VM's mean and variance follow from its sums
    struct Account;                // sums over VMs
    enum class Course : std::uint8_t {
        odd,    // looked at closely
        steady, // serves, with a sample in every tick of the window or since there were any, and no GPU
    };
    using Flavour = std::array<std::int64_t, 2>; // cpu and memory, in 1/1024 of their units: sums are exact

    void forget(std::size_t v);
    void refresh(std::size_t v);
    void learn_early_share(const VmColumns& vms);
    template <class V> Law<V> law_of(std::size_t count) const;
    // window_pass.cpp
    void pass(const VmColumns& vms, bool all);
    void pass_narrow(const VmColumns& vms, bool all);
    void pass_wide(const VmColumns& vms, bool all);
    template <class V> void pass_over(const VmColumns& vms, bool all);
    template <class V>
    void take(const Columns& of, const Law<V>& law, std::size_t v, bool fresh, bool was_there, bool known,
              Account& account);
    void look_closely(const Columns& of, const VmColumns& vms, std::size_t v, Account& account);
    // Samples of a VM of which there is one for each tick since there were any, with this tick's.
    std::size_t samples_since_reset() const { return ticks_learned_ + 1 - silent_; }
    bool still_steady(const VmColumns& vms, std::size_t v) const;
    static Flavour flavour_of(const VmColumns& vms, std::size_t v);
    void serve(std::size_t v, const Flavour& flavour);
    Vec4 newest_of(std::size_t v) const;
    void learn_share(const std::array<double, kResources>& held, const std::array<double, kResources>& wanted);
    void learn_gpus(std::size_t v, bool fresh, bool was_there, float granted, float demand);
    void tell_gpus(Gpu& gpu, const ByCount& of, float granted, float widen) const;
    void blend(const ClusterState& state);

    static constexpr std::int32_t kNobody = -2; // whose slot it is
    WindowKnobs knobs_;
    SizeWatch watch_;
    bool watching_ = false;
    float forget_ = 0.0F; // of a peak in a tick
    std::size_t n_;
    float tick_s_;
    std::size_t slot_ = 0;
    std::size_t ticks_learned_ = 0;         // since the reset
    std::size_t ticks_seen_ = 0;            // with telemetry
    std::size_t silent_ = 0;                // since the reset, before the first of those
    Amounts share_;                         // of allocation that serving VMs use, smoothed
    std::vector<float> samples_;            // (ticks, n_vms, 4)
    std::vector<std::uint8_t> there_;       // (ticks, n_vms)
    std::vector<Record> records_;           // ((n_vms + 1) / 2,)
    std::vector<Course> course_;            // (n_vms,)
    bool has_gpus_ = false;                 // some VM had one
    std::vector<float> gpu_samples_;        // (ticks, n_vms) or empty
    std::vector<Gpu> gpus_;                 // (n_vms,) or empty
    std::vector<std::int32_t> count_, app_; // (n_vms,)
    std::vector<std::int32_t> missed_;      // (n_vms,) ticks since the reset without a sample of it
    std::vector<ByCount> by_count_;         // (ticks + 1,)
    std::vector<Load> loads_;
    std::vector<Flavour> served_; // (n_vms,) of those whose newest sample is fresh, else 0
    Flavour served_sum_{};
    std::vector<std::int32_t> tight_, settled_;
    Habits habits_;
};

} // namespace foreshade

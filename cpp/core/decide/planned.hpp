// The cluster as it will be once this tick's choices are carried out, and what its hosts are expected to cost.
//
// Every choice is booked here at once, on a ClusterState of its own, so that the next one sees it. A migration's
// source keeps its reservation until the world has moved the VM; its load counts at the destination.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/cluster_state.hpp"
#include "core/decide/site.hpp"
#include "core/expected_cost.hpp"

namespace foreshade {

// The measure of a site: prices of the site, hosts as the state has them. Resources whose allocation has no limit
// (overcommit above 1,000) are left out, CPU excepted.
std::shared_ptr<ExpectedCost> expected_cost_of(const Site& site, const ClusterState& state, float sigma_scale);

class Planned {
  public:
    Planned(std::shared_ptr<const Site> site, std::shared_ptr<const ExpectedCost> cost);

    // Goes on with copies of the state and the loads that it was begun with, and of its measure.
    void move_to(std::shared_ptr<const ExpectedCost> cost, ClusterState& state, std::span<const Load> loads) {
        cost_ = std::move(cost);
        state_ = &state;
        load_ = loads;
    }

    // A tick begins with `state`, which is kept and written to until the next begin, and what each VM is expected to
    // want over the horizon, which is kept. What `restraint` bars neither moves nor takes VMs this tick. `changed` is
    // what is new since the last begin, VMs that were booked on included.
    void begin(ClusterState& state, std::span<const Load> loads, const Restraint& restraint = {},
               const Changed& changed = {});

    // What is booked changes loads at once, but usd_h() and waiting() only with price_booked().
    void book(const Action& action);
    void price_booked();
    std::span<const std::int32_t> booked() const { return booked_; } // VMs that were written to

    const ClusterState& state() const { return *state_; }
    ClusterState& mutable_state() { return *state_; } // for planners that read a state
    std::size_t n_hosts() const { return n_hosts_; }
    const HostSet& loads() const { return hosts_; }
    float usd_h(std::size_t h) const { return now_[h]; }
    double total_usd_h() const;
    const Load& load(std::size_t v) const { return load_[v]; }
    std::span<const std::int32_t> waiting() const { return waiting_; } // VMs that wait for a host, ascending
    // What is asked of single VMs, in one record: a dozen columns would be as many waits for memory.
    struct Status {
        std::int32_t at = -1;                                   // where its load counts, -1 = nowhere
        std::int32_t stood = -1;                                // the same when the tick began
        std::int32_t host = -1, destination = -1, primary = -1; // as the state has them
        std::int32_t shadow_of = -1;                            // a shadow of it, -1 = none
        std::int32_t new_shadow_at = -1;                        // host of a shadow booked this tick, -1 = none
        VmState state = VmState::absent;                        // likewise
        bool reshaped = false;                                  // this tick
    };
    const Status& status(std::size_t v) const { return status_[v]; }
    std::int32_t place(std::size_t v) const { return status_[v].at; }
    std::int32_t here(std::size_t h) const { return n_here_[h]; } // VMs whose load counts there
    std::span<const std::int32_t> residents(std::size_t h) const { return residents_[h]; } // as the tick began
    bool takes(std::size_t h) const { return takes_[h] != 0; } // holds VMs and is not being emptied
    void refuse(std::size_t h) { takes_[h] = 0; }
    bool settled(std::size_t v) const; // runs, and is on its way nowhere
    bool movable(std::size_t v) const;
    bool reshaped(std::size_t v) const { return status_[v].reshaped; } // this tick
    bool shadowed(std::size_t v) const { return status_[v].shadow_of >= 0 || status_[v].new_shadow_at >= 0; }
    // What a host has promised, once a VM there has `after` instead of `before`; sums as the world does them.
    void exchange(float* allocated, std::size_t h, const float* before, const float* after) const;
    bool fits(std::size_t v, std::size_t h) const;  // a VM that stands elsewhere or nowhere
    bool apart(std::size_t v, std::size_t h) const; // from its shadow, or the VM that it shadows
    // Whether the world would still take an action that was planned before others were booked.
    bool allows(const Action& action) const;
    bool holds(const Amounts& allocation, std::size_t h) const;
    bool too_large(const Amounts& allocation, std::size_t h) const; // for a VM there, however much is free
    // The room that a VM needs where it goes, with those of its company that come with it, and what a host lacks of it.
    Amounts need_of(std::size_t v) const;
    Amounts missing(std::size_t v, std::size_t h) const;
    // Rules about places, against planned ones: whether a VM may go there, one that there is not yet likewise, and what
    // soft rules ask for it beyond where it is, USD/h.
    bool permits(std::size_t v, std::size_t h) const;
    bool permits_new(std::int32_t app, VmKind kind, std::size_t h) const;
    float affinity_usd_h(std::size_t v, std::size_t h) const;
    float limit(std::size_t h, std::size_t r) const { return limit_[h * kResources + r]; }

    // USD/h that host `h` costs less without each of `vms`, which stand there.
    void leaving_saves(std::size_t h, std::span<const std::int32_t> vms, std::vector<float>& out) const;
    // The cheapest host that takes VMs, has room and is none of `except` and `away`; -1 = none. What it adds in USD/h.
    std::int32_t cheapest(std::size_t v, std::int32_t except, float& added_usd_h);
    std::int32_t cheapest(const Load& load, const Amounts& allocation, std::int32_t except, std::int32_t app,
                          VmKind kind, float& added_usd_h); // of a VM that there is not yet

    // The same among eight with room, those first where a VM of mean size adds least, empty ones last.
    std::int32_t cheapest_near(std::size_t v, std::int32_t except, float& added_usd_h);
    void look_around(); // which come first, from now on

    // Every move of `host`'s VMs elsewhere, in `out`; false where one finds no room or has to stay. USD/h added there.
    bool empty_out(std::size_t host, std::vector<Action>& out, float& added_usd_h);

  private:
    struct Search { // for a place: on which loads, what those cost, and whether a host has to bear something already
        const HostSet& loads;
        const std::vector<float>& now;
        bool busy;
    };
    std::int32_t best_of(std::span<const std::uint32_t> hosts, std::size_t most, std::size_t v, std::int32_t except,
                         const Search& on, float& added_usd_h);
    float beyond_limit(const Amounts& allocation, std::size_t h, std::size_t r) const;
    bool takes_company(std::size_t v, std::size_t h) const;
    void stand(std::size_t v, std::size_t h, float sign);
    void reserve(std::size_t h, const float* allocation, float sign);
    void find(std::size_t v);
    void put(std::size_t v, std::int32_t host);
    void find_all(std::size_t n_vms);
    void note_waiting(std::span<const std::int32_t> changed);
    void find_shadows();
    void sum_loads();

    std::shared_ptr<const Site> site_;
    std::shared_ptr<const ExpectedCost> cost_;
    ClusterState* state_ = nullptr;
    std::size_t n_hosts_;
    HostSet hosts_, trial_;
    std::vector<float> now_, after_, trial_now_; // (padded(n_hosts),) USD/h
    std::vector<float> limit_, trial_allocated_; // (n_hosts, 5)
    std::vector<std::uint32_t> all_, by_price_;  // hosts: ascending; those that take VMs, the cheapest first
    struct Priced {
        bool empty;
        float added;
        std::uint32_t host;
    };
    std::vector<Priced> priced_;                       // scratch
    mutable AffinityBook affinity_;                    // places as planned
    std::vector<std::uint8_t> fixed_;                  // (n_vms,) may not migrate; empty = all may
    std::vector<std::uint8_t> takes_;                  // (n_hosts,)
    std::vector<std::int32_t> n_here_;                 // (n_hosts,)
    std::span<const Load> load_;                       // (n_vms,)
    std::vector<Status> status_;                       // (n_vms,)
    std::vector<std::int32_t> at_;                     // (n_vms,) of those, for sums over all
    std::vector<std::int32_t> booked_;                 // VMs, some several times
    std::vector<std::int32_t> waiting_;                // VMs, ascending
    std::vector<std::uint32_t> unpriced_;              // hosts, some several times
    std::vector<std::vector<std::int32_t>> residents_; // (n_hosts,) VMs, ascending
    struct alignas(64) Sum {
        std::array<float, 2 * kDense> moments{}; // mean, variance
        float credit = 0.0F;
    };
    bool shadows_ = false; // some VM stands for another
};

} // namespace foreshade

// One tick's plan on a tentative view of a cluster: every move is booked at once, so that the next one sees it.
//
// One greedy serves two baselines. `expected-cost` moves wherever the expected money (core/expected_cost.hpp) of the
// horizon falls by more than the move costs. `n-sigma` counts energy alone and keeps every host's peak, mean + z sigma
// of each resource, below a share of its capacity. A VM moves at most once a tick. What a source holds stays reserved
// until the world has moved it, so nothing that is planned here can find its room taken.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/affinity.hpp"
#include "core/cluster_state.hpp"
#include "core/expected_cost.hpp"
#include "core/failure_risk.hpp"
#include "core/kin.hpp"

namespace foreshade {

struct PackingKnobs {
    float horizon_h = 1.0F;       // over which a saving counts
    float drain_horizon_h = 1.0F; // likewise of drains: a host that is off stays off for long
    float margin_usd = 0.0F;      // least gain of a move, and of a drain for each of its VMs
    bool peaks = false;           // whether the limits below hold
    float z = 0.0F;
    std::array<float, kDense> target{}; // share of capacity that a host's peak may reach by what is put there
    std::array<float, kDense> relief{}; // share at which VMs are taken away
    std::size_t near = 0; // hosts with room that a VM's places are sought among; 0 = all, as where peaks bound them
    float kin = 0.0F;     // correlation of what VMs of one application want
    bool fullest = false; // among hosts below the target take the one with the highest peak, not the least dearer one
};

struct Move {
    std::int32_t vm = -1;
    std::int32_t source = -1; // -1 = it had no host
    std::int32_t destination = -1;
};

// What VMs want at this moment, as far as it is known, rather than over a horizon.
struct Moment {
    std::span<const float> cpu_mhz; // (n_vms,)
    std::span<const float> copy_h;  // (n_vms,) until a VM that moves is gone
    float tick_h = 0.0F;            // for which what is wanted now holds
    float unmet_usd_h = 0.0F;       // per MHz
    float uneven = 0.0F;            // how much more a VM's loss counts for each part of its mean that it comes to
    float price = 1.0F;             // times `move_usd`, of a move that relieves at once
};

// What a host may be used for this tick.
enum class HostUse : std::uint8_t {
    none,    // not there, or not ours to plan
    spare,   // there and empty: nothing is put on it until it is opened
    target,  // holds VMs and takes more
    leaving, // holds VMs and takes none
};

// Moves of a trial are booked with the rules about places, so that they see each other; at its end they are not.
struct TrialPlaces {
    AffinityBook& book;
    Kin& kin;
    const std::vector<Move>& moves;
    ~TrialPlaces();
};

// A host that could take VMs, and what that costs: while it is on, and once.
struct Opening {
    std::int32_t host;
    float usd_h, usd;
};

// What emptying several hosts at once would come to; the moves are kept until the next trial.
struct Vacating {
    bool pays = false;
    float gain_usd = 0.0F;
    std::vector<std::int32_t> opened; // of the openings, those that are needed
};

struct VacatePrices {
    std::span<const float> off_usd_h; // (n_hosts,) what a host still costs while off
    std::span<const float> cycle_usd; // (n_hosts,) of going off and on again
    float more_usd_h;                 // that is saved once all of them are off
    Amounts sample;                   // room that must be left: so many VMs like this
    std::size_t reserve;
    const FailureRisk* risk; // of the memory that is left
};

// Columns of the VMs that the plan is made from; rows as in the state.
struct PackingVms {
    std::span<const Load> loads;         // (n_vms,) demand over the horizon; kept until the next begin()
    std::span<const float> move_usd;     // (n_vms,) what migrating it costs
    std::span<const std::uint8_t> fixed; // (n_vms,) 1 = may not be moved
};

// What moves and opened hosts change of a plan: copied before a trial, and back after one that is not kept.
struct Booked {
    HostSet hosts_;
    std::vector<float> now_;                     // (padded(n_hosts),) USD/h
    std::vector<float> reserved_;                // (n_hosts, 5)
    std::vector<HostUse> use_;                   // (n_hosts,)
    std::vector<std::int32_t> n_here_, n_fixed_; // (n_hosts,) VMs that stand there; of those that cannot leave
    std::vector<std::int32_t> at_;               // (n_vms,) host or -1
    std::vector<std::uint8_t> fixed_;            // (n_vms,)
    AffinityBook affinity_;
    std::vector<Move> moves_;
    std::vector<std::int32_t> opened_; // hosts
    float gain_usd_ = 0.0F;
};

class Packing : Booked {
  public:
    explicit Packing(std::shared_ptr<const ExpectedCost> cost);

    // Largest cpu allocation of one VM that each host can serve, MHz; without it every host serves any.
    // Throws std::invalid_argument unless there is one for each host.
    void limit_vms(std::span<const float> cpu_mhz);

    // Goes on with a copy of the measure that it was made with.
    void price_by(std::shared_ptr<const ExpectedCost> cost) { cost_ = std::move(cost); }

    // Rules about places, held against planned ones; null = none.
    void obey(std::shared_ptr<const Affinity> rules) { affinity_ = AffinityBook(std::move(rules)); }

    // Starts from what is seen; `state` and the columns are kept until the next begin(). Throws std::invalid_argument
    // on wrong lengths.
    void begin(const ClusterState& state, const PackingVms& vms, std::span<const HostUse> use,
               const PackingKnobs& knobs);

    // Hosts that take no VMs in this plan, (n_hosts,) 1 = closed; empty = none. After begin().
    void close(std::span<const std::uint8_t> hosts) { closed_.assign(hosts.begin(), hosts.end()); }

    // Gives a waiting VM the host where it costs least; its number, or -1 where none has room. Opens the first of
    // `spares` that holds it, which costs `on_usd_h` (n_hosts,), if that is cheaper or nothing else is left.
    std::int32_t place(std::int32_t vm, std::span<const std::int32_t> spares, std::span<const float> on_usd_h);

    // Moves VMs off one target, the cheapest such set of at most `most`, so that a waiting VM finds room there once
    // they are gone; false where none helps. What moves keeps its source reserved, so the VM itself waits on.
    bool make_room(std::int32_t vm, std::size_t most);

    // Lets a spare host take VMs.
    void open(std::int32_t host);

    // Moves VMs singly while that pays more than the margin; the USD gained over the horizon.
    float improve(std::size_t budget) { return improve(budget, -1); }

    // Takes VMs away from hosts whose peak is above the relief level; the number of hosts that stay above.
    std::size_t relieve(std::size_t budget);

    // Moves VMs off hosts whose CPU is short now, where the rest of the tick and the horizon together pay it; the
    // number of moves. Throws std::invalid_argument on wrong lengths.
    std::size_t relieve_now(const Moment& now);

    // What opening `host` and moving VMs to it would gain beyond `price_usd`, the cost of its being on; undone
    // unless it is positive and to be kept.
    float try_open(std::int32_t host, float price_usd, std::size_t budget, bool keep);

    // Empties hosts, the one that pays most first. `price_usd` (n_hosts,): what a cycle of off and on costs, less
    // what else leaving the host is worth; `kept_usd_h` (n_hosts,): what it still costs while off. After each drain
    // the targets must have room for `reserve` VMs of `sample`, and `free_mib` of memory in all; a host that is
    // leaving is emptied in any case. Returns the hosts, which take no VMs from then on.
    struct DrainBudget {
        std::size_t hosts;  // emptied at most
        std::size_t trials; // looked at
        std::size_t misses; // in a row that came to nothing, after which no more are looked at
    };
    std::vector<std::int32_t> drain(const DrainBudget& budget, std::span<const float> price_usd,
                                    std::span<const float> kept_usd_h, const Amounts& sample, std::size_t reserve,
                                    float free_mib);

    // Empties many hosts at once, down to the number that pays most over the drain horizon; false where none is worth a
    // look. `rank` (n_hosts,): hosts of a lower one are kept rather; prices as of drain().
    bool lay_out(std::size_t budget, std::span<const float> rank, std::span<const float> price_usd,
                 std::span<const float> kept_usd_h);
    // Tries to empty `hosts` at once, opening the first of `openings` that holds a VM where no target does. Only the
    // trial changes; carry_out() books the last one, when all that it opens is there.
    Vacating vacate(std::span<const std::int32_t> hosts, std::span<const Opening> openings, const VacatePrices& prices);
    void carry_out(const Vacating& plan, std::span<const std::int32_t> hosts);

    // Whether nobody on a host has to stay there.
    bool settled(std::int32_t host) const { return n_fixed_[static_cast<std::size_t>(host)] == 0; }

    // Whether rules about places let a VM go to a host, as planned so far.
    bool permits(std::int32_t vm, std::int32_t host) const {
        return !affinity_ || affinity_.allows(static_cast<std::size_t>(vm), static_cast<std::size_t>(host));
    }

    // Memory that the targets have not promised, MiB.
    float free_mib() const;

    // How many VMs like `sample` the targets have room for.
    std::size_t room_for(const Amounts& sample) const;

    // USD that the moves, drains and opened hosts since begin() gain over their horizons, beyond what they cost.
    float gain_usd() const { return gain_usd_; }

    std::span<const Move> moves() const { return moves_; }
    std::span<const std::int32_t> opened() const { return opened_; }         // since begin, in order
    std::span<const float> usd_h() const { return {now_.data(), n_hosts_}; } // (n_hosts,)
    float peak_share(std::int32_t host, std::size_t resource) const;

  private:
    bool fits(std::size_t v, std::size_t h, const std::vector<float>& reserved) const;
    void company_needs(const ClusterState& state);
    std::vector<float> largest_vm_; // (n_hosts,) MHz
    float reservation(std::size_t v, std::size_t h, std::size_t r) const;
    bool below(const HostSet& hosts, const Load& load, std::size_t h, const std::array<float, kDense>& share) const;
    float fullness(const HostSet& hosts, std::size_t h) const;
    float wasted_gpus(std::size_t v, std::size_t h, const std::vector<float>& reserved) const;
    std::int32_t cheapest(std::size_t v, const HostSet& hosts, const std::vector<float>& now,
                          const std::vector<float>& reserved, std::int32_t except);
    bool looks_at_some() const {
        return knobs_.near > 0 && knobs_.near < n_targets_ && !knobs_.fullest && !knobs_.peaks;
    }
    // Likewise of the VMs whose move could pay.
    bool tells_by_rates() const { return knobs_.near > 0 && !knobs_.fullest && !knobs_.peaks && !affinity_ && !kin_; }
    static constexpr float kLikely = 0.8F; // of what a VM of mean size adds where that is least, by MHz: what any adds
    std::span<const std::uint32_t> targets_by_price();
    std::span<std::int32_t> standing_on(std::size_t h) { // as the plan began
        return std::span(order_).subspan(static_cast<std::size_t>(first_[h]),
                                         static_cast<std::size_t>(first_[h + 1] - first_[h]));
    }
    struct Sized {
        float share;
        std::int32_t vm;
    };
    void rate_leaving(std::size_t h);
    void find_hopes(float least_usd_mhz_h);
    float hope_at(std::size_t h, float least_usd_mhz_h, bool openers);
    float opening_hope();
    void keep_likeliest(std::vector<Sized>& hopes);
    float leaving_saves(std::size_t v);
    void price_leaving(std::size_t h);
    float improve(std::size_t budget, std::int32_t only); // to the host `only`, or to any if -1
    void book(std::size_t v, std::size_t to);
    void shift(std::size_t v, std::size_t to); // booked, its hosts not priced yet
    void price(std::size_t h);
    struct Ahead { // what the VMs of a host cost at least, wherever they go: while they stand there, and once
        float usd_h = 0.0F, usd = 0.0F;
    };
    bool try_drain(std::size_t h, float price_usd, float kept_usd_h, Ahead ahead, float& gain);
    struct Hope {   // a host that could be emptied
        float gain; // at most
        std::int32_t host;
        Ahead ahead;
    };
    struct DrainTerms { // as drain() was told
        const DrainBudget& budget;
        std::span<const float> price_usd, kept_usd_h;
        const Amounts& sample;
        std::size_t reserve;
        float free_mib;
    };
    bool leaves_room(std::size_t h, const DrainTerms& terms);
    void carry_out_drain(std::size_t h, float gain);
    std::vector<std::int32_t> drain_the_best(std::span<const Hope> hopes, const DrainTerms& terms);
    std::vector<std::int32_t> drain_in_turn(std::span<const Hope> hopes, const DrainTerms& terms, float room_mib);
    float ahead_usd_mhz_h_ = 0.0F; // of Ahead: what a MHz costs elsewhere at least
    bool try_make_room(std::size_t v, std::size_t h, std::size_t most, float& paid_usd);
    void begin_trial();
    void book_trial(std::size_t v, std::size_t to); // where after_ tells what it adds
    void list_targets();
    std::span<const std::int32_t> largest_first(std::size_t h);

    std::shared_ptr<const ExpectedCost> cost_;
    Kin kin_;
    std::vector<Amounts> company_need_; // (n_vms,) beyond its own, of the first of a company; empty = no rules
    PackingKnobs knobs_;
    std::size_t n_hosts_ = 0;
    Booked saved_;
    HostSet trial_;
    std::vector<std::uint32_t> targets_; // hosts that are targets, ascending, and the last again until there are 4 m
    std::size_t n_targets_ = 0;          // without those repeated
    struct Priced {
        float added;
        std::uint32_t host;
    };
    std::vector<Priced> priced_; // scratch
    struct Miss {                // a drain that came to nothing, and what was the case then
        std::int64_t tick = 0;
        std::int32_t here = -1; // VMs on the host; -1 = it was never looked at
        float mean_mhz = 0.0F, room_mib = 0.0F;
    };
    std::vector<Miss> missed_; // (n_hosts,)
    std::int64_t tick_ = 0;
    bool missed_lately(std::size_t h, float room_mib) const;
    std::vector<std::uint32_t> ranked_;              // (n_targets,) by what a VM of mean size adds
    std::uint64_t ranked_version_ = 0;               // of what hosts bore then; 0 = not ranked
    float typical_usd_mhz_h_ = 0.0F;                 // of a VM of mean size on the cheapest target
    std::vector<std::uint8_t> closed_;               // (n_hosts,), or empty
    std::vector<float> after_, trial_now_;           // (padded(n_hosts),) USD/h
    std::vector<float> trial_reserved_, limit_;      // (n_hosts, 5)
    std::vector<std::uint64_t> version_;             // (n_hosts,) of what a host bears
    std::uint64_t newest_version_ = 0;               // never used twice
    std::vector<float> saves_;                       // (n_vms,) USD/h that its host costs less without it,
    std::vector<std::uint64_t> saves_version_;       // (n_vms,) as of then
    std::span<const Load> load_;                     // (n_vms,) as begin() was told
    std::span<const float> allocation_;              // (n_vms, 5), as begin() was told
    std::span<const float> move_usd_;                // (n_vms,) likewise
    std::vector<std::int32_t> away_from_;            // (n_vms,) host of the primary or -1
    std::vector<std::int32_t> first_, next_, order_; // VMs of each host; largest first where sorted_
    std::vector<std::uint8_t> sorted_;               // (n_hosts,)
    std::vector<Sized> by_size_, hopes_;             // scratch
    std::vector<Sized> openers_;                     // VMs that could gain on a host that is opened, and what
    struct Rates {                                   // what a host costs less without a VM, USD/h
        float each = 0.0F;                           // whatever it wants
        float mean = 0.0F, variance = 0.0F;          // for each MHz, MHz² that it wants
        bool hold = false;                           // nothing but CPU could be short
    };
    std::vector<float> opening_hope_; // (n_hosts,) what its VMs could gain on a host that is opened, USD
    std::vector<std::uint64_t> opening_hope_version_; // (n_hosts,) as of then
    std::vector<Rates> rates_;                        // (n_hosts,)
    std::vector<std::uint64_t> rates_version_;        // (n_hosts,) as of then
    std::vector<std::int32_t> looked_at_;             // likewise: VMs,
    std::vector<float> most_, alone_;                 // and of each what its leaving is worth, a host's cost with it
    std::vector<Move> trial_moves_, trial_booked_;
};

} // namespace foreshade

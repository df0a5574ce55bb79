// What could be done this tick: candidates with features, score terms and a reason, from the planned state alone.
//
// A tick begins with observe(); then choose() books one candidate after another, and actions() is the plan. Amounts of
// money are expected USD over the horizon:
//   score = performance + utilisation - cost - latency
// (unmet demand avoided; energy and hire saved; what the transition costs; lateness and downtime that it adds).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/cluster_state.hpp"
#include "core/decide/assumed.hpp"
#include "core/decide/columns.hpp"
#include "core/decide/packer.hpp"
#include "core/decide/plan_watch.hpp"
#include "core/decide/planned.hpp"
#include "core/decide/rule_tree.hpp"
#include "core/decide/site.hpp"

namespace foreshade {

// A packer whose whole tick is one candidate.
struct PlanKnobs {
    PackerKnobs packer;
    bool preferred = false; // the rules take it where it has anything to do; else they never do
    bool eager = false;     // planned when the tick begins, so that its gain is seen; else when it is chosen
    // Of an eager plan: it is made at least so often, and in between only where something has changed; else it is not
    // offered (core/decide/plan_watch.hpp).
    std::size_t every_ticks = 1;
};

// To what right-sizing takes back what VMs never used.
struct Sizing {
    float headroom = 1.4F; // memory over its decayed peak
    // CPU, disk and network that a VM never used: taken back to slack x decayed peak, never below slack_floor x
    // flavour. unseen: a tick brings a new peak with probability unseen / samples seen (docs/rules.md); slack 0 = none
    // is.
    float slack = 3.0F, slack_floor = 0.5F, unseen = 0.2F;
    float growth = 1.5F;           // of an allocation in a tick: what is wanted beyond a limit is not seen
    std::size_t settle_ticks = 12; // samples of a VM before it is reshaped
};

struct ProposerKnobs {
    std::size_t k = 64;             // candidates shown, `wait` included
    std::size_t decisions = 16;     // a tick at most; then the world goes on
    std::size_t horizon_ticks = 24; // over which a saving counts
    std::size_t off_ticks = 48;     // likewise of a host that goes off
    float sigma_scale = 1.0F;
    WindowKnobs window;
    // How many of each kind are looked at.
    std::size_t crowded_hosts = 3, leavers = 3, drains = 2, arrivals = 4, reshapes = 4, switches = 2, helpers = 2;
    std::size_t outgrown = 2; // VMs for which room to grow is made by a move
    // Reshaping: memory is never below floor x flavour, nothing above its ceiling x flavour.
    Sizing sizing;
    std::vector<Sizing> sizings; // by which all VMs may be right-sized too; never the rules' choice
    float floor = 0.05F;
    float ceiling = 3.0F;         // of CPU
    float memory_ceiling = 1.0F;  // of memory: what a guest was booted with
    float least_change = 0.1F;    // of the flavour
    std::size_t peak_ticks = 288; // time constant at which a peak is forgotten
    float shadow_share = 0.1F;    // of the primary's allocation
    float micro_share = 0.25F;    // likewise of a micro-VM
    float micro_life_s = 3600.0F;
    // The rules: a candidate of a preferred kind whose score is above the threshold may be preferred to waiting.
    std::uint32_t preferred = ~0U; // bit per CandidateKind
    float threshold = 0.0F;        // idle host hours
    std::vector<PlanKnobs> plans;  // they share `window`
    std::vector<RuleNode> rules;   // what changes preferences, candidate by candidate; none = nothing does
};

struct Candidate {
    CandidateKind kind = CandidateKind::wait;
    std::int32_t vm = -1;
    std::int32_t host = -1;   // where it goes, or the host it is about
    std::int32_t source = -1; // where it leaves
    std::uint32_t first_action = 0, n_actions = 0;
    float performance = 0.0F, utilisation = 0.0F, cost = 0.0F, latency = 0.0F; // USD
    float frees_usd = 0.0F;      // of a move: what a VM gains that can grow once it has left
    std::int32_t frees_for = -1; // that VM; -1 = none
    float preference = 0.0F;
    std::int32_t plan = -1;    // which of the plans; of right-sizing which of the other sizings, -1 = the rules'
    float z = 0.0F;            // of a plan; of right-sizing the headroom
    float way = 0.0F;          // 0 = as the rules do it; else which of the other plans or sizings
    float ready_h = 0.0F;      // until it has its effect
    std::int32_t offered = -1; // which of the offers from outside; -1 = the proposer's own
    std::int32_t rule = -1;    // whose word changed its preference; -1 = none did
    bool possible = true;

    float score() const { return performance + utilisation - cost - latency; }
};

// A candidate from outside, with its actions: of a component that watches the cluster beside the proposer.
struct Offer {
    Candidate candidate; // kind, what it is about, score terms and readiness
    std::vector<Action> actions;
    bool preferred = true; // the rules may take it where its score is above the threshold
    std::string by, reason;
    std::string claim; // what need it meets; of the offers that claim the same one is taken; "" = a need of its own
    bool taken = false;
};

class Proposer {
  public:
    Proposer(std::shared_ptr<const Site> site, const ProposerKnobs& knobs);

    // As `other` is in the middle of a tick, on `state`, a copy of the state that `other` has observed: what either
    // does from then on changes nothing in the other.
    Proposer(const Proposer& other, ClusterState& state);

    // A run begins, with the prices of this episode times these factors.
    struct PriceFactors {
        float energy = 1.0F, unmet = 1.0F, migration = 1.0F, boot = 1.0F;
    };
    void reset(const PriceFactors& factors);

    // Knobs that outcomes correct; they hold from the next observe() on.
    void retune(float headroom, float threshold) {
        if (headroom != knobs_.sizing.headroom) cuts_.back().clear(); // each VM is looked at again when its turn comes
        knobs_.sizing.headroom = headroom;
        knobs_.threshold = threshold;
    }
    // What the next ticks may not touch, until said otherwise. std::invalid_argument on columns of other lengths than
    // the state's, when it comes.
    void restrain(Restraint restraint) { restraint_ = std::move(restraint); }

    // A tick begins: `state` is kept and booked on until the next call.
    void observe(ClusterState& state, const Changed& changed = {});

    // Adds candidates to this tick's, before any was chosen; they stay until they are chosen or cannot be any more.
    // std::invalid_argument for a VM, host or rack that there is not, or without actions.
    void add(std::vector<Offer> offers);

    // Books candidate `index` (not 0 = wait, not masked; std::invalid_argument else) and looks again.
    void choose(std::size_t index);

    std::size_t k() const { return knobs_.k; }
    std::size_t size() const { return shown_.size(); } // candidates that there are, at most k
    const Candidate& candidate(std::size_t index) const { return shown_[index]; }
    std::span<const Action> actions_of(std::size_t index) const;
    bool possible(std::size_t index) const { return index < shown_.size() && shown_[index].possible; }
    std::size_t preferred() const; // arg-max of preference, ties to the lower index
    std::span<const Action> plan() const { return plan_; }
    // VMs whose columns of the state were written to since observe().
    std::span<const std::int32_t> booked() const { return planned_->booked(); }
    // (n_racks,) racks that are dark as the tick of `state` begins: switched off by plans, and no host there is up.
    std::vector<std::uint8_t> dark_racks(const ClusterState& state) const;
    std::size_t decisions_left() const { return left_; }
    double expected_usd_h() const { return planned_->total_usd_h(); } // of the cluster as planned
    float unit_usd() const { return unit_usd_; }                      // an idle host hour: what features are scaled by
    std::string reason(std::size_t index) const;
    std::string by(std::size_t index) const; // the component that offered it; "" = the proposer itself

    // Writes the numbers of docs/ham.md: context (context::count,), candidates (k, feature::count), mask (k,); as
    // float or Half. `since`: what it returned when it wrote there last, and nobody else has since: rows that are as
    // they were then are left; 0 = all are written.
    template <class Number>
    std::uint64_t write(Number* context, Number* candidates, Number* mask, std::uint64_t since = 0) const;

    static std::size_t width(std::size_t k) { return context::count + k * (feature::count + 1); }

  private:
    float mean_price(std::size_t ticks) const; // USD/kWh from now on; the last price holds after the end
    Proposer(const Proposer&) = default;       // shares what it books on: for the copy above
    void begin(const ClusterState& state);
    void learn(const ClusterState& state, const Changed& changed);
    void note_odd(const VmColumns& vms, const Changed& changed);
    void look_at_sizes();
    void look_at_size(std::size_t v);
    std::int32_t taken_back_after(const Sizing& sizing) const;
    const Sizing& sizing_of(std::size_t number) const {
        return number < knobs_.sizings.size() ? knobs_.sizings[number] : knobs_.sizing;
    }
    void settle(const Candidate& chosen, std::size_t index);
    void settle_sizes();
    void survey();
    void generate();
    void offer_plans();
    void show_offers();
    bool admits(std::size_t host) const;
    bool stands(const Offer& offer) const;
    bool is_dark(std::int32_t rack) const;
    bool switched(const Action& action) const;
    void fill_plan(Candidate& c);
    bool stands(const PlanKnobs& plan) const;
    void make_plans();
    bool waits_in_vain();
    bool gpus_are_short() const;
    void place();
    void relieve();
    void drain();
    void switches();
    void reshape();
    void right_size(std::size_t number);
    void make_room();
    void let_in();
    struct Wanting;
    Wanting dearest_in_vain();
    bool find_leavers(std::int32_t from, std::int32_t except, const Amounts& missing);
    void weigh_leavers(const Wanting& one, std::int32_t from, Candidate& best);
    void weigh_leaver(const Wanting& one, std::int32_t vm, std::int32_t from, std::int32_t to, Candidate& best);
    void offer_move(const Candidate& move);
    void helpers();
    void show();
    bool evaluate(Candidate& c);
    bool can_move(const Candidate& c) const;
    void price_move(std::size_t v, std::size_t to, Candidate& c) const;
    Candidate& offer(CandidateKind kind);
    Action& act(Candidate& c, ActionKind kind);
    float move_usd(std::size_t v, float& dark_usd) const;
    float boot_usd(std::size_t h) const;
    float unmet_usd(std::size_t v, std::size_t r, float allocation) const;
    bool wanted_shape(std::size_t v, const Sizing& sizing, Amounts& allocation) const;
    bool is_tight(const VmColumns& vms, std::size_t v, std::size_t r) const;
    struct SizeBasis { // what each sizing of a VM follows from, by resource
        Vec4 now{}, flavour{}, peak{}, room{}, price{};
        std::int32_t seen = 0; // samples
    };
    SizeBasis size_basis(const VmColumns& vms, std::size_t v) const;
    Vec4 least_of(const SizeBasis& basis, const Sizing& sizing) const;
    void write_row(const Candidate& c, float* row) const;
    void refresh_rows() const;
    float squash(float usd) const;
    float preference_of(const Candidate& c) const;
    float stepped(float score, bool taken) const;
    void prefer(Candidate& c) const;

    std::shared_ptr<const Site> site_;
    std::shared_ptr<Site> priced_; // the site at this episode's prices
    ProposerKnobs knobs_;
    PriceFactors factors_;
    bool began_ = false;
    std::shared_ptr<ExpectedCost> cost_;
    std::optional<Planned> planned_;
    Restraint restraint_;
    std::shared_ptr<PackerMemory> memory_;
    std::vector<Packer> packers_;
    struct Made { // an eager plan of this tick, as it was when the tick began
        std::vector<Action> actions;
        float gain_usd = 0.0F;
    };
    std::vector<Made> made_;         // (n_plans,)
    std::vector<float> ways_;        // (n_plans,) 0 = one that the rules take, else which of the others
    std::vector<PlanWatch> watches_; // (n_plans,)
    std::vector<std::uint8_t> dark_; // (n_racks,) racks that are switched off
    bool gpus_short_ = false;        // as the tick begins
    float unit_usd_ = 1.0F;
    float usd_kwh_ = 0.0F;
    std::vector<std::int32_t> by_peak_; // hosts of our own that can be switched, by W per MHz
    std::int64_t tick_ = 0;             // of the state
    std::vector<float> ahead_;          // (n_ticks + 1,) running sums of usd_kwh
    float mean_usd_kwh_ = 0.0F;
    float horizon_h_ = 2.0F;
    std::array<float, kDense> room_usd_h_{}; // what a unit of each resource's room is worth on an average host
    std::size_t left_ = 0;
    std::size_t free_slots_ = 0;
    std::vector<Candidate> pool_, shown_;
    std::vector<Action> actions_;
    std::vector<Action> plan_;
    std::vector<Offer> offers_; // of this tick
    bool whole_ = false;        // a whole plan was chosen this tick
    struct Ranked {
        float value;
        std::int32_t id;
    };
    // Of this tick's VMs, so that no candidate has to look at all of them.
    std::vector<std::int32_t> turn_;   // whose size is looked at
    std::vector<std::int32_t> tight_;  // close to what they may use of something: looked at every tick
    std::vector<std::uint8_t> looked_; // (n_vms,) one of either
    std::vector<std::int32_t> odd_;    // (sorted) shadows, and those that wait for CPU
    struct Losses { // of a VM that is close to a limit, by resource: as it is, and with the last allocation asked for
        std::array<float, kDense> now_usd_h{-1.0F, -1.0F, -1.0F, -1.0F}, then{-1.0F, -1.0F, -1.0F, -1.0F};
        std::array<float, kDense> then_usd_h{};
    };
    std::vector<Losses> losses_; // (tight_,) as far as they were asked for in this tick; below 0 = not yet
    float served_usd_h(std::size_t k, std::size_t r, float now, float then);
    std::vector<std::int32_t> pressed_; // shadows, and those that wait for CPU or are at their allocation
    // What VMs would be cut to, and what that is worth over the horizon: as of when each was looked at last.
    struct Cut {
        std::int32_t vm;
        float performance, utilisation;
        Amounts before, after;
        std::array<float, kDense> peak; // as it was
    };
    std::vector<std::vector<Cut>> cuts_; // by sizing: knobs_.sizings, then knobs_.sizing
    bool holds(const Cut& cut) const;
    std::size_t settled_ = 0;                                           // the least settle_ticks of any
    float newest_mhz_ = 0.0F, expected_mhz_ = 0.0F;                     // CPU of those that serve
    float flavour_mhz_ = 0.0F, newest_mib_ = 0.0F, flavour_mib_ = 0.0F; // likewise
    static constexpr float kSurelyFar = 31.0F;      // in squares of sigma: beyond it expected_excess() is 0
    static constexpr std::int32_t kFewSamples = 12; // of a VM, after which a peak says something
    float new_peaks_ = 0.0F, jitter_ = 0.0F, remembered_ = 0.0F; // means of so many ticks, at most a day
    bool alarmed_ = false;                                       // some host may fail soon
    struct Wanting {                                             // a VM that lacks room
        std::int32_t vm = -1;
        float usd = 0.0F;     // what it would be worth over the horizon
        Amounts missing = {}; // of a host's room
    };
    struct Outgrown : Wanting { // that wants to grow by more than its host may promise
        Amounts wanted = {};    // its allocation then
    };
    std::vector<Outgrown> outgrown_;
    std::vector<std::uint8_t> resized_, grown_; // (n_hosts,) some VM was reshaped; may be promised more; scratch
    std::vector<float> allocated_;              // (n_hosts, 5) before VMs were right-sized
    // Rows as they were written last, and which of them (k,) hold no more.
    mutable std::vector<float> rows_;
    mutable std::vector<std::uint8_t> stale_, filled_; // filled: not all zeros
    mutable std::uint64_t written_ = 0;                // how often
    mutable std::vector<std::uint64_t> row_written_;   // (k,) as of when each row is as it is
    std::vector<float> room_;                          // (n_hosts, 5) scratch
    std::vector<Ranked> crowded_, idle_, ranked_;
    bool around_ = false; // whether it is known which hosts come first, as candidates are sought
    struct Outlets {      // moves off a crowded host, and what it bore when they were found
        std::int64_t tick = -1;
        std::int32_t here = 0;
        float mean_mhz = 0.0F, variance = 0.0F;
        std::vector<Candidate> moves;
    };
    std::vector<Outlets> outlets_; // (n_hosts,)
    Outlets found_;                // scratch
    struct Vain {                  // when a host's emptying came to nothing, and what it bore then
        std::int64_t tick = -1;
        std::int32_t here = 0;
        float mean_mhz = 0.0F;
    };
    std::vector<Vain> in_vain_; // (n_hosts,)
    bool some_places_ = false; // some plan seeks places among some hosts alone: single moves are sought less often, too
    void find_outlets(std::int32_t host, Outlets& found);
    bool is_as_it_was(std::int32_t host, const Outlets& then) const;
    bool begins() const { return left_ == knobs_.decisions; } // nothing was chosen in this tick
    bool could_pay(std::size_t h, float off_h) const;
    void look_around();
    std::vector<std::int32_t> leavers_; // VMs of a host that may move, and what each saves there; scratch
    std::vector<float> saves_;
    std::array<float, context::count> context_{};
};

// Asked for every VM at every tick.

// Whether a VM is so close to what it may use that it may want more, or that its answers are late.
inline bool Proposer::is_tight(const VmColumns& vms, std::size_t v, std::size_t r) const {
    return vms.demand[v * kResources + r] >= (r == 0 ? kKnee : kSaturated) * vms.allocation[v * kResources + r];
}

inline Proposer::SizeBasis Proposer::size_basis(const VmColumns& vms, std::size_t v) const {
    SizeBasis basis;
    const DemandWindow& window = memory_->window();
    const Economy& e = priced_->economy;
    const Vec4 late{e.late_usd_mhz_h / (1.0F - kKnee), 0.0F, 0.0F, 0.0F};
    const float credit = vms.credit[v];
    basis.now = load4(vms.allocation.data() + v * kResources);
    basis.flavour = load4(vms.flavour.data() + v * kResources);
    basis.peak = window.peaks(v);
    basis.room = load4(room_usd_h_.data());
    basis.price = load4(e.unmet_usd_h.data()) * Vec4{credit, credit, credit, credit} + late;
    basis.seen = window.seen(v);
    return basis;
}

// To what a VM's allocation may be cut. Memory: a headroom over its peak. Of the others, peaks say less, as they jump:
// if a tick brings a new peak with probability p = unseen / samples, anywhere up to what the VM has, cutting a to w
// costs p * price * (a - w)^2 / (2 (a - peak)) and frees (a - w) * room; the best w is a - (a - peak) * room / (p *
// price).
inline Vec4 Proposer::least_of(const SizeBasis& basis, const Sizing& sizing) const {
    const auto splat = [](float x) { return Vec4{x, x, x, x}; };
    Vec4 least = basis.now;
    if (sizing.slack > 0.0F) {
        const Vec4 likely = splat(sizing.unseen / static_cast<float>(basis.seen + 1));
        const Vec4 floor = max4(splat(sizing.slack) * basis.peak, splat(sizing.slack_floor) * basis.flavour);
        const Vec4 best =
            max4(floor, basis.now - (basis.now - basis.peak) * basis.room / max4(likely * basis.price, splat(1e-12F)));
        const Int4 stays = (floor >= basis.now) | (basis.room <= Vec4{});
        least = stays ? basis.now : best;
    }
    const float flavour_mib = basis.flavour[1];
    least[1] =
        std::clamp(sizing.headroom * basis.peak[1], knobs_.floor * flavour_mib, knobs_.memory_ceiling * flavour_mib);
    return least;
}

// Expected price of what a VM wants beyond an allocation, USD/h.
inline float Proposer::unmet_usd(std::size_t v, std::size_t r, float allocation) const {
    const Load& load = planned_->load(v);
    float mean = load.mean[r];
    const VmColumns& vms = planned_->state().vms;
    const float newest = vms.demand[v * kResources + r];
    const float now = vms.allocation[v * kResources + r];
    if (newest < kSaturated * now) {
        const float room = (r == 0 ? kKnee : 1.0F) * allocation - mean;
        if (room > 0.0F && room * room > kSurelyFar * load.variance[r]) return 0.0F; // most VMs
    }
    float sigma = std::sqrt(std::max(0.0F, load.variance[r]));
    if (newest >= kSaturated * now) { // it is seen at its limit: what it wants is above
        mean = std::max(mean, newest);
        sigma = std::max(sigma, 0.15F * now);
    }
    const float unmet = expected_excess(mean - allocation, sigma);
    float usd_h = priced_->economy.unmet_usd_h[r] * vms.credit[v] * unmet;
    if (r == 0) // late from the knee on, all of it at the cap (docs/physics.md)
        usd_h += priced_->economy.late_usd_mhz_h * (expected_excess(mean - kKnee * allocation, sigma) - unmet) /
                 (1.0F - kKnee);
    return usd_h;
}

} // namespace foreshade

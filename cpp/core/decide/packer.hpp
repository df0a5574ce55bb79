// The tick that both packers share: observe, place, relieve or improve, wake, drain, power off (docs/packers.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/action.hpp"
#include "core/cluster_state.hpp"
#include "core/decide/headroom.hpp"
#include "core/decide/site.hpp"
#include "core/decide/standing.hpp"
#include "core/demand_window.hpp"
#include "core/failure_risk.hpp"
#include "core/packing.hpp"

namespace foreshade {

struct PackerKnobs {
    WindowKnobs window;
    std::size_t horizon_ticks = 24;    // over which a saving counts
    std::size_t drain_ticks = 24;      // over which a drain's saving counts; a host that is off may stay off for long
    double margin_usd = 0.0;           // least gain of a move
    double boot_weight = 1.0;          // share of a boot's price that a drain must earn
    double move_weight = 1.0;          // times what a migration is reckoned to cost
    std::size_t drain_hosts = 10'000;  // hosts emptied in a tick at most
    std::size_t drain_trials = 10'000; // hosts looked at for it
    std::size_t drain_misses = 10'000; // hosts in a row that come to nothing, after which no more are looked at
    std::size_t near = 0;              // hosts with room that a VM's places are sought among; 0 = all
    double reserve = 1.0;              // room kept for arrivals, times the most that came in one tick of the last hours
    double failover = 1.0;             // room kept for the fullest host's failure, where hosts fail; times its memory
    double grace_s = 600.0;            // a host that has come up is left on so long
    double hazard_per_h = 0.1;         // failure hazard above which a host is emptied and shunned
    bool racks = true;                 // whether a rack whose hosts are all off is switched off
    double rack_credit = 0.0;          // share of a rack's power that its hosts' drains are credited with
    std::size_t wake_trials = 2;       // hosts that are off whose opening is weighed in a tick
    bool layout = false;               // whether many hosts are emptied at once where far fewer would do
    double acute_weight = 0.0; // likewise of a move off a host that is short of CPU now; 0 = none for that alone
    double acute_uneven = 0.0; // how much more a VM's loss counts for each mean demand of it that it comes to
    bool whole_racks = false;  // whether racks that need not stand are emptied as a whole
    bool urgent = false;       // whether those whose waiting costs most are placed first where not all find room
    double kin = 0.0;          // correlation of what VMs of one application want
    bool peaks = false;        // the n-sigma measure: energy alone is money; otherwise cost alone decides
    double z = 0.0;
    double target = 1.0;
    double relief = 1.0;
    bool fullest = false;
    double sigma_scale = 1.0; // of the expected cost

    void check() const; // throws std::invalid_argument on a knob out of range
};

// Why a packer switches something; places and migrations speak for themselves.
enum class PackerReason : std::uint8_t {
    none,
    vm_waits,
    room_short,
    crowded,
    relief_pays,
    empty,
    dark_rack,
    rack_pays
};

const char* reason_text(PackerReason reason);

// What packers remember from tick to tick; several may share one.
class PackerMemory {
  public:
    // Throws std::invalid_argument on a window without ticks or a tick without length.
    PackerMemory(const WindowKnobs& window, float tick_s);

    void reset();

    // Its window watches VMs' sizes from now on.
    void look_for(const SizeWatch& watch) {
        watch_ = watch;
        if (window_) window_->look_for(watch);
    }

    // Takes the tick's sample in; once a tick.
    void observe(const ClusterState& state, const Changed& changed = {});

    bool seen() const { return seen_; } // since the reset
    const DemandWindow& window() const { return *window_; }
    const Headroom& headroom() const { return headroom_; }

  private:
    WindowKnobs knobs_;
    float tick_s_;
    bool seen_ = false;
    std::optional<SizeWatch> watch_;
    std::optional<DemandWindow> window_; // from the first state, which tells the number of VMs
    Headroom headroom_;
};

class Packer {
  public:
    // Throws std::invalid_argument on a knob out of range or columns of the site whose lengths differ.
    Packer(std::shared_ptr<const Site> site, const PackerKnobs& knobs);
    // With a memory that others share; its window, not that of the knobs, tells demand.
    Packer(std::shared_ptr<const Site> site, const PackerKnobs& knobs, std::shared_ptr<PackerMemory> memory);

    // As `other` is now, on a memory of its own: what either plans from then on changes nothing in the other.
    Packer(const Packer& other, std::shared_ptr<PackerMemory> memory);

    // A run begins. The hosts are those of the run before.
    void reset();

    // Takes the tick's sample into the memory; once a tick, by one of those who share it.
    void observe(const ClusterState& state) { memory_->observe(state); }

    // Plans the tick from the state that was observed last, as if no other planner existed and every plan of it were
    // carried out. The actions hold until the next call. Throws std::logic_error where nothing was observed.
    std::span<const Action> plan(const ClusterState& state);

    std::span<const PackerReason> reasons() const { return reasons_; } // of each action of the last plan

    // USD that the last plan is expected to earn by moves, drains and opened hosts, each over its horizon, beyond what
    // they cost; in the packer's own measure, so with `peaks` energy and migrations alone. Placing what waits and
    // switching off what is empty already do not count.
    float gain_usd() const { return gain_usd_; }

    // Racks that the packer holds for switched off, (n_racks,) 1 = off. Whoever carries out other plans than this
    // one's, or none, says so before the next plan.
    std::span<const std::uint8_t> dark_racks() const { return dark_; }
    void assume_dark(std::span<const std::uint8_t> racks);

    // What plans may not touch, until said otherwise.
    void restrain(const Restraint& restraint) { restraint_ = restraint; }

    const PackerMemory& memory() const { return *memory_; }

  private:
    void build(const ClusterState& state);
    void rank_hosts(const ClusterState& state);
    void price(const ClusterState& state);
    void sort_out_hosts(const ClusterState& state);
    void price_moves(const ClusterState& state);
    void begin_packing(const ClusterState& state);
    void place(const ClusterState& state);
    void place_in_order();
    void price_waiting(const ClusterState& state);
    void most_urgent_first();
    void weigh_failures(const ClusterState& state, double dark_h);
    float usd_h_waiting() const;
    void rebalance(const ClusterState& state);
    void relieve_now(const ClusterState& state);
    void wake(const ClusterState& state);
    void drain(const ClusterState& state);
    void switch_off(const ClusterState& state);
    void switch_racks_off(const ClusterState& state);
    bool sees_racks() const;
    float rack_usd_h(std::size_t rack) const;
    StandingNeed standing_need(const ClusterState& state) const;
    std::vector<std::size_t> racks_to_try(const ClusterState& state) const;
    void choose_standing(const ClusterState& state);
    void vacate_racks(const ClusterState& state);

    void list_spares();
    void note_opened();
    bool any_spare() const;
    void power_on(const ClusterState& state, std::int32_t host, PackerReason why);
    void act(const Action& action, PackerReason why = PackerReason::none);
    float drain_price_usd(const ClusterState& state, std::size_t host) const;

    std::shared_ptr<const Site> site_;
    PackerKnobs knobs_;
    std::shared_ptr<PackerMemory> memory_;
    std::size_t n_hosts_, n_racks_;
    bool powered_, moving_;
    double horizon_h_, drain_h_;
    std::vector<double> usd_kwh_; // (n_ticks + 1,) mean over the horizon ahead
    std::shared_ptr<ExpectedCost> cost_;
    std::optional<Packing> packing_;
    Restraint restraint_;
    PackingKnobs packing_knobs_;
    bool ranked_ = false;
    std::vector<std::int32_t> order_;        // (n_hosts,) the best to open first
    std::vector<float> rank_;                // (n_hosts,) lower is better
    std::vector<std::uint8_t> dark_;         // (n_racks,)
    std::vector<std::uint8_t> stands_;       // (n_hosts,) which should; empty = never chosen
    std::int64_t chosen_tick_ = -1;          // when
    std::vector<std::int64_t> tried_;        // (n_racks,) when a rack was last tried in vain
    std::vector<std::int64_t> leaves_until_; // (n_racks,) tick until which nothing new comes to a rack
    std::size_t above_ = 0;                  // hosts that stayed above the relief level

    // Of the tick that is planned.
    double now_usd_kwh_ = 0.0;
    FreeRoom free_;
    FailureRisk risk_;
    std::vector<HostUse> use_;                 // (n_hosts,)
    std::vector<std::uint8_t> spare_, empty_;  // (n_hosts,)
    std::vector<float> on_usd_h_, off_usd_h_;  // (n_hosts,)
    std::vector<float> cycle_usd_, drain_usd_; // (n_hosts,)
    std::vector<double> outage_usd_;           // (n_hosts,) of each host's failure
    std::vector<float> move_usd_;              // (n_vms,)
    std::vector<float> wanted_, copy_h_;       // (n_vms,) CPU now, MHz; time to copy
    std::vector<std::uint8_t> fixed_;          // (n_vms,) of none
    std::vector<std::uint8_t> closed_;         // (n_hosts,) take no VMs for now
    std::vector<std::int32_t> spares_;         // hosts
    std::vector<std::int32_t> waiting_;        // VMs, then those that found no host
    std::vector<float> size_, urgency_;        // (n_vms,) of those that wait; USD/h while they do
    std::vector<std::int32_t> off_hosts_;      // hosts that can be woken, the best first
    std::vector<std::int32_t> room_hosts_;     // hosts that come up
    std::vector<Amounts> room_;                // theirs
    std::vector<std::int32_t> standing_;       // (n_racks,) hosts that are on
    std::vector<std::uint8_t> ours_, up_;      // (n_racks,)
    std::vector<Action> actions_;
    std::vector<PackerReason> reasons_;
    float gain_usd_ = 0.0F;
};

} // namespace foreshade

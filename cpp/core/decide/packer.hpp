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
#include "core/decide/packer_knobs.hpp"
#include "core/decide/packer_memory.hpp"
#include "core/decide/site.hpp"
#include "core/decide/standing.hpp"
#include "core/failure_risk.hpp"
#include "core/packing.hpp"

namespace foreshade {

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

class Packer {
  public:
    // Throws std::invalid_argument on a knob out of range or columns of the site whose lengths differ.
    Packer(const std::shared_ptr<const Site>& site, const PackerKnobs& knobs);
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
    static constexpr std::size_t kMostMoves = 100'000; // in a tick; planning goes on in the next one

    void build(const ClusterState& state);
    void rank_hosts(const ClusterState& state);
    void price(const ClusterState& state);
    void sort_out_hosts(const ClusterState& state);
    void price_moves(const ClusterState& state);
    void begin_packing(const ClusterState& state);
    void place(const ClusterState& state);
    void place_in_order();
    void largest_first(const ClusterState& state);
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

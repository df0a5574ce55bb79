// What a packer can be tuned by; defaults and reasons of each agent are in envs/packers.py.
#pragma once

#include <cstddef>

#include "core/demand_window.hpp"

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
    bool urgent_gpus = false;  // the same where some of those want GPUs
    double kin = 0.0;          // correlation of what VMs of one application want
    bool peaks = false;        // the n-sigma measure: energy alone is money; otherwise cost alone decides
    double z = 0.0;
    double target = 1.0;
    double relief = 1.0;
    bool fullest = false;
    double sigma_scale = 1.0; // of the expected cost

    void check() const; // throws std::invalid_argument on a knob out of range

    bool orders_those_who_wait(bool for_gpus) const { return urgent || (urgent_gpus && for_gpus); }
};

} // namespace foreshade

// The figures that CloudSim's power experiments print, and the ledger that they are added up in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cloudsim/cluster.hpp"

namespace foreshade::cloudsim {

// Fractions, not percent.
struct Metrics {
    double energy_kwh = 0;
    std::int64_t migrations = 0;      // started
    double slatah = 0;                // time of hosts with less allocated than requested / time of hosts on
    double pdm = 0;                   // MIPS s that leaving VMs miss / MIPS s requested
    double slav = 0;                  // slatah * pdm
    double esv = 0;                   // energy_kwh * slav
    double overall_sla = 0;           // MIPS s missed / MIPS s requested
    double average_sla = 0;           // mean share missed, over VM entries that miss any
    std::int64_t host_shutdowns = 0;  // changes from on to off; a host that is never used counts once
    double unmet_demand = 0;          // = overall_sla
    double unmet_demand_worst_vm = 0; // the largest ratio of one VM
};

// One value per control step, just after its accounting.
struct Series {
    std::vector<double> power_w;          // IT power
    std::vector<std::int32_t> hosts_on;   // hosts with a load
    std::vector<std::int32_t> migrations; // started at this step
    std::vector<double> requested_mips;   // by VMs where they stand
    std::vector<double> allocated_mips;
};

class Ledger {
  public:
    // `full_power`: every host draws P(1) from time 0 on, whatever it does.
    Ledger(std::size_t n_hosts, std::size_t n_vms, bool full_power);

    // Closes the entries that have stood since the last accounting point; call before the cluster is shared anew.
    void close(const Cluster& cluster, double time_s);

    // Adds the energy of the slice that `close` ended; call after the cluster was shared anew.
    void add_energy(const Cluster& cluster);

    void count_migrations(std::size_t n) { migrations_ += static_cast<std::int64_t>(n); }

    // Of everything accounted so far.
    Metrics metrics(const Cluster& cluster) const;

    // When a host last went on or off, s.
    double changed_at(std::size_t h) const { return changed_at_[h]; }

  private:
    double full_power_w_; // of all hosts; 0 = by utilisation
    double time_s_ = -1;  // of the last accounting point, < 0 = none
    double slice_s_ = 0;
    double energy_ws_ = 0;
    double on_s_ = 0;
    double violated_s_ = 0;
    double unmet_ = 0;         // MIPS s
    double unmet_leaving_ = 0; // MIPS s
    double unmet_share_ = 0;
    std::int64_t n_unmet_ = 0;
    std::int64_t migrations_ = 0;
    std::int64_t shutdowns_ = 0;
    HostSet was_on_; // at the last closed entry; all before the first
    HostSet on_;
    std::vector<double> start_power_w_; // (n_hosts,) at the slice's start, 0 = off
    std::vector<double> changed_at_;    // (n_hosts,)
    std::vector<double> requested_by_;  // (n_vms,) MIPS s
    std::vector<double> unmet_by_;      // (n_vms,) MIPS s
};

} // namespace foreshade::cloudsim

// Hosts, VMs and who stands where, in CloudSim's list order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cloudsim/host_set.hpp"
#include "cloudsim/machine.hpp"

namespace foreshade::cloudsim {

struct Move {
    std::int32_t vm;
    std::int32_t host; // where it is copied to
};

// What a host gives and is asked for, as its last sharing left it.
struct HostShare {
    double load = 0;        // MIPS that its VMs get, a leaving one counted in full
    double requested = 0;   // MIPS asked for by the VMs on its list, arriving ones included, uncapped
    double available = 0;   // MIPS left
    double utilisation = 0; // load / capacity
    double power_w = 0;     // P(utilisation); P(0) for an idle host, which the ledger counts as off
    // Of the VMs that stand here and get less than they ask for:
    double unmet = 0;         // MIPS, all of them
    double unmet_leaving = 0; // MIPS, those on their way to another host
    double unmet_share = 0;   // sum of unmet / request
    std::int32_t n_unmet = 0; // how many they are
};

struct Cluster {
    Cluster(std::size_t n_hosts, std::size_t n_vms);

    std::size_t n_hosts() const { return lists.size(); }
    std::size_t n_vms() const { return host.size(); }

    const HostModel& model(std::size_t h) const { return kHostModels[model_of(h)]; }
    const VmType& type(std::size_t vm) const { return kVmTypes[kind[vm]]; }

    // Puts a VM at the end of a host's list, or takes it off, or the last one.
    void append(std::size_t h, std::int32_t vm);
    void erase(std::size_t h, std::int32_t vm);
    void pop(std::size_t h);

    // Shares host `h` anew among its list; writes `allocated` of the VMs that stand there if any falls short.
    void share(std::size_t h);

    // MIPS that a VM gets where it stands.
    double allocated_to(std::size_t vm) const {
        return host[vm] >= 0 && shares[static_cast<std::size_t>(host[vm])].n_unmet > 0 ? allocated[vm] : request[vm];
    }

    // Hosts, (n_hosts,)
    std::vector<std::vector<std::int32_t>> lists; // VMs in order of arrival, those being copied to here included
    HostSet occupied;                             // hosts whose list is not empty
    std::vector<HostShare> shares;
    std::vector<std::int32_t> copies; // VMs of the list that arrive or leave

    // VMs, (n_vms,)
    std::vector<std::uint8_t> kind;
    std::vector<double> mips; // rating; 0 once removed, so that nothing is asked for any more
    std::vector<double> request;
    std::vector<double> allocated;    // valid where its host says n_unmet > 0
    std::vector<std::int32_t> host;   // where it stands, -1 = removed
    std::vector<std::int32_t> target; // where it is copied to, the last one if two; -1 = nowhere
    std::vector<std::int32_t> moves;  // copies of it under way: 0, 1 or 2

  private:
    void share_quiet(std::size_t h);
    void share_copying(std::size_t h);
    void share_fitting(std::size_t h, HostShare& share);
    void share_by_ratio(std::size_t h, double k, HostShare& share);
};

} // namespace foreshade::cloudsim

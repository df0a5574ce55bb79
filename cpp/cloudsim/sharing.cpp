// How CloudSim's over-subscribing time-shared scheduler divides a host among its VMs.
//
// Every sum runs in list order: the last bit decides ties in placement, and so the rest of the day.
#include <algorithm>
#include <array>
#include <limits>

#include "cloudsim/cluster.hpp"

namespace foreshade::cloudsim {

namespace {

constexpr double kArriving = 0.1; // share of its need that a VM gets on its target while it is copied
constexpr double kLeaving = 0.9;  // share that it still gets on its source

double utilisation_of(double load, double capacity) {
    const double u = load / capacity;
    return u > 1 && u < 1.01 ? 1.0 : u;
}

// floor of what is never negative; the portable instruction set has no rounding of its own.
double whole(double mips) {
    return static_cast<double>(static_cast<std::int64_t>(mips));
}

} // namespace

Cluster::Cluster(std::size_t n_hosts, std::size_t n_vms)
    : lists(n_hosts), occupied(n_hosts), shares(n_hosts), copies(n_hosts, 0), kind(n_vms, 0), mips(n_vms, 0.0),
      request(n_vms, 0.0), allocated(n_vms, 0.0), host(n_vms, -1), target(n_vms, -1), moves(n_vms, 0) {}

void Cluster::append(std::size_t h, std::int32_t vm) {
    lists[h].push_back(vm);
    occupied.insert(h);
}

void Cluster::erase(std::size_t h, std::int32_t vm) {
    lists[h].erase(std::find(lists[h].begin(), lists[h].end(), vm));
    if (lists[h].empty()) occupied.erase(h);
}

void Cluster::pop(std::size_t h) {
    lists[h].pop_back();
    if (lists[h].empty()) occupied.erase(h);
}

void Cluster::share(std::size_t h) {
    if (copies[h] == 0)
        share_quiet(h);
    else
        share_copying(h);
    HostShare& share = shares[h];
    share.utilisation = utilisation_of(share.load, model(h).capacity);
    share.power_w = model(h).power.at(share.utilisation);
}

// No VM arrives or leaves: nearly every host, nearly always.
void Cluster::share_quiet(std::size_t h) {
    const double pe = model(h).pe_mips;
    const double capacity = model(h).capacity;
    HostShare share;
    double needed = 0;
    double left = capacity;
    double largest = 0;
    for (const std::int32_t vm : lists[h]) {
        const double asked = request[static_cast<std::size_t>(vm)];
        const double need = std::min(asked, pe);
        largest = std::max(largest, asked);
        needed += need;
        left -= need;
        share.requested += asked;
    }
    share.load = needed;
    share.available = left;
    // One need that does not fit makes what is left negative, and it stays so.
    const bool fits = left >= 0;
    if (!fits || largest > pe) {
        const double k = capacity / needed;
        share.load = 0;
        if (!fits) share.available = 0;
        for (const std::int32_t vm : lists[h]) {
            const auto v = static_cast<std::size_t>(vm);
            const double need = std::min(request[v], pe);
            const double got = fits ? need : whole(need * k);
            allocated[v] = got;
            share.load += got;
            if (got < request[v]) {
                const double unmet = request[v] - got;
                share.unmet += unmet;
                share.unmet_share += unmet / request[v];
                ++share.n_unmet;
            }
        }
    }
    shares[h] = share;
}

void Cluster::share_copying(std::size_t h) {
    const double pe = model(h).pe_mips;
    const double capacity = model(h).capacity;
    const auto here = static_cast<std::int32_t>(h);
    double needed = 0;
    double left = capacity;
    for (const std::int32_t vm : lists[h]) {
        const auto v = static_cast<std::size_t>(vm);
        const double full = std::min(request[v], pe);
        const double need = host[v] == here ? full : kArriving * full;
        needed += need;
        left -= need;
    }
    HostShare share;
    if (left >= 0) {
        share.available = left;
        share_fitting(h, share);
    } else {
        share_by_ratio(h, capacity / needed, share);
    }
    shares[h] = share;
}

// Who stays, arrives and leaves follows no pattern that a branch could learn: tables, and sums of zeros.
void Cluster::share_fitting(std::size_t h, HostShare& share) {
    enum : std::size_t { stays, arrives, leaves };
    constexpr std::array<double, 3> kGets{1.0, kArriving, kLeaving};
    constexpr std::array<double, 3> kCounted{1.0, 1.0, kLeaving};
    constexpr std::array<double, 3> kStands{1.0, 0.0, 1.0};
    constexpr std::array<double, 3> kIsLeaving{0.0, 0.0, 1.0};
    const double pe = model(h).pe_mips;
    const auto here = static_cast<std::int32_t>(h);
    for (const std::int32_t vm : lists[h]) {
        const auto v = static_cast<std::size_t>(vm);
        const bool stands = host[v] == here;
        const std::size_t role = stands ? (moves[v] > 0 ? leaves : stays) : arrives;
        const double asked = request[v];
        const double got = std::min(asked, pe) * kGets[role];
        share.requested += asked;
        share.load += got / kCounted[role];
        double arriving = 0; // what it gets on its target is no entry of the VM
        *(stands ? &allocated[v] : &arriving) = got;
        const double unmet = (asked - got) * kStands[role];
        share.unmet += unmet;
        share.unmet_leaving += unmet * kIsLeaving[role];
        share.unmet_share += unmet / std::max(asked, std::numeric_limits<double>::min());
        share.n_unmet += unmet > 0 ? 1 : 0;
    }
}

void Cluster::share_by_ratio(std::size_t h, double k, HostShare& share) {
    const double pe = model(h).pe_mips;
    const auto here = static_cast<std::int32_t>(h);
    for (const std::int32_t vm : lists[h]) {
        const auto v = static_cast<std::size_t>(vm);
        const double asked = request[v];
        const double full = std::min(asked, pe);
        share.requested += asked;
        if (host[v] != here) {
            share.load += whole(full * kArriving * k);
            continue;
        }
        const bool leaving = moves[v] > 0;
        const double got = leaving ? whole(full * k * kLeaving) : whole(full * k);
        allocated[v] = got;
        share.load += leaving ? got / kLeaving : got;
        if (got < asked) {
            const double unmet = asked - got;
            share.unmet += unmet;
            share.unmet_share += unmet / asked;
            ++share.n_unmet;
            if (leaving) share.unmet_leaving += unmet;
        }
    }
}

} // namespace foreshade::cloudsim

// How CloudSim's over-subscribing time-shared scheduler divides a host among its VMs.
//
// Every sum runs in list order: the last bit decides ties in placement, and so the rest of the day.
#include <algorithm>
#include <cmath>

#include "cloudsim/cluster.hpp"

namespace foreshade::cloudsim {

namespace {

constexpr double kArriving = 0.1; // share of its need that a VM gets on its target while it is copied
constexpr double kLeaving = 0.9;  // share that it still gets on its source

double utilisation_of(double load, double capacity) {
    const double u = load / capacity;
    return u > 1 && u < 1.01 ? 1.0 : u;
}

} // namespace

Cluster::Cluster(std::size_t n_hosts, std::size_t n_vms)
    : lists(n_hosts), shares(n_hosts), copies(n_hosts, 0), kind(n_vms, 0), mips(n_vms, 0.0), request(n_vms, 0.0),
      allocated(n_vms, 0.0), host(n_vms, -1), target(n_vms, -1), moves(n_vms, 0) {}

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
            const double got = fits ? need : std::floor(need * k);
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
    HostShare share;
    double needed = 0;
    double left = capacity;
    for (const std::int32_t vm : lists[h]) {
        const auto v = static_cast<std::size_t>(vm);
        const double full = std::min(request[v], pe);
        const double need = host[v] == here ? full : kArriving * full;
        needed += need;
        left -= need;
        share.requested += request[v];
    }
    const bool fits = left >= 0;
    const double k = fits ? 1.0 : capacity / needed;
    share.available = fits ? left : 0.0;
    for (const std::int32_t vm : lists[h]) {
        const auto v = static_cast<std::size_t>(vm);
        const double full = std::min(request[v], pe);
        if (host[v] != here) {
            share.load += fits ? full * kArriving : std::floor(full * kArriving * k);
            continue;
        }
        const bool leaving = moves[v] > 0;
        double got = full;
        if (leaving)
            got = fits ? full * kLeaving : std::floor(full * k * kLeaving);
        else if (!fits)
            got = std::floor(full * k);
        allocated[v] = got;
        share.load += leaving ? got / kLeaving : got;
        if (got < request[v]) {
            const double unmet = request[v] - got;
            share.unmet += unmet;
            share.unmet_share += unmet / request[v];
            ++share.n_unmet;
            if (leaving) share.unmet_leaving += unmet;
        }
    }
    shares[h] = share;
}

} // namespace foreshade::cloudsim

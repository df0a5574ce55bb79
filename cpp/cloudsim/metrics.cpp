#include "cloudsim/metrics.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace foreshade::cloudsim {

namespace {

constexpr double kWsPerKwh = 3600.0 * 1000.0;

double ratio(double part, double whole) {
    return whole > 0 ? part / whole : 0.0;
}

} // namespace

Ledger::Ledger(std::size_t n_hosts, std::size_t n_vms, bool full_power)
    : full_power_w_(0), was_on_(n_hosts, true), on_(n_hosts), start_power_w_(n_hosts, 0.0), changed_at_(n_hosts, 0.0),
      requested_by_(n_vms, 0.0), unmet_by_(n_vms, 0.0) {
    if (!full_power) return;
    for (std::size_t h = 0; h < n_hosts; ++h) full_power_w_ += kHostModels[model_of(h)].power.peak();
}

void Ledger::close(const Cluster& cluster, double time_s) {
    slice_s_ = 0;
    if (time_s_ < 0 || time_s == time_s_) {
        // Nothing stood before the first point; an entry at the same instant is about to be overwritten.
        if (time_s_ < 0) energy_ws_ += full_power_w_ * time_s;
        time_s_ = time_s;
        return;
    }
    const double dt = time_s - time_s_;
    on_.clear();
    cluster.occupied.each([&](std::size_t h) {
        const HostShare& share = cluster.shares[h];
        start_power_w_[h] = share.utilisation > 0 ? share.power_w : 0.0;
        if (!(share.load > 0)) return;
        on_.insert(h);
        on_s_ += dt;
        if (share.load < share.requested) violated_s_ += dt;
        if (share.n_unmet == 0) return;
        unmet_ += share.unmet * dt;
        unmet_leaving_ += share.unmet_leaving * dt;
        unmet_share_ += share.unmet_share;
        n_unmet_ += share.n_unmet;
        for (const std::int32_t vm : cluster.lists[h]) {
            const auto v = static_cast<std::size_t>(vm);
            if (cluster.host[v] == static_cast<std::int32_t>(h))
                unmet_by_[v] += (cluster.request[v] - cluster.allocated[v]) * dt;
        }
    });
    on_.each_difference(was_on_, [&](std::size_t h) {
        shutdowns_ += on_.contains(h) ? 0 : 1;
        changed_at_[h] = time_s_;
    });
    std::swap(on_, was_on_);
    const double* const request = cluster.request.data();
    double* const requested = requested_by_.data();
    for (std::size_t v = 0; v < requested_by_.size(); ++v) requested[v] += request[v] * dt;
    slice_s_ = dt;
    time_s_ = time_s;
}

void Ledger::add_energy(const Cluster& cluster) {
    if (slice_s_ == 0) return;
    if (full_power_w_ > 0) {
        energy_ws_ += full_power_w_ * slice_s_;
        return;
    }
    double sum = 0;
    cluster.occupied.each([&](std::size_t h) { // no list has changed since `close`
        const double start = start_power_w_[h];
        if (start > 0) sum += (start + (cluster.shares[h].power_w - start) / 2) * slice_s_;
    });
    energy_ws_ += sum;
}

Metrics Ledger::metrics(const Cluster& cluster) const {
    Metrics out;
    out.energy_kwh = energy_ws_ / kWsPerKwh;
    out.migrations = migrations_;
    const double requested = std::accumulate(requested_by_.begin(), requested_by_.end(), 0.0);
    out.slatah = ratio(violated_s_, on_s_);
    out.pdm = ratio(unmet_leaving_, requested);
    out.slav = out.slatah * out.pdm;
    out.esv = out.energy_kwh * out.slav;
    out.overall_sla = ratio(unmet_, requested);
    out.average_sla = ratio(unmet_share_, static_cast<double>(n_unmet_));
    out.host_shutdowns = shutdowns_;
    if (time_s_ >= 0) // the entries that still stand
        for (std::size_t h = 0; h < cluster.n_hosts(); ++h)
            out.host_shutdowns += was_on_.contains(h) && !(cluster.shares[h].load > 0) ? 1 : 0;
    out.unmet_demand = out.overall_sla;
    for (std::size_t v = 0; v < unmet_by_.size(); ++v)
        out.unmet_demand_worst_vm = std::max(out.unmet_demand_worst_vm, ratio(unmet_by_[v], requested_by_[v]));
    return out;
}

} // namespace foreshade::cloudsim

#include "core/cluster_state.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace foreshade {

namespace {

template <class Column, class InRange>
void require(const char* what, const Column& column, std::size_t n, const char* range, InRange&& in_range) {
    if (column.size() != n)
        throw std::invalid_argument(std::string(what) + ": expected " + std::to_string(n) + " values, got " +
                                    std::to_string(column.size()));
    const auto bad = std::find_if_not(column.begin(), column.end(), in_range);
    if (bad != column.end())
        throw std::invalid_argument(std::string(what) + " " + std::to_string(bad - column.begin()) + ": expected " +
                                    range + ", got " + std::to_string(static_cast<double>(*bad)));
}

bool is_label(AnomalyLabel label) {
    return label <= AnomalyLabel::missing;
}

bool is_share(float x) {
    return x >= 0.0F && x <= 1.0F;
}

} // namespace

void HostColumns::resize(std::size_t n) {
    for (auto* column : {&capacity, &allocated, &usage, &overcommit}) column->resize(n * kResources, 0.0F);
    for (auto* column : {&contention, &power_w, &idle_w, &peak_w, &boot_s, &price_usd_h, &hazard_per_h,
                         &hazard_confidence, &since_s, &age_s})
        column->resize(n, 0.0F);
    for (auto* column : {&n_vms, &arriving, &rack, &zone, &model, &profile}) column->resize(n, 0);
    state.resize(n, HostState::off);
    anomaly.resize(n, AnomalyLabel::normal);
}

void VmColumns::resize(std::size_t n) {
    for (auto* column : {&flavour, &allocation, &usage, &demand}) column->resize(n * kResources, 0.0F);
    contention.resize(n, 0.0F);
    weight.resize(n, 1.0F);
    credit.resize(n, 1.0F);
    since_move_s.resize(n, std::numeric_limits<float>::infinity());
    age_s.resize(n, 0.0F);
    anomaly_p.resize(n, 1.0F);
    widen.resize(n, 1.0F);
    birth.resize(n, 0);
    app.resize(n, -1);
    for (auto* column : {&host, &destination, &primary}) column->resize(n, -1);
    state.resize(n, VmState::absent);
    kind.resize(n, VmKind::production);
    anomaly.resize(n, AnomalyLabel::normal);
}

void ClusterState::show_anomalies(std::span<const AnomalyLabel> vm, std::span<const float> vm_p,
                                  std::span<const float> vm_widen, std::span<const AnomalyLabel> host) {
    require("vms.anomaly", vm, n_vms(), "an anomaly label", is_label);
    require("vms.anomaly_p", vm_p, n_vms(), "a probability", is_share);
    require("vms.widen", vm_widen, n_vms(), "a finite factor of at least 1",
            [](float x) { return x >= 1.0F && std::isfinite(x); });
    require("hosts.anomaly", host, n_hosts(), "an anomaly label", is_label);
    vms.anomaly.assign(vm.begin(), vm.end());
    vms.anomaly_p.assign(vm_p.begin(), vm_p.end());
    vms.widen.assign(vm_widen.begin(), vm_widen.end());
    hosts.anomaly.assign(host.begin(), host.end());
}

void ClusterState::show_hazards(std::span<const float> per_h, std::span<const float> confidence) {
    require("hosts.hazard_per_h", per_h, n_hosts(), "a finite rate of at least 0",
            [](float x) { return x >= 0.0F && std::isfinite(x); });
    require("hosts.hazard_confidence", confidence, n_hosts(), "a share", is_share);
    hosts.hazard_per_h.assign(per_h.begin(), per_h.end());
    hosts.hazard_confidence.assign(confidence.begin(), confidence.end());
}

} // namespace foreshade

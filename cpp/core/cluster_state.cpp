#include "core/cluster_state.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

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
    inlet_c.resize(n, std::numeric_limits<float>::quiet_NaN());
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

void ClusterState::resize(std::size_t n_hosts, std::size_t n_vms) {
    hosts.resize(n_hosts);
    vms.resize(n_vms);
    forecasts.resize(n_vms);
}

void ClusterState::validate() const {
    const auto amounts = [](const char* what, const std::vector<float>& column) {
        require(what, column, column.size(), "a finite amount of at least 0",
                [](float x) { return x >= 0.0F && std::isfinite(x); });
    };
    // A time that nobody knows is infinite.
    const auto times = [](const char* what, const std::vector<float>& column) {
        require(what, column, column.size(), "a time of at least 0", [](float x) { return x >= 0.0F; });
    };
    const auto indices = [](const char* what, const std::vector<std::int32_t>& column, std::size_t n) {
        require(what, column, column.size(), "-1 or an index",
                [n](std::int32_t x) { return x >= -1 && x < static_cast<std::int32_t>(n); });
    };
    amounts("hosts.capacity", hosts.capacity);
    amounts("hosts.allocated", hosts.allocated);
    amounts("hosts.usage", hosts.usage);
    amounts("hosts.overcommit", hosts.overcommit);
    amounts("hosts.power_w", hosts.power_w);
    amounts("hosts.idle_w", hosts.idle_w);
    amounts("hosts.peak_w", hosts.peak_w);
    amounts("hosts.boot_s", hosts.boot_s);
    amounts("hosts.price_usd_h", hosts.price_usd_h);
    amounts("vms.flavour", vms.flavour);
    amounts("vms.allocation", vms.allocation);
    amounts("vms.usage", vms.usage);
    amounts("vms.demand", vms.demand);
    amounts("vms.weight", vms.weight);
    amounts("vms.credit", vms.credit);
    times("hosts.since_s", hosts.since_s);
    times("hosts.age_s", hosts.age_s);
    times("vms.since_move_s", vms.since_move_s);
    times("vms.age_s", vms.age_s);
    require("hosts.contention", hosts.contention, n_hosts(), "a share", is_share);
    require("vms.contention", vms.contention, n_vms(), "a share", is_share);
    indices("vms.host", vms.host, n_hosts());
    indices("vms.destination", vms.destination, n_hosts());
    indices("vms.primary", vms.primary, n_vms());
    require("hosts.state", hosts.state, n_hosts(), "a host state",
            [](HostState s) { return s <= HostState::maintenance; });
    require("vms.state", vms.state, n_vms(), "a VM state", [](VmState s) { return s <= VmState::failed; });
    require("vms.kind", vms.kind, n_vms(), "a VM kind", [](VmKind k) { return k <= VmKind::micro; });
}

void ClusterState::show_forecasts(ForecastColumns said) {
    const std::size_t n_rows = said.n_rows();
    const auto rows = [n_rows](std::int32_t x) { return x >= -1 && x < static_cast<std::int32_t>(n_rows); };
    require("forecasts.series", said.series, n_vms(), "-1 or a row", rows);
    require("forecasts.share", said.share, n_vms(), "a share", is_share);
    require("forecasts.memory_share", said.memory_share, n_vms(), "a share", is_share);
    const std::size_t cells = said.horizons.size() * n_rows * kDense;
    require("forecasts.moments", said.moments, cells * 2, "a finite amount", [](float x) { return std::isfinite(x); });
    if (!said.quantiles.empty())
        require("forecasts.quantiles", said.quantiles, cells * said.levels.size(), "a finite amount",
                [](float x) { return std::isfinite(x); });
    forecasts = std::move(said);
}

void ForecastColumns::resize(std::size_t n_vms) {
    series.resize(n_vms, -1);
    share.resize(n_vms, 0.0F);
    memory_share.resize(n_vms, 0.0F);
}

void ForecastColumns::clear() {
    moments = quantiles = {};
    owner.reset();
    std::fill(series.begin(), series.end(), -1);
    std::fill(share.begin(), share.end(), 0.0F);
    std::fill(memory_share.begin(), memory_share.end(), 0.0F);
}

} // namespace foreshade

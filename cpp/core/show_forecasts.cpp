// What the state says of demand to come: a row of the shared table, or the engine fed with what telemetry showed.
#include <algorithm>
#include <limits>
#include <utility>

#include "core/simulator.hpp"

namespace foreshade {

namespace {

struct Prediction {
    std::vector<float> moments;
    std::vector<float> quantiles;
};

std::size_t at(std::int32_t index) {
    return static_cast<std::size_t>(index);
}

} // namespace

void Simulator::start_forecasts() {
    online_.reset();
    shown_.reset();
    const auto* config = std::get_if<forecast::EngineConfig>(&plant_->forecast);
    if (config == nullptr) return;
    online_.emplace(*config, plant_->work.n_series);
    online_->own(row_owners());
}

// The application behind each series, of those that exist.
std::vector<std::int32_t> Simulator::row_owners() const {
    std::vector<std::int32_t> owner(plant_->work.n_series, -1);
    for (std::size_t a = 0; a < apps_.size(); ++a)
        if (apps_[a].first >= 0) owner[at(plant_->work.app_series[a])] = static_cast<std::int32_t>(a);
    return owner;
}

// Shows the engine the tick that ends: what the members of an application were seen to want over the share of its load
// that they carried. What nobody served was not seen.
void Simulator::learn_demand() {
    std::vector<float> demand(plant_->work.n_series * kDense, 0.0F);
    std::vector<float> carried(demand.size(), 0.0F);
    for (std::size_t h = 0; h < hosts_.size(); ++h) {
        if (hosts_[h].state != HostState::on) continue;
        solve(static_cast<std::int32_t>(h));
        for (const Portion& p : portions_) {
            const Vm& vm = vms_[at(p.vm)];
            const Amounts estimate = estimated_demand(p);
            const std::size_t first = at(plant_->work.app_series[at(vm.app)]) * kDense;
            for (std::size_t r = 0; r < kDense; ++r) {
                const bool is_memory = static_cast<Resource>(r) == Resource::memory;
                const float share = is_memory ? vm.memory : p.useful ? vm.share : 0.0F;
                if (share <= 0.0F || vm.state == VmState::booting) continue;
                demand[first + r] += estimate[r];
                carried[first + r] += share;
            }
        }
    }
    for (std::size_t i = 0; i < demand.size(); ++i)
        demand[i] = carried[i] > 0.0F ? demand[i] / carried[i] : std::numeric_limits<float>::quiet_NaN();
    online_->observe(demand);
}

// The share of its application's load that a VM carries, or will once it serves with the weights as they are. A shadow
// without weight replays its fidelity of what its primary carries.
float Simulator::traffic_share(const Vm& vm) const {
    if (vm.kind == VmKind::shadow && vm.weight <= 0.0F)
        return vm.primary < 0 ? 0.0F : vm.fidelity * traffic_share(vms_[at(vm.primary)]);
    if (vm.share > 0.0F) return vm.share;
    if (vm.state != VmState::pending && vm.state != VmState::booting && vm.state != VmState::failed) return 0.0F;
    if (vm.weight <= 0.0F) return 0.0F;
    const float share = vm.weight / (apps_[at(vm.app)].weight + vm.weight);
    return vm.kind == VmKind::micro ? std::min(share, plant_->work.app_offloadable[at(vm.app)]) : share;
}

void Simulator::show_forecasts(ForecastColumns& out) {
    if (std::holds_alternative<std::monostate>(plant_->forecast)) return;
    out.clear();
    if (const auto* table = std::get_if<forecast::Table>(&plant_->forecast)) {
        if (tick_ == 0) return; // nothing has been seen yet
        const auto t = static_cast<std::size_t>(tick_);
        const std::size_t cells = table->horizons.size() * table->n_rows * kDense;
        out.moments = {table->moments.get() + t * cells * 2, cells * 2};
        out.owner = table->moments;
        if (table->quantiles) {
            const std::size_t width = cells * table->levels.size();
            out.quantiles = {table->quantiles.get() + t * width, width};
            out.owner = std::make_shared<std::pair<std::shared_ptr<const float>, std::shared_ptr<const float>>>(
                table->moments, table->quantiles);
        }
    } else {
        if (!online_->informed()) return;
        if (!shown_) { // once a tick, and only where somebody looks
            const std::size_t cells = online_->config().horizons.size() * online_->n_rows() * kDense;
            auto made = std::make_shared<Prediction>();
            made->moments.resize(cells * 2);
            made->quantiles.resize(cells * forecast::kLevels);
            online_->predict(made->moments, made->quantiles);
            shown_ = std::move(made);
        }
        const auto& now = *static_cast<const Prediction*>(shown_.get());
        out.moments = now.moments;
        out.quantiles = now.quantiles;
        out.owner = shown_;
    }
    for (std::size_t v = 0; v < vms_.size(); ++v) {
        const Vm& vm = vms_[v];
        if (vm.state == VmState::absent) continue;
        out.series[v] = plant_->work.app_series[at(vm.app)];
        out.share[v] = traffic_share(vm);
        const bool replays = vm.kind == VmKind::shadow && vm.weight <= 0.0F;
        const float floor = plant_->work.app_memory_floor[at(vm.app)];
        const float members = static_cast<float>(plant_->work.app_members[at(vm.app)]);
        out.memory_share[v] = floor * vm.size / members + (replays ? 0.0F : (1.0F - floor) * out.share[v]);
    }
}

} // namespace foreshade

#include "core/simulator.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

namespace foreshade {

namespace {

constexpr double kJoulesPerKwh = 3.6e6;
constexpr float kViolation = 0.05F;    // unmet share of a tick's demand beyond which it counts
constexpr double kLeastDemand = 3.6e3; // MHz·s: a VM that wanted less than 1 MHz·h has no worst ratio

std::size_t at(std::int32_t index) {
    return static_cast<std::size_t>(index);
}

// Demand before the first tick: nobody wants anything yet.
const float* zeros(std::size_t n) {
    thread_local std::vector<float> row;
    if (row.size() < n) row.resize(n, 0.0F);
    return row.data();
}

} // namespace

Plant::Plant(DataCentre spec_in, WorkloadView work_in, std::uint32_t allowed_in, forecast::Source forecast_in)
    : spec(std::move(spec_in)), work(std::move(work_in)), allowed(allowed_in), forecast(std::move(forecast_in)) {
    spec.validate(work.n_ticks);
    tight_factor = 1.0F / (1.0F - spec.knee);
    work.prepare(spec.tick_s);
    if (const auto* table = std::get_if<forecast::Table>(&forecast);
        table != nullptr && (table->n_ticks != work.n_ticks || table->n_rows != work.n_series))
        throw std::invalid_argument("forecast table: expected one row for each of " + std::to_string(work.n_series) +
                                    " series and one for each of " + std::to_string(work.n_ticks) +
                                    " ticks and the end, found " + std::to_string(table->n_rows) + " series and " +
                                    std::to_string(table->n_ticks) + " ticks");
    series_peak.assign(work.n_series, Vec4{});
    for (std::size_t i = 0; i < work.n_ticks * work.n_series; ++i)
        series_peak[i % work.n_series] = max4(series_peak[i % work.n_series], load4(work.demand + i * kDense));
    for (const ServerModel& server : spec.models) {
        power.emplace_back(server.power_w);
        late.emplace_back(server.cores, spec.slo_stretch);
    }
    for (const Host& host : spec.hosts) {
        const ServerModel& server = spec.models[at(host.model)];
        const HypervisorProfile& hypervisor = spec.profiles[at(host.profile)];
        HostConstants& constants = hosts.emplace_back();
        if (host.committed) committed_usd_h += static_cast<double>(host.price_usd_h);
        for (std::size_t r = 0; r < kDense; ++r) constants.usable[r] = server.capacity[r] * hypervisor.efficiency[r];
        constants.usable_gpu = server.capacity[4] * hypervisor.efficiency[4];
        constants.inverse_cpu = 1.0F / constants.usable[0];
        constants.metered = host.rented ? 0.0F : 1.0F;
        constants.gpu_idle_w = host.rented ? 0.0F : server.capacity[4] * server.gpu_idle_w;
        constants.gpu_slope_w = host.rented ? 0.0F : server.gpu_peak_w - server.gpu_idle_w;
        constants.profile = &hypervisor;
        constants.power = &power[at(host.model)];
        constants.late = &late[at(host.model)];
        constants.vm_cpu_mhz = hypervisor.vm_cpu_mhz;
        constants.vm_memory_mib = hypervisor.vm_memory_mib;
        constants.link_mbit_s = std::min(hypervisor.migration_mbit_s, constants.usable[3]);
        if (constants.link_mbit_s <= 0.0F)
            throw std::invalid_argument("server " + server.name + ": expected a network for migrations, found none");
        for (std::size_t r = 0; r < kDense; ++r)
            constants.limit[r] = server.capacity[r] * hypervisor.efficiency[r] * host.overcommit[r];
        constants.limit[4] = server.capacity[4] * host.overcommit[4]; // GPUs are counted, whatever they give
    }
}

Simulator::Simulator(std::shared_ptr<const Plant> plant, std::uint64_t seed) : plant_(std::move(plant)) {
    reset(seed);
}

void Simulator::reset(std::uint64_t seed, std::int64_t start_tick) {
    const WorkloadView& work = plant_->work;
    const DataCentre& spec = plant_->spec;
    if (start_tick < 0 || start_tick >= static_cast<std::int64_t>(work.n_ticks))
        throw std::invalid_argument("reset: the start tick lies outside the workload");
    tick_ = start_tick_ = start_tick;
    played_ = -1;
    now_ = static_cast<double>(tick_) * spec.tick_s;
    in_tick_ = packed_ = packed_hosts_ = packed_gpus_hold_ = opened_ = false;
    hidden_factor_ = 1.0F;
    order_ = 0;
    births_ = 0;
    worst_freed_ = 0.0;
    tick_totals_ = last_totals_ = totals_ = Totals{};
    history_.clear();
    events_.clear();
    migrations_.clear();
    begun_.clear();
    n_ended_ = 0;
    queue_first_.assign(spec.hosts.size(), -1);
    copying_.assign(spec.hosts.size(), {});
    special_vms_.clear();
    waiting_.clear();
    dark_apps_.clear();
    crashed_.clear();
    dirty_.clear();
    open_hosts_.clear();
    touched_vms_.clear();
    vms_.assign(work.n_vms() + spec.spare_slots, Vm{});
    beside_.assign(vms_.size(), Beside{});
    last_move_s_.assign(vms_.size(), -std::numeric_limits<double>::infinity());
    changed_.clear();
    shown_played_ = -1;
    affinity_ = AffinityBook(spec.affinity);
    if (affinity_) affinity_.clear(vms_.size());
    apps_.assign(work.n_apps(), App{});
    hosts_.assign(spec.hosts.size(), HostTruth{});
    rates_.assign(spec.hosts.size(), HostRates{});
    rack_on_.assign(spec.racks.size(), true);
    rack_ready_s_.assign(spec.racks.size(), now_);
    rack_copying_.assign(spec.racks.size(), 0);
    free_slots_.clear();
    for (std::size_t v = vms_.size(); v-- > work.n_vms();) free_slots_.push_back(static_cast<std::int32_t>(v));
    for (std::size_t v = 0; v < work.n_vms(); ++v) {
        for (std::size_t r = 0; r < kResources; ++r)
            vms_[v].allocation[r] = vms_[v].flavour[r] = work.vm_flavour[v * kResources + r];
        vms_[v].credit = work.vm_credit[v];
        vms_[v].app = work.vm_app[v];
    }
    const auto by = [](const std::vector<std::int32_t>& key) {
        return [&key](std::int32_t a, std::int32_t b) { return key[at(a)] < key[at(b)]; };
    };
    arrivals_.resize(work.n_vms());
    std::iota(arrivals_.begin(), arrivals_.end(), 0);
    departures_ = arrivals_;
    std::stable_sort(arrivals_.begin(), arrivals_.end(), by(work.vm_arrival));
    std::stable_sort(departures_.begin(), departures_.end(), by(work.vm_departure));
    next_arrival_ = next_departure_ = 0;
    for (std::size_t h = 0; h < hosts_.size(); ++h) {
        hosts_[h].state = spec.hosts[h].rented ? HostState::unrented : HostState::on;
        hosts_[h].since_s = hosts_[h].slice_s = now_;
        hosts_[h].failures = RandomStream(seed, 2 * h);
        hosts_[h].alarms_stream = RandomStream(seed, 2 * h + 1);
        hosts_[h].reclaims = RandomStream(seed, (std::uint64_t{1} << 32U) + h);
        draw_failure(static_cast<std::int32_t>(h), now_);
        draw_alarm(static_cast<std::int32_t>(h), now_);
    }
    for (std::size_t w = 0; w < spec.maintenance.size(); ++w) {
        const MaintenanceWindow& window = spec.maintenance[w];
        if (window.end_s <= now_) continue;
        if (window.start_s > now_)
            push(window.start_s, EventKind::maintenance_starts, window.host, static_cast<std::uint32_t>(w));
        else
            start_maintenance(window); // before anything can be placed there
        push(window.end_s, EventKind::maintenance_ends, window.host, 0);
    }
    arrivals_and_departures();
    start_forecasts();
}

const float* Simulator::row() const {
    const std::size_t width = plant_->work.n_series * kDense;
    return played_ < 0 ? zeros(width) : plant_->work.demand + static_cast<std::size_t>(played_) * width;
}

const ServerModel& Simulator::model(std::int32_t host) const {
    return plant_->spec.models[at(plant_->spec.hosts[at(host)].model)];
}

// Plays what happens until `end`, evaluating every host at the start and again where something touches it.
void Simulator::play_events(double end) {
    open_all_hosts();
    start_queued();
    settle();
    for (;;) {
        const double event_s = events_.empty() ? end + 1.0 : events_.front().time;
        const Begun* const migration = next_migration();
        const double migration_s = migration != nullptr ? migration->next_s : end + 1.0;
        const double next = std::min(event_s, migration_s);
        if (next > end) break;
        now_ = std::max(now_, next);
        if (event_s <= migration_s) {
            const Event event = events_.front();
            std::pop_heap(events_.begin(), events_.end());
            events_.pop_back();
            const std::size_t asked_for = migrations_.size(), ended = n_ended_;
            play(event);
            if (migrations_.size() != asked_for || n_ended_ != ended) start_queued(); // else no place has come free
        } else {
            play_migration(migration->migration);
        }
        settle();
    }
}

void Simulator::advance() {
    if (done()) throw std::logic_error("advance: the workload's last tick has been played");
    const DataCentre& spec = plant_->spec;
    schedule();
    const double end = static_cast<double>(tick_ + 1) * spec.tick_s;
    played_ = tick_;
    in_tick_ = true;
    if (!packed_) repack();
    if (!packed_hosts_) repack_hosts();
    tick_start_s_ = now_;
    const bool eventful = !migrations_.empty() || (!events_.empty() && events_.front().time <= end);
    if (eventful)
        play_events(end);
    else
        play_quiet_tick();
    now_ = end;
    book_untouched(!eventful);
    opened_ = false;
    for (const std::int32_t host : open_hosts_) {
        close(host);
        hosts_[at(host)].open = false;
    }
    std::erase_if(dark_apps_, [this](std::int32_t app) {
        apps_[at(app)].listed = apps_[at(app)].dark;
        return !apps_[at(app)].dark;
    });
    for (const std::int32_t app : dark_apps_) close_dark(app);
    for (const std::int32_t id : crashed_) close_crash(vms_[at(id)]);
    kill_for_memory();

    for (const std::int32_t id : touched_vms_) {
        Vm& vm = vms_[at(id)];
        bank_demand(vm); // the share may have changed within the tick, and a VM that ended has none
        if (vm.tick_unmet > kViolation * vm.tick_demand) ++tick_totals_.sla_violations;
        vm.tick_unmet = 0.0F;
        vm.touched = false;
    }
    touched_vms_.clear();
    open_hosts_.clear();

    const auto k = static_cast<std::size_t>(tick_);
    if (plant_->committed_usd_h > 0.0)
        tick_totals_.cost[static_cast<std::size_t>(CostTerm::rent)] += plant_->committed_usd_h * spec.tick_s / 3600.0;
    for (std::size_t r = 0; r < rack_on_.size(); ++r)
        if (rack_on_[r]) tick_totals_.rack_j += static_cast<double>(spec.racks[r].overhead_w) * spec.tick_s;
    const double kwh =
        (tick_totals_.host_j + tick_totals_.rack_j) / kJoulesPerKwh * static_cast<double>(spec.prices.pue);
    Costs& cost = tick_totals_.cost;
    cost[static_cast<std::size_t>(CostTerm::energy)] += kwh * static_cast<double>(spec.prices.electricity_usd_kwh[k]);
    if (!spec.prices.carbon_g_kwh.empty())
        cost[static_cast<std::size_t>(CostTerm::carbon)] += kwh * static_cast<double>(spec.prices.carbon_g_kwh[k]) *
                                                            1e-6 * static_cast<double>(spec.prices.carbon_usd_per_t);
    cost[static_cast<std::size_t>(CostTerm::late)] +=
        tick_totals_.late / 3.6e6 * static_cast<double>(spec.prices.late_usd_ghz_h);
    totals_.add(tick_totals_);
    if (recording_) {
        TickRecord& record = history_.emplace_back();
        const auto mean = [&spec](double sum) { return static_cast<float>(sum / spec.tick_s); };
        record.time_s = end - spec.tick_s;
        record.host_power_w = mean(tick_totals_.host_j);
        record.rack_power_w = mean(tick_totals_.rack_j);
        record.demand_cpu_mhz = mean(tick_totals_.demand[0]);
        record.used_cpu_mhz = mean(tick_totals_.used_cpu);
        record.capacity_cpu_mhz = mean(tick_totals_.capacity_cpu);
        record.unmet_cpu_mhz = mean(tick_totals_.unmet[0]);
        record.hosts_on = mean(tick_totals_.on_s);
        record.migrations = static_cast<std::int32_t>(tick_totals_.migrations);
        record.cost_usd = static_cast<float>(std::accumulate(cost.begin(), cost.end(), 0.0));
    }
    last_totals_ = tick_totals_;
    tick_totals_ = Totals{};
    in_tick_ = false;
    if (n_ended_ > 0) drop_ended_migrations();
    if (online_) learn_demand();
    ++tick_;
    if (!done()) arrivals_and_departures();
    if (online_) {
        online_->own(row_owners());
        shown_.reset();
    }
}

double Simulator::worst_vm_unmet() const {
    double worst = worst_freed_;
    for (const Vm& vm : vms_) {
        if (vm.unmet <= 0.0) continue;
        double demand = vm.demand;
        if (vm.state != VmState::absent)
            demand += static_cast<double>(vm.share) * (cumulative(vm.app) - vm.cumulative_mark);
        if (demand >= kLeastDemand) worst = std::max(worst, vm.unmet / demand);
    }
    return worst;
}

std::size_t Simulator::memory_bytes() const {
    return sizeof(*this) + vms_.capacity() * sizeof(Vm) + apps_.capacity() * sizeof(App) +
           hosts_.capacity() * (sizeof(HostTruth) + sizeof(HostRates)) +
           (calm_vms_.capacity() + careful_vms_.capacity()) * (sizeof(PackedVm) + sizeof(PackedFactor)) +
           careful_caps_.capacity() * sizeof(PackedCap) + quiet_hosts_.capacity() * sizeof(PackedHost) +
           packed_gpus_.capacity() * sizeof(PackedGpu) + events_.capacity() * sizeof(Event) +
           migrations_.capacity() * sizeof(Migration) + history_.capacity() * sizeof(TickRecord) +
           portions_.capacity() * sizeof(Portion) + packed_at_.capacity() * sizeof(std::uint32_t) +
           (standing_.capacity() + free_slots_.capacity() + dark_apps_.capacity() + waiting_.capacity() +
            dirty_.capacity() + touched_vms_.capacity() + arrivals_.capacity() + departures_.capacity()) *
               sizeof(std::int32_t) +
           (online_ ? online_->memory_bytes() : 0);
}

std::size_t Simulator::bytes_per_tick() const {
    constexpr std::size_t kRatesWritten = 32;
    return (calm_vms_.size() + careful_vms_.size()) * (sizeof(PackedVm) + sizeof(Vec4)) + // the last is its demand
           (calm_factors_.size() + careful_factors_.size()) * sizeof(PackedFactor) +
           careful_caps_.size() * sizeof(PackedCap) + quiet_hosts_.size() * (sizeof(PackedHost) + kRatesWritten);
}

} // namespace foreshade

#include "core/decide/packer.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "core/decide/assumed.hpp"

namespace foreshade {

namespace {

constexpr float kAlarmH = 2.0F;             // a foreseen failure is announced about this long ahead
constexpr float kOpeningShare = 0.6F;       // CPU load at which hosts are ranked for opening
constexpr double kAlike = 1.05;             // hosts whose watts per VM differ by less are about as good
constexpr std::size_t kMostMoves = 100'000; // in a tick; planning goes on in the next one
constexpr std::size_t kMostRooms = 4;       // waiting VMs that others make room for in a tick
constexpr std::size_t kMostLeavers = 6;     // VMs that do so for one
constexpr float kLeastCapacity = 1e-6F;

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

void check(const Site& site) {
    const std::size_t n = site.cores.size();
    const auto expect = [](const char* name, std::size_t got, std::size_t expected) {
        if (got != expected)
            throw std::invalid_argument(std::string("packer: site: ") + name + ": expected " +
                                        std::to_string(expected) + " numbers, got " + std::to_string(got));
    };
    expect("power_w", site.power_w.size(), n * 11);
    expect("off_w", site.off_w.size(), n);
    expect("vm_overhead", site.vm_overhead.size(), n * kResources);
    expect("rented", site.rented.size(), n);
    if (!site.largest_vm.empty()) expect("largest_vm", site.largest_vm.size(), n);
    if (site.economy.usd_kwh.empty()) throw std::invalid_argument("packer: site: usd_kwh: expected a price, got none");
}

// Means of a price over so many ticks ahead; the last holds ever after.
std::vector<double> means_ahead(const std::vector<float>& price, std::size_t ticks) {
    std::vector<double> sums{0.0};
    for (const float x : price) sums.push_back(sums.back() + static_cast<double>(x));
    for (std::size_t t = 0; t < ticks; ++t) sums.push_back(sums.back() + static_cast<double>(price.back()));
    std::vector<double> means;
    for (std::size_t t = 0; t + ticks < sums.size(); ++t)
        means.push_back((sums[t + ticks] - sums[t]) / static_cast<double>(ticks));
    return means;
}

} // namespace

const char* reason_text(PackerReason reason) {
    switch (reason) {
    case PackerReason::none:
        return "";
    case PackerReason::vm_waits:
        return "a VM waits and no host has room";
    case PackerReason::room_short:
        return "room for the VMs that come in a tick is running out";
    case PackerReason::crowded:
        return "hosts above the relief level find no target";
    case PackerReason::relief_pays:
        return "relief is worth more than a boot";
    case PackerReason::empty:
        return "empty";
    case PackerReason::dark_rack:
        return "all its hosts are off";
    case PackerReason::rack_pays:
        return "room for the VMs of a rack that can go off";
    }
    return "";
}

void PackerKnobs::check() const {
    const auto positive = [](const char* name, double x) {
        if (!(x > 0.0) || !std::isfinite(x))
            throw std::invalid_argument(std::string("packer: ") + name + ": expected a positive number, got " +
                                        std::to_string(x));
    };
    const auto not_negative = [](const char* name, double x) {
        if (!(x >= 0.0) || !std::isfinite(x))
            throw std::invalid_argument(std::string("packer: ") + name + ": expected 0 or more, got " +
                                        std::to_string(x));
    };
    positive("window.ticks", static_cast<double>(window.ticks));
    positive("horizon_ticks", static_cast<double>(horizon_ticks));
    positive("drain_ticks", static_cast<double>(drain_ticks));
    positive("target", target);
    positive("relief", relief);
    positive("sigma_scale", sigma_scale);
    not_negative("margin_usd", margin_usd);
    not_negative("boot_weight", boot_weight);
    not_negative("move_weight", move_weight);
    not_negative("acute_weight", acute_weight);
    not_negative("acute_uneven", acute_uneven);
    not_negative("kin", kin);
    not_negative("reserve", reserve);
    not_negative("failover", failover);
    not_negative("grace_s", grace_s);
    not_negative("hazard_per_h", hazard_per_h);
    not_negative("rack_credit", rack_credit);
    not_negative("z", z);
}

PackerMemory::PackerMemory(const WindowKnobs& window, float tick_s)
    : knobs_(window), tick_s_(tick_s), headroom_(tick_s) {
    if (window.ticks == 0) throw std::invalid_argument("packer: window: expected at least one tick, got 0");
    if (!(tick_s > 0.0F))
        throw std::invalid_argument("packer: tick_s: expected more than 0 s, got " + std::to_string(tick_s));
}

void PackerMemory::reset() {
    seen_ = false;
    headroom_.reset();
}

void PackerMemory::observe(const ClusterState& state, const Changed& changed) {
    const bool first = !seen_;
    if (first) {
        if (window_ && window_->n_vms() == state.n_vms())
            window_->reset();
        else
            window_.emplace(knobs_, state.n_vms(), tick_s_);
        if (watch_) window_->look_for(*watch_);
        seen_ = true;
    }
    window_->update(state, first ? Changed{} : changed);
    headroom_.observe(state, first ? Changed{} : changed);
}

Packer::Packer(std::shared_ptr<const Site> site, const PackerKnobs& knobs)
    : Packer(site, knobs, std::make_shared<PackerMemory>(knobs.window, site->tick_s)) {}

Packer::Packer(std::shared_ptr<const Site> site, const PackerKnobs& knobs, std::shared_ptr<PackerMemory> memory)
    : site_(std::move(site)), knobs_(knobs), memory_(std::move(memory)), n_hosts_(site_->cores.size()),
      n_racks_(site_->rack_w.size()), powered_(site_->can(ActionKind::power)),
      moving_(site_->can(ActionKind::migrate)) {
    knobs_.check();
    check(*site_);
    const auto tick_s = static_cast<double>(site_->tick_s);
    horizon_h_ = static_cast<double>(knobs_.horizon_ticks) * tick_s / 3600.0;
    drain_h_ = static_cast<double>(knobs_.drain_ticks) * tick_s / 3600.0;
    usd_kwh_ = means_ahead(site_->economy.usd_kwh, knobs_.horizon_ticks);
    packing_knobs_.horizon_h = static_cast<float>(horizon_h_);
    packing_knobs_.drain_horizon_h = static_cast<float>(drain_h_);
    packing_knobs_.margin_usd = static_cast<float>(knobs_.margin_usd);
    packing_knobs_.near = knobs_.near;
    packing_knobs_.peaks = knobs_.peaks;
    packing_knobs_.fullest = knobs_.fullest;
    packing_knobs_.kin = static_cast<float>(knobs_.kin);
    packing_knobs_.z = static_cast<float>(knobs_.z);
    packing_knobs_.target.fill(static_cast<float>(knobs_.target));
    packing_knobs_.relief.fill(static_cast<float>(knobs_.relief));
    use_.resize(n_hosts_);
    spare_.resize(n_hosts_);
    empty_.resize(n_hosts_);
    on_usd_h_.resize(n_hosts_);
    off_usd_h_.resize(n_hosts_);
    cycle_usd_.resize(n_hosts_);
    drain_usd_.resize(n_hosts_);
    closed_.resize(n_hosts_);
    outage_usd_.resize(n_hosts_);
}

Packer::Packer(const Packer& other, std::shared_ptr<PackerMemory> memory) : Packer(other) {
    memory_ = std::move(memory);
    if (!packing_) return;
    cost_ = std::make_shared<ExpectedCost>(*other.cost_); // prices of its own, what came to nothing before as the other
    packing_->price_by(cost_);
}

void Packer::reset() {
    memory_->reset();
    ranked_ = false;
    stands_.clear();
    chosen_tick_ = -1;
    tried_.clear();
    leaves_until_.clear();
    std::fill(dark_.begin(), dark_.end(), std::uint8_t{0});
    above_ = 0;
}

void Packer::assume_dark(std::span<const std::uint8_t> racks) {
    if (packing_ && racks.size() > n_racks_)
        throw std::invalid_argument("packer: assume_dark: expected " + std::to_string(n_racks_) +
                                    " racks at most, got " + std::to_string(racks.size()));
    dark_.assign(racks.begin(), racks.end());
    if (packing_) dark_.resize(n_racks_); // racks that the site does not tell of are on
}

std::span<const Action> Packer::plan(const ClusterState& state) {
    if (!memory_->seen()) throw std::logic_error("packer: plan: expected observe first");
    if (state.n_hosts() != n_hosts_)
        throw std::invalid_argument("packer: plan: expected " + std::to_string(n_hosts_) + " hosts, got " +
                                    std::to_string(state.n_hosts()));
    if (!packing_) build(state);
    if (!ranked_) rank_hosts(state);
    actions_.clear();
    reasons_.clear();
    gain_usd_ = 0.0F;
    price(state);
    choose_standing(state);
    sort_out_hosts(state);
    price_moves(state);
    begin_packing(state);
    place(state);
    if (moving_) rebalance(state);
    if (powered_) wake(state);
    if (moving_ && state.tick > 0) vacate_racks(state);
    if (moving_ && state.tick > 0) drain(state);
    gain_usd_ += packing_->gain_usd();
    // Moves go before what is switched on: the order that the world is asked in.
    const std::size_t woken = actions_.size();
    for (const Move& move : packing_->moves()) {
        Action action;
        action.kind = move.source < 0 ? ActionKind::spawn : ActionKind::migrate;
        action.vm = move.vm;
        action.host = move.destination;
        act(action);
    }
    std::rotate(actions_.begin(), actions_.begin() + static_cast<std::ptrdiff_t>(woken), actions_.end());
    std::rotate(reasons_.begin(), reasons_.begin() + static_cast<std::ptrdiff_t>(woken), reasons_.end());
    if (powered_) switch_off(state);
    if (powered_ && knobs_.racks) switch_racks_off(state);
    return actions_;
}

// The model of the hosts, which are those of the first state for good.
void Packer::build(const ClusterState& state) {
    const HostColumns& hosts = state.hosts;
    std::vector<float> power_w = site_->power_w;
    std::vector<float> capacity = hosts.capacity;
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        // GPUs draw idle power that the CPU's curve does not have.
        const float more = hosts.idle_w[h] - site_->power_w[h * 11];
        for (std::size_t i = 0; i < 11; ++i) power_w[h * 11 + i] += more;
        // Where allocations have no limit the world does not hold the resource against anybody; CPU is time.
        for (std::size_t r = 1; r < kResources; ++r)
            if (hosts.overcommit[h * kResources + r] > kUnlimited) capacity[h * kResources + r] = kNoCapacity;
    }
    CostPrices prices;
    if (!knobs_.peaks) {
        const Economy& economy = site_->economy;
        std::copy_n(economy.unmet_usd_h.begin(), kDense, prices.unmet_usd_h.begin());
        prices.late_usd_mhz_h = economy.late_usd_mhz_h;
        prices.slo_stretch = economy.slo_stretch;
        prices.swap_factor = kSwapFactor;
        prices.sigma_scale = static_cast<float>(knobs_.sigma_scale);
    }
    cost_ = std::make_shared<ExpectedCost>(prices, CostHosts{capacity, site_->vm_overhead, power_w, site_->cores});
    packing_.emplace(cost_);
    if (!site_->largest_vm.empty()) packing_->limit_vms(site_->largest_vm);
    packing_->obey(site_->affinity);
    for (const std::int32_t rack : hosts.rack) n_racks_ = std::max(n_racks_, at(rack) + 1);
    dark_.resize(n_racks_);
    ours_.assign(n_racks_, 0);
    for (std::size_t h = 0; h < n_hosts_; ++h)
        if (site_->rented[h] == 0) ours_[at(hosts.rack[h])] = 1;
    up_.resize(n_racks_);
    standing_.resize(n_racks_);
    fixed_.assign(state.n_vms(), 0);
}

// Hosts by what they draw at 60 % for the share of the cluster they can hold, the best first.
void Packer::rank_hosts(const ClusterState& state) {
    const HostColumns& hosts = state.hosts;
    float wanted_cpu = 0.0F;
    float wanted_memory = 0.0F;
    for (std::size_t v = 0; v < state.n_vms(); ++v)
        if (state.vms.state[v] != VmState::absent) {
            wanted_cpu += state.vms.allocation[v * kResources];
            wanted_memory += state.vms.allocation[v * kResources + 1];
        }
    wanted_cpu = std::max(wanted_cpu, kLeastCapacity);
    wanted_memory = std::max(wanted_memory, kLeastCapacity);
    const double used = static_cast<double>(wanted_cpu) * static_cast<double>(knobs_.window.prior_mean[0]);
    std::vector<float>& step = rank_;
    step.resize(n_hosts_);
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        const float* capacity = hosts.capacity.data() + h * kResources;
        const double cpu = static_cast<double>(kOpeningShare * capacity[0]) / used;
        const float memory = capacity[1] * hosts.overcommit[h * kResources + 1] / wanted_memory;
        const double held = std::min(cpu, static_cast<double>(memory));
        const double watts = static_cast<double>(cost_->power_w(h, kOpeningShare));
        step[h] = static_cast<float>(std::nearbyint(std::log(std::max(watts / held, 1e-6)) / std::log(kAlike)));
    }
    order_.resize(n_hosts_);
    for (std::size_t h = 0; h < n_hosts_; ++h) order_[h] = static_cast<std::int32_t>(h);
    // Of hosts that are about as good, those of one rack first: an empty rack can go off.
    std::stable_sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
        return step[at(a)] != step[at(b)] ? step[at(a)] < step[at(b)] : hosts.rack[at(a)] < hosts.rack[at(b)];
    });
    ranked_ = true;
}

// What hosts cost while they are on, while they are off, for a cycle of both, and when they fail.
void Packer::price(const ClusterState& state) {
    const HostColumns& hosts = state.hosts;
    const Economy& economy = site_->economy;
    const auto last = static_cast<std::int64_t>(usd_kwh_.size()) - 1;
    now_usd_kwh_ = usd_kwh_[static_cast<std::size_t>(std::clamp(state.tick, std::int64_t{0}, last))];
    const auto usd_kwh = static_cast<float>(now_usd_kwh_);
    const auto usd_wh = static_cast<float>(now_usd_kwh_ * 1e-3);
    cost_->set_energy_price(usd_kwh);
    float boot_s = 0.0F;
    for (const float x : hosts.boot_s) boot_s = std::max(boot_s, x);
    // The VMs of a host that fails are dark until a host has booted for them.
    const double dark_h = (static_cast<double>(boot_s) + 0.5 * static_cast<double>(site_->tick_s)) / 3600.0;
    const auto outage_usd_vm =
        static_cast<double>(static_cast<float>(static_cast<double>(economy.downtime_usd_h) * dark_h));
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        on_usd_h_[h] = (hosts.idle_w[h] - site_->off_w[h]) * usd_wh;
        off_usd_h_[h] = site_->off_w[h] * usd_wh;
        const float boot_kwh = (hosts.peak_w[h] * hosts.boot_s[h] + hosts.idle_w[h] * kShutdownS) / 3.6e6F;
        cycle_usd_[h] = powered_ ? economy.boot_usd + boot_kwh * usd_kwh : 0.0F;
        outage_usd_[h] = static_cast<double>(hosts.n_vms[h]) * outage_usd_vm;
    }
    free_ = memory_->headroom().needed(state, knobs_.reserve, knobs_.failover, outage_usd_, on_usd_h_);
    risk_.hosts.clear();
    if (!knobs_.urgent || knobs_.failover <= 0.0) return;
    weigh_failures(state, dark_h * knobs_.failover);
    float kept_usd_h = 0.0F, kept_mib = 1.0F;
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        if (hosts.state[h] != HostState::on || hosts.n_vms[h] == 0) continue;
        kept_usd_h += on_usd_h_[h];
        kept_mib += hosts.capacity[h * kResources + 1] * hosts.overcommit[h * kResources + 1];
    }
    free_.failover_mib = static_cast<double>(risk_.worth_keeping_mib(kept_usd_h / kept_mib));
}

void Packer::sort_out_hosts(const ClusterState& state) {
    const HostColumns& hosts = state.hosts;
    const auto alarm = static_cast<float>(knobs_.hazard_per_h);
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        // Where hosts come and go by themselves, one that is off is as good as an empty one.
        const bool on = (hosts.state[h] == HostState::on || (!powered_ && hosts.state[h] == HostState::off)) &&
                        site_->rented[h] == 0;
        const bool empty = hosts.n_vms[h] == 0 && hosts.arriving[h] == 0;
        const bool shunned = hosts.hazard_per_h[h] > alarm;
        empty_[h] = on && empty ? 1 : 0;
        spare_[h] = on && empty && !shunned ? 1 : 0;
        if (!on || (empty && shunned))
            use_[h] = HostUse::none;
        else if (empty)
            use_[h] = HostUse::spare;
        else
            use_[h] = shunned ? HostUse::leaving : HostUse::target;
        if (!leaves_until_.empty() && on && leaves_until_[at(hosts.rack[h])] > state.tick) {
            spare_[h] = 0;
            use_[h] = empty ? HostUse::none : HostUse::leaving;
        }
        if (restraint_.hosts.empty()) continue;
        closed_[h] = restraint_.hosts[h] == HostBar::closed ? 1 : 0;
        if (restraint_.hosts[h] != HostBar::leaving) continue;
        spare_[h] = 0;
        if (on) use_[h] = empty ? HostUse::none : HostUse::leaving;
    }
}

// USD of migrating each VM: the declared price, its slow-down and its downtime.
void Packer::price_moves(const ClusterState& state) {
    const Economy& economy = site_->economy;
    const std::span<const Load> loads = memory_->window().loads();
    const float dark =
        static_cast<float>(static_cast<double>(economy.downtime_usd_h) * static_cast<double>(kMigrationDowntimeS));
    const auto weight = static_cast<float>(knobs_.move_weight);
    move_usd_.resize(state.n_vms());
    for (std::size_t v = 0; v < move_usd_.size(); ++v) {
        const float seconds = kMigrationSetupS + loads[v].mean[1] * kMbitPerMib / site_->migration_mbit_s;
        const float slowed = kMigrationSlowdown * loads[v].mean[0] * economy.unmet_usd_h[0] * seconds;
        move_usd_[v] = (economy.migration_usd + (slowed + dark) / 3600.0F * state.vms.credit[v]) * weight;
    }
}

void Packer::list_spares() {
    spares_.clear();
    for (const std::int32_t h : order_)
        if (spare_[at(h)] != 0) spares_.push_back(h);
}

bool Packer::any_spare() const {
    return std::find(spare_.begin(), spare_.end(), std::uint8_t{1}) != spare_.end();
}

void Packer::note_opened() {
    for (const std::int32_t h : packing_->opened()) spare_[at(h)] = empty_[at(h)] = 0;
}

void Packer::begin_packing(const ClusterState& state) {
    const DemandWindow& window = memory_->window();
    const std::vector<std::uint8_t>& fixed = restraint_.fixed.empty() ? fixed_ : restraint_.fixed;
    packing_->begin(state, {window.loads(), move_usd_, fixed}, use_, packing_knobs_);
    packing_->close(restraint_.hosts.empty() ? std::span<const std::uint8_t>{} : closed_);
}

// Gives waiting VMs hosts, the largest first; leaves in waiting_ those that found none.
void Packer::place(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    waiting_.clear();
    for (std::size_t v = 0; v < vms.state.size(); ++v)
        if (vms.state[v] == VmState::pending || vms.state[v] == VmState::failed)
            waiting_.push_back(static_cast<std::int32_t>(v));
    if (waiting_.empty()) return;
    Amounts largest;
    largest.fill(kLeastCapacity);
    for (std::size_t h = 0; h < n_hosts_; ++h)
        for (std::size_t r = 0; r < kResources; ++r)
            largest[r] = std::max(largest[r], state.hosts.capacity[h * kResources + r]);
    size_.resize(vms.state.size());
    for (const std::int32_t v : waiting_) {
        size_[at(v)] = 0.0F;
        for (std::size_t r = 0; r < kResources; ++r)
            size_[at(v)] = std::max(size_[at(v)], vms.allocation[at(v) * kResources + r] / largest[r]);
        // GPUs are few and come in pieces: who needs one chooses first.
        const float gpus = vms.allocation[at(v) * kResources + kDense];
        if (gpus > 0.0F) size_[at(v)] += 1.0F + gpus;
    }
    std::sort(waiting_.begin(), waiting_.end(), [this](std::int32_t a, std::int32_t b) {
        return size_[at(a)] != size_[at(b)] ? size_[at(a)] > size_[at(b)] : a < b;
    });
    const std::vector<std::int32_t> all = waiting_;
    place_in_order();
    if (waiting_.empty()) return;
    leaves_until_.clear(); // what is being emptied may be needed
    if (!knobs_.urgent) return;
    const std::vector<std::int32_t> left = waiting_;
    waiting_ = all;
    price_waiting(state);
    waiting_ = left;
    const float lost = usd_h_waiting();
    waiting_ = all;
    most_urgent_first();
    const auto again = [&] {
        sort_out_hosts(state);
        begin_packing(state);
        place_in_order();
    };
    again();
    if (usd_h_waiting() > lost) {
        waiting_ = all;
        again();
    }
    most_urgent_first();
}

void Packer::place_in_order() {
    list_spares();
    std::size_t left = 0;
    for (const std::int32_t v : waiting_) {
        const std::size_t n_opened = packing_->opened().size();
        if (packing_->place(v, spares_, on_usd_h_) < 0)
            waiting_[left++] = v;
        else if (packing_->opened().size() > n_opened) {
            note_opened();
            list_spares();
        }
    }
    waiting_.resize(left);
}

// Hosts of which more is wanted than they have now: what is seen of a VM holds until the next tick.
void Packer::relieve_now(const ClusterState& state) {
    const std::size_t n_vms = state.n_vms();
    wanted_.resize(n_vms);
    copy_h_.resize(n_vms);
    for (std::size_t v = 0; v < n_vms; ++v) {
        const float* const allocation = state.vms.allocation.data() + v * kResources;
        wanted_[v] = std::min(state.vms.demand[v * kResources], allocation[0]);
        copy_h_[v] = (kMigrationSetupS + allocation[1] * kMbitPerMib / site_->migration_mbit_s) / 3600.0F;
    }
    Moment now;
    now.cpu_mhz = wanted_;
    now.copy_h = copy_h_;
    now.tick_h = site_->tick_s / 3600.0F;
    now.unmet_usd_h = site_->economy.unmet_usd_h[0];
    now.uneven = static_cast<float>(knobs_.acute_uneven);
    now.price = static_cast<float>(knobs_.move_weight > 0.0 ? knobs_.acute_weight / knobs_.move_weight : 0.0);
    packing_->relieve_now(now);
}

void Packer::rebalance(const ClusterState& state) {
    if (knobs_.peaks)
        above_ = packing_->relieve(kMostMoves);
    else
        packing_->improve(kMostMoves);
    if (knobs_.acute_weight > 0.0 && state.tick > 0) relieve_now(state);
    list_spares();
    // An empty host that is still on costs no boot.
    const std::size_t trials = powered_ ? knobs_.wake_trials : std::max(knobs_.wake_trials, n_hosts_ / 25);
    for (std::size_t k = 0; k < std::min(trials, spares_.size()); ++k) {
        const std::int32_t host = spares_[k];
        const auto price_usd = static_cast<float>(static_cast<double>(on_usd_h_[at(host)]) * horizon_h_);
        if (!knobs_.peaks) {
            if (packing_->try_open(host, price_usd, kMostMoves, true) <= 0.0F) continue;
        } else if (above_ == 0) {
            break;
        } else {
            packing_->open(host);
            above_ = packing_->relieve(kMostMoves);
            gain_usd_ -= price_usd;
        }
        note_opened();
    }
}

void Packer::act(const Action& action, PackerReason why) {
    actions_.push_back(action);
    reasons_.push_back(why);
}

void Packer::power_on(const ClusterState& state, std::int32_t host, PackerReason why) {
    const std::int32_t rack = state.hosts.rack[at(host)];
    Action action;
    action.kind = ActionKind::power;
    action.value = static_cast<float>(PowerTarget::on);
    if (dark_[at(rack)] != 0) {
        dark_[at(rack)] = 0;
        action.rack = rack;
        act(action, why);
        action.rack = -1;
    }
    action.host = host;
    act(action, why);
    off_hosts_.erase(std::find(off_hosts_.begin(), off_hosts_.end(), host));
}

// Powers hosts on for the VMs that wait, for those that crowd, and for those that will come.
void Packer::wake(const ClusterState& state) {
    const HostColumns& hosts = state.hosts;
    const auto limit = [&](std::size_t h) {
        Amounts most;
        for (std::size_t r = 0; r < kResources; ++r)
            most[r] = hosts.capacity[h * kResources + r] * hosts.overcommit[h * kResources + r];
        return most;
    };
    off_hosts_.clear();
    room_hosts_.clear();
    room_.clear();
    for (const std::int32_t h : order_)
        if ((hosts.state[at(h)] == HostState::off || hosts.state[at(h)] == HostState::asleep) &&
            site_->rented[at(h)] == 0)
            off_hosts_.push_back(h);
    if (!restraint_.hosts.empty()) // what is meant to go, or stay, off is woken last
        std::stable_partition(off_hosts_.begin(), off_hosts_.end(),
                              [this](std::int32_t h) { return restraint_.hosts[at(h)] != HostBar::leaving; });
    for (std::size_t h = 0; h < n_hosts_; ++h)
        if ((hosts.state[h] == HostState::booting || hosts.state[h] == HostState::waking) && site_->rented[h] == 0) {
            room_hosts_.push_back(static_cast<std::int32_t>(h));
            room_.push_back(limit(h));
        }
    std::size_t made_room = 0;
    for (const std::int32_t vm : waiting_) {
        const float* need = state.vms.allocation.data() + at(vm) * kResources;
        const auto holds = [need](const Amounts& free) {
            for (std::size_t r = 0; r < kResources; ++r)
                if (free[r] < need[r]) return false;
            return true;
        };
        auto chosen = room_.begin();
        while (
            chosen != room_.end() &&
            !(holds(*chosen) && packing_->permits(vm, room_hosts_[static_cast<std::size_t>(chosen - room_.begin())])))
            ++chosen;
        if (chosen == room_.end()) {
            const auto host = std::find_if(off_hosts_.begin(), off_hosts_.end(), [&](std::int32_t h) {
                return holds(limit(at(h))) && packing_->permits(vm, h);
            });
            if (host == off_hosts_.end()) {
                if (moving_ && made_room++ < kMostRooms) packing_->make_room(vm, kMostLeavers);
                continue;
            }
            room_hosts_.push_back(*host);
            room_.push_back(limit(at(*host)));
            power_on(state, *host, PackerReason::vm_waits);
            chosen = room_.end() - 1;
        }
        for (std::size_t r = 0; r < kResources; ++r) (*chosen)[r] -= need[r];
    }
    if (!restraint_.hosts.empty()) // relief and spare room are no reason to undo what somebody else switches off
        std::erase_if(off_hosts_, [this](std::int32_t h) { return restraint_.hosts[at(h)] == HostBar::leaving; });
    if (!room_.empty() || off_hosts_.empty()) return;
    if (!any_spare() && ((free_.count > 0 && packing_->room_for(free_.sample) * 2 < free_.count) ||
                         static_cast<double>(packing_->free_mib()) < 0.5 * free_.failover_mib)) {
        power_on(state, off_hosts_.front(), PackerReason::room_short);
        return;
    }
    if (!moving_) return;
    if (knobs_.peaks) {
        if (above_ > 0) power_on(state, off_hosts_.front(), PackerReason::crowded);
        return;
    }
    for (std::size_t k = 0; k < std::min(knobs_.wake_trials, off_hosts_.size()); ++k) {
        const std::int32_t host = off_hosts_[k];
        const double price_usd =
            static_cast<double>(on_usd_h_[at(host)]) * horizon_h_ + static_cast<double>(cycle_usd_[at(host)]);
        const float gain = packing_->try_open(host, static_cast<float>(price_usd), kMostMoves, false);
        if (gain <= 0.0F) continue;
        power_on(state, host, PackerReason::relief_pays);
        gain_usd_ += gain;
        break;
    }
}

void Packer::drain(const ClusterState& state) {
    if (site_->rack_w.size() > 0 && knobs_.rack_credit > 0.0) {
        std::fill(standing_.begin(), standing_.end(), 0);
        for (std::size_t h = 0; h < n_hosts_; ++h)
            if ((state.hosts.state[h] == HostState::on || state.hosts.state[h] == HostState::booting) &&
                site_->rented[h] == 0)
                ++standing_[at(state.hosts.rack[h])];
    }
    for (std::size_t h = 0; h < n_hosts_; ++h) drain_usd_[h] = drain_price_usd(state, h);
    if (knobs_.layout && packing_->lay_out(kMostMoves, rank_, drain_usd_, off_usd_h_)) return;
    packing_->drain({knobs_.drain_hosts, knobs_.drain_trials, knobs_.drain_misses}, drain_usd_, off_usd_h_,
                    free_.sample, free_.count, static_cast<float>(free_.failover_mib));
}

// A cycle of off and on, less the outage that emptying a host about to fail avoids, less its part in switching its
// rack off: a share of the rack's power, since the other hosts may stay; the last host of a rack earns the whole.
float Packer::drain_price_usd(const ClusterState& state, std::size_t host) const {
    const float hazard = state.hosts.hazard_per_h[host];
    float outage = 0.0F;
    if (hazard > static_cast<float>(knobs_.hazard_per_h))
        outage = static_cast<float>(static_cast<double>(1.0F - std::exp(-hazard * kAlarmH)) * outage_usd_[host]);
    float rack = 0.0F;
    if (!site_->rack_w.empty() && knobs_.rack_credit > 0.0 && powered_ && knobs_.racks) {
        const std::size_t number = at(state.hosts.rack[host]);
        const double on = static_cast<double>(standing_[number]);
        const double certain = on <= 1.0 ? 1.0 : knobs_.rack_credit / on;
        rack =
            static_cast<float>(static_cast<double>(site_->rack_w[number]) * certain * (now_usd_kwh_ * 1e-3 * drain_h_));
    }
    return cycle_usd_[host] * static_cast<float>(knobs_.boot_weight) - outage - rack;
}

// Hosts that are empty and stay so, unless the next arrivals would need them.
void Packer::switch_off(const ClusterState& state) {
    if (std::find(empty_.begin(), empty_.end(), std::uint8_t{1}) == empty_.end()) return;
    bool scarce = (free_.count > 0 && packing_->room_for(free_.sample) < free_.count) ||
                  static_cast<double>(packing_->free_mib()) < free_.failover_mib;
    for (auto h = order_.rbegin(); h != order_.rend(); ++h) {
        if (empty_[at(*h)] == 0) continue;
        if (spare_[at(*h)] != 0 && state.tick > 0) {
            if (state.hosts.since_s[at(*h)] < static_cast<float>(knobs_.grace_s)) continue;
            if (scarce) {
                scarce = false; // one host is kept for what comes; the next tick looks again
                continue;
            }
        }
        Action action;
        action.kind = ActionKind::power;
        action.host = *h;
        action.value = static_cast<float>(PowerTarget::off);
        act(action, PackerReason::empty);
    }
}

// Racks none of whose hosts draws power or is about to.
void Packer::switch_racks_off(const ClusterState& state) {
    const HostColumns& hosts = state.hosts;
    std::fill(up_.begin(), up_.end(), std::uint8_t{0});
    for (std::size_t h = 0; h < n_hosts_; ++h)
        if (hosts.state[h] != HostState::off && hosts.state[h] != HostState::asleep && site_->rented[h] == 0)
            up_[at(hosts.rack[h])] = 1;
    for (const Action& action : actions_)
        if (action.kind == ActionKind::power && action.host >= 0 && action.value == static_cast<float>(PowerTarget::on))
            up_[at(hosts.rack[at(action.host)])] = 1;
    for (std::size_t rack = 0; rack < n_racks_; ++rack) {
        if (ours_[rack] == 0 || up_[rack] != 0) {
            dark_[rack] = 0; // the world's scheduler may have woken it
            continue;
        }
        if (dark_[rack] != 0) continue;
        dark_[rack] = 1;
        Action action;
        action.kind = ActionKind::power;
        action.rack = static_cast<std::int32_t>(rack);
        action.value = static_cast<float>(PowerTarget::off);
        act(action, PackerReason::dark_rack);
    }
}

} // namespace foreshade

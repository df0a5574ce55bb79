#include "core/decide/packer.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "core/decide/assumed.hpp"

namespace foreshade {

namespace {

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

Packer::Packer(const std::shared_ptr<const Site>& site, const PackerKnobs& knobs)
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

void Packer::begin_packing(const ClusterState& state) {
    const DemandWindow& window = memory_->window();
    const std::vector<std::uint8_t>& fixed = restraint_.fixed.empty() ? fixed_ : restraint_.fixed;
    packing_->begin(state, {window.loads(), move_usd_, fixed}, use_, packing_knobs_);
    packing_->close(restraint_.hosts.empty() ? std::span<const std::uint8_t>{} : closed_);
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

void Packer::drain(const ClusterState& state) {
    if (!site_->rack_w.empty() && knobs_.rack_credit > 0.0) {
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

} // namespace foreshade

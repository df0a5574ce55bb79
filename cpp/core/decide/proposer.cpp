#include "core/decide/proposer.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <stdexcept>

namespace foreshade {

namespace {

// What a live migration is reckoned to take; the profile of KVM in the catalogue.
constexpr float kMigrationMbitS = 10'000.0F;
constexpr float kMigrationSetupS = 1.0F;
constexpr float kMigrationDowntimeS = 0.5F;
constexpr float kMigrationSlowdown = 0.1F;
constexpr float kMbitPerMib = 8.0F * 1.048576F;
constexpr float kShutdownS = 60.0F; // a graceful shutdown draws idle power for so long
constexpr float kSaturated = 0.95F; // of its allocation: a VM that gets so much may want more
constexpr float kDaySeconds = 86'400.0F;
constexpr float kLargest = 10.0F; // of every feature

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

bool makes_vm(const Action& action) {
    return action.kind == ActionKind::shadow || action.kind == ActionKind::microvm ||
           (action.kind == ActionKind::spawn && action.vm < 0);
}

bool serving(VmState state) {
    return state == VmState::running || state == VmState::migrating;
}

float clip(float x) {
    return std::isfinite(x) ? std::clamp(x, -kLargest, kLargest) : (x > 0.0F ? kLargest : -kLargest);
}

// Of what is never negative, though sums that come and go may be by a rounding.
float clip_share(float x) {
    return clip(std::max(0.0F, x));
}

float hours(float seconds) {
    return clip_share(seconds / 3600.0F);
}

} // namespace

Proposer::Proposer(std::shared_ptr<const Site> site, const ProposerKnobs& knobs)
    : site_(std::move(site)), priced_(std::make_shared<Site>(*site_)), knobs_(knobs) {
    if (knobs_.k < 2) throw std::invalid_argument("k: expected at least 2 candidates, wait and one more");
    if (knobs_.decisions == 0) throw std::invalid_argument("decisions: expected at least 1 a tick");
    if (site_->economy.usd_kwh.empty())
        throw std::invalid_argument("site: expected a price for every tick, found none");
    reset({});
}

void Proposer::reset(const PriceFactors& factors) {
    factors_ = factors;
    began_ = false;
    priced_ = std::make_shared<Site>(*site_);
    Economy& e = priced_->economy;
    for (float& usd : e.usd_kwh) usd *= factors.energy;
    for (float& usd : e.unmet_usd_h) usd *= factors.unmet;
    e.late_usd_mhz_h *= factors.unmet;
    e.downtime_usd_h *= factors.unmet;
    e.migration_usd *= factors.migration;
    e.boot_usd *= factors.boot;
    ahead_.assign(1, 0.0F);
    for (const float usd : e.usd_kwh) ahead_.push_back(ahead_.back() + usd);
    mean_usd_kwh_ = ahead_.back() / static_cast<float>(e.usd_kwh.size());
    horizon_h_ = static_cast<float>(knobs_.horizon_ticks) * site_->tick_s / 3600.0F;
    plan_.clear();
    left_ = knobs_.decisions;
    memory_ = std::make_shared<PackerMemory>(knobs_.window, site_->tick_s);
    packers_.clear();
    for (const PlanKnobs& plan : knobs_.plans)
        packers_.push_back(std::make_unique<Packer>(priced_, plan.packer, memory_));
    dark_.assign(site_->rack_w.size(), 0);
}

// Mean price of `ticks` from `tick` on; the last price holds after the end.
static float mean_price(const std::vector<float>& sums, std::int64_t tick, std::size_t ticks) {
    const std::size_t n = sums.size() - 1;
    const std::size_t from = std::min(static_cast<std::size_t>(std::max<std::int64_t>(tick, 0)), n - 1);
    const std::size_t to = std::min(n, from + std::max<std::size_t>(ticks, 1));
    return (sums[to] - sums[from]) / static_cast<float>(to - from);
}

void Proposer::begin(const ClusterState& state) {
    began_ = true;
    cost_ = expected_cost_of(*priced_, state, knobs_.sigma_scale);
    planned_ = std::make_unique<Planned>(site_, cost_);
    peak_.assign(state.n_vms() * 2, 0.0F);
    samples_.assign(state.n_vms(), 0);
    owner_.assign(state.n_vms(), -1);
    float idle_w = 0.0F;
    std::size_t ours = 0;
    for (std::size_t h = 0; h < state.n_hosts(); ++h)
        if (site_->rented[h] == 0) {
            idle_w += state.hosts.idle_w[h];
            ++ours;
        }
    unit_usd_ = std::max(1e-9F, idle_w / static_cast<float>(std::max<std::size_t>(ours, 1)) * 1e-3F * mean_usd_kwh_);
}

// Decayed peaks of what VMs use: the basis of their size (in the manner of Rzadca et al., "Autopilot", EuroSys 2020).
void Proposer::learn(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    const float forget = 1.0F / static_cast<float>(std::max<std::size_t>(knobs_.peak_ticks, 1));
    free_slots_ = 0;
    for (std::size_t v = 0; v < state.n_vms(); ++v) {
        if (vms.state[v] == VmState::absent) {
            ++free_slots_;
            owner_[v] = -1;
            continue;
        }
        if (owner_[v] != vms.app[v]) {
            owner_[v] = vms.app[v];
            samples_[v] = 0;
            peak_[v * 2] = peak_[v * 2 + 1] = 0.0F;
        }
        if (!serving(vms.state[v]) || !(vms.age_s[v] < site_->tick_s)) continue;
        ++samples_[v];
        for (std::size_t r = 0; r < 2; ++r) {
            float& peak = peak_[v * 2 + r];
            const float now = vms.demand[v * kResources + r];
            peak = now >= peak ? now : peak - (peak - now) * forget;
        }
    }
}

void Proposer::observe(ClusterState& state) {
    if (!began_) begin(state);
    usd_kwh_ = mean_price(ahead_, state.tick, knobs_.horizon_ticks);
    cost_->set_energy_price(usd_kwh_);
    memory_->observe(state);
    remember_racks(state);
    learn(state);
    planned_->begin(state, {memory_->window().mean(), memory_->window().variance()});
    plan_.clear();
    whole_ = false;
    left_ = knobs_.decisions;
    survey();
    generate();
}

// What the last plan switched, and what the world's own scheduler has woken since.
void Proposer::remember_racks(const ClusterState& state) {
    for (const Action& action : plan_)
        if (action.kind == ActionKind::power && action.rack >= 0 && at(action.rack) < dark_.size())
            dark_[at(action.rack)] = action.value == static_cast<float>(PowerTarget::on) ? 0 : 1;
    for (std::size_t h = 0; h < state.n_hosts(); ++h) {
        const HostState s = state.hosts.state[h];
        const std::size_t rack = at(state.hosts.rack[h]);
        if (rack < dark_.size() && (s == HostState::on || s == HostState::booting)) dark_[rack] = 0;
    }
}

// Whether a rack is switched off once this tick's choices are carried out.
bool Proposer::is_dark(std::int32_t rack) const {
    if (rack < 0 || at(rack) >= dark_.size()) return false;
    for (auto action = plan_.rbegin(); action != plan_.rend(); ++action)
        if (action->kind == ActionKind::power && action->rack == rack)
            return action->value != static_cast<float>(PowerTarget::on);
    return dark_[at(rack)] != 0;
}

void Proposer::fill_plan(Candidate& c) {
    Packer& packer = *packers_[at(c.plan)];
    if (!dark_.empty()) packer.assume_dark(dark_); // a site that tells of no racks has none to switch
    const std::span<const Action> plan = packer.plan(planned_->state());
    c.first_action = static_cast<std::uint32_t>(actions_.size());
    c.n_actions = static_cast<std::uint32_t>(plan.size());
    actions_.insert(actions_.end(), plan.begin(), plan.end());
    c.utilisation = packer.gain_usd();
}

void Proposer::offer_plans() {
    for (std::size_t i = 0; i < packers_.size(); ++i) {
        Candidate& c = offer(CandidateKind::plan);
        c.plan = static_cast<std::int32_t>(i);
        c.z = static_cast<float>(knobs_.plans[i].packer.z);
        if (!knobs_.plans[i].eager) continue;
        fill_plan(c);
        if (c.n_actions == 0) pool_.pop_back();
    }
}

void Proposer::survey() {
    const ClusterState& state = planned_->state();
    const HostColumns& hosts = state.hosts;
    const HostSet& loads = planned_->loads();
    context_.fill(0.0F);
    std::array<float, kDense> wanted{}, there{};
    float ours = 0.0F, on = 0.0F, coming = 0.0F, asleep = 0.0F, hot = 0.0F, hazard = 0.0F, unmet = 0.0F;
    float promised = 0.0F, promisable = 0.0F, n_on = 0.0F, idle_w = 0.0F;
    crowded_.clear();
    idle_.clear();
    for (std::size_t h = 0; h < planned_->n_hosts(); ++h) {
        const float cpu = hosts.capacity[h * kResources];
        if (site_->rented[h] == 0) {
            ours += cpu;
            const HostState s = hosts.state[h];
            if (s == HostState::booting || s == HostState::waking) coming += cpu;
            if (s == HostState::asleep) asleep += cpu;
        }
        if (hosts.state[h] != HostState::on) continue;
        if (site_->rented[h] == 0) on += cpu;
        n_on += 1.0F;
        hazard += hosts.hazard_per_h[h];
        idle_w += hosts.idle_w[h];
        for (std::size_t r = 0; r < kDense; ++r) {
            wanted[r] += loads.mean[r][h];
            there[r] += hosts.capacity[h * kResources + r];
        }
        promised += hosts.allocated[h * kResources + 1];
        promisable += planned_->limit(h, 1);
        if (planned_->here(h) == 0) continue;
        const float sigma = std::sqrt(std::max(0.0F, loads.variance[0][h]));
        const float excess = expected_excess(loads.mean[0][h] - loads.capacity[0][h], sigma);
        unmet += excess;
        const float memory_sigma = std::sqrt(std::max(0.0F, loads.variance[1][h]));
        const float crowd = std::max((loads.mean[0][h] + 2.0F * sigma) * loads.inverse_cpu[h],
                                     (loads.mean[1][h] + 2.0F * memory_sigma) / loads.capacity[1][h]);
        if (crowd > 1.0F) hot += 1.0F;
        crowded_.push_back({planned_->usd_h(h) - cost_->idle_usd_h(h), static_cast<std::int32_t>(h)});
        crowded_.back().value = crowd + excess * loads.inverse_cpu[h];
        // What it draws for what it carries: a candidate to be emptied.
        idle_.push_back(
            {loads.mean[0][h] * loads.inverse_cpu[h] + hosts.allocated[h * kResources + 1] / planned_->limit(h, 1),
             static_cast<std::int32_t>(h)});
    }
    const float memory_share = promised / std::max(promisable, 1.0F);
    const float cpu_share = wanted[0] / std::max(there[0], 1.0F);
    // Room is worth what an idle host costs where memory, and not CPU, keeps hosts on.
    memory_usd_mib_h_ = idle_w * 1e-3F * usd_kwh_ / std::max(promisable, 1.0F) *
                        std::clamp((memory_share - cpu_share) * 2.0F, 0.0F, 1.0F);
    std::array<std::size_t, kVmStates> n_of{};
    float newest = 0.0F, expected = 0.0F;
    const float* const demand = state.vms.demand.data();
    const float* const mean_demand = memory_->window().mean().data();
    for (std::size_t v = 0; v < state.n_vms(); ++v) {
        const VmState said = state.vms.state[v];
        ++n_of[static_cast<std::size_t>(said)];
        if (!serving(said)) continue;
        newest += demand[v * kResources];
        expected += mean_demand[v * kResources];
    }
    const auto count = [&](VmState said) { return static_cast<float>(n_of[static_cast<std::size_t>(said)]); };
    const float n_vms = static_cast<float>(state.n_vms()) - count(VmState::absent);
    const float waiting = count(VmState::pending) + count(VmState::failed);
    const float migrating = count(VmState::migrating);
    const float day = static_cast<float>(std::fmod(state.time_s, static_cast<double>(kDaySeconds))) / kDaySeconds;
    const float week =
        static_cast<float>(std::fmod(state.time_s, 7.0 * static_cast<double>(kDaySeconds))) / (7.0F * kDaySeconds);
    constexpr float kTurn = 2.0F * std::numbers::pi_v<float>;
    auto& c = context_;
    c[context::day_sin] = std::sin(kTurn * day);
    c[context::day_cos] = std::cos(kTurn * day);
    c[context::week_sin] = std::sin(kTurn * week);
    c[context::week_cos] = std::cos(kTurn * week);
    const float mean = std::max(mean_usd_kwh_, 1e-12F);
    const auto hour = static_cast<std::size_t>(std::max(1.0F, 3600.0F / site_->tick_s));
    c[context::price_now] = clip(mean_price(ahead_, state.tick, 1) / mean);
    c[context::price_1h] = clip(mean_price(ahead_, state.tick, hour) / mean);
    c[context::price_6h] = clip(mean_price(ahead_, state.tick, 6 * hour) / mean);
    c[context::hosts_on] = on / std::max(ours, 1.0F);
    c[context::hosts_coming] = coming / std::max(ours, 1.0F);
    c[context::hosts_asleep] = asleep / std::max(ours, 1.0F);
    for (std::size_t r = 0; r < kDense; ++r)
        c[context::cpu_used + r] = clip_share(wanted[r] / std::max(there[r], 1.0F));
    c[context::memory_reserved] = clip_share(memory_share);
    c[context::waiting] = waiting / std::max(n_vms, 1.0F);
    c[context::migrating] = migrating / std::max(n_vms, 1.0F);
    c[context::unmet] = clip_share(100.0F * unmet / std::max(wanted[0], 1.0F));
    c[context::hot] = hot / std::max(n_on, 1.0F);
    c[context::hazard] = clip(100.0F * hazard / std::max(n_on, 1.0F));
    c[context::growth] = clip(10.0F * (expected - newest) / std::max(there[0], 1.0F));
    c[context::drift] = -c[context::growth];
    c[context::energy_price] = std::log(factors_.energy);
    c[context::unmet_price] = std::log(factors_.unmet);
    c[context::migration_price] = std::log(factors_.migration);
    c[context::boot_price] = std::log(factors_.boot);
}

Candidate& Proposer::offer(CandidateKind kind) {
    Candidate& c = pool_.emplace_back();
    c.kind = kind;
    c.first_action = static_cast<std::uint32_t>(actions_.size());
    return c;
}

Action& Proposer::act(Candidate& c, ActionKind kind) {
    Action& action = actions_.emplace_back();
    action.kind = kind;
    ++c.n_actions;
    return action;
}

void Proposer::generate() {
    pool_.clear();
    actions_.clear();
    offer(CandidateKind::wait);
    if (left_ > 0) {
        if (!whole_) offer_plans();
        place();
        if (site_->can(ActionKind::migrate)) {
            relieve();
            drain();
        }
        switches();
        if (site_->can(ActionKind::reshape)) reshape();
        helpers();
    }
    show();
}

// Price of migrating a VM: the declared one and its slow-down; its downtime apart.
float Proposer::move_usd(std::size_t v, float& dark_usd) const {
    const Economy& e = priced_->economy;
    const Load& load = planned_->load(v);
    const float credit = planned_->state().vms.credit[v];
    const float seconds = kMigrationSetupS + load.mean[1] * kMbitPerMib / kMigrationMbitS;
    dark_usd = e.downtime_usd_h * kMigrationDowntimeS / 3600.0F * credit;
    return e.migration_usd + kMigrationSlowdown * load.mean[0] * e.unmet_usd_h[0] * seconds / 3600.0F * credit;
}

float Proposer::boot_usd(std::size_t h) const {
    const HostColumns& hosts = planned_->state().hosts;
    const float kwh = (hosts.peak_w[h] * hosts.boot_s[h] + hosts.idle_w[h] * kShutdownS) / 3.6e6F;
    return priced_->economy.boot_usd + kwh * usd_kwh_;
}

// Expected price of what a VM wants beyond an allocation, USD/h.
float Proposer::unmet_usd(std::size_t v, std::size_t r, float allocation) const {
    const Load& load = planned_->load(v);
    float mean = load.mean[r];
    float sigma = std::sqrt(std::max(0.0F, load.variance[r]));
    const VmColumns& vms = planned_->state().vms;
    const float newest = vms.demand[v * kResources + r];
    const float now = vms.allocation[v * kResources + r];
    if (newest >= kSaturated * now) { // it is seen at its limit: what it wants is above
        mean = std::max(mean, newest);
        sigma = std::max(sigma, 0.15F * now);
    }
    return priced_->economy.unmet_usd_h[r] * vms.credit[v] * expected_excess(mean - allocation, sigma);
}

void Proposer::price_move(std::size_t v, std::size_t to, Candidate& c) const {
    const HostSet& loads = planned_->loads();
    const Load& load = planned_->load(v);
    const auto from = planned_->place(v);
    ExpectedCost::Split before = cost_->split_host(loads, to, {}, 0.0F);
    // of_host() counts the overhead of one VM more for an empty load too: sign 0 leaves it out.
    ExpectedCost::Split after = cost_->split_host(loads, to, load, 1.0F);
    if (from >= 0) {
        const ExpectedCost::Split there = cost_->split_host(loads, at(from), {}, 0.0F);
        const ExpectedCost::Split left = cost_->split_host(loads, at(from), load, -1.0F);
        before.energy += there.energy;
        before.late += there.late;
        before.unmet += there.unmet;
        after.energy += left.energy;
        after.late += left.late;
        after.unmet += left.unmet;
    }
    c.performance = (before.unmet - after.unmet) * horizon_h_;
    c.utilisation = (before.energy - after.energy) * horizon_h_;
    c.latency = (after.late - before.late) * horizon_h_;
}

void Proposer::place() {
    const ClusterState& state = planned_->state();
    const VmColumns& vms = state.vms;
    if (context_[context::waiting] == 0.0F) return;
    ranked_.clear();
    for (std::size_t v = 0; v < state.n_vms(); ++v)
        if (vms.state[v] == VmState::pending || vms.state[v] == VmState::failed)
            ranked_.push_back({vms.allocation[v * kResources + 1], static_cast<std::int32_t>(v)});
    if (ranked_.empty()) return;
    const auto larger = [](const Ranked& a, const Ranked& b) {
        return a.value != b.value ? a.value > b.value : a.id < b.id;
    };
    const std::size_t n = std::min(knobs_.arrivals, ranked_.size());
    std::partial_sort(ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(n), ranked_.end(), larger);
    for (std::size_t i = 0; i < n; ++i) {
        float added = 0.0F;
        const std::int32_t to = planned_->cheapest(at(ranked_[i].id), -1, added);
        if (to < 0) continue;
        Candidate& c = offer(CandidateKind::place);
        c.vm = ranked_[i].id;
        c.host = to;
        Action& action = act(c, ActionKind::spawn);
        action.vm = c.vm;
        action.host = to;
        if (!evaluate(c)) pool_.pop_back();
    }
}

void Proposer::relieve() {
    const auto worse = [](const Ranked& a, const Ranked& b) {
        return a.value != b.value ? a.value > b.value : a.id < b.id;
    };
    const std::size_t n = std::min(knobs_.crowded_hosts, crowded_.size());
    std::partial_sort(crowded_.begin(), crowded_.begin() + static_cast<std::ptrdiff_t>(n), crowded_.end(), worse);
    for (std::size_t i = 0; i < n; ++i) {
        const std::int32_t host = crowded_[i].id;
        ranked_.clear();
        for (const std::int32_t vm : planned_->residents(at(host)))
            if (planned_->place(at(vm)) == host && planned_->movable(at(vm))) {
                float dark = 0.0F;
                const float gain = planned_->leaving_saves(at(vm)) * horizon_h_ - move_usd(at(vm), dark);
                ranked_.push_back({gain, vm});
            }
        const std::size_t m = std::min(knobs_.leavers, ranked_.size());
        std::partial_sort(ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(m), ranked_.end(), worse);
        for (std::size_t j = 0; j < m; ++j) {
            float added = 0.0F;
            const std::int32_t to = planned_->cheapest(at(ranked_[j].id), host, added);
            if (to < 0) continue;
            Candidate& c = offer(CandidateKind::migrate);
            c.vm = ranked_[j].id;
            c.host = to;
            c.source = host;
            Action& action = act(c, ActionKind::migrate);
            action.vm = c.vm;
            action.host = to;
            if (!evaluate(c)) pool_.pop_back();
        }
    }
}

void Proposer::drain() {
    if (!site_->can(ActionKind::power)) return;
    const auto less = [](const Ranked& a, const Ranked& b) {
        return a.value != b.value ? a.value < b.value : a.id < b.id;
    };
    const std::size_t n = std::min(knobs_.drains, idle_.size());
    std::partial_sort(idle_.begin(), idle_.begin() + static_cast<std::ptrdiff_t>(n), idle_.end(), less);
    const float off_h = static_cast<float>(knobs_.off_ticks) * site_->tick_s / 3600.0F;
    for (std::size_t i = 0; i < n; ++i) {
        const auto h = at(idle_[i].id);
        if (!planned_->takes(h) || planned_->here(h) == 0) continue;
        Candidate& c = offer(CandidateKind::drain);
        c.source = idle_[i].id;
        float added = 0.0F;
        if (!planned_->empty_out(h, actions_, added)) {
            pool_.pop_back();
            continue;
        }
        c.n_actions = static_cast<std::uint32_t>(actions_.size()) - c.first_action;
        const ExpectedCost::Split now = cost_->split_host(planned_->loads(), h, {}, 0.0F);
        const float off = site_->off_w[h] * usd_kwh_ * 1e-3F;
        c.performance = now.unmet * off_h;
        c.latency = -now.late * off_h;
        c.utilisation = (now.energy - off - added) * off_h;
        c.cost = boot_usd(h);
        for (std::uint32_t k = 0; k < c.n_actions; ++k) {
            float dark = 0.0F;
            c.cost += move_usd(at(actions_[c.first_action + k].vm), dark);
            c.latency += dark;
        }
        c.host = actions_[c.first_action].host;
        c.ready_h = site_->tick_s / 3600.0F;
    }
}

void Proposer::switches() {
    const HostColumns& hosts = planned_->state().hosts;
    const float off_h = static_cast<float>(knobs_.off_ticks) * site_->tick_s / 3600.0F;
    std::size_t off_offered = 0, hire_offered = 0;
    const float room_usd =
        context_[context::memory_reserved] > 0.97F || context_[context::waiting] > 0.0F ? unit_usd_ * horizon_h_ : 0.0F;
    const float unmet_usd = [&] {
        float sum = 0.0F;
        for (std::size_t i = 0; i < std::min(knobs_.crowded_hosts, crowded_.size()); ++i)
            sum += cost_->split_host(planned_->loads(), at(crowded_[i].id), {}, 0.0F).unmet;
        return sum * horizon_h_;
    }();
    ranked_.clear();
    for (std::size_t h = 0; h < planned_->n_hosts(); ++h) {
        const auto host = static_cast<std::int32_t>(h);
        const HostState s = hosts.state[h];
        const bool empty = hosts.n_vms[h] == 0 && hosts.arriving[h] == 0 && planned_->here(h) == 0;
        if (site_->rented[h] != 0) {
            if (!site_->can(ActionKind::rent)) continue;
            const bool back = s == HostState::on && empty;
            if ((!back && s != HostState::unrented) || hire_offered >= knobs_.switches) continue;
            ++hire_offered;
            Candidate& c = offer(back ? CandidateKind::give_back : CandidateKind::rent);
            c.host = host;
            Action& action = act(c, ActionKind::rent);
            action.host = host;
            action.value = back ? 0.0F : 1.0F;
            const float hire = hosts.price_usd_h[h] * horizon_h_;
            c.utilisation = back ? hire : -hire;
            c.performance = back ? 0.0F : room_usd + 0.5F * unmet_usd;
            c.ready_h = back ? 0.0F : hours(hosts.boot_s[h]);
            continue;
        }
        if (!site_->can(ActionKind::power)) continue;
        if (s == HostState::on && empty && off_offered < knobs_.switches) {
            ++off_offered;
            for (const bool sleep : {false, true}) {
                if (sleep && (site_->sleep_w.empty() || site_->sleep_w[h] <= 0.0F)) continue;
                Candidate& c = offer(sleep ? CandidateKind::sleep : CandidateKind::power_off);
                c.host = host;
                Action& action = act(c, ActionKind::power);
                action.host = host;
                action.value = static_cast<float>(sleep ? PowerTarget::sleep : PowerTarget::off);
                const float rest = sleep ? site_->sleep_w[h] : site_->off_w[h];
                c.utilisation = (hosts.idle_w[h] - rest) * usd_kwh_ * 1e-3F * off_h;
                c.cost = sleep ? 0.0F : boot_usd(h);
            }
        }
        if (s == HostState::off || s == HostState::asleep)
            ranked_.push_back({hosts.peak_w[h] / std::max(hosts.capacity[h * kResources], 1.0F), host});
    }
    const std::size_t n = std::min(knobs_.switches, ranked_.size());
    std::partial_sort(
        ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(n), ranked_.end(),
        [](const Ranked& a, const Ranked& b) { return a.value != b.value ? a.value < b.value : a.id < b.id; });
    for (std::size_t i = 0; i < n; ++i) {
        const std::size_t h = at(ranked_[i].id);
        const bool asleep = hosts.state[h] == HostState::asleep;
        Candidate& c = offer(CandidateKind::power_on);
        c.host = ranked_[i].id;
        if (is_dark(hosts.rack[h])) {
            Action& rack = act(c, ActionKind::power);
            rack.rack = hosts.rack[h];
            rack.value = static_cast<float>(PowerTarget::on);
        }
        Action& action = act(c, ActionKind::power);
        action.host = c.host;
        action.value = static_cast<float>(PowerTarget::on);
        c.performance = room_usd + 0.5F * unmet_usd;
        c.utilisation = -(hosts.idle_w[h] - site_->off_w[h]) * usd_kwh_ * 1e-3F * horizon_h_;
        c.cost = asleep ? 0.0F : boot_usd(h);
        c.ready_h = hours(asleep && !site_->wake_s.empty() ? site_->wake_s[h] : hosts.boot_s[h]);
    }
}

// What the VM is seen to need: more where it is at its limit, less memory where it never used it.
bool Proposer::wanted_shape(std::size_t v, float headroom, Amounts& allocation) const {
    const VmColumns& vms = planned_->state().vms;
    const float* now = vms.allocation.data() + v * kResources;
    const float* flavour = vms.flavour.data() + v * kResources;
    const float* demand = vms.demand.data() + v * kResources;
    const auto tight = [&](std::size_t r) { return demand[r] >= kSaturated * now[r]; };
    if (!tight(0) && !tight(1)) { // most VMs: nothing grows, so only memory that they never used could go
        const float wanted =
            std::clamp(headroom * peak_[v * 2 + 1], knobs_.floor * flavour[1], knobs_.memory_ceiling * flavour[1]);
        if (!(now[1] - wanted >= knobs_.least_change * flavour[1])) return false;
    }
    std::copy_n(now, kResources, allocation.begin());
    for (std::size_t r = 0; r < 2; ++r) {
        float wanted = headroom * peak_[v * 2 + r];
        if (tight(r)) wanted = std::max(wanted, 1.5F * now[r]);
        const float most = (r == 0 ? knobs_.ceiling : knobs_.memory_ceiling) * flavour[r];
        wanted = std::clamp(wanted, knobs_.floor * flavour[r], most);
        const bool grows = wanted > now[r] && tight(r);
        const bool shrinks = r == 1 && now[r] - wanted >= knobs_.least_change * flavour[r];
        if (grows || shrinks) allocation[r] = wanted;
    }
    if (!site_->largest_vm.empty() && vms.host[v] >= 0)
        allocation[0] = std::min(allocation[0], std::max(now[0], site_->largest_vm[at(vms.host[v])]));
    return allocation[0] != now[0] || allocation[1] != now[1];
}

void Proposer::right_size(float headroom) {
    const ClusterState& state = planned_->state();
    const VmColumns& vms = state.vms;
    Candidate all; // every VM that gains
    std::vector<Action>& out = actions_;
    ranked_.clear();
    room_ = state.hosts.allocated; // as it is once the actions before have been carried out
    const auto first = static_cast<std::uint32_t>(out.size());
    for (std::size_t v = 0; v < state.n_vms(); ++v) {
        if (vms.state[v] != VmState::running || vms.destination[v] >= 0 || vms.host[v] < 0) continue;
        if (planned_->reshaped(v)) continue;
        if (vms.kind[v] != VmKind::production || samples_[v] < static_cast<std::int32_t>(knobs_.settle_ticks)) continue;
        Amounts allocation;
        if (!wanted_shape(v, headroom, allocation)) continue;
        const std::size_t h = at(vms.host[v]);
        const float* now = vms.allocation.data() + v * kResources;
        float performance = 0.0F;
        bool room = true;
        for (std::size_t r = 0; r < 2; ++r) {
            if (allocation[r] == now[r]) continue;
            performance += (unmet_usd(v, r, now[r]) - unmet_usd(v, r, allocation[r])) * horizon_h_;
            room = room && (allocation[r] < now[r] ||
                            room_[h * kResources + r] - now[r] + allocation[r] <= planned_->limit(h, r));
        }
        if (!room) continue;
        const float utilisation = (now[1] - allocation[1]) * memory_usd_mib_h_ * horizon_h_;
        const float score = performance + utilisation;
        if (score <= 0.0F) continue;
        planned_->exchange(room_.data() + h * kResources, h, now, allocation.data());
        Action& action = out.emplace_back();
        action.kind = ActionKind::reshape;
        action.vm = static_cast<std::int32_t>(v);
        action.allocation = allocation;
        all.performance += performance;
        all.utilisation += utilisation;
        ranked_.push_back({score, static_cast<std::int32_t>(out.size() - 1)});
    }
    if (ranked_.empty()) return;
    all.kind = CandidateKind::right_size;
    all.first_action = first;
    all.n_actions = static_cast<std::uint32_t>(out.size()) - first;
    all.z = headroom;
    pool_.push_back(all);
}

void Proposer::reshape() {
    for (const float headroom : knobs_.headrooms) right_size(headroom);
    right_size(knobs_.headroom);
    if (ranked_.empty()) return;
    const VmColumns& vms = planned_->state().vms;
    const std::vector<Action>& out = actions_;
    const std::size_t n = std::min(knobs_.reshapes, ranked_.size());
    std::partial_sort(
        ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(n), ranked_.end(),
        [](const Ranked& a, const Ranked& b) { return a.value != b.value ? a.value > b.value : a.id < b.id; });
    for (std::size_t i = 0; i < n; ++i) {
        const Action chosen = out[at(ranked_[i].id)];
        const std::size_t v = at(chosen.vm);
        Candidate& c = offer(chosen.allocation[1] < vms.allocation[v * kResources + 1] ? CandidateKind::shrink
                                                                                       : CandidateKind::grow);
        c.vm = chosen.vm;
        c.host = c.source = vms.host[v];
        actions_.push_back(chosen);
        c.n_actions = 1;
        if (!evaluate(c)) pool_.pop_back();
    }
}

// Micro-VMs and shadows for VMs that want more than they get, or whose host may fail; traffic to and from shadows.
void Proposer::helpers() {
    const ClusterState& state = planned_->state();
    const VmColumns& vms = state.vms;
    const bool shadows = site_->can(ActionKind::shadow), micros = site_->can(ActionKind::microvm);
    const bool shifts = site_->can(ActionKind::shift), ends = site_->can(ActionKind::despawn);
    const bool spawns = site_->can(ActionKind::spawn);
    if (!shadows && !micros && !shifts && !ends && !spawns) return;
    // What a host of a VM may lose in the horizon: unmet demand by crowding, and all of it by a failure.
    const auto threat_usd = [&](std::size_t h) {
        const HostSet& loads = planned_->loads();
        const float here = static_cast<float>(std::max(1, planned_->here(h)));
        const float fails = 1.0F - std::exp(-state.hosts.hazard_per_h[h] * horizon_h_);
        const float dark_h = (state.hosts.boot_s[h] + 0.5F * site_->tick_s) / 3600.0F;
        return cost_->split_host(loads, h, {}, 0.0F).unmet * horizon_h_ / here +
               fails * priced_->economy.downtime_usd_h * dark_h;
    };
    ranked_.clear();
    std::size_t shown = 0;
    for (std::size_t v = 0; v < state.n_vms(); ++v) {
        if (!serving(vms.state[v]) || vms.host[v] < 0) continue;
        if (vms.kind[v] == VmKind::shadow && vms.primary[v] >= 0) {
            const std::size_t primary = at(vms.primary[v]);
            if (vms.host[primary] < 0 || shown >= knobs_.helpers) continue;
            ++shown;
            const float threat = threat_usd(at(vms.host[primary]));
            const bool takes = vms.weight[v] > 0.0F;
            if (shifts) {
                Candidate& c = offer(CandidateKind::shift);
                c.vm = static_cast<std::int32_t>(v);
                c.host = vms.host[v];
                c.source = vms.host[primary];
                Action& action = act(c, ActionKind::shift);
                action.vm = c.vm;
                action.value = takes ? 0.0F
                                     : vms.weight[primary] * vms.allocation[v * kResources] /
                                           std::max(vms.allocation[primary * kResources], 1.0F);
                c.performance = (takes ? -0.5F : 0.5F) * threat;
            }
            if (ends && !takes && vms.state[v] == VmState::running && vms.destination[v] < 0) {
                Candidate& c = offer(CandidateKind::release);
                c.vm = static_cast<std::int32_t>(v);
                c.host = vms.host[v];
                act(c, ActionKind::despawn).vm = c.vm;
                c.performance = -0.5F * threat;
                c.utilisation = vms.allocation[v * kResources + 1] * memory_usd_mib_h_ * horizon_h_;
            }
            continue;
        }
        if (free_slots_ == 0 || vms.kind[v] != VmKind::production || vms.state[v] != VmState::running) continue;
        const float now = vms.allocation[v * kResources];
        const float contended = vms.contention[v] * vms.demand[v * kResources];
        const float saturated = vms.demand[v * kResources] >= kSaturated * now ? 0.15F * now : 0.0F;
        const float want = (contended + saturated) * vms.credit[v];
        const float hazard = state.hosts.hazard_per_h[at(vms.host[v])];
        if (want > 0.0F || hazard > 0.05F)
            ranked_.push_back({want + hazard * vms.demand[v * kResources], static_cast<std::int32_t>(v)});
    }
    if (ranked_.empty()) return;
    const std::size_t n = std::min(knobs_.helpers, ranked_.size());
    std::partial_sort(
        ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(n), ranked_.end(),
        [](const Ranked& a, const Ranked& b) { return a.value != b.value ? a.value > b.value : a.id < b.id; });
    for (std::size_t i = 0; i < n; ++i) {
        const std::int32_t vm = ranked_[i].id;
        const std::size_t v = at(vm);
        const auto part_of = [&](float share, Load& load) {
            Amounts part;
            for (std::size_t r = 0; r < kResources; ++r) part[r] = vms.allocation[v * kResources + r] * share;
            for (std::size_t r = 0; r < kDense; ++r) {
                load.mean[r] = planned_->load(v).mean[r] * share;
                load.variance[r] = planned_->load(v).variance[r] * share * share;
            }
            load.credit = planned_->load(v).credit * share;
            return part;
        };
        const float threat = threat_usd(at(vms.host[v]));
        const float capped = unmet_usd(v, 0, vms.allocation[v * kResources]) * horizon_h_;
        const auto helper = [&](CandidateKind kind, float share, float worth, float memory) {
            Load load;
            Amounts part = part_of(share, load);
            part[1] *= memory;
            part[4] = 0.0F;
            if (!(part[0] > 0.0F && part[1] > 0.0F)) return;
            float added = 0.0F;
            const std::int32_t to = planned_->cheapest(load, part, vms.host[v], added);
            if (to < 0) return;
            Candidate& c = offer(kind);
            c.vm = vm;
            c.host = to;
            c.source = vms.host[v];
            Action& action = act(c, kind == CandidateKind::shadow    ? ActionKind::shadow
                                    : kind == CandidateKind::microvm ? ActionKind::microvm
                                                                     : ActionKind::spawn);
            action.host = to;
            action.allocation = part;
            if (kind == CandidateKind::shadow) {
                action.vm = vm;
                action.value = share;
            } else {
                action.app = vms.app[v];
                if (kind == CandidateKind::microvm) action.value2 = knobs_.micro_life_s;
            }
            c.performance = worth;
            c.utilisation = -(added + part[1] * memory_usd_mib_h_) * horizon_h_;
            c.ready_h = 0.02F;
        };
        if (shadows && !planned_->shadowed(v)) helper(CandidateKind::shadow, knobs_.shadow_share, 0.5F * threat, 1.0F);
        const auto app = static_cast<std::size_t>(std::max(0, vms.app[v]));
        const float offload = app < site_->offloadable.size() ? site_->offloadable[app] : 0.0F;
        if (micros && offload > 0.0F)
            helper(CandidateKind::microvm, knobs_.micro_share, std::min(1.0F, offload / knobs_.micro_share) * capped,
                   0.5F);
        if (spawns) helper(CandidateKind::spawn, 1.0F, capped, 1.0F);
    }
}

// Score of a candidate of a single action, from the planned state as it is now; false where it cannot be done.
bool Proposer::evaluate(Candidate& c) {
    const ClusterState& state = planned_->state();
    const VmColumns& vms = state.vms;
    c.performance = c.utilisation = c.cost = c.latency = 0.0F;
    if (c.kind == CandidateKind::migrate || c.kind == CandidateKind::place) {
        const std::size_t v = at(c.vm);
        const std::size_t to = at(c.host);
        const bool waits = vms.state[v] == VmState::pending || vms.state[v] == VmState::failed;
        if (c.kind == CandidateKind::place ? !waits : !planned_->movable(v) || planned_->place(v) != c.source)
            return false;
        if (!planned_->takes(to) || !planned_->fits(v, to)) return false;
        price_move(v, to, c);
        if (c.kind == CandidateKind::place) {
            // Waiting is downtime, and its demand is unmet.
            c.performance += (priced_->economy.downtime_usd_h * vms.credit[v] +
                              planned_->load(v).credit * priced_->economy.unmet_usd_h[0]) *
                             horizon_h_;
            c.ready_h = 0.01F;
        } else {
            float dark = 0.0F;
            c.cost = move_usd(v, dark);
            c.latency += dark;
            c.ready_h = planned_->load(v).mean[1] * kMbitPerMib / kMigrationMbitS / 3600.0F;
        }
        return true;
    }
    if (c.kind == CandidateKind::grow || c.kind == CandidateKind::shrink) {
        const Action& action = actions_[c.first_action];
        const std::size_t v = at(c.vm);
        if (vms.state[v] != VmState::running || vms.destination[v] >= 0 || planned_->reshaped(v)) return false;
        const std::size_t h = at(vms.host[v]);
        const float* now = vms.allocation.data() + v * kResources;
        bool changes = false;
        for (std::size_t r = 0; r < 2; ++r) {
            if (action.allocation[r] == now[r]) continue;
            changes = true;
            if (action.allocation[r] > now[r] &&
                state.hosts.allocated[h * kResources + r] - now[r] + action.allocation[r] > planned_->limit(h, r))
                return false;
            c.performance += (unmet_usd(v, r, now[r]) - unmet_usd(v, r, action.allocation[r])) * horizon_h_;
        }
        c.utilisation = (now[1] - action.allocation[1]) * memory_usd_mib_h_ * horizon_h_;
        return changes;
    }
    return true;
}

float Proposer::squash(float usd) const {
    const float x = usd / unit_usd_;
    return x / (1.0F + std::abs(x) / kLargest);
}

// What the rules take is above 0 by a step, what they leave below by the same: a policy that starts as the rules and
// draws at random departs from them rarely. A plan is taken as it is: placing what waits and switching off what is
// empty earn nothing by its measure.
float Proposer::preference_of(const Candidate& c) const {
    constexpr float kStep = 0.7F;
    if (c.kind == CandidateKind::wait) return 0.0F;
    const float score = squash(c.score() - knobs_.threshold * unit_usd_);
    bool taken = (knobs_.preferred >> static_cast<unsigned>(c.kind) & 1U) != 0 && score > 0.0F;
    if (c.kind == CandidateKind::right_size) taken = taken && c.z == knobs_.headroom;
    if (c.kind == CandidateKind::plan) taken = knobs_.plans[at(c.plan)].preferred;
    return taken ? kStep + std::max(score, 0.0F) / kLargest : -kStep + std::min(score, 0.0F) / kLargest;
}

void Proposer::show() {
    for (Candidate& c : pool_) {
        c.preference = preference_of(c);
    }
    shown_ = pool_;
    if (shown_.size() <= knobs_.k) return;
    std::stable_sort(shown_.begin() + 1, shown_.end(), [](const Candidate& a, const Candidate& b) {
        const bool plan_a = a.kind == CandidateKind::plan, plan_b = b.kind == CandidateKind::plan;
        if (plan_a != plan_b) return plan_a;
        return a.preference != b.preference ? a.preference > b.preference : a.score() > b.score();
    });
    shown_.resize(knobs_.k);
}

std::span<const Action> Proposer::actions_of(std::size_t index) const {
    const Candidate& c = shown_.at(index);
    return std::span(actions_).subspan(c.first_action, c.n_actions);
}

std::size_t Proposer::preferred() const {
    std::size_t best = 0;
    for (std::size_t i = 1; i < shown_.size(); ++i)
        if (shown_[i].possible && shown_[i].preference > shown_[best].preference) best = i;
    return best;
}

void Proposer::choose(std::size_t index) {
    if (index == 0 || !possible(index))
        throw std::invalid_argument("choose: expected a candidate that is possible and not wait, found " +
                                    std::to_string(index));
    const std::size_t begin = plan_.size();
    if (shown_[index].kind == CandidateKind::plan) {
        whole_ = true;
        // What was planned when the tick began holds while nothing else was booked.
        if (begin > 0 || !knobs_.plans[at(shown_[index].plan)].eager) fill_plan(shown_[index]);
    }
    for (const Action& action : actions_of(index)) {
        // Of several actions, some may have lost their room or their VM to what was booked since they were planned.
        if (!planned_->allows(action)) continue;
        plan_.push_back(action);
        planned_->book(action);
        if (makes_vm(action)) --free_slots_;
    }
    --left_;
    const Candidate chosen = shown_[index];
    if (left_ == 0 || chosen.n_actions != 1 || chosen.kind == CandidateKind::plan) {
        survey();
        generate();
        return;
    }
    // A single action: only what shares its VM or hosts has another score now.
    const auto touches = [&](std::int32_t vm, std::int32_t host) {
        return (vm >= 0 && vm == chosen.vm) || (host >= 0 && (host == chosen.host || host == chosen.source));
    };
    for (std::size_t i = 1; i < shown_.size(); ++i) {
        Candidate& c = shown_[i];
        if (!c.possible) continue;
        bool same = i == index || touches(c.vm, c.host) || touches(-1, c.source) ||
                    (free_slots_ == 0 && c.n_actions == 1 && makes_vm(actions_[c.first_action]));
        for (std::uint32_t k = 0; k < c.n_actions && !same; ++k) {
            const Action& action = actions_[c.first_action + k];
            same = touches(action.vm, action.host);
        }
        if (!same) continue;
        c.possible = i != index && c.n_actions == 1 &&
                     (c.kind == CandidateKind::migrate || c.kind == CandidateKind::place ||
                      c.kind == CandidateKind::grow || c.kind == CandidateKind::shrink) &&
                     evaluate(c);
        if (!c.possible) continue;
        c.preference = preference_of(c);
    }
}

std::string Proposer::reason(std::size_t index) const {
    const Candidate& c = shown_.at(index);
    std::string text = candidate_kind_name(c.kind);
    if (c.vm >= 0) text += " vm " + std::to_string(c.vm);
    if (c.source >= 0 && c.source != c.host) text += " from host " + std::to_string(c.source);
    if (c.host >= 0) text += " host " + std::to_string(c.host);
    return text;
}

void Proposer::write_row(const Candidate& c, float* row) const {
    const ClusterState& state = planned_->state();
    const HostSet& loads = planned_->loads();
    const VmColumns& vms = state.vms;
    row[feature::preference] = c.preference;
    row[feature::score] = squash(c.score());
    row[feature::performance] = squash(c.performance);
    row[feature::utilisation] = squash(c.utilisation);
    row[feature::cost] = squash(c.cost);
    row[feature::latency] = squash(c.latency);
    row[feature::first_kind + static_cast<std::size_t>(c.kind)] = 1.0F;
    row[feature::z] = c.z;
    row[feature::actions] = std::min(kLargest, std::log2(1.0F + static_cast<float>(c.n_actions)));
    row[feature::boot] = clip(c.ready_h);
    const auto margin = [&](std::size_t h) {
        const float sigma = std::sqrt(std::max(loads.variance[0][h], 1.0F));
        return clip((loads.capacity[0][h] - loads.mean[0][h]) / sigma);
    };
    const auto promised = [&](std::size_t h) {
        return clip_share(state.hosts.allocated[h * kResources + 1] / std::max(planned_->limit(h, 1), 1.0F));
    };
    const std::int32_t concerns = c.source >= 0 ? c.source : c.host;
    if (concerns >= 0) {
        row[feature::hazard] = clip(100.0F * state.hosts.hazard_per_h[at(concerns)]);
        row[feature::hold] = hours(state.hosts.since_s[at(concerns)]);
    }
    if (c.source >= 0) {
        const std::size_t h = at(c.source);
        row[feature::source_margin] = margin(h);
        row[feature::source_memory] = promised(h);
        const float sigma = std::sqrt(std::max(0.0F, loads.variance[0][h]));
        row[feature::source_excess] =
            clip(100.0F * expected_excess(loads.mean[0][h] - loads.capacity[0][h], sigma) * loads.inverse_cpu[h]);
        row[feature::source_idle] = std::clamp(cost_->idle_usd_h(h) / std::max(planned_->usd_h(h), 1e-9F), 0.0F, 1.0F);
        if (c.vm >= 0)
            row[feature::vm_share_of_variance] =
                std::clamp(planned_->load(at(c.vm)).variance[0] / std::max(loads.variance[0][h], 1.0F), 0.0F, 1.0F);
    }
    if (c.host >= 0) {
        const std::size_t h = at(c.host);
        row[feature::target_margin] = margin(h);
        row[feature::target_memory] = promised(h);
        row[feature::target_cpu] = clip_share(loads.mean[0][h] * loads.inverse_cpu[h]);
    }
    if (c.vm >= 0) {
        const std::size_t v = at(c.vm);
        const Load& load = planned_->load(v);
        const float allocation = std::max(vms.allocation[v * kResources], 1.0F);
        row[feature::vm_cpu] = clip(load.mean[0] / allocation);
        row[feature::vm_memory] = clip(load.mean[1] / std::max(vms.allocation[v * kResources + 1], 1.0F));
        row[feature::trend] = clip((vms.demand[v * kResources] - load.mean[0]) / allocation);
        row[feature::since_move] = hours(vms.since_move_s[v]);
    }
}

void Proposer::write(float* context_out, float* candidates, float* mask) const {
    std::memcpy(context_out, context_.data(), sizeof(float) * context::count);
    context_out[context::planned] = whole_ ? 1.0F : 0.0F;
    context_out[context::decisions_left] = static_cast<float>(left_) / static_cast<float>(knobs_.decisions);
    std::memset(candidates, 0, sizeof(float) * knobs_.k * feature::count);
    for (std::size_t i = 0; i < knobs_.k; ++i) {
        mask[i] = possible(i) ? 1.0F : 0.0F;
        if (possible(i)) write_row(shown_[i], candidates + i * feature::count);
    }
}

} // namespace foreshade

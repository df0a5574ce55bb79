#include "core/decide/proposer.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <stdexcept>

#include "core/decide/assumed.hpp"
#include "core/decide/scaled.hpp"
#include "core/spec.hpp"

namespace foreshade {

namespace {

constexpr float kDaySeconds = 86'400.0F;
constexpr std::size_t kMuch = 5; // actions of a plan after which the next tick looks again

// A spare that is resumed has its slot and its room already.
bool resumes(const Action& action) {
    return action.kind == ActionKind::spawn && action.vm < 0 && action.value == static_cast<float>(BootPath::spare);
}

// Whose score follows from the planned state as it is now.
bool is_move_or_size(CandidateKind kind) {
    return kind == CandidateKind::migrate || kind == CandidateKind::place || kind == CandidateKind::grow ||
           kind == CandidateKind::shrink;
}

// Whether it gives a VM that there is another host.
bool places(const Action& action) {
    return action.vm >= 0 && (action.kind == ActionKind::migrate || action.kind == ActionKind::spawn);
}

bool makes_vm(const Action& action) {
    return action.kind == ActionKind::shadow || action.kind == ActionKind::microvm ||
           (action.kind == ActionKind::spawn && action.vm < 0 && !resumes(action));
}

} // namespace

Proposer::Proposer(std::shared_ptr<const Site> site, const ProposerKnobs& knobs)
    : site_(std::move(site)), priced_(std::make_shared<Site>(*site_)), knobs_(knobs) {
    if (knobs_.k < 2) throw std::invalid_argument("k: expected at least 2 candidates, wait and one more");
    if (knobs_.decisions == 0) throw std::invalid_argument("decisions: expected at least 1 a tick");
    check_rules(knobs_.rules);
    if (site_->economy.usd_kwh.empty())
        throw std::invalid_argument("site: expected a price for every tick, found none");
    least_headroom_ = knobs_.headroom;
    for (const float headroom : knobs_.headrooms) least_headroom_ = std::min(least_headroom_, headroom);
    rows_.assign(knobs_.k * feature::count, 0.0F);
    stale_.assign(knobs_.k, 1);
    filled_.assign(knobs_.k, 0);
    reset({});
}

Proposer::Proposer(const Proposer& other, ClusterState& state) : Proposer(other) {
    memory_ = std::make_shared<PackerMemory>(*other.memory_);
    packers_.clear();
    for (const Packer& packer : other.packers_) packers_.emplace_back(packer, memory_);
    if (!began_) return;
    cost_ = std::make_shared<ExpectedCost>(*other.cost_);
    planned_->move_to(cost_, state);
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
    watches_.clear();
    const float move_usd = e.migration_usd + e.downtime_usd_h * kMigrationDowntimeS / 3600.0F;
    for (const PlanKnobs& plan : knobs_.plans) {
        packers_.emplace_back(priced_, plan.packer, memory_);
        watches_.emplace_back(plan.every_ticks, static_cast<float>(plan.packer.hazard_per_h), move_usd, horizon_h_);
    }
    made_.assign(knobs_.plans.size(), {});
    dark_.assign(site_->rack_w.size(), 0);
    restraint_ = {};
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
    planned_.emplace(site_, cost_);
    peak_.assign(state.n_vms() * kDense, 0.0F);
    samples_.assign(state.n_vms(), 0);
    owner_.assign(state.n_vms(), -1);
    drain_again_.assign(state.n_hosts(), 0);
    float idle_w = 0.0F;
    std::size_t ours = 0;
    for (std::size_t h = 0; h < state.n_hosts(); ++h)
        if (site_->rented[h] == 0) {
            idle_w += state.hosts.idle_w[h];
            ++ours;
        }
    unit_usd_ = std::max(1e-9F, idle_w / static_cast<float>(std::max<std::size_t>(ours, 1)) * 1e-3F * mean_usd_kwh_);
}

// Whether it is at a limit, or holds what it never used by a headroom, as room was worth a tick ago.
[[gnu::always_inline]] inline bool Proposer::may_resize(const VmColumns& vms, std::size_t v, float headroom) const {
    if (vms.kind[v] != VmKind::production || samples_[v] < static_cast<std::int32_t>(knobs_.settle_ticks)) return false;
    const float* const now = vms.allocation.data() + v * kResources;
    const float* const flavour = vms.flavour.data() + v * kResources;
    for (std::size_t r = 0; r < kDense; ++r)
        if (is_tight(vms, v, r) || now[r] - least_of(vms, v, r, headroom) >= knobs_.least_change * flavour[r])
            return true;
    return false;
}

// Decayed peaks of what VMs use: the basis of their size (in the manner of Rzadca et al., "Autopilot", EuroSys 2020).
void Proposer::learn(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    const float forget = 1.0F / static_cast<float>(std::max<std::size_t>(knobs_.peak_ticks, 1));
    free_slots_ = 0;
    resizable_.clear();
    resizable_otherwise_.clear();
    pressed_.clear();
    newest_mhz_ = expected_mhz_ = 0.0F;
    const float* const expected = memory_->window().mean().data();
    for (std::size_t v = 0; v < state.n_vms(); ++v) {
        if (vms.state[v] == VmState::absent) {
            ++free_slots_;
            owner_[v] = -1;
            continue;
        }
        if (owner_[v] != vms.app[v]) {
            owner_[v] = vms.app[v];
            samples_[v] = 0;
            std::fill_n(peak_.begin() + static_cast<std::ptrdiff_t>(v * kDense), kDense, 0.0F);
        }
        if (!serving(vms.state[v])) continue;
        const float* const demand = vms.demand.data() + v * kResources;
        newest_mhz_ += demand[0];
        expected_mhz_ += expected[v * kResources];
        if (vms.age_s[v] < site_->tick_s) {
            ++samples_[v];
            for (std::size_t r = 0; r < kDense; ++r) {
                float& peak = peak_[v * kDense + r];
                peak = demand[r] >= peak ? demand[r] : peak - (peak - demand[r]) * forget;
            }
        }
        const bool saturated = demand[0] >= kSaturated * vms.allocation[v * kResources];
        const bool presses = saturated || vms.contention[v] > 0.0F || vms.kind[v] == VmKind::shadow;
        if (presses) pressed_.push_back(static_cast<std::int32_t>(v));
        if (may_resize(vms, v, knobs_.headroom)) resizable_.push_back(static_cast<std::int32_t>(v));
        if (!knobs_.headrooms.empty() && may_resize(vms, v, least_headroom_))
            resizable_otherwise_.push_back(static_cast<std::int32_t>(v));
    }
}

void Proposer::observe(ClusterState& state) {
    if (!began_) begin(state);
    usd_kwh_ = mean_price(ahead_, state.tick, knobs_.horizon_ticks);
    cost_->set_energy_price(usd_kwh_);
    memory_->observe(state);
    remember_racks(state);
    learn(state);
    if ((!restraint_.fixed.empty() && restraint_.fixed.size() != state.n_vms()) ||
        (!restraint_.hosts.empty() && restraint_.hosts.size() != state.n_hosts()))
        throw std::invalid_argument("restrain: expected a mark for each of the state's VMs and hosts, or none");
    for (Packer& packer : packers_) packer.restrain(restraint_);
    planned_->begin(state, {memory_->window().mean(), memory_->window().variance()}, restraint_);
    plan_.clear();
    offers_.clear();
    whole_ = false;
    left_ = knobs_.decisions;
    survey();
    make_plans();
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

// Whether what was planned when the tick began holds: while nothing was booked that changes where load is.
bool Proposer::stands(const PlanKnobs& plan) const {
    return plan.eager && std::all_of(plan_.begin(), plan_.end(), [&](const Action& action) {
               return action.kind == ActionKind::reshape && plan.every_ticks > 1;
           });
}

void Proposer::fill_plan(Candidate& c) {
    Packer& packer = packers_[at(c.plan)];
    if (!dark_.empty()) packer.assume_dark(dark_); // a site that tells of no racks has none to switch
    const std::span<const Action> plan = packer.plan(planned_->state());
    c.first_action = static_cast<std::uint32_t>(actions_.size());
    c.n_actions = static_cast<std::uint32_t>(plan.size());
    actions_.insert(actions_.end(), plan.begin(), plan.end());
    c.utilisation = packer.gain_usd();
}

// Whether VMs wait that the candidates of this tick place nowhere.
bool Proposer::waits_in_vain() {
    if (context_[context::waiting] == 0.0F) return false;
    if ((knobs_.preferred >> static_cast<unsigned>(CandidateKind::place) & 1U) == 0) return true;
    const VmColumns& vms = planned_->state().vms;
    std::size_t found = 0;
    for (std::size_t v = 0; v < vms.state.size(); ++v) {
        if (vms.state[v] != VmState::pending && vms.state[v] != VmState::failed) continue;
        float added = 0.0F;
        if (++found > knobs_.arrivals || planned_->cheapest(v, -1, added) < 0) return true;
    }
    return false;
}

// The eager plans that are due, from the state as the tick begins.
void Proposer::make_plans() {
    const bool unserved = waits_in_vain();
    for (std::size_t i = 0; i < packers_.size(); ++i) {
        if (!knobs_.plans[i].eager) continue;
        Made& made = made_[i];
        made.actions.clear();
        if (!watches_[i].due(*planned_, *cost_, unserved)) continue;
        Packer& packer = packers_[i];
        if (!dark_.empty()) packer.assume_dark(dark_);
        const std::span<const Action> plan = packer.plan(planned_->state());
        made.actions.assign(plan.begin(), plan.end());
        made.gain_usd = packer.gain_usd();
        if (plan.size() >= kMuch) watches_[i].found();
    }
}

void Proposer::offer_plans() {
    for (std::size_t i = 0; i < packers_.size(); ++i) {
        const Made& made = made_[i];
        const bool eager = knobs_.plans[i].eager;
        if (eager && made.actions.empty()) continue;
        Candidate& c = offer(CandidateKind::plan);
        c.plan = static_cast<std::int32_t>(i);
        c.z = static_cast<float>(knobs_.plans[i].packer.z);
        if (!eager) continue;
        c.n_actions = static_cast<std::uint32_t>(made.actions.size());
        actions_.insert(actions_.end(), made.actions.begin(), made.actions.end());
        c.utilisation = made.gain_usd;
    }
}

void Proposer::survey() {
    const ClusterState& state = planned_->state();
    const HostColumns& hosts = state.hosts;
    const HostSet& loads = planned_->loads();
    context_.fill(0.0F);
    std::array<float, kDense> wanted{}, there{};
    float ours = 0.0F, on = 0.0F, coming = 0.0F, asleep = 0.0F, hot = 0.0F, hazard = 0.0F, unmet = 0.0F;
    std::array<float, kDense> promised{}, promisable{};
    float n_on = 0.0F, idle_w = 0.0F;
    crowded_.clear();
    idle_.clear();
    alarmed_ = false;
    for (std::size_t h = 0; h < planned_->n_hosts(); ++h) {
        const float cpu = hosts.capacity[h * kResources];
        alarmed_ = alarmed_ || hosts.hazard_per_h[h] > kThreatPerH;
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
        for (std::size_t r = 0; r < kDense; ++r) {
            promised[r] += hosts.allocated[h * kResources + r];
            promisable[r] += planned_->limit(h, r);
        }
        if (planned_->here(h) == 0) continue;
        const float sigma = std::sqrt(std::max(0.0F, loads.variance[0][h]));
        const float excess = expected_excess(loads.mean[0][h] - loads.capacity[0][h], sigma);
        unmet += excess;
        const float memory_sigma = std::sqrt(std::max(0.0F, loads.variance[1][h]));
        const float crowd = std::max((loads.mean[0][h] + 2.0F * sigma) * loads.inverse_cpu[h],
                                     (loads.mean[1][h] + 2.0F * memory_sigma) / loads.capacity[1][h]);
        if (crowd > 1.0F) hot += 1.0F;
        crowded_.push_back({crowd + excess * loads.inverse_cpu[h], static_cast<std::int32_t>(h)});
        // What it draws for what it carries: a candidate to be emptied.
        idle_.push_back(
            {loads.mean[0][h] * loads.inverse_cpu[h] + hosts.allocated[h * kResources + 1] / planned_->limit(h, 1),
             static_cast<std::int32_t>(h)});
    }
    const float cpu_share = wanted[0] / std::max(there[0], 1.0F);
    // Room is worth what idle hosts cost where promises, and not the CPU that is used, keep them on.
    const auto promised_share = [&](std::size_t r) { return promised[r] / std::max(promisable[r], 1.0F); };
    for (std::size_t r = 0; r < kDense; ++r)
        room_usd_h_[r] = idle_w * 1e-3F * usd_kwh_ / std::max(promisable[r], 1.0F) *
                         std::clamp((promised_share(r) - cpu_share) * 2.0F, 0.0F, 1.0F);
    std::uint32_t n_absent = 0, n_waiting = 0, n_migrating = 0;
    for (const VmState said : state.vms.state) {
        n_absent += said == VmState::absent ? 1U : 0U;
        n_waiting += said == VmState::pending || said == VmState::failed ? 1U : 0U;
        n_migrating += said == VmState::migrating ? 1U : 0U;
    }
    const auto n_vms = static_cast<float>(state.n_vms() - n_absent);
    const auto waiting = static_cast<float>(n_waiting), migrating = static_cast<float>(n_migrating);
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
    c[context::memory_reserved] = clip_share(promised_share(1));
    c[context::waiting] = waiting / std::max(n_vms, 1.0F);
    c[context::migrating] = migrating / std::max(n_vms, 1.0F);
    c[context::unmet] = clip_share(100.0F * unmet / std::max(wanted[0], 1.0F));
    c[context::hot] = hot / std::max(n_on, 1.0F);
    c[context::hazard] = clip(100.0F * hazard / std::max(n_on, 1.0F));
    c[context::growth] = clip(10.0F * (expected_mhz_ - newest_mhz_) / std::max(there[0], 1.0F));
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
            planned_->look_around();
            relieve();
            if (!whole_) drain(); // the plan has looked at all of them
        }
        switches();
        if (site_->can(ActionKind::reshape)) reshape();
        helpers();
        show_offers();
    }
    show();
}

void Proposer::add(std::vector<Offer> offers) {
    const ClusterState& state = planned_->state();
    const auto within = [](const char* what, std::int32_t id, std::size_t n) {
        if (id >= 0 && at(id) >= n)
            throw std::invalid_argument(std::string("offer: expected a ") + what + " below " + std::to_string(n) +
                                        ", found " + std::to_string(id));
    };
    for (const Offer& offer : offers) {
        if (offer.actions.empty()) throw std::invalid_argument("offer: expected at least one action, found none");
        for (const Action& action : offer.actions) {
            within("VM", action.vm, state.n_vms());
            within("host", action.host, state.n_hosts());
        }
        within("VM", offer.candidate.vm, state.n_vms());
        within("host", offer.candidate.host, state.n_hosts());
        within("host", offer.candidate.source, state.n_hosts());
    }
    for (Offer& offer : offers) offers_.push_back(std::move(offer));
    generate();
}

// Whether a new VM that a component offers may come: a closed host takes no moves, but keeps its room for these.
bool Proposer::admits(std::size_t h) const {
    if (planned_->takes(h)) return true;
    const bool closed = !restraint_.hosts.empty() && restraint_.hosts[h] == HostBar::closed;
    return closed && planned_->state().hosts.state[h] == HostState::on;
}

// Whether what was booked since leaves room for all of it.
bool Proposer::stands(const Offer& offer) const {
    const VmColumns& vms = planned_->state().vms;
    for (const Action& action : offer.actions) {
        if (!planned_->allows(action)) return false;
        if (makes_vm(action)) {
            if (free_slots_ == 0 || !admits(at(action.host))) return false;
            Amounts asked = action.allocation;
            if (action.kind == ActionKind::shadow)
                for (std::size_t r = 0; r < kResources; ++r)
                    asked[r] = vms.allocation[at(action.vm) * kResources + r] * action.value;
            if (!planned_->holds(asked, at(action.host))) return false;
        }
        const bool moves = action.kind == ActionKind::migrate || (action.kind == ActionKind::spawn && action.vm >= 0);
        const bool company = action.kind == ActionKind::migrate && action.value == 1.0F; // allows() has looked at all
        if (moves && !planned_->takes(at(action.host))) return false;
        if (moves && !company && !planned_->fits(at(action.vm), at(action.host))) return false;
        if (action.kind == ActionKind::despawn &&
            (vms.state[at(action.vm)] == VmState::stopping || vms.destination[at(action.vm)] >= 0))
            return false;
    }
    return true;
}

void Proposer::show_offers() {
    for (std::size_t i = 0; i < offers_.size(); ++i) {
        const Offer& offer = offers_[i];
        if (offer.taken || !stands(offer)) continue;
        Candidate& c = pool_.emplace_back(offer.candidate);
        c.offered = static_cast<std::int32_t>(i);
        c.first_action = static_cast<std::uint32_t>(actions_.size());
        c.n_actions = static_cast<std::uint32_t>(offer.actions.size());
        actions_.insert(actions_.end(), offer.actions.begin(), offer.actions.end());
    }
}

float Proposer::squash(float usd) const {
    const float x = usd / unit_usd_;
    return x / (1.0F + std::abs(x) / kLargest);
}

// What the rules take is above 0 by a step, what they leave below by the same: a policy that starts as the rules and
// draws at random departs from them rarely. A plan is taken as it is: placing what waits and switching off what is
// empty earn nothing by its measure.
float Proposer::stepped(float score, bool taken) const {
    constexpr float kStep = 0.7F;
    return taken ? kStep + std::max(score, 0.0F) / kLargest : -kStep + std::min(score, 0.0F) / kLargest;
}

float Proposer::preference_of(const Candidate& c) const {
    if (c.kind == CandidateKind::wait) return 0.0F;
    const float score = squash(c.score() - knobs_.threshold * unit_usd_);
    bool taken = (knobs_.preferred >> static_cast<unsigned>(c.kind) & 1U) != 0 && score > 0.0F;
    if (c.kind == CandidateKind::right_size) taken = taken && c.z == knobs_.headroom;
    if (c.offered >= 0) taken = offers_[at(c.offered)].preferred && score > 0.0F;
    if (c.kind == CandidateKind::plan) taken = knobs_.plans[at(c.plan)].preferred;
    return stepped(score, taken);
}

// The preference, and what the rules that people wrote make of it.
void Proposer::prefer(Candidate& c) const {
    c.preference = preference_of(c);
    c.rule = -1;
    if (knobs_.rules.empty() || c.kind == CandidateKind::wait) return;
    constexpr float kFirst = 5.0F; // above any step and score, below the largest
    const ClusterState& state = planned_->state();
    std::array<float, rule_feature::count> x{};
    std::memcpy(x.data(), context_.data(), sizeof(float) * context::count);
    x[context::planned] = whole_ ? 1.0F : 0.0F;
    x[context::decisions_left] = static_cast<float>(left_) / static_cast<float>(knobs_.decisions);
    write_row(c, x.data() + rule_feature::first_candidate);
    constexpr double kDay = kDaySeconds;
    x[rule_feature::hour] = static_cast<float>(std::fmod(state.time_s, kDay) / 3600.0);
    x[rule_feature::weekday] = static_cast<float>(std::fmod(state.time_s, 7.0 * kDay) / kDay);
    x[rule_feature::vm] = static_cast<float>(c.vm);
    x[rule_feature::app] = c.vm >= 0 ? static_cast<float>(state.vms.app[at(c.vm)]) : -1.0F;
    x[rule_feature::host] = static_cast<float>(c.host);
    x[rule_feature::source] = static_cast<float>(c.source);
    const RuleNode& leaf = leaf_of(knobs_.rules, c.kind, x.data());
    c.rule = leaf.rule;
    const float score = squash(c.score() - knobs_.threshold * unit_usd_);
    switch (leaf.verdict) {
    case RuleVerdict::never:
        c.preference = -kLargest;
        break;
    case RuleVerdict::score:
        c.preference = std::clamp(stepped(score, score > 0.0F) + leaf.value, -kLargest, kLargest);
        break;
    case RuleVerdict::first:
        c.preference = kFirst + score / kLargest;
        break;
    default:
        c.preference = std::clamp(c.preference + leaf.value, -kLargest, kLargest);
    }
}

void Proposer::show() {
    for (Candidate& c : pool_) prefer(c);
    std::fill(stale_.begin(), stale_.end(), std::uint8_t{1});
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
    const bool of_plan = shown_[index].kind == CandidateKind::plan;
    if (of_plan) {
        whole_ = true;
        if (!stands(knobs_.plans[at(shown_[index].plan)])) fill_plan(shown_[index]);
    }
    if (shown_[index].kind == CandidateKind::right_size) allocated_ = planned_->state().hosts.allocated;
    for (const Action& action : actions_of(index)) {
        // Of several actions, some may have lost their room or their VM to what was booked since they were planned.
        if (!planned_->allows(action)) continue;
        if (begin > 0 && of_plan && places(action) && !planned_->fits(at(action.vm), at(action.host))) continue;
        plan_.push_back(action);
        planned_->book(action);
        if (makes_vm(action)) --free_slots_;
    }
    --left_;
    const Candidate chosen = shown_[index];
    if (chosen.offered >= 0) {
        offers_[at(chosen.offered)].taken = true;
        const std::string& claim = offers_[at(chosen.offered)].claim;
        for (Offer& offer : offers_)
            if (!claim.empty() && offer.claim == claim) offer.taken = true;
    }
    if (left_ == 0) { // the tick is over
        for (std::size_t i = 1; i < shown_.size(); ++i) shown_[i].possible = false;
        std::fill(stale_.begin(), stale_.end(), std::uint8_t{1});
        return;
    }
    if (chosen.kind == CandidateKind::right_size) {
        settle_sizes();
    } else if (chosen.n_actions != 1 || chosen.kind == CandidateKind::plan || site_->affinity) {
        survey();
        generate();
        return;
    } else {
        settle(chosen, index);
    }
    if (knobs_.rules.empty()) return;
    std::fill(stale_.begin(), stale_.end(), std::uint8_t{1});
    for (Candidate& c : shown_) // rules may ask for the decisions that are left, or for what a host is now
        if (c.possible) prefer(c);
}

// After a single action: only what shares its VM or hosts has another score now.
void Proposer::settle(const Candidate& chosen, std::size_t index) {
    const auto touches = [&](std::int32_t vm, std::int32_t host) {
        return (vm >= 0 && vm == chosen.vm) || (host >= 0 && (host == chosen.host || host == chosen.source));
    };
    for (std::size_t i = 1; i < shown_.size(); ++i) {
        Candidate& c = shown_[i];
        if (!c.possible) continue;
        if (c.offered >= 0 && offers_[at(c.offered)].taken) {
            c.possible = false;
            stale_[i] = 1;
            continue;
        }
        bool same = i == index || touches(c.vm, c.host) || touches(-1, c.source) ||
                    (free_slots_ == 0 && c.n_actions == 1 && makes_vm(actions_[c.first_action]));
        for (std::uint32_t k = 0; k < c.n_actions && !same; ++k) {
            const Action& action = actions_[c.first_action + k];
            same = touches(action.vm, action.host);
        }
        if (!same) continue;
        stale_[i] = 1;
        if (c.offered >= 0) {
            c.possible = i != index && stands(offers_[at(c.offered)]);
            continue;
        }
        c.possible = i != index && c.n_actions == 1 && is_move_or_size(c.kind) && evaluate(c);
        if (c.possible) prefer(c);
    }
}

// After VMs were right-sized: what they want is what it was, so only room has changed, and what could be sized.
void Proposer::settle_sizes() {
    const ClusterState& state = planned_->state();
    resized_.assign(state.n_hosts(), 0);
    grown_.assign(state.n_hosts(), 0);
    for (const auto* vms : {&resizable_, &resizable_otherwise_})
        for (const std::int32_t vm : *vms) {
            if (!planned_->reshaped(at(vm)) || state.vms.host[at(vm)] < 0) continue;
            resized_[at(state.vms.host[at(vm)])] = 1;
        }
    for (std::size_t h = 0; h < state.n_hosts(); ++h)
        for (std::size_t r = 0; r < kResources && resized_[h] != 0; ++r)
            if (state.hosts.allocated[h * kResources + r] > allocated_[h * kResources + r]) grown_[h] = 1;
    const auto in = [](const std::vector<std::uint8_t>& hosts, std::int32_t h) { return h >= 0 && hosts[at(h)] != 0; };
    for (std::size_t i = 1; i < shown_.size(); ++i) {
        Candidate& c = shown_[i];
        if (!c.possible) continue;
        if (in(resized_, c.host) || in(resized_, c.source)) stale_[i] = 1;
        if (c.offered >= 0) {
            c.possible = !offers_[at(c.offered)].taken && stands(offers_[at(c.offered)]);
        } else if (c.kind == CandidateKind::right_size) {
            c.possible = false;
        } else if (is_move_or_size(c.kind)) {
            if (stale_[i] == 0) continue;
            c.possible = evaluate(c);
            if (c.possible) prefer(c);
        } else if (c.kind != CandidateKind::plan) { // a plan is made anew when it is chosen
            for (std::uint32_t k = 0; k < c.n_actions && c.possible; ++k) {
                const Action& action = actions_[c.first_action + k];
                const bool grew =
                    action.vm >= 0 && planned_->reshaped(at(action.vm)) && in(grown_, state.vms.host[at(action.vm)]);
                c.possible =
                    !grew && !(action.host >= 0 && action.kind != ActionKind::power && in(grown_, action.host));
            }
        }
        if (!c.possible) stale_[i] = 1;
    }
}

std::string Proposer::reason(std::size_t index) const {
    const Candidate& c = shown_.at(index);
    if (c.offered >= 0) return offers_[at(c.offered)].reason;
    std::string text = candidate_kind_name(c.kind);
    if (c.vm >= 0) text += " vm " + std::to_string(c.vm);
    if (c.source >= 0 && c.source != c.host) text += " from host " + std::to_string(c.source);
    if (c.host >= 0) text += " host " + std::to_string(c.host);
    return text;
}

std::string Proposer::by(std::size_t index) const {
    const Candidate& c = shown_.at(index);
    return c.offered < 0 ? "" : offers_[at(c.offered)].by;
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
    for (std::size_t i = 0; i < knobs_.k; ++i) {
        mask[i] = possible(i) ? 1.0F : 0.0F;
        if (stale_[i] == 0) continue;
        stale_[i] = 0;
        float* const row = rows_.data() + i * feature::count;
        if (filled_[i] != 0) std::fill_n(row, feature::count, 0.0F);
        filled_[i] = possible(i) ? 1 : 0;
        if (filled_[i] != 0) write_row(shown_[i], row);
    }
    std::memcpy(candidates, rows_.data(), sizeof(float) * rows_.size());
}

} // namespace foreshade

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

// What is thought of demand before there are samples.
constexpr float kNewPeaks = 0.1F, kJitter = 0.2F;
constexpr std::size_t kMuch = 5; // actions of a plan after which the next tick looks again

// Whether it gives one VM that there is another host.
bool places(const Action& action) {
    const bool company = action.kind == ActionKind::migrate && action.value == 1.0F; // allows() looks at all of it
    return action.vm >= 0 && !company && (action.kind == ActionKind::migrate || action.kind == ActionKind::spawn);
}

} // namespace

Proposer::Proposer(std::shared_ptr<const Site> site, const ProposerKnobs& knobs)
    : site_(std::move(site)), priced_(std::make_shared<Site>(*site_)), knobs_(knobs) {
    if (knobs_.k < 2) throw std::invalid_argument("k: expected at least 2 candidates, wait and one more");
    if (knobs_.decisions == 0) throw std::invalid_argument("decisions: expected at least 1 a tick");
    check_rules(knobs_.rules);
    if (site_->economy.usd_kwh.empty())
        throw std::invalid_argument("site: expected a price for every tick, found none");
    cuts_.resize(knobs_.sizings.size() + 1);
    float others = 0.0F;
    for (const PlanKnobs& plan : knobs_.plans) ways_.push_back(plan.preferred ? 0.0F : ++others);
    settled_ = knobs_.sizing.settle_ticks;
    for (const Sizing& other : knobs_.sizings) settled_ = std::min(settled_, other.settle_ticks);
    rows_.assign(knobs_.k * feature::count, 0.0F);
    stale_.assign(knobs_.k, 1);
    filled_.assign(knobs_.k, 0);
    row_written_.assign(knobs_.k, 0);
    reset({});
}

Proposer::Proposer(const Proposer& other, ClusterState& state) : Proposer(other) {
    memory_ = std::make_shared<PackerMemory>(*other.memory_);
    packers_.clear();
    for (const Packer& packer : other.packers_) packers_.emplace_back(packer, memory_);
    if (!began_) return;
    cost_ = std::make_shared<ExpectedCost>(*other.cost_);
    planned_->move_to(cost_, state, memory_->window().loads());
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
    memory_->look_for({{kKnee, kSaturated, kSaturated, kSaturated},
                       knobs_.peak_ticks,
                       {settled_, knobs_.sizing.settle_ticks},
                       kFewSamples});
    packers_.clear();
    watches_.clear();
    const float move_usd = e.migration_usd + e.downtime_usd_h * kMigrationDowntimeS / 3600.0F;
    for (const PlanKnobs& plan : knobs_.plans) {
        packers_.emplace_back(priced_, plan.packer, memory_);
        watches_.emplace_back(plan.every_ticks, static_cast<float>(plan.packer.hazard_per_h), move_usd, horizon_h_);
    }
    made_.assign(knobs_.plans.size(), {});
    dark_.assign(site_->rack_w.size(), 0);
    new_peaks_ = kNewPeaks;
    jitter_ = kJitter;
    remembered_ = static_cast<float>(kFewSamples);
    restraint_ = {};
}

void Proposer::begin(const ClusterState& state) {
    began_ = true;
    cost_ = expected_cost_of(*priced_, state, knobs_.sigma_scale);
    planned_.emplace(site_, cost_);
    looked_.assign(state.n_vms(), 0);
    for (std::vector<Cut>& cuts : cuts_) cuts.clear();
    some_places_ = std::any_of(knobs_.plans.begin(), knobs_.plans.end(), [&](const PlanKnobs& plan) {
        return plan.packer.near > 0 && plan.packer.near < state.n_hosts();
    });
    in_vain_.assign(state.n_hosts(), {});
    outlets_.assign(state.n_hosts(), {});
    float idle_w = 0.0F;
    std::size_t ours = 0;
    for (std::size_t h = 0; h < state.n_hosts(); ++h)
        if (site_->rented[h] == 0) {
            idle_w += state.hosts.idle_w[h];
            ++ours;
        }
    by_peak_.clear();
    if (site_->can(ActionKind::power))
        for (std::size_t h = 0; h < state.n_hosts(); ++h)
            if (site_->rented[h] == 0) by_peak_.push_back(static_cast<std::int32_t>(h));
    const auto peak = [&](std::int32_t h) {
        return state.hosts.peak_w[at(h)] / std::max(state.hosts.capacity[at(h) * kResources], 1.0F);
    };
    std::stable_sort(by_peak_.begin(), by_peak_.end(),
                     [&](std::int32_t a, std::int32_t b) { return peak(a) < peak(b); });
    unit_usd_ = std::max(1e-9F, idle_w / static_cast<float>(std::max<std::size_t>(ours, 1)) * 1e-3F * mean_usd_kwh_);
}

void Proposer::observe(ClusterState& state, const Changed& changed) {
    if (!began_) begin(state);
    tick_ = state.tick;
    usd_kwh_ = mean_price(knobs_.horizon_ticks);
    cost_->set_energy_price(usd_kwh_);
    memory_->observe(state, changed);
    dark_ = dark_racks(state);
    learn(state, changed);
    if ((!restraint_.fixed.empty() && restraint_.fixed.size() != state.n_vms()) ||
        (!restraint_.hosts.empty() && restraint_.hosts.size() != state.n_hosts()))
        throw std::invalid_argument("restrain: expected a mark for each of the state's VMs and hosts, or none");
    for (Packer& packer : packers_) packer.restrain(restraint_);
    planned_->begin(state, memory_->window().loads(), restraint_, changed);
    plan_.clear();
    offers_.clear();
    whole_ = false;
    left_ = knobs_.decisions;
    survey();
    make_plans();
    if (site_->can(ActionKind::reshape)) look_at_sizes();
    generate();
}

// What the last plan switched, and what the world's own scheduler has woken since.
std::vector<std::uint8_t> Proposer::dark_racks(const ClusterState& state) const {
    std::vector<std::uint8_t> dark = dark_;
    for (const Action& action : plan_)
        if (action.kind == ActionKind::power && action.rack >= 0 && at(action.rack) < dark.size())
            dark[at(action.rack)] = action.value == static_cast<float>(PowerTarget::on) ? 0 : 1;
    for (std::size_t h = 0; h < state.n_hosts(); ++h) {
        const HostState s = state.hosts.state[h];
        const std::size_t rack = at(state.hosts.rack[h]);
        if (rack < dark.size() && (s == HostState::on || s == HostState::booting)) dark[rack] = 0;
    }
    return dark;
}

// Whether this tick's choices have switched the rack so already.
bool Proposer::switched(const Action& action) const {
    return action.kind == ActionKind::power && action.rack >= 0 &&
           std::any_of(plan_.begin(), plan_.end(), [&](const Action& before) {
               return before.kind == ActionKind::power && before.rack == action.rack && before.value == action.value;
           });
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
    const std::span<const std::int32_t> waiting = planned_->waiting();
    if (waiting.empty()) return false;
    if ((knobs_.preferred >> static_cast<unsigned>(CandidateKind::place) & 1U) == 0) return true;
    if (waiting.size() > knobs_.arrivals) return true;
    return std::any_of(waiting.begin(), waiting.end(), [this](std::int32_t vm) {
        float added = 0.0F;
        return planned_->cheapest(at(vm), -1, added) < 0;
    });
}

// Whether VMs that wait want more GPUs than are free, and one of them could have some: who does is then told by a plan,
// which sees all of them.
bool Proposer::gpus_are_short() const {
    const std::vector<float>& allocation = planned_->state().vms.allocation;
    const std::vector<float>& allocated = planned_->state().hosts.allocated;
    float wanted = 0.0F, least = 0.0F;
    for (const std::int32_t vm : planned_->waiting()) {
        const float gpus = allocation[at(vm) * kResources + kDense];
        if (gpus <= 0.0F) continue;
        least = wanted > 0.0F ? std::min(least, gpus) : gpus;
        wanted += gpus;
    }
    if (wanted <= 0.0F) return false;
    float free = 0.0F, most = 0.0F;
    for (std::size_t h = 0; h < planned_->n_hosts(); ++h) {
        if (!planned_->takes(h)) continue;
        const float left = planned_->limit(h, kDense) - allocated[h * kResources + kDense];
        free += std::max(0.0F, left);
        most = std::max(most, left);
    }
    return most >= least && wanted > free;
}

// The eager plans that are due, from the state as the tick begins.
void Proposer::make_plans() {
    const bool unserved = waits_in_vain();
    gpus_short_ = unserved && gpus_are_short();
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
        const PackerKnobs& packer = knobs_.plans[i].packer;
        c.z = static_cast<float>(packer.peaks ? packer.z : packer.sigma_scale);
        c.way = ways_[i];
        if (!eager) continue;
        c.n_actions = static_cast<std::uint32_t>(made.actions.size());
        actions_.insert(actions_.end(), made.actions.begin(), made.actions.end());
        c.utilisation = made.gain_usd;
    }
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
    around_ = false;
    offer(CandidateKind::wait);
    if (left_ > 0) {
        if (!whole_) offer_plans();
        place();
        if (site_->can(ActionKind::migrate)) {
            relieve();
            if (!whole_) drain(); // the plan has looked at all of them
        }
        switches();
        if (site_->can(ActionKind::reshape)) reshape();
        if (site_->can(ActionKind::migrate)) make_room();
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

void Proposer::show() {
    for (Candidate& c : pool_) prefer(c);
    std::fill(stale_.begin(), stale_.end(), std::uint8_t{1});
    shown_.swap(pool_);
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
    // At room: a plan has booked its own moves one after the other, an offer may not have.
    const bool looks_again = (of_plan && begin > 0) || shown_[index].offered >= 0;
    if (shown_[index].kind == CandidateKind::right_size) allocated_ = planned_->state().hosts.allocated;
    for (const Action& action : actions_of(index)) {
        // Of several actions, some may have lost their room or their VM to what was booked since they were planned.
        if (!planned_->allows(action) || switched(action)) continue;
        if (looks_again && places(action) && !planned_->fits(at(action.vm), at(action.host))) continue;
        plan_.push_back(action);
        planned_->book(action);
        if (makes_vm(action)) --free_slots_;
    }
    planned_->price_booked();
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

std::string Proposer::reason(std::size_t index) const {
    const Candidate& c = shown_.at(index);
    if (c.offered >= 0) return offers_[at(c.offered)].reason;
    if (c.frees_for >= 0) {
        const std::string whom = "vm " + std::to_string(c.frees_for), here = "host " + std::to_string(c.source);
        if (c.frees_for == c.vm) return whom + " is to grow, for which " + here + " has no room";
        const bool waits = planned_->place(at(c.frees_for)) < 0;
        return "makes room on " + here + " for " + whom + (waits ? ", which waits" : " to grow");
    }
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

} // namespace foreshade

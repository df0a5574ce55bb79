// What VMs use, and the size that they are seen to need: the candidates that reshape them.
//
// A VM that is close to a limit is looked at every tick; the others take turns, and what each could be cut to is kept
// until its next.
#include <algorithm>
#include <cmath>

#include "core/decide/assumed.hpp"
#include "core/decide/proposer.hpp"
#include "core/decide/scaled.hpp"

namespace foreshade {

namespace {

// Of a fleet's VMs so many are looked at in a tick, all of them within so many ticks.
constexpr std::size_t kLooksATick = 128, kLookTicks = 8;
constexpr float kHigher = 1.1F; // times the peak that a cut was reckoned from: it holds no more

} // namespace

// Decayed peaks of what VMs use: the basis of their size (in the manner of Rzadca et al., "Autopilot", EuroSys 2020).
void Proposer::learn(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    const float forget = 1.0F / static_cast<float>(std::max<std::size_t>(knobs_.peak_ticks, 1));
    const Vec4 forgotten{forget, forget, forget, forget};
    const Vec4 tight_from{kKnee, kSaturated, kSaturated, kSaturated};
    free_slots_ = 0;
    for (const auto* seen : {&turn_, &tight_})
        for (const std::int32_t vm : *seen) looked_[at(vm)] = 0;
    turn_.clear();
    tight_.clear();
    pressed_.clear();
    newest_mhz_ = expected_mhz_ = flavour_mhz_ = newest_mib_ = flavour_mib_ = 0.0F;
    std::uint32_t n_known = 0, n_new = 0;
    float away_mhz = 0.0F;
    const float* const expected = memory_->window().mean().data();
    const auto settled = static_cast<std::int32_t>(settled_);
    const auto rules_settled = static_cast<std::int32_t>(knobs_.sizing.settle_ticks);
    const std::size_t n = state.n_vms();
    const std::size_t period = std::clamp<std::size_t>((n + kLooksATick - 1) / kLooksATick, 1, kLookTicks);
    std::size_t next = static_cast<std::size_t>(std::max<std::int64_t>(tick_, 0)) % period;
    for (std::size_t v = 0; v < n; ++v) {
        const bool turn = v == next;
        if (turn) next += period;
        if (vms.state[v] == VmState::absent) {
            ++free_slots_;
            owner_[v] = -1;
            continue;
        }
        float* const peak = peak_.data() + v * kDense;
        if (owner_[v] != vms.app[v]) {
            owner_[v] = vms.app[v];
            samples_[v] = 0;
            std::fill_n(peak, kDense, 0.0F);
        }
        if (!serving(vms.state[v])) continue;
        const Vec4 demand = load4(vms.demand.data() + v * kResources);
        const Vec4 allocation = load4(vms.allocation.data() + v * kResources);
        newest_mhz_ += demand[0];
        expected_mhz_ += expected[v * kResources];
        away_mhz += std::abs(demand[0] - expected[v * kResources]);
        flavour_mhz_ += vms.flavour[v * kResources];
        newest_mib_ += demand[1];
        flavour_mib_ += vms.flavour[v * kResources + 1];
        if (vms.age_s[v] < site_->tick_s) {
            ++samples_[v];
            const Vec4 before = load4(peak);
            const bool known = samples_[v] > kFewSamples;
            n_known += known ? 1U : 0U;
            n_new += known && demand[0] >= before[0] ? 1U : 0U;
            const Vec4 now = max4(demand, before - (before - demand) * forgotten);
            __builtin_memcpy(peak, &now, sizeof(now));
        }
        const bool tight = any4(demand >= tight_from * allocation);
        if ((tight && demand[0] >= kSaturated * allocation[0]) || vms.contention[v] > 0.0F ||
            vms.kind[v] == VmKind::shadow)
            pressed_.push_back(static_cast<std::int32_t>(v));
        const bool begins = samples_[v] == settled || samples_[v] == rules_settled;
        if (!(turn || tight || begins) || samples_[v] < settled || vms.kind[v] != VmKind::production) continue;
        looked_[v] = 1;
        (tight ? tight_ : turn_).push_back(static_cast<std::int32_t>(v));
    }
    if (n_known == 0) return;
    remembered_ = std::min(remembered_ + 1.0F, kDaySeconds / site_->tick_s);
    new_peaks_ += (static_cast<float>(n_new) / static_cast<float>(n_known) - new_peaks_) / remembered_;
    jitter_ += (away_mhz / std::max(expected_mhz_, 1.0F) - jitter_) / remembered_;
}

// Whether a VM is as it was when its cut was reckoned, and wants no more than then of what is cut.
bool Proposer::holds(const Cut& cut) const {
    const VmColumns& vms = planned_->state().vms;
    const std::size_t v = at(cut.vm);
    if (vms.state[v] != VmState::running || vms.destination[v] >= 0 || vms.host[v] < 0 || planned_->reshaped(v))
        return false;
    const Vec4 before = load4(cut.before.data()), after = load4(cut.after.data());
    const Vec4 peak = load4(peak_.data() + v * kDense), demand = load4(vms.demand.data() + v * kResources);
    const Vec4 higher{kHigher, kHigher, kHigher, kHigher};
    const Int4 more = (peak > higher * load4(cut.peak.data())) | (demand > after);
    return !any4((load4(vms.allocation.data() + v * kResources) != before) | (more & (after < before)));
}

void Proposer::look_at_sizes() {
    for (std::vector<Cut>& cuts : cuts_)
        std::erase_if(cuts, [this](const Cut& cut) { return looked_[at(cut.vm)] != 0 || !holds(cut); });
    for (const std::int32_t vm : turn_) look_at_size(at(vm));
}

// What it could be cut to by each sizing. Every resource by itself: what does not pay stays.
void Proposer::look_at_size(std::size_t v) {
    const VmColumns& vms = planned_->state().vms;
    if (vms.state[v] != VmState::running || vms.destination[v] >= 0 || vms.host[v] < 0) return;
    const float* const now = vms.allocation.data() + v * kResources;
    const float* const flavour = vms.flavour.data() + v * kResources;
    std::array<float, kDense> kept_usd_h{}; // unmet as it is, once it is asked for
    std::array<bool, kDense> known{};
    for (std::size_t i = 0; i < cuts_.size(); ++i) {
        const Sizing& sizing = sizing_of(i);
        if (samples_[v] < static_cast<std::int32_t>(sizing.settle_ticks)) continue;
        Cut cut{static_cast<std::int32_t>(v), 0.0F, 0.0F, {}, {}, {}};
        bool cuts = false;
        for (std::size_t r = 0; r < kDense; ++r) {
            if (room_usd_h_[r] <= 0.0F) continue;
            const float least = least_of(vms, v, r, sizing);
            if (now[r] - least < knobs_.least_change * flavour[r]) continue;
            if (!known[r]) kept_usd_h[r] = unmet_usd(v, r, now[r]);
            known[r] = true;
            const float served = (kept_usd_h[r] - unmet_usd(v, r, least)) * horizon_h_;
            const float freed = (now[r] - least) * room_usd_h_[r] * horizon_h_;
            if (served + freed <= 0.0F) continue;
            if (!cuts) std::copy_n(now, kResources, cut.after.begin());
            cuts = true;
            cut.performance += served;
            cut.utilisation += freed;
            cut.after[r] = least;
        }
        if (!cuts) continue;
        std::copy_n(now, kResources, cut.before.begin());
        std::copy_n(peak_.begin() + static_cast<std::ptrdiff_t>(v * kDense), kDense, cut.peak.begin());
        cuts_[i].push_back(cut);
    }
}

// What the VM is seen to need: more where it is at its limit, less where it never used it.
bool Proposer::wanted_shape(std::size_t v, const Sizing& sizing, Amounts& allocation) const {
    const VmColumns& vms = planned_->state().vms;
    const float* now = vms.allocation.data() + v * kResources;
    const float* flavour = vms.flavour.data() + v * kResources;
    std::copy_n(now, kResources, allocation.begin());
    for (std::size_t r = 0; r < kDense; ++r) {
        if (!is_tight(vms, v, r)) {
            const float least = least_of(vms, v, r, sizing);
            if (now[r] - least >= knobs_.least_change * flavour[r]) allocation[r] = least;
            continue;
        }
        float most = (r == 0 ? knobs_.ceiling : r == 1 ? knobs_.memory_ceiling : 1.0F) * flavour[r];
        if (r == 0 && site_->guest_cpu > 0.0F) most = std::min(most, site_->guest_cpu * flavour[r]);
        allocation[r] =
            std::max(now[r], std::min(most, std::max(sizing.headroom * peak_[v * kDense + r], 1.5F * now[r])));
    }
    if (!site_->largest_vm.empty() && vms.host[v] >= 0)
        allocation[0] = std::min(allocation[0], std::max(now[0], site_->largest_vm[at(vms.host[v])]));
    return !std::equal(now, now + kDense, allocation.begin());
}

// Every VM that gains, by the sizing of that number.
void Proposer::right_size(std::size_t number) {
    const Sizing& sizing = sizing_of(number);
    const ClusterState& state = planned_->state();
    const VmColumns& vms = state.vms;
    Candidate all;
    std::vector<Action>& out = actions_;
    ranked_.clear();
    const auto first = static_cast<std::uint32_t>(out.size());
    const auto resize = [&](std::int32_t vm, const Amounts& allocation, float performance, float utilisation) {
        Action& action = out.emplace_back();
        action.kind = ActionKind::reshape;
        action.vm = vm;
        action.allocation = allocation;
        all.performance += performance;
        all.utilisation += utilisation;
        ranked_.push_back({performance + utilisation, static_cast<std::int32_t>(out.size() - 1)});
    };
    if (!tight_.empty()) room_ = state.hosts.allocated; // as it is once the actions before have been carried out
    for (const Cut& cut : cuts_[number]) {
        if (!holds(cut)) continue;
        const std::size_t h = at(vms.host[at(cut.vm)]);
        if (!tight_.empty()) planned_->exchange(room_.data() + h * kResources, h, cut.before.data(), cut.after.data());
        resize(cut.vm, cut.after, cut.performance, cut.utilisation);
    }
    for (const std::int32_t vm : tight_) {
        const std::size_t v = at(vm);
        if (vms.state[v] != VmState::running || vms.destination[v] >= 0 || vms.host[v] < 0) continue;
        if (planned_->reshaped(v) || samples_[v] < static_cast<std::int32_t>(sizing.settle_ticks)) continue;
        Amounts allocation;
        if (!wanted_shape(v, sizing, allocation)) continue;
        const std::size_t h = at(vms.host[v]);
        const float* now = vms.allocation.data() + v * kResources;
        float performance = 0.0F, utilisation = 0.0F;
        for (std::size_t r = 0; r < kDense; ++r) { // each by itself: what does not pay, or has no room, stays
            if (allocation[r] == now[r]) continue;
            const float served = (unmet_usd(v, r, now[r]) - unmet_usd(v, r, allocation[r])) * horizon_h_;
            const float freed = (now[r] - allocation[r]) * room_usd_h_[r] * horizon_h_;
            if (served + freed <= 0.0F ||
                (allocation[r] > now[r] &&
                 room_[h * kResources + r] - now[r] + allocation[r] > planned_->limit(h, r))) {
                allocation[r] = now[r];
                continue;
            }
            performance += served;
            utilisation += freed;
        }
        if (performance + utilisation <= 0.0F) continue;
        planned_->exchange(room_.data() + h * kResources, h, now, allocation.data());
        resize(vm, allocation, performance, utilisation);
    }
    if (ranked_.empty()) return;
    all.kind = CandidateKind::right_size;
    all.first_action = first;
    all.n_actions = static_cast<std::uint32_t>(out.size()) - first;
    all.plan = number < knobs_.sizings.size() ? static_cast<std::int32_t>(number) : -1;
    all.z = sizing.headroom;
    all.patience = sizing.slack_floor;
    pool_.push_back(all);
}

void Proposer::reshape() {
    for (std::size_t i = 0; i < cuts_.size(); ++i) right_size(i);
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
        const float* const now = vms.allocation.data() + v * kResources;
        bool grows = false;
        for (std::size_t r = 0; r < kDense; ++r) grows = grows || chosen.allocation[r] > now[r];
        Candidate& c = offer(grows ? CandidateKind::grow : CandidateKind::shrink);
        c.vm = chosen.vm;
        c.host = c.source = vms.host[v];
        actions_.push_back(chosen);
        c.n_actions = 1;
        if (!evaluate(c)) pool_.pop_back();
    }
}

} // namespace foreshade

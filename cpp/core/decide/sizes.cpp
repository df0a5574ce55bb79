// What VMs use, and the size that they are seen to need: the candidates that reshape them.
//
// A VM that is close to a limit is looked at every tick; the others take turns, and what each could be cut to is kept
// until its next.
#include <algorithm>
#include <cmath>

#include "core/decide/assumed.hpp"
#include "core/decide/proposer.hpp"
#include "core/decide/scaled.hpp"
#include "core/wide.hpp"

namespace foreshade {

namespace {

// Of a fleet's VMs so many are looked at in a tick, all of them within so many ticks.
constexpr std::size_t kLooksATick = 64, kLookTicks = 16;
constexpr float kAlmost = 0.999F; // of a host's room: sums round
constexpr float kHigher = 1.1F;   // times the peak that a cut was reckoned from: it holds no more

} // namespace

// Whose size is looked at in this tick, and who presses for more. The basis of a VM's size is the decayed peak of what
// it uses (in the manner of Rzadca et al., "Autopilot", EuroSys 2020), which the window keeps.
void Proposer::learn(const ClusterState& state, const Changed& changed) {
    const VmColumns& vms = state.vms;
    const DemandWindow& window = memory_->window();
    const std::size_t n = state.n_vms();
    free_slots_ = count_of(std::span<const VmState>(vms.state), VmState::absent);
    const DemandWindow::Habits& habits = window.habits();
    newest_mhz_ = static_cast<float>(habits.newest_mhz);
    expected_mhz_ = static_cast<float>(habits.expected_mhz);
    flavour_mhz_ = static_cast<float>(habits.flavour_mhz);
    newest_mib_ = static_cast<float>(habits.newest_mib);
    flavour_mib_ = static_cast<float>(habits.flavour_mib);
    if (habits.n_known > 0) {
        remembered_ = std::min(remembered_ + 1.0F, kDaySeconds / site_->tick_s);
        const float share = static_cast<float>(habits.n_new) / static_cast<float>(habits.n_known);
        new_peaks_ += (share - new_peaks_) / remembered_;
        jitter_ += (static_cast<float>(habits.away_mhz) / std::max(expected_mhz_, 1.0F) - jitter_) / remembered_;
    }
    for (const auto* seen : {&turn_, &tight_})
        for (const std::int32_t vm : *seen) looked_[at(vm)] = 0;
    turn_.clear();
    tight_.clear();
    losses_.clear();
    pressed_.clear();
    const auto look_at = [&](std::int32_t vm, std::vector<std::int32_t>& among) {
        const std::size_t v = at(vm);
        if (looked_[v] != 0 || vms.kind[v] != VmKind::production || !serving(vms.state[v]) ||
            window.seen(v) < static_cast<std::int32_t>(settled_))
            return;
        looked_[v] = 1;
        among.push_back(vm);
    };
    for (const std::int32_t vm : window.tight()) {
        look_at(vm, tight_);
        if (vms.demand[at(vm) * kResources] >= kSaturated * vms.allocation[at(vm) * kResources]) pressed_.push_back(vm);
    }
    for (const std::int32_t vm : window.settled()) look_at(vm, turn_);
    const std::size_t period = std::clamp<std::size_t>((n + kLooksATick - 1) / kLooksATick, 1, kLookTicks);
    const std::size_t turn = static_cast<std::size_t>(std::max<std::int64_t>(tick_, 0)) % period;
    for (std::size_t v = n * turn / period; v < n * (turn + 1) / period; ++v) // neighbours: their columns lie together
        look_at(static_cast<std::int32_t>(v), turn_);
    if (!window.settled().empty()) std::sort(turn_.begin(), turn_.end());
    note_odd(vms, changed);
    const std::size_t n_saturated = pressed_.size();
    for (const std::int32_t vm : odd_)
        if (serving(vms.state[at(vm)])) pressed_.push_back(vm);
    if (pressed_.size() == n_saturated) return;
    std::sort(pressed_.begin(), pressed_.end());
    pressed_.erase(std::unique(pressed_.begin(), pressed_.end()), pressed_.end());
}

// Few wait for CPU, and few stand for others.
void Proposer::note_odd(const VmColumns& vms, const Changed& changed) {
    const auto is_odd = [&](std::int32_t vm) {
        return vms.contention[at(vm)] > 0.0F || vms.kind[at(vm)] == VmKind::shadow;
    };
    if (changed) {
        std::erase_if(odd_, [&](std::int32_t vm) { return !is_odd(vm); });
        for (const std::int32_t vm : *changed)
            if (is_odd(vm)) odd_.push_back(vm); // some a second time
    } else {
        odd_.clear();
        for (std::size_t v = 0; v < vms.kind.size(); ++v)
            if (is_odd(static_cast<std::int32_t>(v))) odd_.push_back(static_cast<std::int32_t>(v));
    }
    std::sort(odd_.begin(), odd_.end());
    odd_.erase(std::unique(odd_.begin(), odd_.end()), odd_.end());
}

// Whether a VM is as it was when its cut was reckoned, and wants no more than then of what is cut.
bool Proposer::holds(const Cut& cut) const {
    const VmColumns& vms = planned_->state().vms;
    const std::size_t v = at(cut.vm);
    const Planned::Status& status = planned_->status(v);
    if (status.state != VmState::running || status.destination >= 0 || status.host < 0 || status.reshaped) return false;
    const Vec4 before = load4(cut.before.data()), after = load4(cut.after.data());
    const Vec4 peak = memory_->window().peaks(v), demand = load4(vms.demand.data() + v * kResources);
    const Vec4 higher{kHigher, kHigher, kHigher, kHigher};
    const Int4 more = (peak > higher * load4(cut.peak.data())) | (demand > after);
    return !any4((load4(vms.allocation.data() + v * kResources) != before) | (more & (after < before)));
}

void Proposer::look_at_sizes() {
    for (std::vector<Cut>& cuts : cuts_)
        std::erase_if(cuts, [this](const Cut& cut) { return looked_[at(cut.vm)] != 0 || !holds(cut); });
    for (const std::int32_t vm : turn_) look_at_size(at(vm));
}

// Samples of a VM before anything is taken back from it: an option may let it grow sooner than the rules do, but what
// it never used says as little under any sizing.
std::int32_t Proposer::taken_back_after(const Sizing& sizing) const {
    return static_cast<std::int32_t>(std::max(sizing.settle_ticks, knobs_.sizing.settle_ticks));
}

// What it could be cut to by each sizing. Every resource by itself: what does not pay stays.
FORESHADE_CLONES void Proposer::look_at_size(std::size_t v) {
    const VmColumns& vms = planned_->state().vms;
    const Planned::Status& status = planned_->status(v);
    if (status.state != VmState::running || status.destination >= 0 || status.host < 0) return;
    const float* const now = vms.allocation.data() + v * kResources;
    const auto splat = [](float x) { return Vec4{x, x, x, x}; };
    const SizeBasis basis = size_basis(vms, v);
    const Vec4 change = splat(knobs_.least_change) * basis.flavour;
    const Load& load = planned_->load(v);
    const Vec4 mean = load4(load.mean.data()), variance = load4(load.variance.data());
    const Int4 seen_below = load4(vms.demand.data() + v * kResources) < splat(kSaturated) * basis.now;
    const auto is_far = [&](Vec4 allocation) { // where unmet_usd() is 0 with so much
        const Vec4 room = Vec4{kKnee, 1.0F, 1.0F, 1.0F} * allocation - mean;
        return seen_below & (room > Vec4{}) & (room * room > splat(kSurelyFar) * variance);
    };
    const Int4 far_now = is_far(basis.now);
    for (std::size_t i = 0; i < cuts_.size(); ++i) {
        const Sizing& sizing = sizing_of(i);
        if (basis.seen < taken_back_after(sizing)) continue;
        const Vec4 leasts = least_of(basis, sizing);
        const Int4 frees = (basis.room > Vec4{}) & (basis.now - leasts >= change);
        if (!any4(frees)) continue;
        const Int4 far = far_now & is_far(leasts);
        const Vec4 freed = (basis.now - leasts) * basis.room * splat(horizon_h_);
        Cut cut{static_cast<std::int32_t>(v), 0.0F, 0.0F, {}, {}, {}};
        bool cuts = false;
        for (std::size_t r = 0; r < kDense; ++r) {
            const auto lane = static_cast<int>(r);
            if (frees[lane] == 0) continue;
            float served = 0.0F;
            if (far[lane] == 0) served = (unmet_usd(v, r, now[r]) - unmet_usd(v, r, leasts[lane])) * horizon_h_;
            if (served + freed[lane] <= 0.0F) continue;
            if (!cuts) std::copy_n(now, kResources, cut.after.begin());
            cuts = true;
            cut.performance += served;
            cut.utilisation += freed[lane];
            cut.after[r] = leasts[lane];
        }
        if (!cuts) continue;
        std::copy_n(now, kResources, cut.before.begin());
        for (std::size_t r = 0; r < kDense; ++r) cut.peak[r] = memory_->window().peak(v, r);
        if (holds(cut)) cuts_[i].push_back(cut);
    }
}

// What the VM is seen to need: more where it is at its limit, less where it never used it.
bool Proposer::wanted_shape(std::size_t v, const Sizing& sizing, Amounts& allocation) const {
    const VmColumns& vms = planned_->state().vms;
    const float* now = vms.allocation.data() + v * kResources;
    const float* flavour = vms.flavour.data() + v * kResources;
    std::copy_n(now, kResources, allocation.begin());
    const SizeBasis basis = size_basis(vms, v);
    const bool known = basis.seen >= taken_back_after(sizing);
    const Vec4 leasts = least_of(basis, sizing);
    for (std::size_t r = 0; r < kDense; ++r) {
        if (!is_tight(vms, v, r)) {
            if (!known) continue;
            const float least = leasts[static_cast<int>(r)];
            if (now[r] - least >= knobs_.least_change * flavour[r]) allocation[r] = least;
            continue;
        }
        float most = (r == 0 ? knobs_.ceiling : r == 1 ? knobs_.memory_ceiling : 1.0F) * flavour[r];
        if (r == 0 && site_->guest_cpu > 0.0F) most = std::min(most, site_->guest_cpu * flavour[r]);
        const float wanted = std::max(sizing.headroom * memory_->window().peak(v, r), sizing.growth * now[r]);
        allocation[r] = std::max(now[r], std::min(most, wanted));
    }
    if (const std::int32_t host = planned_->status(v).host; !site_->largest_vm.empty() && host >= 0)
        allocation[0] = std::min(allocation[0], std::max(now[0], site_->largest_vm[at(host)]));
    return !std::equal(now, now + kDense, allocation.begin());
}

// What a VM that is close to a limit loses less of a resource with `then` than with `now`; most sizings and all lists
// of candidates of a tick ask the same.
float Proposer::served_usd_h(std::size_t k, std::size_t r, float now, float then) {
    Losses& losses = losses_[k];
    const auto v = at(tight_[k]);
    if (losses.now_usd_h[r] < 0.0F) losses.now_usd_h[r] = unmet_usd(v, r, now);
    if (losses.then[r] != then) {
        losses.then[r] = then;
        losses.then_usd_h[r] = unmet_usd(v, r, then);
    }
    return losses.now_usd_h[r] - losses.then_usd_h[r];
}

// Every VM that gains, by the sizing of that number.
FORESHADE_CLONES void Proposer::right_size(std::size_t number) {
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
    // Of hosts where a VM may grow, what is promised once the actions before have been carried out.
    grown_.assign(state.n_hosts(), 0);
    for (const std::int32_t vm : tight_)
        if (planned_->status(at(vm)).host >= 0) grown_[at(planned_->status(at(vm)).host)] = 1;
    if (!tight_.empty()) room_ = state.hosts.allocated;
    const bool untouched = begins(); // so all of them hold
    for (const Cut& cut : cuts_[number]) {
        const std::size_t v = at(cut.vm);
        if (!untouched && (!planned_->settled(v) || planned_->reshaped(v))) continue;
        const std::size_t h = at(planned_->status(v).host);
        if (grown_[h] != 0) planned_->exchange(room_.data() + h * kResources, h, cut.before.data(), cut.after.data());
        resize(cut.vm, cut.after, cut.performance, cut.utilisation);
    }
    losses_.resize(tight_.size());
    for (std::size_t k = 0; k < tight_.size(); ++k) {
        const std::int32_t vm = tight_[k];
        const std::size_t v = at(vm);
        const Planned::Status& status = planned_->status(v);
        if (status.state != VmState::running || status.destination >= 0 || status.host < 0) continue;
        if (status.reshaped || memory_->window().seen(v) < static_cast<std::int32_t>(sizing.settle_ticks)) continue;
        Amounts allocation;
        if (!wanted_shape(v, sizing, allocation)) continue;
        const std::size_t h = at(status.host);
        const float* now = vms.allocation.data() + v * kResources;
        float performance = 0.0F, utilisation = 0.0F;
        Outgrown outgrown;
        outgrown.vm = vm;
        outgrown.wanted = allocation;
        for (std::size_t r = 0; r < kDense; ++r) { // each by itself: what does not pay, or has no room, stays
            if (allocation[r] == now[r]) continue;
            const auto gains = [&](float then) {
                return served_usd_h(k, r, now[r], then) * horizon_h_ + (now[r] - then) * room_usd_h_[r] * horizon_h_;
            };
            const float all_of_it = gains(allocation[r]);
            const float left = planned_->limit(h, r) - room_[h * kResources + r];
            const float missing = allocation[r] - now[r] - left;
            if (allocation[r] > now[r] && missing > 0.0F) { // as much as there is room for
                const bool enough = left >= knobs_.least_change * vms.flavour[v * kResources + r];
                allocation[r] = enough ? now[r] + kAlmost * left : now[r];
                outgrown.missing[r] = missing;
                outgrown.usd += all_of_it - (enough ? gains(allocation[r]) : 0.0F);
            }
            const float served = served_usd_h(k, r, now[r], allocation[r]) * horizon_h_;
            const float freed = (now[r] - allocation[r]) * room_usd_h_[r] * horizon_h_;
            if (served + freed <= 0.0F) {
                allocation[r] = now[r];
                continue;
            }
            performance += served;
            utilisation += freed;
        }
        if (number == knobs_.sizings.size() && outgrown.usd > 0.0F) outgrown_.push_back(outgrown);
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
    all.way = static_cast<float>(all.plan + 1);
    pool_.push_back(all);
}

void Proposer::reshape() {
    outgrown_.clear();
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
        c.host = c.source = planned_->status(v).host;
        actions_.push_back(chosen);
        c.n_actions = 1;
        if (!evaluate(c)) pool_.pop_back();
    }
}

} // namespace foreshade

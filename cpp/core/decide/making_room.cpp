// Moves that make room for another VM: for one that wants to grow by more than its host may promise, or that waits for
// GPUs of which enough are free, but in pieces on several hosts.
#include <algorithm>

#include "core/decide/assumed.hpp"
#include "core/decide/proposer.hpp"
#include "core/decide/scaled.hpp"
#include "core/decide/urgency.hpp"

namespace foreshade {

namespace {

bool covers(const float* amounts, const Amounts& missing) {
    for (std::size_t r = 0; r < kResources; ++r)
        if (amounts[r] < missing[r]) return false;
    return true;
}

} // namespace

// The VMs of a host whose leaving frees what is missing there, those first that cost least to move, in ranked_; false
// where what leaves already frees as much.
bool Proposer::find_leavers(std::int32_t from, std::int32_t except, const Amounts& missing) {
    const VmColumns& vms = planned_->state().vms;
    Amounts leaving{};
    float dark = 0.0F;
    ranked_.clear();
    for (const std::int32_t vm : planned_->residents(at(from))) {
        const float* const its = vms.allocation.data() + at(vm) * kResources;
        if (planned_->place(at(vm)) != from)
            for (std::size_t r = 0; r < kResources; ++r) leaving[r] += its[r];
        else if (vm != except && !is_tight(vms, at(vm), 0) && planned_->movable(at(vm)) && covers(its, missing))
            ranked_.push_back({-move_usd(at(vm), dark), vm});
    }
    const std::size_t m = std::min(knobs_.leavers, ranked_.size());
    const auto cheaper = [](const Ranked& a, const Ranked& b) {
        return a.value != b.value ? a.value > b.value : a.id < b.id;
    };
    std::partial_sort(ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(m), ranked_.end(), cheaper);
    ranked_.resize(m);
    return !covers(leaving.data(), missing);
}

// `best`, or the move of a VM to `to` where that earns more beside what it frees room for.
void Proposer::weigh_leaver(const Wanting& one, std::int32_t vm, std::int32_t from, std::int32_t to, Candidate& best) {
    Candidate c;
    c.kind = CandidateKind::migrate;
    c.vm = vm;
    c.host = to;
    c.source = from;
    c.frees_usd = one.usd;
    c.frees_for = one.vm;
    if (to >= 0 && evaluate(c) && (best.vm < 0 || c.score() > best.score())) best = c;
}

void Proposer::weigh_leavers(const Wanting& one, std::int32_t from, Candidate& best) {
    const VmColumns& vms = planned_->state().vms;
    float added = 0.0F;
    look_around();
    for (const Ranked& leaver : ranked_) {
        const std::size_t v = at(leaver.id);
        const bool gpus = vms.allocation[v * kResources + kDense] > 0.0F; // of which few hosts have any
        const std::int32_t to = gpus ? planned_->cheapest(v, from, added) : planned_->cheapest_near(v, from, added);
        weigh_leaver(one, leaver.id, from, to, best);
    }
}

void Proposer::offer_move(const Candidate& move) {
    if (move.vm < 0) return;
    Candidate& c = pool_.emplace_back(move);
    c.first_action = static_cast<std::uint32_t>(actions_.size());
    Action& action = act(c, ActionKind::migrate);
    action.vm = c.vm;
    action.host = c.host;
}

// For VMs that want to grow: a move of the VM itself, to where it has all the room, or of another that is promised as
// much as is missing and costs less to move.
void Proposer::make_room() {
    const auto more = [](const Outgrown& a, const Outgrown& b) { return a.usd != b.usd ? a.usd > b.usd : a.vm < b.vm; };
    const std::size_t n = std::min(knobs_.outgrown, outgrown_.size());
    std::partial_sort(outgrown_.begin(), outgrown_.begin() + static_cast<std::ptrdiff_t>(n), outgrown_.end(), more);
    const VmColumns& vms = planned_->state().vms;
    for (std::size_t i = 0; i < n; ++i) {
        const Outgrown& one = outgrown_[i];
        const std::size_t v = at(one.vm);
        const std::int32_t from = planned_->place(v);
        if (!find_leavers(from, one.vm, one.missing)) continue;
        Candidate best;
        weigh_leavers(one, from, best);
        float added = 0.0F;
        weigh_leaver(one, one.vm, from,
                     planned_->cheapest(planned_->load(v), one.wanted, from, vms.app[v], vms.kind[v], added), best);
        offer_move(best);
    }
    if (knobs_.outgrown > 0) let_in();
}

// The VM that waits for GPUs in vain, and costs most while it does; without a VM where there is none.
Proposer::Wanting Proposer::dearest_in_vain() {
    const VmColumns& vms = planned_->state().vms;
    std::vector<std::int32_t> in_vain;
    float added = 0.0F;
    for (const std::int32_t vm : planned_->waiting())
        if (vms.allocation[at(vm) * kResources + kDense] > 0.0F && planned_->cheapest(at(vm), -1, added) < 0)
            in_vain.push_back(vm);
    Wanting dearest;
    if (in_vain.empty()) return dearest;
    const std::vector<float> usd_h = price_waiting(vms, memory_->window().loads(), priced_->economy, in_vain);
    for (const std::int32_t vm : in_vain)
        if (const float usd = usd_h[at(vm)] * horizon_h_; usd > dearest.usd) dearest = {vm, usd, {}};
    return dearest;
}

// For a VM that waits for GPUs: a move off a host that has some, of a VM with as many as are missing there, or, where
// none are, of one that is promised what else is missing. Where those with GPUs find no room in turn, a move makes it.
void Proposer::let_in() {
    Wanting one = dearest_in_vain();
    if (one.vm < 0) return;
    const std::size_t v = at(one.vm);
    const auto may_take = [&](std::size_t h, std::size_t vm) {
        const Amounts need = planned_->need_of(vm);
        return planned_->takes(h) && planned_->limit(h, kDense) >= need[kDense] && !planned_->too_large(need, h) &&
               planned_->permits(vm, h) && planned_->apart(vm, h);
    };
    Candidate best;
    std::vector<std::pair<std::size_t, std::size_t>> in_vain; // VMs with the GPUs that are missing, and where they are
    for (std::size_t h = 0; h < planned_->n_hosts(); ++h) {
        if (!may_take(h, v)) continue;
        one.missing = planned_->missing(v, h);
        const bool of_gpus = one.missing[kDense] > 0.0F;
        if (of_gpus) std::fill_n(one.missing.begin(), kDense, 0.0F);              // first things first
        if (!find_leavers(static_cast<std::int32_t>(h), -1, one.missing)) return; // it will have the room
        if (of_gpus)
            for (const Ranked& leaver : ranked_) in_vain.emplace_back(at(leaver.id), h);
        weigh_leavers(one, static_cast<std::int32_t>(h), best);
    }
    for (std::size_t k = 0; k < in_vain.size() && best.vm < 0; ++k) {
        const auto [leaver, from] = in_vain[k];
        for (std::size_t h = 0; h < planned_->n_hosts(); ++h) {
            if (h == from || !may_take(h, leaver)) continue;
            one.missing = planned_->missing(leaver, h);
            if (one.missing[kDense] > 0.0F) continue;
            if (!find_leavers(static_cast<std::int32_t>(h), -1, one.missing)) return;
            weigh_leavers(one, static_cast<std::int32_t>(h), best);
        }
    }
    offer_move(best);
}

} // namespace foreshade

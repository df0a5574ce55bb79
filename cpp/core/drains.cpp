// Hosts that are emptied, and hosts that others make room on: trials that are booked when they pay.
#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>
#include <stdexcept>

#include "core/packing.hpp"

namespace foreshade {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kWeighed = 4;     // hosts that pay, of which the best is emptied next
constexpr std::size_t kLeastDrains = 4; // hosts that a plan may empty, however few there are

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

} // namespace

TrialPlaces::~TrialPlaces() {
    if (book)
        for (const Move& move : moves) book.move(at(move.vm), move.source, -1);
    if (kin)
        for (const Move& move : moves) kin.remove(at(move.vm), at(move.destination));
}

void Packing::begin_trial() {
    trial_.copy_loads(hosts_);
    trial_now_ = now_;
    trial_reserved_ = reserved_;
    trial_moves_.clear();
}

void Packing::book_trial(std::size_t v, std::size_t to) {
    trial_.add(to, ExpectedCost::standing(trial_, to, kin_ ? kin_.coming(v, to) : load_[v]));
    if (kin_) kin_.add(v, to);
    trial_now_[to] = after_[to];
    if (affinity_) {
        trial_now_[to] -= affinity_.usd_h(v, to); // what the rules ask is not the host's
        affinity_.move(v, at_[v], static_cast<std::int32_t>(to));
    }
    for (std::size_t r = 0; r < kResources; ++r) trial_reserved_[to * kResources + r] += reservation(v, to, r);
    trial_moves_.push_back({static_cast<std::int32_t>(v), at_[v], static_cast<std::int32_t>(to)});
}

// The VMs that hold most of what is short leave, one after the other, until enough has left.
bool Packing::try_make_room(std::size_t v, std::size_t h, std::size_t most, float& paid_usd) {
    if (!largest_vm_.empty() && allocation_[v * kResources] > largest_vm_[h]) return false;
    if (!closed_.empty() && closed_[h] != 0) return false;
    if (affinity_ && !affinity_.allows(v, h)) return false;
    const bool first = affinity_ && affinity_.is_first(v);
    Amounts lacking;
    for (std::size_t r = 0; r < kResources; ++r) {
        const float need = reservation(v, h, r) + (first ? company_need_[v][r] : 0.0F);
        if (need > limit_[h * kResources + r]) return false;
        lacking[r] = reserved_[h * kResources + r] + need - limit_[h * kResources + r];
    }
    begin_trial();
    const TrialPlaces places{affinity_, kin_, trial_moves_};
    paid_usd = 0.0F;
    std::vector<std::int32_t> left;
    for (const std::int32_t vm : largest_first(h))
        if (fixed_[at(vm)] == 0 && at_[at(vm)] == static_cast<std::int32_t>(h)) left.push_back(vm);
    while (std::any_of(lacking.begin(), lacking.end(), [](float x) { return x > 0.0F; })) {
        if (trial_moves_.size() == most) return false;
        float largest = 0.0F;
        auto chosen = left.end();
        for (auto vm = left.begin(); vm != left.end(); ++vm) {
            float share = 0.0F;
            for (std::size_t r = 0; r < kResources; ++r)
                if (lacking[r] > 0.0F) share += std::min(1.0F, reservation(at(*vm), h, r) / lacking[r]);
            if (share <= largest) continue;
            largest = share;
            chosen = vm;
        }
        if (chosen == left.end()) return false;
        const std::size_t leaver = at(*chosen);
        left.erase(chosen);
        const std::int32_t to = cheapest(leaver, trial_, trial_now_, trial_reserved_, static_cast<std::int32_t>(h));
        if (to < 0) continue;
        paid_usd += (after_[at(to)] - trial_now_[at(to)]) * knobs_.horizon_h + move_usd_[leaver];
        book_trial(leaver, at(to));
        for (std::size_t r = 0; r < kResources; ++r) lacking[r] -= reservation(leaver, h, r);
    }
    return !trial_moves_.empty();
}

bool Packing::make_room(std::int32_t vm, std::size_t most) {
    float least = kInfinity;
    std::vector<Move> best;
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        if (use_[h] != HostUse::target || away_from_[at(vm)] == static_cast<std::int32_t>(h)) continue;
        float paid_usd = 0.0F;
        if (!try_make_room(at(vm), h, most, paid_usd) || paid_usd >= least) continue;
        least = paid_usd;
        best = trial_moves_;
    }
    for (const Move& move : best) book(at(move.vm), at(move.destination));
    return !best.empty();
}

// What those cost at least that have no new place yet is `ahead`: given up as soon as that is too much.
bool Packing::try_drain(std::size_t h, float price_usd, float kept_usd_h, Ahead ahead, float& gain) {
    begin_trial();
    const TrialPlaces places{affinity_, kin_, trial_moves_};
    float added_usd_h = 0.0F;
    float paid_usd = price_usd;
    for (const std::int32_t vm : largest_first(h)) {
        const std::size_t v = at(vm);
        if (at_[v] != static_cast<std::int32_t>(h)) continue;
        const std::int32_t to = cheapest(v, trial_, trial_now_, trial_reserved_, static_cast<std::int32_t>(h));
        if (to < 0) return false;
        const std::size_t t = at(to);
        added_usd_h += after_[t] - trial_now_[t];
        if (affinity_) added_usd_h -= affinity_.usd_h(v, h);
        paid_usd += move_usd_[v] + knobs_.margin_usd;
        if (ahead.usd > 0.0F) {
            ahead.usd_h -= load_[v].mean[0] * ahead_usd_mhz_h_;
            ahead.usd -= move_usd_[v] + knobs_.margin_usd;
        }
        if ((now_[h] - kept_usd_h - added_usd_h - ahead.usd_h) * knobs_.drain_horizon_h <= paid_usd + ahead.usd)
            return false;
        book_trial(v, t);
    }
    gain = (now_[h] - kept_usd_h - added_usd_h) * knobs_.drain_horizon_h - paid_usd;
    return gain > 0.0F;
}

// Whether a host's drain came to nothing a while ago, and nothing has happened since that could change this: where only
// some places are looked at anyway, it is not tried again.
bool Packing::missed_lately(std::size_t h, float room_mib) const {
    constexpr std::int64_t kTicks = 24;
    constexpr float kChange = 0.03F;
    const Miss& miss = missed_[h];
    return knobs_.near > 0 && miss.here >= 0 && tick_ - miss.tick < kTicks && n_here_[h] >= miss.here &&
           hosts_.bears[h].mean[0] >= miss.mean_mhz * (1.0F - kChange) && room_mib <= miss.room_mib * (1.0F + kChange);
}

std::vector<std::int32_t> Packing::drain(const DrainBudget& budget, std::span<const float> price_usd,
                                         std::span<const float> kept_usd_h, const Amounts& sample, std::size_t reserve,
                                         float free_mib) {
    if (price_usd.size() != n_hosts_ || kept_usd_h.size() != n_hosts_)
        throw std::invalid_argument("drain: expected prices for every host");
    // First by what they would gain if their VMs cost nothing elsewhere: many VMs to move count against a host.
    std::vector<Hope> hopes;
    const float room_mib = this->free_mib();
    ahead_usd_mhz_h_ = cost_->least_usd_mhz_h();
    if (looks_at_some()) {
        targets_by_price();
        ahead_usd_mhz_h_ = std::max(ahead_usd_mhz_h_, kLikely * typical_usd_mhz_h_);
    }
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        if ((use_[h] != HostUse::target && use_[h] != HostUse::leaving) || n_fixed_[h] > 0 || n_here_[h] == 0) continue;
        float paid = price_usd[h], needed_mib = 0.0F;
        Ahead ahead;
        // Sorted, so that the sum has the bits of a trial's, where all hosts are weighed.
        for (const std::int32_t vm : knobs_.near > 0 ? standing_on(h) : largest_first(h)) {
            const std::size_t v = at(vm);
            if (at_[v] != static_cast<std::int32_t>(h)) continue;
            paid += move_usd_[v] + knobs_.margin_usd;
            ahead.usd_h += load_[v].mean[0] * ahead_usd_mhz_h_;
            needed_mib += allocation_[v * kResources + 1];
        }
        const float free_here = limit_[h * kResources + 1] - reserved_[h * kResources + 1];
        const float room_elsewhere = room_mib - (use_[h] == HostUse::target ? std::max(0.0F, free_here) : 0.0F);
        if ((now_[h] - kept_usd_h[h] - ahead.usd_h) * knobs_.drain_horizon_h <= paid || needed_mib > room_elsewhere)
            continue; // neither pays nor fits, wherever its VMs go
        ahead.usd = paid - price_usd[h];
        hopes.push_back({(cost_->idle_usd_h(h) - kept_usd_h[h]) * knobs_.drain_horizon_h - paid,
                         static_cast<std::int32_t>(h), ahead});
    }
    std::sort(hopes.begin(), hopes.end(),
              [](const Hope& a, const Hope& b) { return a.gain != b.gain ? a.gain > b.gain : a.host < b.host; });
    if (hopes.size() > budget.trials) hopes.resize(budget.trials);
    const DrainTerms terms{budget, price_usd, kept_usd_h, sample, reserve, free_mib};
    return knobs_.near > 0 ? drain_in_turn(hopes, terms, room_mib) : drain_the_best(hopes, terms);
}

// Whether the targets keep the room that is asked for once the trial of `h` is booked.
bool Packing::leaves_room(std::size_t h, const DrainTerms& terms) {
    const HostUse was = use_[h];
    if ((terms.reserve == 0 && terms.free_mib <= 0.0F) || was == HostUse::leaving) return true;
    std::swap(reserved_, trial_reserved_);
    use_[h] = HostUse::leaving;
    const bool enough = room_for(terms.sample) >= terms.reserve && free_mib() >= terms.free_mib;
    std::swap(reserved_, trial_reserved_);
    use_[h] = was;
    return enough;
}

void Packing::carry_out_drain(std::size_t h, float gain) {
    trial_booked_.swap(trial_moves_);
    for (const Move& move : trial_booked_) shift(at(move.vm), at(move.destination));
    price(h);
    for (auto move = trial_booked_.begin(); move != trial_booked_.end(); ++move) // each of the targets once
        if (std::none_of(trial_booked_.begin(), move,
                         [&](const Move& before) { return before.destination == move->destination; }))
            price(at(move->destination));
    use_[h] = HostUse::leaving;
    list_targets();
    gain_usd_ += gain;
}

// All that could pay are tried, then emptied in the order of what they gain, as it is by then.
std::vector<std::int32_t> Packing::drain_the_best(std::span<const Hope> hopes, const DrainTerms& terms) {
    struct Offer {
        float gain; // as it was when it was tried last
        std::int32_t host;
        bool operator<(const Offer& other) const { return gain != other.gain ? gain < other.gain : host > other.host; }
    };
    std::vector<std::int32_t> drained;
    std::priority_queue<Offer> offers;
    std::size_t misses = 0;
    for (const Hope& hope : hopes) {
        float gain = 0.0F;
        const std::size_t h = at(hope.host);
        const bool pays = try_drain(h, terms.price_usd[h], terms.kept_usd_h[h], {}, gain);
        if (pays) offers.push({gain, hope.host});
        misses = pays ? 0 : misses + 1;
        if (misses >= terms.budget.misses) break;
    }
    while (drained.size() < terms.budget.hosts && !offers.empty()) {
        const Offer offer = offers.top();
        offers.pop();
        const std::size_t h = at(offer.host);
        if (n_fixed_[h] > 0) continue; // took a VM of a host drained before it
        float gain = 0.0F;
        if (!try_drain(h, terms.price_usd[h], terms.kept_usd_h[h], {}, gain)) continue;
        if (!offers.empty() && gain < offers.top().gain && gain < offer.gain) { // another may pay more by now
            offers.push({gain, offer.host});
            continue;
        }
        if (!leaves_room(h, terms)) continue;
        carry_out_drain(h, gain);
        drained.push_back(offer.host);
    }
    return drained;
}

// Of the likeliest few that pay the best is emptied, then of those and the next. Those that are emptied fill others, so
// only half of those that there are go in one plan.
std::vector<std::int32_t> Packing::drain_in_turn(std::span<const Hope> hopes, const DrainTerms& terms, float room_mib) {
    struct Offer {
        float gain; // as it was when it was tried last
        const Hope* hope;
        bool operator<(const Offer& other) const {
            return gain != other.gain ? gain < other.gain : hope->host > other.hope->host;
        }
    };
    std::vector<std::int32_t> drained;
    const std::size_t most = std::min(terms.budget.hosts, std::max(kLeastDrains, hopes.size() / 2));
    std::priority_queue<Offer> offers;
    std::size_t misses = 0;
    const Hope* tried = nullptr; // last, since anything was booked: its trial still holds
    const auto pays = [&](const Hope& hope, float& gain) {
        const std::size_t h = at(hope.host);
        tried = &hope;
        return try_drain(h, terms.price_usd[h], terms.kept_usd_h[h], hope.ahead, gain);
    };
    for (auto hope = hopes.begin(); drained.size() < most;) {
        float gain = 0.0F;
        for (; offers.size() < kWeighed && hope != hopes.end() && misses < terms.budget.misses; ++hope) {
            const std::size_t h = at(hope->host);
            if (n_fixed_[h] > 0) continue; // took a VM of a host drained before it
            ++misses;
            if (missed_lately(h, room_mib)) continue;
            if (pays(*hope, gain)) {
                misses = 0;
                offers.push({gain, &*hope});
            } else if (drained.empty()) { // else it is the plan that has taken its room
                missed_[h] = {tick_, n_here_[h], hosts_.bears[h].mean[0], room_mib};
            }
        }
        if (offers.empty()) break;
        const Offer offer = offers.top();
        offers.pop();
        const std::size_t h = at(offer.hope->host);
        if (n_fixed_[h] > 0) continue;
        if (offer.hope == tried)
            gain = offer.gain;
        else if (!pays(*offer.hope, gain))
            continue;
        if (!offers.empty() && gain < offers.top().gain && gain < offer.gain) { // another may pay more by now
            offers.push({gain, offer.hope});
            continue;
        }
        if (!leaves_room(h, terms)) continue;
        carry_out_drain(h, gain);
        drained.push_back(offer.hope->host);
        tried = nullptr;
    }
    return drained;
}

} // namespace foreshade

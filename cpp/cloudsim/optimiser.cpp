#include "cloudsim/optimiser.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "cloudsim/errors.hpp"

namespace foreshade::cloudsim {

Optimiser::Optimiser(const Cluster& cluster, const History& history)
    : cluster_(cluster), tentative_(cluster, history), overloaded_(cluster.n_hosts()), kept_(cluster.n_hosts()) {}

const std::vector<Move>& Optimiser::moves(Policy policy, double parameter, double time_s) {
    moves_.clear();
    if (policy == Policy::none) return moves_;
    time_s_ = time_s;
    tentative_.reset(policy, parameter);
    find_overloaded();
    relieve_overloaded();
    rehouse();
    drain();
    return moves_;
}

// All of them first, each with its own list: a relieved host stays excluded to the end.
void Optimiser::find_overloaded() {
    overloaded_.clear();
    cluster_.occupied.each([this](std::size_t h) {
        if (tentative_.overloaded(tentative_.offer(h))) overloaded_.insert(h);
    });
}

// Minimum migration time: the VM of least RAM, until the rest is not overloaded.
void Optimiser::relieve_overloaded() {
    homeless_.clear();
    overloaded_.each([this](std::size_t h) {
        const auto& list = tentative_.list(h);
        do {
            const auto ram = [this](std::int32_t vm) { return cluster_.type(static_cast<std::size_t>(vm)).ram_mb; };
            const auto least = std::min_element(list.begin(), list.end(),
                                                [&](std::int32_t a, std::int32_t b) { return ram(a) < ram(b); });
            homeless_.push_back(*least);
            tentative_.remove(h, static_cast<std::size_t>(least - list.begin()));
        } while (!list.empty() && tentative_.overloaded(tentative_.offer(h)));
    });
}

void Optimiser::rehouse() {
    targets_.clear();
    cluster_.occupied.each([this](std::size_t h) {
        if (cluster_.shares[h].load > 0 && !overloaded_.contains(h)) targets_.push_back(tentative_.offer(h));
    });
    for (std::size_t model = 0; model < idle_.size(); ++model) {
        idle_[model] = model;
        skip_busy(idle_[model]);
    }
    sort_by_request(homeless_);
    for (const std::int32_t vm : homeless_) {
        const Guest guest = tentative_.guest(static_cast<std::size_t>(vm));
        const std::size_t target = find_with_idle(guest);
        if (target == kNone) continue; // it stays where it is
        tentative_.append(targets_[target], guest);
        moves_.push_back({vm, static_cast<std::int32_t>(targets_[target].host)});
    }
}

void Optimiser::drain() {
    // A host that was off stays out on both sides, even if it has just been given VMs.
    std::erase_if(targets_, [this](const Offer& offer) { return !(cluster_.shares[offer.host].load > 0); });
    sources_.clear();
    for (const Offer& offer : targets_)
        if (cluster_.shares[offer.host].utilisation < 1) sources_.push_back(offer.host);
    // By the utilisation of this step's accounting, which does not change meanwhile, so one pass visits them in order.
    std::sort(sources_.begin(), sources_.end(), [this](std::uint32_t a, std::uint32_t b) {
        const double u = cluster_.shares[a].utilisation;
        const double v = cluster_.shares[b].utilisation;
        return u != v ? u < v : a < b;
    });
    kept_.clear();
    for (const std::uint32_t h : sources_) {
        if (kept_.contains(h)) continue;
        targets_.erase(std::find_if(targets_.begin(), targets_.end(), [h](const Offer& o) { return o.host == h; }));
        if (!empty_host(h)) continue;
        for (std::size_t i = 0; i < placed_.size(); ++i) {
            const std::uint32_t target = targets_[placed_[i].target].host;
            kept_.insert(target);
            moves_.push_back({leaving_[i], static_cast<std::int32_t>(target)});
        }
    }
}

// Places all VMs of a host, or none.
bool Optimiser::empty_host(std::size_t h) {
    leaving_ = tentative_.list(h);
    sort_by_request(leaving_);
    placed_.clear();
    for (const std::int32_t vm : leaving_) {
        const Guest guest = tentative_.guest(static_cast<std::size_t>(vm));
        const std::size_t target = find(guest);
        if (target == kNone) {
            for (; !placed_.empty(); placed_.pop_back())
                tentative_.undo(targets_[placed_.back().target], placed_.back().before);
            return false;
        }
        placed_.push_back({target, targets_[target]});
        tentative_.append(targets_[target], guest);
    }
    return true;
}

// The target with the least rise of power, the first on ties; sets `least_rise_`.
std::size_t Optimiser::find(const Guest& guest) {
    constexpr double kNever = std::numeric_limits<double>::infinity();
    // Most hosts fall to one comparison or the other, in no order that a branch could learn.
    std::size_t n_open = 0;
    open_.resize(targets_.size());
    rises_.resize(targets_.size());
    for (std::size_t i = 0; i < targets_.size(); ++i) {
        open_[n_open] = static_cast<std::uint32_t>(i);
        n_open += guest.may_fit(targets_[i]) ? 1 : 0;
    }
    bool brim = false;
    for (std::size_t o = 0; o < n_open; ++o) {
        const Offer& offer = targets_[open_[o]];
        const HostModel& model = cluster_.model(offer.host);
        const double utilisation = (offer.used + guest.request) / model.capacity;
        brim |= utilisation > 1;
        rises_[o] = model.power.at(utilisation) - offer.power_w;
    }
    if (brim) refuse_overfull(guest, n_open);
    // The costly question is asked of the best only, and of the next where it fails.
    const auto first = rises_.begin();
    for (;;) {
        const auto best = std::min_element(first, first + static_cast<std::ptrdiff_t>(n_open));
        const auto o = static_cast<std::size_t>(best - first);
        if (o == n_open || *best == kNever) {
            least_rise_ = kNever;
            return kNone;
        }
        if (accepts(targets_[open_[o]], guest)) {
            least_rise_ = *best;
            return open_[o];
        }
        *best = kNever;
    }
}

bool Optimiser::accepts(Offer& offer, const Guest& guest) {
    return offer.used == 0 || !tentative_.overloaded_with(offer, guest); // an idle host is not asked
}

// A host that is full but for rounding and passes the overload test ends the day, whichever host were best.
void Optimiser::refuse_overfull(const Guest& guest, std::size_t n_open) {
    for (std::size_t o = 0; o < n_open; ++o) {
        Offer& offer = targets_[open_[o]];
        const double utilisation = (offer.used + guest.request) / cluster_.model(offer.host).capacity;
        if (!(utilisation > 1)) continue;
        if (accepts(offer, guest))
            throw AbortError("time " + std::to_string(time_s_) + " s, host " + std::to_string(offer.host) +
                             ": CloudSim ends here, expected utilisation at most 1 with VM " +
                             std::to_string(guest.vm) + ", got 1 + " + std::to_string((utilisation - 1) * 1e15) +
                             "e-15");
        rises_[o] = std::numeric_limits<double>::infinity();
    }
}

// The same over idle hosts as well, of which only the first of each model can win; it then becomes a target.
std::size_t Optimiser::find_with_idle(const Guest& guest) {
    std::size_t best = find(guest);
    std::size_t first = best == kNone ? kNone : targets_[best].host;
    bool idle_wins = false;
    for (const std::size_t h : idle_) {
        if (h >= cluster_.n_hosts()) continue;
        const HostModel& model = cluster_.model(h);
        if (model.pe_mips < guest.request) continue;
        const double rise = model.power.at(guest.request / model.capacity) - model.power.idle();
        if (rise < least_rise_ || (rise == least_rise_ && h < first)) {
            least_rise_ = rise;
            first = h;
            idle_wins = true;
        }
    }
    if (!idle_wins) return best;
    std::size_t& next = idle_[model_of(first)];
    next += kHostModels.size();
    skip_busy(next);
    const auto place =
        std::find_if(targets_.begin(), targets_.end(), [first](const Offer& offer) { return offer.host > first; });
    best = static_cast<std::size_t>(place - targets_.begin());
    targets_.insert(place, tentative_.offer(first));
    return best;
}

void Optimiser::skip_busy(std::size_t& host) const {
    while (host < cluster_.n_hosts() && (cluster_.shares[host].load > 0 || overloaded_.contains(host)))
        host += kHostModels.size();
}

// Largest request first, and as they stood where requests are equal.
void Optimiser::sort_by_request(std::vector<std::int32_t>& vms) {
    ranked_.clear();
    for (const std::int32_t vm : vms)
        ranked_.push_back({cluster_.request[static_cast<std::size_t>(vm)], ranked_.size(), vm});
    std::sort(ranked_.begin(), ranked_.end(), [](const Ranked& a, const Ranked& b) {
        return a.request != b.request ? a.request > b.request : a.place < b.place;
    });
    std::transform(ranked_.begin(), ranked_.end(), vms.begin(), [](const Ranked& ranked) { return ranked.vm; });
}

} // namespace foreshade::cloudsim

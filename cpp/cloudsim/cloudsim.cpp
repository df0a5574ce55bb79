#include "cloudsim/cloudsim.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "cloudsim/errors.hpp"

namespace foreshade::cloudsim {

namespace {

constexpr double kFirstStepS = 0.1 + kStepS;

std::size_t checked_hosts(std::size_t n) {
    if (n == 0) throw InputError("fleet: expected at least one host, got none");
    return n;
}

} // namespace

CloudSim::CloudSim(std::span<const std::int32_t> percent, std::size_t n_vms, const Options& options)
    : options_(options), demand_(percent, n_vms), cluster_(checked_hosts(options.n_hosts), n_vms), history_(n_vms),
      optimiser_(cluster_, history_), ledger_(options.n_hosts, n_vms, options.full_power), utilisation_(n_vms, 0.0),
      arrived_s_(n_vms, -1.0), present_(n_vms), touched_(options.n_hosts) {
    std::iota(present_.begin(), present_.end(), 0);
    const std::size_t per_type = (n_vms + kVmTypes.size() - 1) / kVmTypes.size();
    for (std::size_t vm = 0; vm < n_vms; ++vm) {
        cluster_.kind[vm] = static_cast<std::uint8_t>(vm / per_type);
        cluster_.mips[vm] = cluster_.type(vm).mips;
    }
    place_all(cluster_, options.placement);
    for (std::size_t h = 0; h < n_hosts(); ++h) cluster_.share(h); // nothing is asked for yet
}

void CloudSim::advance() {
    if (done_) throw MoveError("advance: the day is done, expected a call before its end");
    land_all();
    if (step_ == kSteps) {
        done_ = true;
        return;
    }
    control_s_ = step_ == 0 ? kFirstStepS : control_s_ + kStepS;
    ++step_;
    account(control_s_, true);
    record();
}

// One accounting point: entries closed, demand of the moment, every host shared anew.
void CloudSim::account(double time_s, bool control_step) {
    ledger_.close(cluster_, time_s);
    time_s_ = time_s;
    demand_.at(time_s, utilisation_);
    for (std::size_t vm = 0; vm < n_vms(); ++vm) cluster_.request[vm] = utilisation_[vm] * cluster_.mips[vm];
    if (control_step) history_.push(utilisation_, present_);
    cluster_.occupied.each([this](std::size_t h) { cluster_.share(h); });
    ledger_.add_energy(cluster_);
    // Demand is exactly 0 only between two zero samples, so all that will be removed until the next control step is
    // removed at this one; shares and sums do not change, because what is taken out was 0.
    if (control_step && !options_.keep_zero) remove_idle_vms();
}

void CloudSim::remove_idle_vms() {
    std::erase_if(present_, [this](std::int32_t vm) {
        const auto v = static_cast<std::size_t>(vm);
        if (cluster_.request[v] != 0) return false;
        cluster_.erase(static_cast<std::size_t>(cluster_.host[v]), vm);
        cluster_.host[v] = -1;
        cluster_.mips[v] = 0;
        return true;
    });
}

// Copies end in the order of their VMs' RAM, those of one instant together.
void CloudSim::land_all() {
    if (flights_.empty()) return;
    std::array<double, kVmTypes.size()> sizes{};
    std::transform(kVmTypes.begin(), kVmTypes.end(), sizes.begin(), [](const VmType& type) { return type.ram_mb; });
    std::sort(sizes.begin(), sizes.end());
    const auto last = std::unique(sizes.begin(), sizes.end());
    for (auto size = sizes.begin(); size != last; ++size) {
        const auto ends = [&](const Move& f) { return cluster_.type(static_cast<std::size_t>(f.vm)).ram_mb == *size; };
        if (std::none_of(flights_.begin(), flights_.end(), ends)) continue;
        account(control_s_ + *size / kCopyMbPerS, false);
        touched_.clear();
        for (const Move& flight : flights_)
            if (ends(flight)) land(flight);
        share_touched(); // the second accounting point, of zero length: only these hosts can differ
    }
    flights_.clear();
}

void CloudSim::land(const Move& flight) {
    const auto vm = static_cast<std::size_t>(flight.vm);
    const auto from = static_cast<std::size_t>(cluster_.host[vm]);
    const auto to = static_cast<std::size_t>(flight.host);
    cluster_.erase(from, flight.vm);
    cluster_.erase(to, flight.vm); // where it was arriving
    cluster_.append(to, flight.vm);
    cluster_.host[vm] = flight.host;
    --cluster_.copies[to];
    if (--cluster_.moves[vm] == 0) {
        cluster_.target[vm] = -1;
        arrived_s_[vm] = time_s_;
    }
    --cluster_.copies[from];
    if (cluster_.moves[vm] > 0) ++cluster_.copies[to]; // on its way to the second host at once
    touched_.insert(from);
    touched_.insert(to);
}

const std::vector<Move>& CloudSim::optimise(Policy policy, double parameter) {
    if (step_ == 0 || done_) throw MoveError("optimise: expected a control step, got a day that is not at one");
    if (!flights_.empty())
        throw MoveError("optimise: expected no migration under way, got " + std::to_string(flights_.size()));
    if (!std::isfinite(parameter) || parameter < 0)
        throw InputError("optimise: expected a parameter of at least 0, got " + std::to_string(parameter));
    return optimiser_.moves(policy, parameter, time_s_);
}

void CloudSim::migrate(std::span<const Move> moves) {
    if (step_ == 0 || done_) throw MoveError("migrate: expected a control step, got a day that is not at one");
    for (std::size_t i = 0; i < moves.size(); ++i) {
        const std::string why = refusal(moves[i]);
        if (why.empty()) {
            start(moves[i]);
            continue;
        }
        while (i-- > 0) take_back();
        throw MoveError(why);
    }
    touched_.clear();
    for (const Move& move : moves) {
        touched_.insert(static_cast<std::size_t>(cluster_.host[static_cast<std::size_t>(move.vm)]));
        touched_.insert(static_cast<std::size_t>(move.host));
    }
    share_touched();
    ledger_.count_migrations(moves.size());
    series_.migrations.back() += static_cast<std::int32_t>(moves.size());
}

// Why a move cannot be started, or nothing.
std::string CloudSim::refusal(const Move& move) const {
    std::string why;
    if (move.vm < 0 || static_cast<std::size_t>(move.vm) >= n_vms()) {
        why = "expected a VM of 0 to " + std::to_string(n_vms() - 1);
    } else if (move.host < 0 || static_cast<std::size_t>(move.host) >= n_hosts()) {
        why = "expected a host of 0 to " + std::to_string(n_hosts() - 1);
    } else {
        const auto v = static_cast<std::size_t>(move.vm);
        if (cluster_.host[v] < 0)
            why = "expected a VM that exists, this one was removed";
        else if (cluster_.host[v] == move.host)
            why = "expected another host, it stands on this one";
        else if (cluster_.target[v] == move.host)
            why = "expected another host, it is on its way to this one";
        else if (cluster_.moves[v] > 1)
            why = "expected at most two moves at one step, it has two";
    }
    if (why.empty()) return why;
    return "migrate: VM " + std::to_string(move.vm) + " to host " + std::to_string(move.host) + ": " + why;
}

void CloudSim::start(const Move& move) {
    const auto vm = static_cast<std::size_t>(move.vm);
    const auto to = static_cast<std::size_t>(move.host);
    cluster_.append(to, move.vm);
    ++cluster_.copies[to];
    if (++cluster_.moves[vm] == 1) ++cluster_.copies[static_cast<std::size_t>(cluster_.host[vm])];
    cluster_.target[vm] = move.host;
    flights_.push_back(move);
}

// Undoes the newest start.
void CloudSim::take_back() {
    const Move move = flights_.back();
    flights_.pop_back();
    const auto vm = static_cast<std::size_t>(move.vm);
    const auto to = static_cast<std::size_t>(move.host);
    cluster_.pop(to);
    --cluster_.copies[to];
    if (--cluster_.moves[vm] == 0) --cluster_.copies[static_cast<std::size_t>(cluster_.host[vm])];
    const auto first = std::find_if(flights_.begin(), flights_.end(), [&](const Move& m) { return m.vm == move.vm; });
    cluster_.target[vm] = first == flights_.end() ? -1 : first->host;
}

void CloudSim::share_touched() {
    touched_.each([this](std::size_t h) { cluster_.share(h); });
}

void CloudSim::run(Policy policy, double parameter) {
    if (step_ == 0) advance();
    while (!done_) {
        migrate(optimise(policy, parameter));
        advance();
    }
}

void CloudSim::record() {
    double power_w = 0;
    double requested = 0;
    double allocated = 0;
    std::int32_t on = 0;
    for (std::size_t h = 0; h < n_hosts(); ++h) {
        const HostShare& share = cluster_.shares[h];
        if (options_.full_power) power_w += cluster_.model(h).power.peak();
        if (!(share.load > 0)) continue;
        ++on;
        if (!options_.full_power) power_w += share.power_w;
        // No VM arrives at a control step, so the host's figures are those of the VMs that stand there.
        requested += share.requested;
        allocated += share.load;
    }
    series_.power_w.push_back(power_w);
    series_.hosts_on.push_back(on);
    series_.migrations.push_back(0);
    series_.requested_mips.push_back(requested);
    series_.allocated_mips.push_back(allocated);
}

} // namespace foreshade::cloudsim

#include "core/affinity.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace foreshade {

namespace {

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

void require(bool ok, std::size_t rule, const char* what) {
    if (!ok) throw std::invalid_argument("affinity: rule " + std::to_string(rule) + ": " + what);
}

} // namespace

Affinity::Affinity(std::vector<AffinityRule> rules, std::vector<std::int32_t> rack, std::vector<std::int32_t> zone,
                   std::vector<std::int32_t> app, std::size_t n_apps)
    : rules_(std::move(rules)), n_vms_(app.size()), of_vm_(app.size()), of_app_(n_apps), company_(app.size()) {
    const std::size_t n_hosts = rack.size();
    if (zone.size() != n_hosts) throw std::invalid_argument("affinity: expected a rack and a zone for every host");
    for (std::size_t h = 0; h < n_hosts; ++h) {
        domain_[0].push_back(static_cast<std::uint32_t>(h));
        for (const auto& [reach, column] : {std::pair{1, &rack}, {2, &zone}}) {
            if ((*column)[h] < 0) throw std::invalid_argument("affinity: expected racks and zones from 0 on");
            domain_[static_cast<std::size_t>(reach)].push_back(static_cast<std::uint32_t>((*column)[h]));
        }
    }
    for (std::size_t reach = 0; reach < 3; ++reach)
        for (const std::uint32_t d : domain_[reach])
            n_domains_[reach] = std::max(n_domains_[reach], static_cast<std::size_t>(d) + 1);
    for (const std::int32_t a : app)
        if (a < 0 || at(a) >= n_apps) throw std::invalid_argument("affinity: expected an application of every VM");
    for (std::size_t i = 0; i < rules_.size(); ++i) {
        const AffinityRule& rule = rules_[i];
        require(std::isfinite(rule.usd_h) && rule.usd_h >= 0.0F, i, "expected a price of 0 or more");
        const bool within = rule.sense == AffinityRule::Sense::within;
        require(rule.hosts.size() == (within ? n_hosts : 0), i, "expected hosts where VMs stay within them alone");
        std::vector<std::uint8_t> bound(n_vms_, 0);
        for (const std::int32_t a : rule.apps) {
            require(a >= 0 && at(a) < n_apps, i, "application out of range");
            of_app_[at(a)].push_back(static_cast<std::uint32_t>(i));
            for (std::size_t v = 0; v < n_vms_; ++v)
                if (app[v] == a) bound[v] = 1;
        }
        for (const std::int32_t v : rule.vms) {
            require(v >= 0 && at(v) < n_vms_, i, "VM out of range");
            bound[at(v)] = 1;
        }
        for (std::size_t v = 0; v < n_vms_; ++v)
            if (bound[v] != 0) of_vm_[v].push_back(static_cast<std::uint32_t>(i));
    }
    // Companies: what hard rules keep on one host, directly or by way of others.
    std::vector<std::int32_t> first(rules_.size(), -1), root(n_vms_);
    for (std::size_t v = 0; v < n_vms_; ++v) root[v] = static_cast<std::int32_t>(v);
    const auto find = [&root](std::int32_t v) {
        while (root[at(v)] != v) v = root[at(v)] = root[at(root[at(v)])];
        return v;
    };
    for (std::size_t v = 0; v < n_vms_; ++v)
        for (const std::uint32_t i : of_vm_[v]) {
            const AffinityRule& rule = rules_[i];
            if (rule.sense != AffinityRule::Sense::together || rule.reach != Reach::host || rule.usd_h > 0.0F) continue;
            const auto id = static_cast<std::int32_t>(v);
            if (first[i] < 0) first[i] = id;
            root[at(find(id))] = find(first[i]);
        }
    for (std::size_t v = 0; v < n_vms_; ++v)
        company_[at(find(static_cast<std::int32_t>(v)))].push_back(static_cast<std::int32_t>(v));
    for (std::size_t v = 0; v < n_vms_; ++v) {
        const auto top = at(find(static_cast<std::int32_t>(v)));
        if (top != v) company_[v] = company_[top];
    }
    for (auto& company : company_)
        if (company.size() == 1) company.clear();
}

std::span<const std::uint32_t> Affinity::rules_of(std::size_t vm, std::int32_t app) const {
    if (vm < n_vms_) return of_vm_[vm];
    if (app >= 0 && at(app) < of_app_.size()) return of_app_[at(app)];
    return {};
}

std::span<const std::int32_t> Affinity::company_of(std::size_t vm) const {
    if (vm < n_vms_) return company_[vm];
    return {};
}

AffinityBook::AffinityBook(std::shared_ptr<const Affinity> rules) : rules_(std::move(rules)) {}

void AffinityBook::clear(std::size_t n_vms) {
    at_.assign(n_vms, {});
    counts_.resize(rules_->rules().size());
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        const std::size_t n = rules_->n_domains(rules_->rules()[i].reach);
        counts_[i].present.assign(n, 0);
        counts_[i].planned.assign(n, 0);
        counts_[i].total = 0;
    }
}

void AffinityBook::read(const ClusterState& state) {
    clear(state.n_vms());
    for (std::size_t v = 0; v < state.n_vms(); ++v)
        if (state.vms.state[v] != VmState::absent && state.vms.host[v] >= 0)
            set(v, state.vms.app[v], state.vms.kind[v], state.vms.host[v], state.vms.destination[v]);
}

void AffinityBook::count(const Place& place, std::size_t vm, std::int32_t sign) {
    if (place.host < 0) return;
    for (const std::uint32_t i : rules_->rules_of(vm, place.app)) {
        if (!rules_->binds(i, place.kind)) continue;
        const Reach reach = rules_->rules()[i].reach;
        const std::size_t here = rules_->domain(reach, at(place.host));
        const std::size_t there = place.destination < 0 ? here : rules_->domain(reach, at(place.destination));
        Counts& counts = counts_[i];
        counts.present[here] += sign;
        if (there != here) counts.present[there] += sign;
        counts.planned[there] += sign;
        counts.total += sign;
    }
}

void AffinityBook::set(std::size_t vm, std::int32_t app, VmKind kind, std::int32_t host, std::int32_t destination) {
    count(at_[vm], vm, -1);
    at_[vm] = {host, destination, app, kind};
    count(at_[vm], vm, 1);
}

void AffinityBook::move(std::size_t vm, std::int32_t host, std::int32_t destination) {
    set(vm, at_[vm].app, at_[vm].kind, host, destination);
}

void AffinityBook::add(std::int32_t app, VmKind kind, std::size_t host) {
    count({static_cast<std::int32_t>(host), -1, app, kind}, rules_->n_vms(), 1);
}

// Members that the one of `self` would be together with or apart from against the rule, once it is at `host`.
std::int32_t AffinityBook::conflicts(std::uint32_t i, const Place& self, std::size_t host) const {
    const AffinityRule& rule = rules_->rules()[i];
    if (rule.sense == AffinityRule::Sense::within) return rule.hosts[host] != 0 ? 0 : 1;
    const Counts& counts = counts_[i];
    const std::size_t d = rules_->domain(rule.reach, host);
    const bool placed = self.host >= 0;
    const std::size_t here = placed ? rules_->domain(rule.reach, at(self.host)) : d;
    const std::size_t there = self.destination < 0 ? here : rules_->domain(rule.reach, at(self.destination));
    if (rule.sense == AffinityRule::Sense::apart && rule.usd_h > 0.0F) // what is leaving costs nothing any more
        return counts.planned[d] - (placed && there == d ? 1 : 0);
    if (rule.sense == AffinityRule::Sense::apart)
        return counts.present[d] - (placed && (here == d || there == d) ? 1 : 0);
    return counts.total - counts.planned[d] - (placed && there != d ? 1 : 0);
}

bool AffinityBook::allows(std::size_t vm, const Place& self, std::size_t host) const {
    for (const std::uint32_t i : rules_->rules_of(vm, self.app)) {
        if (rules_->rules()[i].usd_h > 0.0F || !rules_->binds(i, self.kind)) continue;
        const std::int32_t then = conflicts(i, self, host);
        if (then == 0) continue;
        const std::int32_t now = self.destination >= 0 ? self.destination : self.host;
        if (now < 0 || then >= conflicts(i, self, at(now))) return false;
    }
    return true;
}

bool AffinityBook::allows(std::size_t vm, std::int32_t app, VmKind kind, std::size_t host) const {
    Place self = at_[vm];
    self.app = app;
    self.kind = kind;
    return allows(vm, self, host);
}

bool AffinityBook::allows_new(std::int32_t app, VmKind kind, std::size_t host) const {
    return allows(rules_->n_vms(), Place{-1, -1, app, kind}, host);
}

float AffinityBook::usd_h(std::size_t vm, std::int32_t app, VmKind kind, std::size_t host) const {
    float sum = 0.0F;
    Place self = at_[vm];
    self.app = app;
    self.kind = kind;
    for (const std::uint32_t i : rules_->rules_of(vm, app)) {
        const float price = rules_->rules()[i].usd_h;
        if (price > 0.0F && rules_->binds(i, kind)) sum += price * static_cast<float>(conflicts(i, self, host));
    }
    return sum;
}

std::vector<std::int32_t> AffinityBook::companions(std::size_t vm) const {
    std::vector<std::int32_t> out;
    for (const std::int32_t v : rules_->company_of(vm))
        if (at_[at(v)].host >= 0 && at_[at(v)].host == at_[vm].host) out.push_back(v);
    if (out.empty()) out.push_back(static_cast<std::int32_t>(vm));
    return out;
}

bool AffinityBook::allows_company(std::span<const std::int32_t> vms, std::size_t host) {
    // Each as if the others had gone before it.
    std::vector<Place> before;
    for (const std::int32_t v : vms) before.push_back(at_[at(v)]);
    for (const std::int32_t v : vms) move(at(v), at_[at(v)].host, static_cast<std::int32_t>(host));
    bool all = true;
    for (std::size_t k = 0; k < vms.size() && all; ++k) {
        const std::size_t v = at(vms[k]);
        for (const std::uint32_t i : rules_->rules_of(v, at_[v].app)) {
            if (rules_->rules()[i].usd_h > 0.0F || !rules_->binds(i, at_[v].kind)) continue;
            all = all && conflicts(i, at_[v], host) == 0;
        }
    }
    for (std::size_t k = 0; k < vms.size(); ++k) move(at(vms[k]), before[k].host, before[k].destination);
    return all;
}

bool AffinityBook::is_first(std::size_t vm) const {
    const auto company = rules_->company_of(vm);
    return !company.empty() &&
           std::none_of(company.begin(), company.end(), [this](std::int32_t v) { return at_[at(v)].host >= 0; });
}

std::vector<std::int32_t> AffinityBook::broken() const {
    std::vector<std::int32_t> out(rules_->rules().size(), 0);
    for (std::size_t v = 0; v < at_.size(); ++v) {
        const Place& self = at_[v];
        if (self.host < 0) continue;
        const std::int32_t now = self.destination >= 0 ? self.destination : self.host;
        for (const std::uint32_t i : rules_->rules_of(v, self.app))
            if (rules_->binds(i, self.kind)) out[i] += conflicts(i, self, at(now));
    }
    for (std::size_t i = 0; i < out.size(); ++i)
        if (rules_->rules()[i].sense != AffinityRule::Sense::within) out[i] /= 2;
    return out;
}

} // namespace foreshade

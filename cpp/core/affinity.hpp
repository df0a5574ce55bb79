// Which VMs may stand where: rules about groups of VMs, and a book of where the VMs stand against them.
//
// A rule binds a group to be together in one domain (host, rack or zone), apart in as many, or within some hosts. Hard
// rules forbid; soft ones have a price. Together and apart bind production VMs: shadows and micro-VMs stand elsewhere
// by what they are for. Within binds every VM of its applications. Rules are checked against planned places: a VM that
// is being copied counts as planned where it goes, and is present at both ends until it is there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/cluster_state.hpp"

namespace foreshade {

enum class Reach : std::uint8_t { host, rack, zone };

struct AffinityRule {
    enum class Sense : std::uint8_t { together, apart, within };
    Sense sense = Sense::together;
    Reach reach = Reach::host;
    std::vector<std::int32_t> apps;  // all VMs of these applications, those made later included
    std::vector<std::int32_t> vms;   // and these of the workload
    std::vector<std::uint8_t> hosts; // (n_hosts,) of `within`: 1 = may stand there; else empty
    float usd_h = 0.0F;              // of each VM out of place and each pair that is; 0 = hard
};

class Affinity {
  public:
    // `rack` and `zone` (n_hosts,) of each host, `app` (n_vms,) of each VM of the workload.
    // Throws std::invalid_argument on a number out of range, a negative price or columns of different lengths.
    Affinity(std::vector<AffinityRule> rules, std::vector<std::int32_t> rack, std::vector<std::int32_t> zone,
             std::vector<std::int32_t> app, std::size_t n_apps);

    std::size_t n_hosts() const { return domain_[0].size(); }
    std::size_t n_vms() const { return n_vms_; }
    const std::vector<AffinityRule>& rules() const { return rules_; }
    std::size_t domain(Reach reach, std::size_t host) const { return domain_[static_cast<std::size_t>(reach)][host]; }
    std::size_t n_domains(Reach reach) const { return n_domains_[static_cast<std::size_t>(reach)]; }
    // Rules of a VM: of the workload by its number, of one made since by its application.
    std::span<const std::uint32_t> rules_of(std::size_t vm, std::int32_t app) const;
    // VMs of the workload that a hard rule keeps on one host with `vm`, itself included; empty where none does.
    std::span<const std::int32_t> company_of(std::size_t vm) const;
    bool binds(std::uint32_t rule, VmKind kind) const {
        return kind == VmKind::production || rules_[rule].sense == AffinityRule::Sense::within;
    }

  private:
    std::vector<AffinityRule> rules_;
    std::array<std::vector<std::uint32_t>, 3> domain_; // (n_hosts,) by reach
    std::array<std::size_t, 3> n_domains_{};
    std::size_t n_vms_;
    std::vector<std::vector<std::uint32_t>> of_vm_, of_app_;
    std::vector<std::vector<std::int32_t>> company_; // (n_vms,)
};

class AffinityBook {
  public:
    AffinityBook() = default;
    explicit AffinityBook(std::shared_ptr<const Affinity> rules);

    // Whether there are rules at all; without them nothing else may be called.
    explicit operator bool() const { return rules_ != nullptr; }

    void clear(std::size_t n_vms);
    // The places of a state, planned ones included.
    void read(const ClusterState& state);
    // Where VM `vm` stands, and where it is being copied to; -1 = nowhere.
    void set(std::size_t vm, std::int32_t app, VmKind kind, std::int32_t host, std::int32_t destination);
    void move(std::size_t vm, std::int32_t host, std::int32_t destination);
    // One VM more of an application, that has no number yet.
    void add(std::int32_t app, VmKind kind, std::size_t host);

    // Whether no hard rule is broken by the VM's going to `host`; of one that is broken already, whether it is less so.
    bool allows(std::size_t vm, std::int32_t app, VmKind kind, std::size_t host) const;
    bool allows(std::size_t vm, std::size_t host) const { return allows(vm, at_[vm], host); } // as it was set
    // Likewise of a VM that there is not yet.
    bool allows_new(std::int32_t app, VmKind kind, std::size_t host) const;
    // USD/h of the soft rules that the VM breaks once it is at `host`.
    float usd_h(std::size_t vm, std::int32_t app, VmKind kind, std::size_t host) const;
    float usd_h(std::size_t vm, std::size_t host) const { return usd_h(vm, at_[vm].app, at_[vm].kind, host); }
    // VMs that have to move with it: those of its company that stand where it stands, itself included.
    std::vector<std::int32_t> companions(std::size_t vm) const;
    // Whether all of its company may go to `host` at once.
    bool allows_company(std::span<const std::int32_t> vms, std::size_t host);
    // VMs of its company that have no place, itself included, while none of them has one; else empty. Whoever places
    // the first looks for room for all.
    bool is_first(std::size_t vm) const;
    std::span<const std::int32_t> company_of(std::size_t vm) const { return rules_->company_of(vm); }
    bool is_placed(std::size_t vm) const { return vm < at_.size() && at_[vm].host >= 0; }
    // Pairs and VMs that break each rule where they stand now, (n_rules,).
    std::vector<std::int32_t> broken() const;

  private:
    struct Place {
        std::int32_t host = -1, destination = -1, app = -1;
        VmKind kind = VmKind::production;
    };
    struct Counts {
        std::vector<std::int32_t> present, planned; // (n_domains,) members
        std::int32_t total = 0;
    };
    void count(const Place& place, std::size_t vm, std::int32_t sign);
    std::int32_t conflicts(std::uint32_t rule, const Place& self, std::size_t host) const;
    bool allows(std::size_t vm, const Place& self, std::size_t host) const;

    std::shared_ptr<const Affinity> rules_;
    std::vector<Place> at_;      // (n_vms,)
    std::vector<Counts> counts_; // (n_rules,)
};

} // namespace foreshade

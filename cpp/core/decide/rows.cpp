// Candidates as numbers: what the rules think of them, and the features that an agent is shown.
#include "core/decide/proposer.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/decide/scaled.hpp"
#include "core/half.hpp"
#include "core/wide.hpp"

namespace foreshade {

namespace {

constexpr float kFirst = 5.0F; // above any step and score, below the largest

} // namespace

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
    if (c.kind == CandidateKind::right_size) taken = taken && c.plan < 0;
    if (c.offered >= 0) taken = offers_[at(c.offered)].preferred && score > 0.0F;
    if (c.kind == CandidateKind::plan) {
        const PlanKnobs& plan = knobs_.plans[at(c.plan)];
        if (plan.preferred && gpus_short_ && plan.packer.orders_those_who_wait(true))
            return kFirst + score / kLargest; // before single VMs take what others need more
        taken = plan.preferred;
    }
    return stepped(score, taken);
}

// The preference, and what the rules that people wrote make of it.
void Proposer::prefer(Candidate& c) const {
    c.preference = preference_of(c);
    c.rule = -1;
    if (knobs_.rules.empty() || c.kind == CandidateKind::wait) return;
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

FORESHADE_CLONES void Proposer::write_row(const Candidate& c, float* row) const {
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
    row[feature::way] = clip(c.way);
    row[feature::actions] = std::min(kLargest, std::log2(1.0F + static_cast<float>(c.n_actions)));
    row[feature::boot] = clip(c.ready_h);
    const auto margin = [&](std::size_t h) {
        const float sigma = std::sqrt(std::max(loads.bears[h].variance[0], 1.0F));
        return clip((loads.has(h).capacity[0] - loads.bears[h].mean[0]) / sigma);
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
        const float sigma = std::sqrt(std::max(0.0F, loads.bears[h].variance[0]));
        row[feature::source_excess] =
            clip(100.0F * expected_excess(loads.bears[h].mean[0] - loads.has(h).capacity[0], sigma) *
                 loads.has(h).inverse_cpu);
        row[feature::source_idle] = std::clamp(cost_->idle_usd_h(h) / std::max(planned_->usd_h(h), 1e-9F), 0.0F, 1.0F);
        if (c.vm >= 0)
            row[feature::vm_share_of_variance] = std::clamp(
                planned_->load(at(c.vm)).variance[0] / std::max(loads.bears[h].variance[0], 1.0F), 0.0F, 1.0F);
    }
    if (c.host >= 0) {
        const std::size_t h = at(c.host);
        row[feature::target_margin] = margin(h);
        row[feature::target_memory] = promised(h);
        row[feature::target_cpu] = clip_share(loads.bears[h].mean[0] * loads.has(h).inverse_cpu);
    }
    if (c.vm >= 0) {
        const std::size_t v = at(c.vm);
        const Load& load = planned_->load(v);
        const float allocation = std::max(vms.allocation[v * kResources], 1.0F);
        row[feature::vm_cpu] = clip(load.mean[0] / allocation);
        row[feature::vm_memory] = clip(load.mean[1] / std::max(vms.allocation[v * kResources + 1], 1.0F));
        row[feature::trend] = clip((vms.demand[v * kResources] - load.mean[0]) / allocation);
        row[feature::since_move] = hours(state.since_move_s(v));
    }
}

void Proposer::refresh_rows() const {
    ++written_;
    for (std::size_t i = 0; i < knobs_.k; ++i) {
        if (stale_[i] == 0) continue;
        stale_[i] = 0;
        const bool filled = possible(i);
        if (!filled && filled_[i] == 0) continue; // zeros before and after
        float* const row = rows_.data() + i * feature::count;
        if (filled_[i] != 0) std::fill_n(row, feature::count, 0.0F);
        filled_[i] = filled ? 1 : 0;
        if (filled) write_row(shown_[i], row);
        row_written_[i] = written_;
    }
}

template <class Number>
std::uint64_t Proposer::write(Number* context_out, Number* candidates, Number* mask, std::uint64_t since) const {
    refresh_rows();
    std::array<float, context::count> shown = context_;
    shown[context::planned] = whole_ ? 1.0F : 0.0F;
    shown[context::decisions_left] = static_cast<float>(left_) / static_cast<float>(knobs_.decisions);
    copy_as(shown.data(), shown.size(), context_out);
    constexpr std::array<float, 2> kMask{0.0F, 1.0F};
    std::array<Number, 2> as_shown;
    copy_as(kMask.data(), kMask.size(), as_shown.data());
    for (std::size_t i = 0; i < knobs_.k; ++i) mask[i] = as_shown[possible(i) ? 1 : 0];
    for (std::size_t i = 0; i < knobs_.k; ++i)
        if (since == 0 || row_written_[i] > since)
            copy_as(rows_.data() + i * feature::count, feature::count, candidates + i * feature::count);
    return written_;
}

template std::uint64_t Proposer::write(float*, float*, float*, std::uint64_t) const;
template std::uint64_t Proposer::write(Half*, Half*, Half*, std::uint64_t) const;

} // namespace foreshade

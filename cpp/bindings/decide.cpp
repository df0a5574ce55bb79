#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <span>
#include <stdexcept>

#include "bindings/register.hpp"
#include "core/decide/decision_batch.hpp"
#include "core/wide.hpp"

namespace foreshade::bindings {

std::shared_ptr<const Plant> plant_behind(const py::object& plant); // simulator.cpp
py::dict costs_by_name(const Costs& costs);                         // simulator.cpp

namespace {

using F32 = py::array_t<float, py::array::c_style>;
using I64 = py::array_t<std::int64_t, py::array::c_style>;
using U8 = py::array_t<std::uint8_t, py::array::c_style>;

template <class T> T* room(py::array_t<T, py::array::c_style>& array, std::size_t size, const char* name) {
    if (static_cast<std::size_t>(array.size()) != size)
        throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(size) + " numbers, found " +
                                    std::to_string(array.size()));
    return array.mutable_data();
}

py::tuple tuple_of(const Action& a) {
    return py::make_tuple(static_cast<int>(a.kind), a.vm, a.host, a.app, a.rack, a.value, a.value2, a.allocation);
}

py::list list_of(std::span<const Action> actions) {
    py::list out;
    for (const Action& action : actions) out.append(tuple_of(action));
    return out;
}

py::list columns_of(std::span<const Column> columns) {
    py::list out;
    for (const Column& c : columns) out.append(py::make_tuple(c.name, c.unit, c.low, c.high, c.doc));
    return out;
}

py::dict sums_of(const EpisodeSums& sums) {
    py::dict out;
    out["terms"] = costs_by_name(sums.cost);
    py::dict chosen;
    for (std::size_t k = 0; k < kCandidateKinds; ++k)
        if (sums.chosen[k] > 0) chosen[candidate_kind_name(static_cast<CandidateKind>(k))] = sums.chosen[k];
    out["actions"] = chosen;
    out["reward"] = sums.reward;
    out["ticks"] = sums.ticks;
    out["steps"] = sums.steps;
    out["refused"] = sums.refused;
    out["invalid"] = sums.invalid;
    return out;
}

using ActionTuple = std::tuple<int, int, int, int, int, float, float, Amounts>;
// kind, (vm, host, source), (performance, utilisation, cost, latency) in USD, ready_h, preferred, by, reason, claim,
// actions
using OfferTuple = std::tuple<std::uint32_t, std::array<std::int32_t, 3>, std::array<float, 4>, float, bool,
                              std::string, std::string, std::string, std::vector<ActionTuple>>;

Offer offer_of(const OfferTuple& said) {
    Offer offer;
    Candidate& c = offer.candidate;
    const auto& [kind, about, usd, ready_h, preferred, by, reason, claim, actions] = said;
    if (kind >= kCandidateKinds) throw std::invalid_argument("offer: no such kind of candidate");
    c.kind = static_cast<CandidateKind>(kind);
    c.vm = about[0];
    c.host = about[1];
    c.source = about[2];
    c.performance = usd[0];
    c.utilisation = usd[1];
    c.cost = usd[2];
    c.latency = usd[3];
    c.ready_h = ready_h;
    offer.preferred = preferred;
    offer.by = by;
    offer.reason = reason;
    offer.claim = claim;
    for (const auto& [what, vm, host, app, rack, value, value2, allocation] : actions) {
        Action& action = offer.actions.emplace_back();
        action.kind = static_cast<ActionKind>(what);
        action.vm = vm;
        action.host = host;
        action.app = app;
        action.rack = rack;
        action.value = value;
        action.value2 = value2;
        action.allocation = allocation;
    }
    return offer;
}

// A proposer and the state that it books on.
struct HeldProposer : Proposer {
    using Proposer::Proposer;
    py::object held;
};

// Where observations go: float32 or float16, C-contiguous and writable.
Shown shown(py::array& array, std::size_t size) {
    if (static_cast<std::size_t>(array.size()) != size || (array.flags() & py::array::c_style) == 0)
        throw std::invalid_argument("observations: expected a contiguous array of " + std::to_string(size) +
                                    " numbers, found " + std::to_string(array.size()));
    if (array.dtype().kind() != 'f' || (array.itemsize() != 4 && array.itemsize() != 2))
        throw std::invalid_argument("observations: expected float32 or float16");
    if (array.itemsize() == 4) return static_cast<float*>(array.mutable_data());
    return static_cast<Half*>(array.mutable_data());
}

Proposer::PriceFactors factors_of(const std::array<float, 4>& f) {
    return {f[0], f[1], f[2], f[3]};
}

} // namespace

void register_decide(py::module_& module) {
    py::class_<PlanKnobs>(module, "PlanKnobs")
        .def(py::init<>())
        .def_readwrite("packer", &PlanKnobs::packer)
        .def_readwrite("preferred", &PlanKnobs::preferred)
        .def_readwrite("eager", &PlanKnobs::eager)
        .def_readwrite("every_ticks", &PlanKnobs::every_ticks);
    py::class_<RuleNode>(module, "RuleNode")
        .def(py::init<>())
        .def_property(
            "verdict", [](const RuleNode& self) { return static_cast<int>(self.verdict); },
            [](RuleNode& self, int said) {
                if (said < 0 || said > static_cast<int>(RuleVerdict::first))
                    throw std::invalid_argument("rule: no such verdict");
                self.verdict = static_cast<RuleVerdict>(said);
            })
        .def_readwrite("feature", &RuleNode::feature)
        .def_readwrite("low", &RuleNode::low)
        .def_readwrite("high", &RuleNode::high)
        .def_readwrite("kinds", &RuleNode::kinds)
        .def_readwrite("then", &RuleNode::then)
        .def_readwrite("otherwise", &RuleNode::otherwise)
        .def_readwrite("value", &RuleNode::value)
        .def_readwrite("rule", &RuleNode::rule);
    py::class_<Sizing>(module, "Sizing")
        .def(py::init<>())
        .def_readwrite("headroom", &Sizing::headroom)
        .def_readwrite("slack", &Sizing::slack)
        .def_readwrite("slack_floor", &Sizing::slack_floor)
        .def_readwrite("unseen", &Sizing::unseen)
        .def_readwrite("growth", &Sizing::growth)
        .def_readwrite("settle_ticks", &Sizing::settle_ticks);
    py::class_<ProposerKnobs>(module, "ProposerKnobs")
        .def(py::init<>())
        .def_readwrite("k", &ProposerKnobs::k)
        .def_readwrite("decisions", &ProposerKnobs::decisions)
        .def_readwrite("horizon_ticks", &ProposerKnobs::horizon_ticks)
        .def_readwrite("off_ticks", &ProposerKnobs::off_ticks)
        .def_readwrite("sigma_scale", &ProposerKnobs::sigma_scale)
        .def_readwrite("window", &ProposerKnobs::window)
        .def_readwrite("crowded_hosts", &ProposerKnobs::crowded_hosts)
        .def_readwrite("leavers", &ProposerKnobs::leavers)
        .def_readwrite("drains", &ProposerKnobs::drains)
        .def_readwrite("arrivals", &ProposerKnobs::arrivals)
        .def_readwrite("reshapes", &ProposerKnobs::reshapes)
        .def_readwrite("switches", &ProposerKnobs::switches)
        .def_readwrite("helpers", &ProposerKnobs::helpers)
        .def_readwrite("outgrown", &ProposerKnobs::outgrown)
        .def_readwrite("sizing", &ProposerKnobs::sizing)
        .def_readwrite("sizings", &ProposerKnobs::sizings)
        .def_readwrite("floor", &ProposerKnobs::floor)
        .def_readwrite("ceiling", &ProposerKnobs::ceiling)
        .def_readwrite("memory_ceiling", &ProposerKnobs::memory_ceiling)
        .def_readwrite("least_change", &ProposerKnobs::least_change)
        .def_readwrite("peak_ticks", &ProposerKnobs::peak_ticks)
        .def_readwrite("shadow_share", &ProposerKnobs::shadow_share)
        .def_readwrite("micro_share", &ProposerKnobs::micro_share)
        .def_readwrite("micro_life_s", &ProposerKnobs::micro_life_s)
        .def_readwrite("preferred", &ProposerKnobs::preferred)
        .def_readwrite("threshold", &ProposerKnobs::threshold)
        .def_readwrite("plans", &ProposerKnobs::plans)
        .def_readwrite("rules", &ProposerKnobs::rules);
    py::class_<HeldProposer>(module, "Proposer")
        .def(py::init([](const std::shared_ptr<Site>& site, const ProposerKnobs& knobs) {
                 return std::make_unique<HeldProposer>(std::make_shared<const Site>(*site), knobs);
             }),
             py::arg("site"), py::arg("knobs"))
        .def(
            "reset", [](HeldProposer& self, const std::array<float, 4>& factors) { self.reset(factors_of(factors)); },
            py::arg("factors") = std::array<float, 4>{1.0F, 1.0F, 1.0F, 1.0F},
            "A run begins; factors of the prices of energy, unmet demand, migrations and boots.")
        .def(
            "restrain",
            [](HeldProposer& self, const U8& fixed, const U8& hosts) {
                Restraint restraint;
                restraint.fixed.assign(fixed.data(), fixed.data() + fixed.size());
                restraint.hosts.reserve(static_cast<std::size_t>(hosts.size()));
                for (const std::uint8_t host : std::span(hosts.data(), static_cast<std::size_t>(hosts.size()))) {
                    if (host > 2) throw std::invalid_argument("restrain: expected hosts marked 0, 1 or 2");
                    restraint.hosts.push_back(static_cast<HostBar>(host));
                }
                self.restrain(std::move(restraint));
            },
            py::arg("fixed").noconvert(), py::arg("hosts").noconvert(),
            "What the next ticks may not touch: (n_vms,) 1 = may not migrate, (n_hosts,) 1 = takes no VMs, 2 = is to "
            "be "
            "emptied; an empty array = none.")
        .def(
            "observe",
            [](HeldProposer& self, const py::object& state) {
                ClusterState& seen = state.cast<ClusterState&>();
                {
                    const py::gil_scoped_release release; // half a second at 10,000 VMs: the API answers meanwhile
                    self.observe(seen);
                }
                self.held = state;
            },
            py::arg("state"), "A tick begins; the state is booked on until the next call.")
        .def(
            "add",
            [](HeldProposer& self, const std::vector<OfferTuple>& offers) {
                std::vector<Offer> out;
                out.reserve(offers.size());
                for (const OfferTuple& offer : offers) out.push_back(offer_of(offer));
                self.add(std::move(out));
            },
            py::arg("offers"), "Candidates of components beside the proposer's own, before any was chosen.")
        .def("retune", &Proposer::retune, py::arg("headroom"), py::arg("threshold"),
             "Knobs that outcomes correct, from the next observe() on.")
        .def(
            "dark_racks",
            [](const HeldProposer& self, const ClusterState& state) {
                const std::vector<std::uint8_t> dark = self.dark_racks(state);
                py::list out;
                for (std::size_t rack = 0; rack < dark.size(); ++rack)
                    if (dark[rack] != 0) out.append(rack);
                return out;
            },
            py::arg("state"), "Racks that are switched off as the tick of a state begins, before observe().")
        .def("choose", &Proposer::choose, py::arg("index"))
        .def("possible", &Proposer::possible, py::arg("index"))
        .def_property_readonly("preferred", &Proposer::preferred)
        .def_property_readonly("decisions_left", &Proposer::decisions_left)
        .def_property_readonly("k", &Proposer::k)
        .def_property_readonly("unit_usd", &Proposer::unit_usd)
        .def_property_readonly("expected_usd_h", &Proposer::expected_usd_h)
        .def(
            "potential",
            [](const HeldProposer& self, float shaping_h, float unit_usd) {
                return potential(self, shaping_h, unit_usd);
            },
            py::arg("shaping_h"), py::arg("unit_usd"),
            "Minus the expected cost of the planned state over the horizon, in the unit of rewards.")
        .def("__len__", &Proposer::size)
        .def("plan", [](const HeldProposer& self) { return list_of(self.plan()); })
        .def_property_readonly("n_planned", [](const HeldProposer& self) { return self.plan().size(); })
        .def("actions", [](const HeldProposer& self, std::size_t index) { return list_of(self.actions_of(index)); })
        .def("describe",
             [](const HeldProposer& self, std::size_t index) {
                 if (index >= self.size()) throw py::index_error("candidate out of range");
                 const Candidate& c = self.candidate(index);
                 py::dict out;
                 out["kind"] = candidate_kind_name(c.kind);
                 out["reason"] = self.reason(index);
                 out["by"] = self.by(index);
                 out["offer"] = c.offered;
                 out["vm"] = c.vm;
                 out["host"] = c.host;
                 out["source"] = c.source;
                 out["plan"] = c.plan;
                 out["z"] = c.z;
                 out["actions"] = c.n_actions;
                 out["ready_h"] = c.ready_h;
                 out["performance"] = c.performance;
                 out["utilisation"] = c.utilisation;
                 out["cost"] = c.cost;
                 out["latency"] = c.latency;
                 out["score"] = c.score();
                 out["preference"] = c.preference;
                 out["rule"] = c.rule;
                 out["possible"] = self.possible(index);
                 return out;
             })
        .def("width", [](const HeldProposer& self) { return Proposer::width(self.k()); })
        .def(
            "write",
            [](const HeldProposer& self, F32 out) {
                float* data = room(out, Proposer::width(self.k()), "observation");
                self.write(data, data + context::count, data + context::count + self.k() * feature::count);
            },
            py::arg("observation").noconvert(), "[context | candidates | mask] into (width(),) float32.");
    py::class_<EpisodeKnobs>(module, "EpisodeKnobs")
        .def(py::init<>())
        .def_readwrite("least_ticks", &EpisodeKnobs::least_ticks)
        .def_readwrite("most_ticks", &EpisodeKnobs::most_ticks)
        .def_readwrite("random_start", &EpisodeKnobs::random_start)
        .def_readwrite("scattered", &EpisodeKnobs::scattered)
        .def_readwrite("price_spread", &EpisodeKnobs::price_spread)
        .def_readwrite("discount", &EpisodeKnobs::discount)
        .def_readwrite("shaping_h", &EpisodeKnobs::shaping_h);
    py::class_<DecisionBatch>(module, "DecisionBatch")
        .def(py::init([](const std::vector<py::object>& plants, const std::vector<std::shared_ptr<Site>>& sites,
                         const ProposerKnobs& knobs, const EpisodeKnobs& episode, std::size_t n_envs,
                         std::uint64_t seed, std::size_t threads) {
                 if (plants.size() != sites.size())
                     throw std::invalid_argument("decision batch: expected a site for each plant");
                 std::vector<Variant> variants;
                 variants.reserve(plants.size());
                 for (std::size_t i = 0; i < plants.size(); ++i)
                     variants.push_back({plant_behind(plants[i]), std::make_shared<const Site>(*sites[i])});
                 return std::make_unique<DecisionBatch>(std::move(variants), knobs, episode, n_envs, seed, threads);
             }),
             py::arg("plants"), py::arg("sites"), py::arg("knobs"), py::arg("episode"), py::arg("n_envs"),
             py::arg("seed"), py::arg("threads") = 1, py::keep_alive<1, 2>())
        .def("__len__", &DecisionBatch::size)
        .def_property_readonly("width", &DecisionBatch::width)
        .def(
            "keep",
            [](DecisionBatch& self, const py::tuple& observations) {
                std::vector<Shown> all;
                all.reserve(observations.size());
                for (const py::handle one : observations) {
                    auto array = py::cast<py::array>(one);
                    all.push_back(shown(array, self.size() * self.width()));
                }
                self.keep(all);
            },
            py::arg("observations"), py::keep_alive<1, 2>(),
            "Arrays that nobody but reset() and step() will write to: rows that did not change are not written again.")
        .def(
            "reset",
            [](DecisionBatch& self, py::array observations, std::optional<std::uint64_t> seed) {
                const Shown out = shown(observations, self.size() * self.width());
                const py::gil_scoped_release release;
                if (seed)
                    self.reset(*seed, out);
                else
                    self.reset(out);
            },
            py::arg("observations").noconvert(), py::arg("seed") = py::none(),
            "Begins again with a seed; without one every environment goes on to its next episode.")
        .def(
            "step",
            [](DecisionBatch& self, const I64& actions, py::array observations, std::optional<F32> final_observations,
               F32 rewards, F32 discounts, U8 dones, U8 invalid) {
                const std::size_t n = self.size();
                StepOutput out{};
                out.observations = shown(observations, n * self.width());
                out.final_observations =
                    final_observations ? room(*final_observations, n * self.width(), "final_observations") : nullptr;
                out.rewards = room(rewards, n, "rewards");
                out.discounts = room(discounts, n, "discounts");
                out.dones = room(dones, n, "dones");
                out.invalid = room(invalid, n, "invalid");
                const std::span<const std::int64_t> chosen(actions.data(), static_cast<std::size_t>(actions.size()));
                const py::gil_scoped_release release;
                self.step(chosen, out);
            },
            py::arg("actions").noconvert(), py::arg("observations").noconvert(),
            py::arg("final_observations").noconvert(), py::arg("rewards").noconvert(), py::arg("discounts").noconvert(),
            py::arg("dones").noconvert(), py::arg("invalid").noconvert())
        .def(
            "preferred",
            [](const DecisionBatch& self, I64 out) { self.preferred({room(out, self.size(), "out"), self.size()}); },
            py::arg("out").noconvert(), "The rules' choice in each environment.")
        .def("finished",
             [](const DecisionBatch& self, std::size_t i) {
                 if (i >= self.size()) throw py::index_error("environment out of range");
                 return sums_of(self.finished(i));
             })
        .def("sums", [](DecisionBatch& self, std::size_t i) {
            if (i >= self.size()) throw py::index_error("environment out of range");
            return sums_of(self.env(i).sums());
        });
    module.def(
        "context_columns", [] { return columns_of(context_columns()); }, "(name, unit, low, high, doc) of each.");
    module.def("candidate_columns", [] { return columns_of(candidate_columns()); });
    module.def(
        "rule_columns", [] { return columns_of(rule_columns()); },
        "What rules may test beside the columns of context and candidates, in this order behind them.");
    module.def("candidate_kinds", [] {
        std::vector<std::string> names;
        names.reserve(kCandidateKinds);
        for (std::size_t k = 0; k < kCandidateKinds; ++k)
            names.emplace_back(candidate_kind_name(static_cast<CandidateKind>(k)));
        return names;
    });
    module.def(
        "lanes", [] { return wide_lanes() ? 8 : 4; },
        "Numbers that loops over VMs take at once: 8 where the machine has AVX2 and FORESHADE_LANES does not say 4.");
    module.def(
        "cost_terms", [] { return std::vector<std::string>(kCostTermNames.begin(), kCostTermNames.end()); },
        "Terms of a cost, in the order of tick_reward.");
    module.def(
        "tick_reward",
        [](const std::array<double, kCostTerms>& cost, const std::array<float, 4>& factors, float unit_usd) {
            return tick_reward(cost, factors_of(factors), unit_usd);
        },
        py::arg("cost"), py::arg("factors"), py::arg("unit_usd"), "Minus a tick's cost, in the unit of rewards.");
    module.def("episode_seed", &episode_seed, py::arg("seed"), py::arg("number"),
               "Seed of the episode after `number` others of an environment that began with `seed`.");
    module.def(
        "draw_episode",
        [](const EpisodeKnobs& knobs, std::size_t n_ticks, std::uint64_t seed) {
            const EpisodeDraw d = draw_episode(knobs, n_ticks, seed);
            const auto& f = d.factors;
            return py::make_tuple(py::make_tuple(f.energy, f.unmet, f.migration, f.boot), d.start, d.end);
        },
        py::arg("knobs"), py::arg("n_ticks"), py::arg("seed"), "(price factors, first tick, end tick) of an episode.");
    module.def("shaped", &shaped, py::arg("reward"), py::arg("discount"), py::arg("before"), py::arg("after"),
               "A reward with the change of the potential added.");
    module.def(
        "reward_unit_usd",
        [](const std::shared_ptr<Site>& site, const ClusterState& state) { return reward_unit_usd(*site, state); },
        py::arg("site"), py::arg("state"));
}

} // namespace foreshade::bindings

#include "core/affinity.hpp"

#include <pybind11/stl.h>

#include "bindings/register.hpp"

namespace foreshade::bindings {

namespace {

// sense, reach, applications, VMs, hosts (of `within`), USD/h (0 = hard)
using RuleTuple =
    std::tuple<int, int, std::vector<std::int32_t>, std::vector<std::int32_t>, std::vector<std::uint8_t>, float>;

std::shared_ptr<Affinity> affinity_of(const std::vector<RuleTuple>& said, std::vector<std::int32_t> rack,
                                      std::vector<std::int32_t> zone, std::vector<std::int32_t> app,
                                      std::size_t n_apps) {
    std::vector<AffinityRule> rules;
    for (const auto& [sense, reach, apps, vms, hosts, usd_h] : said) {
        if (sense < 0 || sense > 2 || reach < 0 || reach > 2)
            throw std::invalid_argument("affinity: expected a sense and a reach from 0 to 2");
        rules.push_back({static_cast<AffinityRule::Sense>(sense), static_cast<Reach>(reach), apps, vms, hosts, usd_h});
    }
    return std::make_shared<Affinity>(std::move(rules), std::move(rack), std::move(zone), std::move(app), n_apps);
}

// A book that says what it was asked about a VM or host that there is not.
class CheckedBook {
  public:
    explicit CheckedBook(const std::shared_ptr<Affinity>& rules) : rules_(rules), book_(rules) {
        if (!rules) throw std::invalid_argument("affinity: expected rules, found none");
        book_.clear(rules->n_vms());
        n_vms_ = rules->n_vms();
    }
    void read(const ClusterState& state) {
        book_.read(state);
        n_vms_ = state.n_vms();
        for (std::size_t v = 0; v < n_vms_; ++v)
            if (state.vms.host[v] < 0) book_.set(v, state.vms.app[v], state.vms.kind[v], -1, -1);
    }
    bool allows(std::size_t vm, std::size_t host) const { return book_.allows(known(vm), host_of(host)); }
    bool allows_company(const std::vector<std::int32_t>& vms, std::size_t host) {
        for (const std::int32_t v : vms) known(static_cast<std::size_t>(v));
        return book_.allows_company(vms, host_of(host));
    }
    bool allows_new(std::int32_t app, int kind, std::size_t host) const {
        return book_.allows_new(app, static_cast<VmKind>(kind), host_of(host));
    }
    float usd_h(std::size_t vm, std::size_t host) const { return book_.usd_h(known(vm), host_of(host)); }
    std::vector<std::int32_t> companions(std::size_t vm) const { return book_.companions(known(vm)); }
    void move(std::size_t vm, std::int32_t host, std::int32_t destination) {
        for (const std::int32_t h : {host, destination})
            if (h >= 0) host_of(static_cast<std::size_t>(h));
        book_.move(known(vm), host, destination);
    }
    std::vector<std::int32_t> broken() const { return book_.broken(); }

  private:
    std::size_t known(std::size_t vm) const {
        if (vm >= n_vms_) throw py::index_error("affinity: VM out of range");
        return vm;
    }
    std::size_t host_of(std::size_t host) const {
        if (host >= rules_->n_hosts()) throw py::index_error("affinity: host out of range");
        return host;
    }
    std::shared_ptr<const Affinity> rules_;
    AffinityBook book_;
    std::size_t n_vms_ = 0;
};

} // namespace

void register_affinity(const py::module_& module) {
    py::class_<Affinity, std::shared_ptr<Affinity>>(module, "Affinity")
        .def(py::init(&affinity_of), py::arg("rules"), py::arg("rack"), py::arg("zone"), py::arg("app"),
             py::arg("n_apps"))
        .def("__len__", [](const Affinity& self) { return self.rules().size(); })
        .def(
            "company_of",
            [](const Affinity& self, std::size_t vm) {
                const auto company = self.company_of(vm);
                return std::vector<std::int32_t>(company.begin(), company.end());
            },
            py::arg("vm"), "VMs of the workload that a hard rule keeps on one host with it; empty = none.");
    py::class_<CheckedBook>(module, "AffinityBook")
        .def(py::init<const std::shared_ptr<Affinity>&>(), py::arg("rules"))
        .def("read", &CheckedBook::read, py::arg("state"), "The places of a state, planned ones included.")
        .def("allows", &CheckedBook::allows, py::arg("vm"), py::arg("host"))
        .def("allows_company", &CheckedBook::allows_company, py::arg("vms"), py::arg("host"))
        .def("allows_new", &CheckedBook::allows_new, py::arg("app"), py::arg("kind"), py::arg("host"))
        .def("usd_h", &CheckedBook::usd_h, py::arg("vm"), py::arg("host"))
        .def("companions", &CheckedBook::companions, py::arg("vm"))
        .def("move", &CheckedBook::move, py::arg("vm"), py::arg("host"), py::arg("destination") = -1)
        .def("broken", &CheckedBook::broken, "Pairs and VMs that break each rule, by rule.");
}

} // namespace foreshade::bindings

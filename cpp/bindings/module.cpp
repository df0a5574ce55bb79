#include "bindings/register.hpp"

PYBIND11_MODULE(_core, module) {
    using namespace foreshade::bindings;
    module.doc() = "Foreshade's native core: cluster state, simulator, scoring.";
    register_cluster_state(module);
    register_affinity(module);
    register_data_centre(module);
    register_forecast(module);
    register_forecast_source(module);
    register_simulator(module);
    register_cloudsim(module);
    register_expected_cost(module);
    register_demand_window(module);
    register_decide(module);
    register_packer(module);
    register_rollout(module);
    register_anomaly(module);
    register_trees(module);
}

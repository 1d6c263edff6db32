//! The hypervisor: the port `Vmm` over QMP, or from what the inventory declares.

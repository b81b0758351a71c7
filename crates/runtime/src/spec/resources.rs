//! CRI resources as OCI resources.

use super::{SpecError, invalid};
use k8s_cri::v1::LinuxContainerResources;
use oci_spec::runtime::{LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxResources};

/// Converts; zero means unset in the CRI.
///
/// # Errors
/// Values out of range.
pub fn resources(cri: &LinuxContainerResources) -> Result<LinuxResources, SpecError> {
    let unsigned = |field, value: i64| {
        u64::try_from(value).map_err(|_| invalid(field, "must not be negative"))
    };
    let mut cpu = LinuxCpu::default();
    if cri.cpu_shares != 0 {
        cpu.set_shares(Some(unsigned("cpu_shares", cri.cpu_shares)?));
    }
    if cri.cpu_period != 0 {
        cpu.set_period(Some(unsigned("cpu_period", cri.cpu_period)?));
    }
    if cri.cpu_quota != 0 {
        cpu.set_quota(Some(cri.cpu_quota));
    }
    if !cri.cpuset_cpus.is_empty() {
        cpu.set_cpus(Some(cri.cpuset_cpus.clone()));
    }
    if !cri.cpuset_mems.is_empty() {
        cpu.set_mems(Some(cri.cpuset_mems.clone()));
    }
    let mut memory = LinuxMemory::default();
    if cri.memory_limit_in_bytes != 0 {
        memory.set_limit(Some(cri.memory_limit_in_bytes));
    }
    if cri.memory_swap_limit_in_bytes != 0 {
        memory.set_swap(Some(cri.memory_swap_limit_in_bytes));
    }
    let mut resources = LinuxResources::default();
    resources.set_devices(None);
    resources.set_cpu(Some(cpu));
    resources.set_memory(Some(memory));
    resources
        .set_unified((!cri.unified.is_empty()).then(|| cri.unified.clone().into_iter().collect()));
    let huge: Vec<LinuxHugepageLimit> = cri
        .hugepage_limits
        .iter()
        .filter(|h| h.limit != 0)
        .map(huge_pages)
        .collect::<Result<_, _>>()?;
    resources.set_hugepage_limits((!huge.is_empty()).then_some(huge));
    Ok(resources)
}

fn huge_pages(limit: &k8s_cri::v1::HugepageLimit) -> Result<LinuxHugepageLimit, SpecError> {
    let mut huge = LinuxHugepageLimit::default();
    huge.set_page_size(limit.page_size.clone());
    huge.set_limit(
        i64::try_from(limit.limit).map_err(|_| invalid("hugepage_limits", "out of range"))?,
    );
    Ok(huge)
}

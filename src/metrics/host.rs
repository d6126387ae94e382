//! The host as the pages show it, measured while a page is made.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// Two looks at the processors must be this far apart to tell anything; a page that comes sooner shows the last figure.
const CPU_LOOK: Duration = Duration::from_millis(250);

/// What the host has and uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HostUse {
    pub(crate) cpu_count: usize,
    pub(crate) cpu_percent: f64,
    pub(crate) memory: Used,
    pub(crate) disk: Used,
}

/// Bytes of memory or disk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Used {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

impl HostUse {
    /// Processors in use, as whole ones.
    pub(crate) fn cpu_used_count(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a small positive number"
        )]
        let used = (self.cpu_count as f64 * self.cpu_percent / 100.0) as u64;
        used
    }
}

impl Used {
    pub(crate) fn used(self) -> u64 {
        self.total.saturating_sub(self.available)
    }

    #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more")]
    pub(crate) fn percent(self) -> f64 {
        if self.total == 0 { 0.0 } else { self.used() as f64 * 100.0 / self.total as f64 }
    }
}

/// Measures the host whenever it is asked to.
#[derive(Default)]
pub(crate) struct HostMeter(Mutex<Option<(Instant, System)>>);

impl HostMeter {
    /// The host now. Processor use is that since the last look.
    pub(crate) fn measure(&self) -> HostUse {
        let mut kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (seen_at, system) = kept.get_or_insert_with(|| {
            let what = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing().with_cpu_usage());
            (Instant::now(), System::new_with_specifics(what))
        });
        if seen_at.elapsed() >= CPU_LOOK {
            system.refresh_cpu_usage();
            *seen_at = Instant::now();
        }
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        HostUse {
            cpu_count: System::physical_core_count().unwrap_or_else(|| system.cpus().len()),
            cpu_percent: f64::from(system.global_cpu_usage()),
            memory: Used { total: system.total_memory(), available: system.available_memory() },
            disk: root_disk(),
        }
    }
}

/// The disk of the root folder. Only that is asked about: an answer about a share of the network may never come.
fn root_disk() -> Used {
    rustix::fs::statvfs("/").map_or(Used::default(), |disk| Used {
        total: disk.f_blocks.saturating_mul(disk.f_frsize),
        available: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

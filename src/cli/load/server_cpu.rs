//! The processor time a server spends, as the kernel counts it.

use std::time::Duration;

/// Reads the processor time (user and system, all threads) of a process.
///
/// # Errors
/// Says that the process is gone or that this is no Linux.
pub fn spent(pid: u32) -> miette::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        miette::miette!(help = "give the PID of the gateway's process", "cannot read {path}: {error}")
    })?;
    let ticks = ticks_in(&text).ok_or_else(|| miette::miette!("cannot understand {path}"))?;
    Ok(Duration::from_secs_f64(ticks_as_f64(ticks) / ticks_as_f64(rustix::param::clock_ticks_per_second())))
}

/// Returns utime + stime (proc_pid_stat(5), fields 14 and 15). The name in field 2 may hold blanks and brackets.
fn ticks_in(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn ticks_as_f64(ticks: u64) -> f64 {
    Duration::from_secs(ticks).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let stat = "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 4 0 99 1 1";
        assert_eq!(ticks_in(stat), Some(175));
        assert_eq!(ticks_in("4242 (x) S 1"), None);
    }

    #[test]
    fn this_process_has_spent_some_and_pid_0_is_nobody() {
        assert!(spent(std::process::id()).is_ok());
        assert!(spent(0).is_err());
    }
}

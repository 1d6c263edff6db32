//! The figures as a Markdown table and as JSON, and whether the agent keeps to its budget.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Figures;
use super::long::{Long, Peaks, Shares};
use super::memory::Memory;
use crate::MIB;
use crate::guest::Guest;

/// The agent's file, bytes: 3 MiB.
const DISK_BUDGET_BYTES: u64 = 3 * MIB;

/// The agent's resident memory while it serves and nobody calls, KiB: 2.6 MiB.
const IDLE_BUDGET_KIB: u64 = 2662;

/// The most of one processor that the agent and its worker take while a run is paused, percent.
const PAUSED_BUDGET_PERCENT: f64 = 1.0;

/// What a thousand times as many ranges may add to either's memory, KiB: what the peaks can be behind, 64 pages.
const RANGES_BUDGET_KIB: u64 = 256;

/// All that was measured: the agent, then qemu-ga.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) machine: String,
    pub(super) agents: [Figures; 2],
    pub(super) long: Long,
}

/// What it was measured on, in a sentence.
pub(super) fn machine(guest: &Guest) -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let models = || cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models().next().map_or("a processor without a name", |(_, model)| model);
    let qemu = guest.qmp("query-version", json!({}))?;
    let number = |part: &str| qemu["qemu"][part].as_u64().with_context(|| format!("no {part} version"));
    let memory = guest.sh("awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo")?;
    Ok(format!(
        "guest: Linux {}, {}, {}, {} MiB; QEMU {}.{}.{} in software emulation on {} × {model}",
        guest.sh("uname -r")?.trim(),
        std::env::consts::ARCH,
        match guest.sh("nproc")?.trim() {
            "1" => "1 processor".to_owned(),
            more => format!("{more} processors"),
        },
        memory.trim(),
        number("major")?,
        number("minor")?,
        number("micro")?,
        models().count(),
    ))
}

impl Report {
    /// Whether the agent keeps to both of its limits. What stays mapped after work is said, and is no breach: it is
    /// the kernel's to take back.
    pub(super) fn within_budget(&self) -> bool {
        let [ours, _] = &self.agents;
        ours.disk_bytes <= DISK_BUDGET_BYTES && ours.idle.resident <= IDLE_BUDGET_KIB
    }

    /// Whether it keeps still while it is paused, and whether its memory is the same with many ranges. No breach either: a
    /// processor in software emulation is a slow one, and peaks are only about right.
    fn long_verdicts(&self) -> [bool; 2] {
        let Long { paused, few, many, .. } = self.long;
        let grown = |few: u64, many: u64| many.saturating_sub(few) <= RANGES_BUDGET_KIB;
        [
            paused.agent + paused.worker <= PAUSED_BUDGET_PERCENT,
            grown(few.agent_kib, many.agent_kib) && grown(few.worker_kib, many.worker_kib),
        ]
    }

    /// The table, with a line above it and a verdict below.
    pub(super) fn markdown(&self) -> String {
        let [ours, _] = &self.agents;
        let mut text = format!("{}\n\n", self.machine);
        text.push_str(&self.row("", |agent| format!("{} {}", agent.name, agent.version)));
        text.push_str("|---|---|---|\n");
        text.push_str(&self.row("on disk", on_disk));
        text.push_str(&self.row("resident, idle", |agent| memory(agent.idle)));
        text.push_str(&self.row("at most, in a survey", |agent| kib(agent.survey_peak_kib)));
        text.push_str(&self.row("at most, in a run", |agent| kib(agent.run_peak_kib)));
        let worker = |agent: &Figures| agent.worker.map_or("none".to_owned(), memory);
        text.push_str(&self.row("and its process in FITRIM", worker));
        text.push_str(&self.row("idle again, after both", |agent| memory(agent.after)));
        let Long { gentle, paused, few, many } = self.long;
        let mut add = |name: &str, cell: String| text.push_str(&format!("| {name} | {cell} | – |\n"));
        for (name, shares) in [("of a processor, at `gentle`", gentle), ("of a processor, paused", paused)] {
            add(name, format!("{:.1} %, and {:.1} % its process in FITRIM", shares.agent, shares.worker));
        }
        for Peaks { ranges, agent_kib, worker_kib } in [few, many] {
            let both = format!("{}, and {} its process in FITRIM", kib(agent_kib), kib(worker_kib));
            add(&format!("at most, in {ranges} ranges"), both);
        }
        let verdict = |met| if met { "met" } else { "EXCEEDED" };
        text.push_str(&format!(
            "\nbudget on disk {}: {}\nbudget resident while serving idle {}: {}\n",
            mib(DISK_BUDGET_BYTES),
            verdict(ours.disk_bytes <= DISK_BUDGET_BYTES),
            kib(IDLE_BUDGET_KIB),
            verdict(ours.idle.resident <= IDLE_BUDGET_KIB),
        ));
        let [still, level] = self.long_verdicts();
        text.push_str(&format!(
            "budget of a processor while paused {PAUSED_BUDGET_PERCENT} %: {}\n\
             budget for memory with a thousand times the ranges {}: {}\n",
            verdict(still),
            kib(RANGES_BUDGET_KIB),
            verdict(level),
        ));
        if ours.after.resident > IDLE_BUDGET_KIB {
            text.push_str(&format!(
                "not met again after work: {} are pages of its file, which the kernel takes back at need\n",
                kib(ours.after.resident.saturating_sub(ours.after.own)),
            ));
        }
        text
    }

    fn row(&self, name: &str, cell: impl Fn(&Figures) -> String) -> String {
        let [ours, theirs] = &self.agents;
        format!("| {name} | {} | {} |\n", cell(ours), cell(theirs))
    }

    /// `trimtab.bench/1`: the same, for programs.
    pub(super) fn json(&self) -> Value {
        let memory = |memory: Memory| {
            let Memory { resident, own, threads, .. } = memory;
            json!({"resident_kib": resident, "own_kib": own, "threads": threads})
        };
        let agents: Vec<Value> = self
            .agents
            .iter()
            .map(|agent| {
                json!({
                    "name": agent.name,
                    "version": agent.version,
                    "disk_bytes": agent.disk_bytes,
                    "libraries_bytes": agent.libraries_bytes,
                    "idle": memory(agent.idle),
                    "survey_peak_kib": agent.survey_peak_kib,
                    "run_peak_kib": agent.run_peak_kib,
                    "worker": agent.worker.map(memory),
                    "idle_after": memory(agent.after),
                })
            })
            .collect();
        let shares = |shares: Shares| json!({"agent": shares.agent, "worker": shares.worker});
        let peaks = |peaks: Peaks| json!({"ranges": peaks.ranges, "agent_kib": peaks.agent_kib, "worker_kib": peaks.worker_kib});
        json!({
            "schema": "trimtab.bench/1",
            "machine": self.machine,
            "budget": {
                "disk_bytes": DISK_BUDGET_BYTES, "idle_kib": IDLE_BUDGET_KIB,
                "paused_percent": PAUSED_BUDGET_PERCENT, "ranges_kib": RANGES_BUDGET_KIB,
            },
            "within_budget": self.within_budget(),
            "agents": agents,
            "processor_percent": {"gentle": shares(self.long.gentle), "paused": shares(self.long.paused)},
            "peaks": [peaks(self.long.few), peaks(self.long.many)],
        })
    }
}

fn on_disk(agent: &Figures) -> String {
    match agent.libraries_bytes {
        0 => mib(agent.disk_bytes),
        libraries => format!("{} and {} of libraries", mib(agent.disk_bytes), mib(libraries)),
    }
}

fn memory(memory: Memory) -> String {
    let threads = if memory.threads == 1 { "thread" } else { "threads" };
    format!("{}, {} of them its own, {} {threads}", kib(memory.resident), memory.own, memory.threads)
}

fn kib(kib: u64) -> String {
    format!("{kib} KiB")
}

/// Rounded up: what is over the budget never looks as if it met it.
fn mib(bytes: u64) -> String {
    let hundredths = bytes.saturating_mul(100).div_ceil(MIB);
    format!("{}.{:02} MiB", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(disk_bytes: u64, idle_kib: u64) -> Report {
        let memory = |resident| Memory { resident, own: 284, peak: resident, threads: 1 };
        let ours = Figures {
            name: "trimtab-agent",
            version: "1.2.3".to_owned(),
            disk_bytes,
            libraries_bytes: 0,
            idle: memory(idle_kib),
            survey_peak_kib: 2840,
            run_peak_kib: 3000,
            worker: Some(memory(1200)),
            after: memory(2900),
        };
        let theirs = Figures { name: "qemu-ga", libraries_bytes: MIB, worker: None, ..ours.clone() };
        let shares = |agent| Shares { agent, worker: 0.1 };
        let peaks = |ranges, agent_kib| Peaks { ranges, agent_kib, worker_kib: 2240 };
        let long = Long {
            gentle: shares(4.25),
            paused: shares(0.9),
            few: peaks(10, 2824),
            many: peaks(10_000, 2824 + 256),
        };
        Report { machine: "a machine".to_owned(), agents: [ours, theirs], long }
    }

    #[test]
    fn a_long_run() {
        type Change = fn(&mut Long);
        let cases: [(&str, Change, bool); 5] = [
            ("on both limits", |_| (), true),
            ("its worker does not keep still", |long| long.paused.worker = 0.2, false),
            ("a range is remembered", |long| long.many.agent_kib = 2824 + 257, false),
            ("by the worker", |long| long.many.worker_kib = 2240 + 257, false),
            ("less with more of them", |long| long.many.agent_kib = 1, true),
        ];
        for (name, change, within) in cases {
            let mut report = report(0, 0);
            change(&mut report.long);
            assert_eq!(report.long_verdicts() == [true; 2], within, "{name}");
            assert_eq!(!report.markdown().contains("EXCEEDED"), within, "{name}");
        }
    }

    #[test]
    fn the_budget() {
        for (name, disk, idle, within) in [
            ("on both limits", 3 * MIB, 2662, true),
            ("a byte too large", 3 * MIB + 1, 2662, false),
            ("a KiB too much", 3 * MIB, 2663, false),
        ] {
            let report = report(disk, idle);
            assert_eq!(report.within_budget(), within, "{name}");
            assert_eq!(!report.markdown().contains("EXCEEDED"), within, "{name}");
            assert_eq!(report.json()["within_budget"], within, "{name}");
        }
        assert!(report(3 * MIB + 1, 0).markdown().contains("| 3.01 MiB |"), "never rounded into the budget");
    }

    #[test]
    fn the_table() {
        let expected = "\
a machine

|  | trimtab-agent 1.2.3 | qemu-ga 1.2.3 |
|---|---|---|
| on disk | 2.00 MiB | 2.00 MiB and 1.00 MiB of libraries |
| resident, idle | 2600 KiB, 284 of them its own, 1 thread | 2600 KiB, 284 of them its own, 1 thread |
| at most, in a survey | 2840 KiB | 2840 KiB |
| at most, in a run | 3000 KiB | 3000 KiB |
| and its process in FITRIM | 1200 KiB, 284 of them its own, 1 thread | none |
| idle again, after both | 2900 KiB, 284 of them its own, 1 thread | 2900 KiB, 284 of them its own, 1 thread |
| of a processor, at `gentle` | 4.2 %, and 0.1 % its process in FITRIM | – |
| of a processor, paused | 0.9 %, and 0.1 % its process in FITRIM | – |
| at most, in 10 ranges | 2824 KiB, and 2240 KiB its process in FITRIM | – |
| at most, in 10000 ranges | 3080 KiB, and 2240 KiB its process in FITRIM | – |

budget on disk 3.00 MiB: met
budget resident while serving idle 2662 KiB: met
budget of a processor while paused 1 %: met
budget for memory with a thousand times the ranges 256 KiB: met
not met again after work: 2616 KiB are pages of its file, which the kernel takes back at need
";
        assert_eq!(report(2 * MIB, 2600).markdown(), expected);
    }
}
